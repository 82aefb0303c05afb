package vpc

import (
	"net/netip"
	"slices"
	"strings"
)

// CreateSubnet makes a subnet. Errors: InvalidVpcID.NotFound, InvalidSubnet.Range (size, or not inside the VPC's
// block), InvalidSubnet.Conflict, InvalidParameterValue (zone), SubnetLimitExceeded, MissingParameter.
func (tx *Tx) CreateSubnet(in CreateSubnetInput) (*Subnet, error) {
	return command(tx, func() (*Subnet, error) { return tx.createSubnet(in) })
}

func (tx *Tx) createSubnet(in CreateSubnetInput) (*Subnet, error) {
	v, err := need[*VPC](&tx.View, KindVPC, in.VPCID, "VPCID")
	if err != nil {
		return nil, err
	}
	siblings := tx.Subnets(v.ID)
	if err := roomFor(len(siblings), tx.cfg.Quotas.SubnetsPerVPC, "SubnetLimitExceeded", "subnets"); err != nil {
		return nil, err
	}
	cidr, err := subnetCIDR(v, siblings, in.CIDR)
	if err != nil {
		return nil, err
	}
	cidr6, err := subnetCIDR6(v, siblings, in)
	if err != nil {
		return nil, err
	}
	zone, err := tx.zone(in.AvailabilityZone)
	if err != nil {
		return nil, err
	}
	meta, err := tx.meta(prefixSubnet, in.Owner)
	if err != nil {
		return nil, err
	}
	s := &Subnet{Meta: meta, VPCID: v.ID, CIDR: cidr, CIDR6: cidr6, AvailabilityZone: zone, ZoneID: ZoneID(zone)}
	tx.put(s)
	return s, nil
}

// subnetCIDR checks a subnet's IPv4 block against its VPC and the other subnets.
func subnetCIDR(v *VPC, siblings []*Subnet, p netip.Prefix) (netip.Prefix, error) {
	p, err := cidr4(p, "InvalidSubnet.Range")
	if err != nil {
		return p, err
	}
	if !covers(v.CIDR, p) {
		return p, fail("InvalidSubnet.Range", "CIDR", "The CIDR '%s' is invalid.", p).
			hint("use a block inside the VPC's %s", v.CIDR)
	}
	for _, s := range siblings {
		if s.CIDR.Overlaps(p) {
			return p, conflict("CIDR", p, s, s.CIDR)
		}
	}
	return p, nil
}

// subnetCIDR6 is the IPv6 block that the input gives or asks for, or the zero prefix.
func subnetCIDR6(v *VPC, siblings []*Subnet, in CreateSubnetInput) (netip.Prefix, error) {
	switch {
	case in.CIDR6 != netip.Prefix{} && in.AutoCIDR6:
		return in.CIDR6, fail("InvalidParameterCombination", "CIDR6", "Give an IPv6 CIDR block or ask for one, not both.")
	case in.AutoCIDR6:
		return freeBlock6(v, siblings)
	case in.CIDR6 == netip.Prefix{}:
		return in.CIDR6, nil
	}
	p, err := cidr6(in.CIDR6, 64, "InvalidSubnet.Range")
	if err != nil {
		return p, err
	}
	if !slices.ContainsFunc(v.CIDRs6, func(q netip.Prefix) bool { return covers(q, p) }) {
		e := fail("InvalidSubnet.Range", "CIDR6", "The CIDR '%s' is invalid.", p)
		if len(v.CIDRs6) == 0 {
			return p, e.hint("the VPC has no IPv6 block")
		}
		return p, e.hint("use a block inside the VPC's %s", v.CIDRs6[0])
	}
	if s := holder6(siblings, p); s != nil {
		return p, conflict("CIDR6", p, s, s.CIDR6)
	}
	return p, nil
}

// freeBlock6 is the lowest /64 of the VPC's blocks that no subnet has.
func freeBlock6(v *VPC, siblings []*Subnet) (netip.Prefix, error) {
	for _, block := range v.CIDRs6 {
		for n := range 256 {
			b := block.Addr().As16()
			b[7] |= byte(n)
			if p := netip.PrefixFrom(netip.AddrFrom16(b), 64); holder6(siblings, p) == nil {
				return p, nil
			}
		}
	}
	e := fail("InvalidSubnet.Range", "AutoCIDR6", "There is no free IPv6 CIDR block in the vpc '%s'.", v.ID)
	if len(v.CIDRs6) == 0 {
		return netip.Prefix{}, e.hint("the VPC has no IPv6 block")
	}
	return netip.Prefix{}, e
}

// holder6 is the subnet that has IPv6 block p, or nil.
func holder6(subnets []*Subnet, p netip.Prefix) *Subnet {
	for _, s := range subnets {
		if s.CIDR6 == p {
			return s
		}
	}
	return nil
}

func conflict(field string, p netip.Prefix, with *Subnet, theirs netip.Prefix) error {
	who := with.ID
	if with.Name != "" {
		who = with.Name
	}
	return fail("InvalidSubnet.Conflict", field, "The CIDR '%s' conflicts with another subnet", p).
		hint("it overlaps %s (%s)", who, theirs)
}

// zone checks an Availability Zone's name; "" is the Region's first.
func (tx *Tx) zone(name string) (string, error) {
	all := Zones(tx.cfg.Region)
	if name == "" {
		return all[0], nil
	}
	if !slices.Contains(all, name) {
		return "", fail("InvalidParameterValue", "AvailabilityZone", "Value (%s) for parameter availabilityZone is invalid. "+
			"Subnets can currently only be created in the following availability zones: %s.", name, strings.Join(all, ", "))
	}
	return name, nil
}

// DeleteSubnet deletes a subnet, and its flow logs, if no interface is left in it.
// Errors: InvalidSubnetID.NotFound, InvalidSubnetID.Malformed, DependencyViolation.
func (tx *Tx) DeleteSubnet(id string) error {
	_, err := command(tx, func() (*Subnet, error) {
		s, err := need[*Subnet](&tx.View, KindSubnet, id, "ID")
		if err != nil {
			return nil, err
		}
		if n, ok := first[*NetworkInterface](&tx.View, KindNetworkInterface, bySubnet, id); ok {
			return nil, inUse("The subnet '%s' has dependencies and cannot be deleted.", id, n)
		}
		tx.dropFlowLogsOf(id)
		tx.drop(s)
		return s, nil
	})
	return err
}
