package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// Authorize adds the edit's rule to a group of a lab, in the caller's transaction, and gives what it added. To take it
// back, revoke these ids. The error says what would be right; it is a *vpc.Error or wraps one.
func (e Edit) Authorize(tx *vpc.Tx, lab string) ([]vpc.SecurityGroupRule, error) {
	g, perms, err := e.resolve(&tx.View, lab)
	if err != nil {
		return nil, err
	}
	in := vpc.AuthorizeSecurityGroupInput{GroupID: g.ID}
	for _, p := range perms {
		in.Rules = append(in.Rules, vpc.RuleSpec{Permission: p, Words: e.Rule, Where: e.Where})
	}
	call := tx.AuthorizeSecurityGroupIngress
	if e.Direction == vpc.Egress {
		call = tx.AuthorizeSecurityGroupEgress
	}
	rules, err := call(in)
	if vpc.ErrorCode(err) == "InvalidPermission.Duplicate" {
		return nil, fmt.Errorf("group %s has the rule %q already: %w", g.GroupName, e.Rule, err)
	}
	return rules, err
}

// Revoke removes the edit's rule, which may be written in any words that mean the same, or be a rule's id. It gives
// what it removed; vpc.Tx.RestoreSecurityGroupRules takes it back.
func (e Edit) Revoke(tx *vpc.Tx, lab string) ([]vpc.SecurityGroupRule, error) {
	call := tx.RevokeSecurityGroupIngress
	if strings.HasPrefix(e.Rule, "sgr-") {
		r, _, ok := tx.SecurityGroupRule(e.Rule)
		if ok && r.Direction == vpc.Egress {
			call = tx.RevokeSecurityGroupEgress
		}
		g, err := e.group(&tx.View, lab)
		if err != nil {
			return nil, err
		}
		return revoked(call(vpc.RevokeSecurityGroupInput{GroupID: g.ID, RuleIDs: []string{e.Rule}}))
	}
	g, perms, err := e.resolve(&tx.View, lab)
	if err != nil {
		return nil, err
	}
	if e.Direction == vpc.Egress {
		call = tx.RevokeSecurityGroupEgress
	}
	rules, err := revoked(call(vpc.RevokeSecurityGroupInput{GroupID: g.ID, Permissions: perms}))
	if vpc.ErrorCode(err) == "InvalidPermission.NotFound" || err == nil && len(rules) == 0 {
		return nil, &vpc.Error{Code: "InvalidPermission.NotFound", Field: "Permissions",
			Message: fmt.Sprintf("group %s has no %s rule %q", g.GroupName, e.Direction, e.Rule), Hint: rulesOf(&tx.View, g, e.Direction)}
	}
	return rules, err
}

func revoked(r *vpc.RevokeResult, err error) ([]vpc.SecurityGroupRule, error) {
	if err != nil {
		return nil, err
	}
	return r.Revoked, nil
}

// rulesOf says which rules a group has.
func rulesOf(view *vpc.View, g *vpc.SecurityGroup, d vpc.Direction) string {
	var words []string
	for i := range g.Rules {
		if w := RuleWords(view, &g.Rules[i]); g.Rules[i].Direction == d && !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return "it has none"
	}
	return "it has " + strings.Join(words, "; ")
}

// RuleDirection tells the direction of a rule in the short grammar: "from" is ingress, "to" egress.
func RuleDirection(rule string) vpc.Direction { return directionOf(rule) }

// group finds the lab's group with the edit's name or id.
func (e Edit) group(view *vpc.View, lab string) (*vpc.SecurityGroup, error) {
	if g, ok := view.SecurityGroup(e.Group); ok && g.Lab == lab {
		return g, nil
	}
	found := view.Find(lab, vpc.KindSecurityGroup, e.Group)
	switch len(found) {
	case 1:
		return found[0].(*vpc.SecurityGroup), nil
	case 0:
		var names []string
		for _, o := range view.LabObjects(lab) {
			if g, ok := o.(*vpc.SecurityGroup); ok {
				names = append(names, g.GroupName)
			}
		}
		slices.Sort(names)
		names = slices.Compact(names)
		return nil, &vpc.Error{Code: "InvalidGroup.NotFound", Field: "Group",
			Message: "there is no security group " + e.Group, Hint: oneOf("security groups", e.Group, names)}
	}
	return nil, &vpc.Error{Code: "InvalidParameterValue", Field: "Group",
		Message: fmt.Sprintf("several VPCs have a security group %s", e.Group), Hint: "give its id"}
}

// resolve finds the group, and reads the rule with the names of the lab.
func (e Edit) resolve(view *vpc.View, lab string) (*vpc.SecurityGroup, []vpc.Permission, error) {
	g, err := e.group(view, lab)
	if err != nil {
		return nil, nil, err
	}
	names := vpc.Names{
		Group: func(name string) (string, bool) {
			other, ok := view.SecurityGroupNamed(g.VPCID, name)
			return idOf(other, ok)
		},
		PrefixList: func(name string) (string, bool) {
			l, ok := view.PrefixListNamed(lab, name)
			return idOf(l, ok)
		},
	}
	perms, err := names.ParseRule(e.Rule, e.Direction)
	if bad, ok := errors.AsType[*vpc.RuleError](err); ok {
		return nil, nil, &vpc.Error{Code: "InvalidPermission.Malformed", Field: "Rule",
			Message: fmt.Sprintf("%q: %s (column %d)", e.Rule, bad.Problem, bad.Column), Hint: bad.Want}
	}
	return g, perms, err
}

func idOf(o vpc.Object, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	return o.Metadata().ID, true
}
