package agent

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/lab"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
)

// ruleChange is what an edit did to one group.
type ruleChange struct {
	revision vpc.Revision
	group    *vpc.SecurityGroup
	rules    []vpc.SecurityGroupRule
}

// Authorize adds a rule while traffic runs.
func (n *node) Authorize(ctx context.Context, r *api.RuleRequest) (*api.RuleResult, error) {
	e, labName, err := n.edit(r)
	if err != nil {
		return nil, err
	}
	c, err := n.authorize(ctx, labName, e)
	if err != nil {
		return nil, err
	}
	return n.ruleResult(c), nil
}

// Revoke removes a rule while traffic runs.
func (n *node) Revoke(ctx context.Context, r *api.RuleRequest) (*api.RuleResult, error) {
	e, labName, err := n.edit(r)
	if err != nil {
		return nil, err
	}
	c, err := n.revoke(ctx, labName, e)
	if err != nil {
		return nil, err
	}
	res := n.ruleResult(c)
	res.Surviving = n.surviving(c.rules)
	return res, nil
}

// edit reads a request; the rule's own word "from" or "to" says its direction.
func (n *node) edit(r *api.RuleRequest) (lab.Edit, string, error) {
	view := n.store.View()
	g, err := n.groupNamed(view, r.Lab, r.Group)
	if err != nil {
		return lab.Edit{}, "", err
	}
	e := lab.Edit{Group: g.ID, Rule: r.Rule}
	words := strings.Fields(strings.ToLower(r.Rule))
	from, to := slices.Contains(words, "from"), slices.Contains(words, "to")
	switch {
	case to && !from:
		e.Direction = vpc.Egress
	case ruleID.MatchString(r.Rule):
		if rule, _, ok := view.SecurityGroupRule(r.Rule); ok {
			e.Direction = rule.Direction
		}
	case r.Direction == api.Egress:
		e.Direction = vpc.Egress
	}
	if r.Direction != "" && r.Direction != e.Direction.String() {
		return e, "", &api.Error{Code: api.CodeBadRequest, Field: "rule", Message: fmt.Sprintf("%q is an %s rule, not %s", r.Rule, e.Direction, r.Direction),
			Fix: "an ingress rule says from, an egress rule says to"}
	}
	return e, g.Lab, nil
}

var ruleID = regexp.MustCompile(`^sgr-[0-9a-f]{17}$`)

// authorize adds the rule of an edit; it holds for the first frame sent after the return.
func (n *node) authorize(ctx context.Context, labName string, e lab.Edit) (*ruleChange, error) {
	c := &ruleChange{}
	var err error
	c.revision, err = n.update(ctx, func(tx *vpc.Tx) error {
		g, ps, err := n.parseEdit(&tx.View, labName, e)
		if err != nil {
			return err
		}
		in := vpc.AuthorizeSecurityGroupInput{GroupID: g.ID}
		for _, p := range ps {
			in.Rules = append(in.Rules, vpc.RuleSpec{Permission: p, Words: strings.TrimSpace(e.Rule), Where: e.Where})
		}
		if e.Direction == vpc.Egress {
			c.rules, err = tx.AuthorizeSecurityGroupEgress(in)
		} else {
			c.rules, err = tx.AuthorizeSecurityGroupIngress(in)
		}
		c.group = g
		return err
	})
	return c, err
}

// revoke removes the rule of an edit. Tracked connections live on.
func (n *node) revoke(ctx context.Context, labName string, e lab.Edit) (*ruleChange, error) {
	c := &ruleChange{}
	var err error
	c.revision, err = n.update(ctx, func(tx *vpc.Tx) error {
		in := vpc.RevokeSecurityGroupInput{}
		g, ps, err := n.parseEdit(&tx.View, labName, e)
		if err != nil {
			return err
		}
		in.GroupID, in.Permissions = g.ID, ps
		if ruleID.MatchString(e.Rule) {
			in.RuleIDs = []string{e.Rule}
		}
		revoke := tx.RevokeSecurityGroupIngress
		if e.Direction == vpc.Egress {
			revoke = tx.RevokeSecurityGroupEgress
		}
		res, err := revoke(in)
		if err != nil {
			return n.revokeError(&tx.View, g, e, err)
		}
		c.group, c.rules = g, res.Revoked
		return nil
	})
	return c, err
}

