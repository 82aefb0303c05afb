package vpc

import "net/netip"

// CreateVpc makes a VPC with its main route table (a local route for each CIDR block) and its default security group.
// Errors: VpcLimitExceeded, MissingParameter, InvalidVpc.Range, InvalidParameterValue, InvalidParameterCombination,
// DefaultVpcAlreadyExists.
func (tx *Tx) CreateVpc(in CreateVpcInput) (*VPC, error) {
	return command(tx, func() (*VPC, error) { return tx.createVpc(in) })
}

func (tx *Tx) createVpc(in CreateVpcInput) (*VPC, error) {
	if err := tx.room(tx.cfg.Quotas.VPCs, KindVPC, "VpcLimitExceeded", "VPCs"); err != nil {
		return nil, err
	}
	cidr, err := vpcCIDR(in.CIDR)
	if err != nil {
		return nil, err
	}
	cidrs6, err := tx.vpcCIDRs6(in)
	if err != nil {
		return nil, err
	}
	if _, ok := tx.DefaultVPC(); ok && in.IsDefault {
		return nil, fail("DefaultVpcAlreadyExists", "IsDefault", "A Default VPC already exists for this account in this region.")
	}
	meta, err := tx.meta(prefixVPC, in.Owner)
	if err != nil {
		return nil, err
	}
	v := &VPC{
		Meta: meta, CIDR: cidr, CIDRs6: cidrs6, IsDefault: in.IsDefault,
		EnableDNSSupport: !in.NoDNSSupport, EnableDNSHostnames: in.EnableDNSHostnames || in.IsDefault,
	}
	if err := tx.furnish(v); err != nil {
		return nil, err
	}
	tx.put(v)
	return v, nil
}

// furnish makes what every VPC has: its main route table and its default group.
func (tx *Tx) furnish(v *VPC) error {
	table := &RouteTable{Meta: Meta{ID: tx.newID(prefixTable), Lab: v.Lab}, VPCID: v.ID, Main: true}
	for _, p := range append([]netip.Prefix{v.CIDR}, v.CIDRs6...) {
		table.Routes = append(table.Routes, Route{Destination: p, Target: "local", State: "active", Origin: "CreateRouteTable"})
	}
	v.MainRouteTableID = table.ID
	tx.put(table)

	err := tx.room(tx.cfg.Quotas.SecurityGroups, KindSecurityGroup, "SecurityGroupLimitExceeded", "security groups")
	if err != nil {
		return err
	}
	g := &SecurityGroup{
		Meta: Meta{ID: tx.newID(prefixGroup), Lab: v.Lab}, VPCID: v.ID,
		GroupName: defaultGroup, Description: "default VPC security group",
	}
	all := Permission{Protocol: AllProtocols, FromPort: -1, ToPort: -1}
	self := all
	self.GroupID = g.ID
	g.Rules = append(g.Rules, tx.defaultRule(g.ID, Ingress, self))
	g.Rules = append(g.Rules, tx.egressAnywhere(g.ID, v)...)
	v.DefaultSecurityGroup = g.ID
	tx.put(g)
	return nil
}

// vpcCIDR checks the IPv4 block of a VPC.
func vpcCIDR(p netip.Prefix) (netip.Prefix, error) {
	p, err := cidr4(p, "InvalidVpc.Range")
	if err != nil {
		return p, err
	}
	for _, r := range restricted4 {
		if p.Overlaps(r) {
			return p, fail("InvalidVpc.Range", "CIDR", "The CIDR '%s' is invalid.", p).hint("%s may not be used in a VPC", r)
		}
	}
	return p, nil
}

// vpcCIDRs6 is the IPv6 block that the input gives or asks for, if any.
func (tx *Tx) vpcCIDRs6(in CreateVpcInput) ([]netip.Prefix, error) {
	switch {
	case in.CIDR6 != netip.Prefix{} && in.AmazonProvidedIPv6:
		return nil, fail("InvalidParameterCombination", "CIDR6",
			"The parameter ipv6CidrBlock cannot be used with the parameter amazonProvidedIpv6CidrBlock")
	case in.CIDR6 != netip.Prefix{}:
		p, err := cidr6(in.CIDR6, 56, "InvalidVpc.Range")
		return []netip.Prefix{p}, err
	case in.AmazonProvidedIPv6:
		return []netip.Prefix{tx.model.ids.block6(tx.has6)}, nil
	}
	return nil, nil
}

// has6 says whether any VPC's IPv6 blocks overlap p.
func (tx *Tx) has6(p netip.Prefix) bool {
	for _, v := range tx.VPCs() {
		for _, q := range v.CIDRs6 {
			if p.Overlaps(q) {
				return true
			}
		}
	}
	return false
}

// DeleteVpc deletes a VPC with its default group, main route table and flow logs, if nothing else is left in it.
// Errors: InvalidVpcID.NotFound, InvalidVpcID.Malformed, DependencyViolation.
func (tx *Tx) DeleteVpc(id string) error {
	_, err := command(tx, func() (*VPC, error) { return tx.deleteVpc(id) })
	return err
}

func (tx *Tx) deleteVpc(id string) (*VPC, error) {
	v, err := need[*VPC](&tx.View, KindVPC, id, "ID")
	if err != nil {
		return nil, err
	}
	for _, kind := range []Kind{KindSubnet, KindNetworkInterface, KindInstance} {
		if o, ok := first[Object](&tx.View, kind, byVPC, id); ok {
			return nil, inUse("The vpc '%s' has dependencies and cannot be deleted.", id, o)
		}
	}
	for _, g := range tx.SecurityGroups(id) {
		if g.ID != v.DefaultSecurityGroup {
			return nil, inUse("The vpc '%s' has dependencies and cannot be deleted.", id, g)
		}
	}
	for _, t := range tx.RouteTables(id) {
		if t.ID != v.MainRouteTableID {
			return nil, inUse("The vpc '%s' has dependencies and cannot be deleted.", id, t)
		}
		tx.drop(t)
	}
	g, _ := tx.SecurityGroup(v.DefaultSecurityGroup)
	tx.drop(g)
	tx.dropFlowLogsOf(id)
	tx.drop(v)
	return v, nil
}

// inUse is AWS's error for deleting what something else depends on.
func inUse(message, id string, by Object) error {
	m := by.Metadata()
	e := fail("DependencyViolation", "ID", message, id)
	if label := by.label(); label != "" {
		return e.hint("delete %s (%s) first", m.ID, label)
	}
	return e.hint("delete %s first", m.ID)
}
