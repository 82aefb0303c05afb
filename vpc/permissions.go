package vpc

import (
	"slices"
	"strings"
)

// AuthorizeSecurityGroupIngress adds ingress rules, one per permission: all of them or, on any error, none. It gives
// the rules it made, in the order of the input. Errors: InvalidGroup.NotFound, InvalidPermission.Duplicate,
// InvalidPermission.Malformed, InvalidParameterValue, InvalidPrefixListID.NotFound,
// RulesPerSecurityGroupLimitExceeded, MissingParameter.
func (tx *Tx) AuthorizeSecurityGroupIngress(in AuthorizeSecurityGroupInput) ([]SecurityGroupRule, error) {
	return command(tx, func() ([]SecurityGroupRule, error) { return tx.authorize(in, Ingress) })
}

// AuthorizeSecurityGroupEgress adds egress rules, as AuthorizeSecurityGroupIngress does ingress rules.
func (tx *Tx) AuthorizeSecurityGroupEgress(in AuthorizeSecurityGroupInput) ([]SecurityGroupRule, error) {
	return command(tx, func() ([]SecurityGroupRule, error) { return tx.authorize(in, Egress) })
}

func (tx *Tx) authorize(in AuthorizeSecurityGroupInput, d Direction) ([]SecurityGroupRule, error) {
	g, err := need[*SecurityGroup](&tx.View, KindSecurityGroup, in.GroupID, "GroupID")
	if err != nil {
		return nil, err
	}
	if len(in.Rules) == 0 {
		return nil, fail("MissingParameter", "Rules", "The request must contain the parameter ipPermissions")
	}
	made := make([]SecurityGroupRule, 0, len(in.Rules))
	for i, spec := range in.Rules {
		r, err := tx.newRule(g, d, spec)
		if err != nil {
			return nil, within(err, element("Rules", i))
		}
		made = append(made, r)
	}
	if err := unique(g, d, made); err != nil {
		return nil, err
	}
	c := *g
	c.Rules = slices.Concat(g.Rules, made)
	if err := tx.rulesFit(&c, d); err != nil {
		return nil, err
	}
	tx.put(&c)
	return made, nil
}

// permissions are those that a group has in one direction.
func permissions(g *SecurityGroup, d Direction) map[Permission]bool {
	has := make(map[Permission]bool, len(g.Rules))
	for i := range g.Rules {
		if g.Rules[i].Direction == d {
			has[g.Rules[i].Permission] = true
		}
	}
	return has
}

// unique gives AWS's error if one of the new rules is in the group already, or twice among the new ones. It costs one
// look-up for each rule of the group, in a map of the size of the call.
func unique(g *SecurityGroup, d Direction, made []SecurityGroupRule) error {
	at := make(map[Permission]int, len(made))
	for i, r := range made {
		if _, ok := at[r.Permission]; ok {
			return fail("InvalidParameterValue", element("Rules", i), "The same permission must not appear multiple times").
				hint(`"%s" is given twice`, r.Message())
		}
		at[r.Permission] = i
	}
	first := len(made)
	for i := range g.Rules {
		if n, ok := at[g.Rules[i].Permission]; ok && g.Rules[i].Direction == d {
			first = min(first, n)
		}
	}
	if first < len(made) {
		return fail("InvalidPermission.Duplicate", element("Rules", first), `the specified rule "%s" already exists`, made[first].Message())
	}
	return nil
}

// newRule checks one rule and gives it an id. It does not look at the group's other rules.
func (tx *Tx) newRule(g *SecurityGroup, d Direction, spec RuleSpec) (SecurityGroupRule, error) {
	var none SecurityGroupRule
	p, err := spec.Normalize()
	if err != nil {
		return none, err
	}
	if err := tx.checkPeer(g, p); err != nil {
		return none, err
	}
	if !spelled(spec.Description, strings.ReplaceAll(groupCharset, "&", "")) {
		return none, fail("InvalidParameterValue", "Description", "Invalid rule description. Valid descriptions are strings "+
			"less than 256 characters from the following set: %s", ruleSet)
	}
	return SecurityGroupRule{
		ID: tx.newRuleID(), GroupID: g.ID, Direction: d, Permission: p,
		Description: spec.Description, Words: spec.Words, Where: spec.Where,
	}, nil
}

// checkPeer checks that a group or prefix list named as peer exists, a group in the same VPC.
func (tx *Tx) checkPeer(g *SecurityGroup, p Permission) error {
	if p.GroupID != "" {
		_, err := tx.groupIn(g.VPCID, p.GroupID)
		return within(err, "GroupID")
	}
	if p.PrefixListID != "" {
		_, err := need[*PrefixList](&tx.View, KindPrefixList, p.PrefixListID, "PrefixListID")
		return err
	}
	return nil
}