// revokeError adds the rules that there are to the error that there is no such rule.
func (n *node) revokeError(view *vpc.View, g *vpc.SecurityGroup, e lab.Edit, err error) error {
	var near []string
	for i := range g.Rules {
		if r := &g.Rules[i]; r.Direction == e.Direction {
			near = append(near, ruleWords(view, r))
		}
	}
	code := "InvalidPermission.NotFound"
	if v, ok := err.(*vpc.Error); ok {
		code = v.Code
	}
	return &api.Error{Code: code, Field: "rule", Message: fmt.Sprintf("group %s has no %s rule %q", g.GroupName, e.Direction, e.Rule), Near: near}
}

// parseEdit finds an edit's group and reads its rule. A rule's id gives no permissions.
func (n *node) parseEdit(view *vpc.View, labName string, e lab.Edit) (*vpc.SecurityGroup, []vpc.Permission, error) {
	g, err := n.groupNamed(view, labName, e.Group)
	if err != nil {
		return nil, nil, err
	}
	if ruleID.MatchString(e.Rule) {
		return g, nil, nil
	}
	names := vpc.Names{
		Group: func(name string) (string, bool) {
			peer, ok := view.SecurityGroupNamed(g.VPCID, name)
			if !ok {
				return "", false
			}
			return peer.ID, true
		},
		PrefixList: func(name string) (string, bool) {
			l, ok := view.PrefixListNamed(labName, name)
			if !ok {
				return "", false
			}
			return l.ID, true
		},
	}
	ps, err := names.ParseRule(e.Rule, e.Direction)
	if err != nil {
		return nil, nil, &api.Error{Code: "InvalidParameterValue", Field: "rule", Message: err.Error()}
	}
	return g, ps, nil
}

// removeRules takes back what authorize added.
func (n *node) removeRules(ctx context.Context, c *ruleChange) error {
	in := vpc.RevokeSecurityGroupInput{GroupID: c.group.ID}
	for _, r := range c.rules {
		in.RuleIDs = append(in.RuleIDs, r.ID)
	}
	_, err := n.update(ctx, func(tx *vpc.Tx) error {
		revoke := tx.RevokeSecurityGroupIngress
		if c.rules[0].Direction == vpc.Egress {
			revoke = tx.RevokeSecurityGroupEgress
		}
		_, err := revoke(in)
		return err
	})
	return err
}

// restoreRules takes back what revoke removed: the rules are again what they were.
func (n *node) restoreRules(ctx context.Context, c *ruleChange) error {
	_, err := n.update(ctx, func(tx *vpc.Tx) error { return tx.RestoreSecurityGroupRules(c.group.ID, c.rules) })
	return err
}

func (n *node) ruleResult(c *ruleChange) *api.RuleResult {
	view := n.store.View()
	res := &api.RuleResult{Revision: uint64(c.revision), Group: c.group.GroupName, GroupID: c.group.ID}
	for i := range c.rules {
		res.Rules = append(res.Rules, ruleRef(view, &c.rules[i], c.group))
	}
	return res
}

// surviving counts the tracked connections that live on although their rule is gone.
func (n *node) surviving(rules []vpc.SecurityGroupRule) int {
	gone := map[string]bool{}
	for _, r := range rules {
		gone[r.ID] = true
	}
	count := 0
	n.sw.Halves(func(h vswitch.HalfState) bool {
		opener := h.In
		if h.Opener == vpc.Egress {
			opener = h.Out
		}
		if h.Tracked && !h.Rejected && h.State != "TIME_WAIT" && h.State != "CLOSE" && opener.Rule != nil && gone[opener.Rule.ID] {
			count++
		}
		return true
	})
	return count
}

// ruleWords names a rule as it was written.
func ruleWords(view *vpc.View, r *vpc.SecurityGroupRule) string {
	if r.Words != "" {
		return r.Words
	}
	return r.Permission.Words(r.Direction, func(id string) string { return groupName(view, id) })
}
