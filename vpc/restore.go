package vpc

import "slices"

// RestoreSecurityGroupRules puts back rules that a revoke took away, as they were: with their ids, words and places.
// A rule whose permission the group has again meanwhile is left out. Errors: InvalidGroup.NotFound, those of a peer
// that is gone, RulesPerSecurityGroupLimitExceeded.
func (tx *Tx) RestoreSecurityGroupRules(groupID string, rules []SecurityGroupRule) error {
	_, err := command(tx, func() (struct{}, error) { return struct{}{}, tx.restore(groupID, rules) })
	return err
}

func (tx *Tx) restore(groupID string, rules []SecurityGroupRule) error {
	g, err := need[*SecurityGroup](&tx.View, KindSecurityGroup, groupID, "GroupID")
	if err != nil {
		return err
	}
	c := *g
	c.Rules = slices.Clone(g.Rules)
	for _, r := range rules {
		if err := tx.checkPeer(g, r.Permission); err != nil {
			return err
		}
		if _, has := permissions(&c, r.Direction)[r.Permission]; !has {
			c.Rules = append(c.Rules, r)
		}
	}
	for _, d := range []Direction{Ingress, Egress} {
		if err := tx.rulesFit(&c, d); err != nil {
			return err
		}
	}
	if len(c.Rules) > len(g.Rules) {
		tx.put(&c)
	}
	return nil
}