// rulesFit checks the quota of rules in one direction. AWS counts IPv4 and IPv6 apart; a group reference counts in
// both, a prefix list as its maximum of entries.
func (tx *Tx) rulesFit(g *SecurityGroup, d Direction) error {
	n4, n6 := 0, 0
	for i := range g.Rules {
		if g.Rules[i].Direction == d {
			w4, w6 := tx.weight(&g.Rules[i].Permission)
			n4, n6 = n4+w4, n6+w6
		}
	}
	if quota := tx.cfg.Quotas.RulesPerGroup; max(n4, n6) > quota {
		return fail("RulesPerSecurityGroupLimitExceeded", "Rules",
			"The maximum number of rules per security group has been reached.").
			hint("group %s would have %d %s rules for IPv4 and %d for IPv6; the quota is %d", g.GroupName, n4, d, n6, quota)
	}
	return nil
}

func (tx *Tx) weight(p *Permission) (v4, v6 int) {
	switch {
	case p.GroupID != "":
		return 1, 1
	case p.PrefixListID != "":
		if l, ok := tx.PrefixList(p.PrefixListID); ok && l.Family == 6 {
			return 0, l.MaxEntries
		} else if ok {
			return l.MaxEntries, 0
		}
		return 0, 0
	case p.CIDR.Addr().Is6():
		return 0, 1
	}
	return 1, 0
}

// RevokeSecurityGroupIngress removes ingress rules: all that are named or, on any error, none. A permission matches a
// rule of the same protocol, ports and peer; with protocol -1 the ports do not matter. Errors: InvalidGroup.NotFound,
// InvalidPermission.NotFound (not in a default VPC: there the result names what matched nothing),
// InvalidSecurityGroupRuleId.NotFound, InvalidParameterCombination, MissingParameter, those of the permissions.
func (tx *Tx) RevokeSecurityGroupIngress(in RevokeSecurityGroupInput) (*RevokeResult, error) {
	return command(tx, func() (*RevokeResult, error) { return tx.revoke(in, Ingress) })
}

// RevokeSecurityGroupEgress removes egress rules, as RevokeSecurityGroupIngress does ingress rules.
func (tx *Tx) RevokeSecurityGroupEgress(in RevokeSecurityGroupInput) (*RevokeResult, error) {
	return command(tx, func() (*RevokeResult, error) { return tx.revoke(in, Egress) })
}

func (tx *Tx) revoke(in RevokeSecurityGroupInput, d Direction) (*RevokeResult, error) {
	g, err := need[*SecurityGroup](&tx.View, KindSecurityGroup, in.GroupID, "GroupID")
	if err != nil {
		return nil, err
	}
	var gone map[string]bool
	res := &RevokeResult{}
	switch {
	case len(in.Permissions) > 0 && len(in.RuleIDs) > 0:
		return nil, fail("InvalidParameterCombination", "RuleIDs", "Give permissions or security group rule IDs, not both.")
	case len(in.RuleIDs) > 0:
		gone, err = rulesByID(g, d, in.RuleIDs)
	case len(in.Permissions) > 0:
		gone, res.Unknown, err = rulesByPermission(g, d, in.Permissions)
	default:
		err = fail("MissingParameter", "Permissions", "The request must contain the parameter ipPermissions")
	}
	if err != nil {
		return nil, err
	}
	if v, _ := tx.VPC(g.VPCID); len(res.Unknown) > 0 && !v.IsDefault {
		return nil, fail("InvalidPermission.NotFound", "Permissions", "The specified rule does not exist in this security group").
			hint("group %s has no %s rule %q", g.GroupName, d, res.Unknown[0].Message())
	}
	c := *g
	c.Rules = make([]SecurityGroupRule, 0, len(g.Rules)-len(gone))
	for _, r := range g.Rules {
		if gone[r.ID] {
			res.Revoked = append(res.Revoked, r)
		} else {
			c.Rules = append(c.Rules, r)
		}
	}
	if len(res.Revoked) > 0 {
		tx.put(&c)
	}
	return res, nil
}

// rulesByID checks that the ids are those of rules of the group, in the direction.
func rulesByID(g *SecurityGroup, d Direction, ids []string) (map[string]bool, error) {
	gone := map[string]bool{}
	for i, id := range ids {
		if err := ruleIDs.check(id, element("RuleIDs", i)); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(g.Rules, func(r SecurityGroupRule) bool { return r.ID == id && r.Direction == d }) {
			return nil, ruleIDs.absent(id, element("RuleIDs", i))
		}
		gone[id] = true
	}
	return gone, nil
}

// rulesByPermission finds the rules of the group that the permissions name, and the permissions that name none.
func rulesByPermission(g *SecurityGroup, d Direction, ps []Permission) (gone map[string]bool, unknown []Permission, err error) {
	wanted := map[Permission]bool{} // true once it is found
	order := make([]Permission, len(ps))
	for i, p := range ps {
		if order[i], err = p.Normalize(); err != nil {
			return nil, nil, within(err, element("Permissions", i))
		}
		wanted[order[i]] = false
	}
	gone = map[string]bool{}
	for i := range g.Rules {
		r := &g.Rules[i]
		if _, ok := wanted[r.Permission]; ok && r.Direction == d {
			wanted[r.Permission] = true
			gone[r.ID] = true
		}
	}
	for _, p := range order {
		if !wanted[p] {
			unknown = append(unknown, p)
		}
	}
	return gone, unknown, nil
}
