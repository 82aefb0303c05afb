package agent

import (
	"context"
	"fmt"

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
	if rule, _, ok := view.SecurityGroupRule(r.Rule); ok {
		e.Direction = rule.Direction
	} else {
		e.Direction = lab.RuleDirection(r.Rule)
	}
	if r.Direction != "" && r.Direction != e.Direction.String() {
		return e, "", &api.Error{Code: api.CodeBadRequest, Field: "rule", Message: fmt.Sprintf("%q is an %s rule, not %s", r.Rule, e.Direction, r.Direction),
			Fix: "an ingress rule says from, an egress rule says to"}
	}
	return e, g.Lab, nil
}

// authorize adds the rule of an edit; it holds for the first frame sent after the return.
func (n *node) authorize(ctx context.Context, labName string, e lab.Edit) (*ruleChange, error) {
	return n.change(ctx, labName, e, e.Authorize)
}

// revoke removes the rule of an edit. Tracked connections live on.
func (n *node) revoke(ctx context.Context, labName string, e lab.Edit) (*ruleChange, error) {
	return n.change(ctx, labName, e, e.Revoke)
}

func (n *node) change(ctx context.Context, labName string, e lab.Edit, fn func(*vpc.Tx, string) ([]vpc.SecurityGroupRule, error)) (*ruleChange, error) {
	c := &ruleChange{}
	var err error
	c.revision, err = n.update(ctx, func(tx *vpc.Tx) (err error) {
		if c.group, err = n.groupNamed(&tx.View, labName, e.Group); err != nil {
			return err
		}
		e.Group = c.group.ID
		c.rules, err = fn(tx, labName)
		return err
	})
	return c, err
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
