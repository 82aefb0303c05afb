package vpc

import (
	"strings"
)

// defaultGroup is the name of the group that every VPC has.
const defaultGroup = "default"

// Characters that AWS allows in a group's name and description and in a rule's description.
const (
	groupCharset = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-:/()#,@[]+=&;{}!$*"
	groupSet     = "a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
	ruleSet      = "a-zA-Z0-9. _-:/()#,@[]+=;{}!$*"
)

// CreateSecurityGroup makes a group with AWS's default rules: no ingress, all egress. Errors: InvalidGroup.Duplicate
// (names are compared without case), InvalidGroup.Reserved, InvalidParameterValue, MissingParameter,
// VPCIdNotSpecified, InvalidVpcID.NotFound, SecurityGroupLimitExceeded.
func (tx *Tx) CreateSecurityGroup(in CreateSecurityGroupInput) (*SecurityGroup, error) {
	return command(tx, func() (*SecurityGroup, error) { return tx.createGroup(in) })
}

func (tx *Tx) createGroup(in CreateSecurityGroupInput) (*SecurityGroup, error) {
	name := strings.TrimRight(in.GroupName, " ")
	if err := checkGroupText(name, in.Description); err != nil {
		return nil, err
	}
	v, err := tx.groupVPC(in.VPCID)
	if err != nil {
		return nil, err
	}
	if _, ok := tx.SecurityGroupNamed(v.ID, name); ok {
		return nil, fail("InvalidGroup.Duplicate", "GroupName", "The security group '%s' already exists for VPC '%s'", name, v.ID)
	}
	err = tx.room(tx.cfg.Quotas.SecurityGroups, KindSecurityGroup, "SecurityGroupLimitExceeded", "security groups")
	if err != nil {
		return nil, err
	}
	meta, err := tx.meta(prefixGroup, in.Owner)
	if err != nil {
		return nil, err
	}
	g := &SecurityGroup{
		Meta: meta, VPCID: v.ID, GroupName: name, Description: in.Description,
		Rules: tx.egressAnywhere(meta.ID, v),
	}
	tx.put(g)
	return g, nil
}

// groupVPC is the VPC of a new group: the one given, or the default VPC.
func (tx *Tx) groupVPC(id string) (*VPC, error) {
	if id != "" {
		return need[*VPC](&tx.View, KindVPC, id, "VPCID")
	}
	if v, ok := tx.DefaultVPC(); ok {
		return v, nil
	}
	return nil, fail("VPCIdNotSpecified", "VPCID", "No default VPC for this user")
}

// checkGroupText checks the name and description of a new group.
func checkGroupText(name, description string) error {
	switch {
	case name == "":
		return fail("MissingParameter", "GroupName", "The request must contain the parameter GroupName")
	case strings.EqualFold(name, defaultGroup):
		return fail("InvalidGroup.Reserved", "GroupName", "The security group '%s' is reserved", name)
	case strings.HasPrefix(strings.ToLower(name), prefixGroup):
		return fail("InvalidParameterValue", "GroupName", "Value (%s) for parameter GroupName is invalid. "+
			"Group names may not be in the format sg-*.", name)
	case !spelled(name, groupCharset):
		return fail("InvalidParameterValue", "GroupName", "Value (%s) for parameter GroupName is invalid. Invalid security "+
			"group name. Valid names are strings less than 256 characters from the following set: %s", name, groupSet)
	case description == "":
		return fail("MissingParameter", "Description", "The request must contain the parameter GroupDescription")
	case !spelled(description, groupCharset):
		return fail("InvalidParameterValue", "Description", "Value (%s) for parameter GroupDescription is invalid. Invalid "+
			"security group description. Valid descriptions are strings less than 256 characters from the following set: %s",
			description, groupSet)
	}
	return nil
}

// spelled says whether s has at most 255 characters, all of them in the set.
func spelled(s, set string) bool {
	return len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(set, r) })
}

// egressAnywhere are the default egress rules: all to anywhere, IPv6 only if the VPC has any.
func (tx *Tx) egressAnywhere(groupID string, v *VPC) []SecurityGroupRule {
	all := Permission{Protocol: AllProtocols, FromPort: -1, ToPort: -1, CIDR: anywhere4}
	rules := []SecurityGroupRule{tx.defaultRule(groupID, Egress, all)}
	if len(v.CIDRs6) > 0 {
		all.CIDR = anywhere6
		rules = append(rules, tx.defaultRule(groupID, Egress, all))
	}
	return rules
}

func (tx *Tx) defaultRule(groupID string, d Direction, p Permission) SecurityGroupRule {
	return SecurityGroupRule{ID: tx.newRuleID(), GroupID: groupID, Direction: d, Permission: p, Default: true}
}

func (tx *Tx) newRuleID() string {
	return tx.model.ids.id(prefixRule, func(id string) bool { _, _, taken := tx.SecurityGroupRule(id); return taken })
}

// groupIn is the group with an id, which must belong to the VPC.
func (tx *Tx) groupIn(vpcID, id string) (*SecurityGroup, error) {
	g, err := need[*SecurityGroup](&tx.View, KindSecurityGroup, id, "")
	if err != nil {
		return nil, err
	}
	if g.VPCID != vpcID {
		return nil, fail("InvalidGroup.NotFound", "", "You have specified two resources that belong to different networks.").
			hint("group %s (%s) belongs to %s", g.ID, g.GroupName, g.VPCID)
	}
	return g, nil
}

// DeleteSecurityGroup deletes a group that no interface has and no other group names. Errors: InvalidGroup.NotFound,
// InvalidGroupId.Malformed, CannotDelete (a default group), DependencyViolation.
func (tx *Tx) DeleteSecurityGroup(id string) error {
	_, err := command(tx, func() (*SecurityGroup, error) { return tx.deleteGroup(id) })
	return err
}

func (tx *Tx) deleteGroup(id string) (*SecurityGroup, error) {
	g, err := need[*SecurityGroup](&tx.View, KindSecurityGroup, id, "ID")
	if err != nil {
		return nil, err
	}
	if v, ok := tx.VPC(g.VPCID); ok && v.DefaultSecurityGroup == id {
		return nil, fail("CannotDelete", "ID", `the specified group: "%s" name: "%s" cannot be deleted by a user`, id, g.GroupName)
	}
	const message = "resource %s has a dependent object"
	if n, ok := first[*NetworkInterface](&tx.View, KindNetworkInterface, byGroup, id); ok {
		return nil, inUse(message, id, n)
	}
	for _, other := range tx.GroupsReferencing(id) {
		if other.ID != id {
			return nil, inUse(message, id, other)
		}
	}
	tx.drop(g)
	return g, nil
}
