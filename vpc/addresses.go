package vpc

import (
	"net/netip"
	"slices"
)

// firstAddresses gives a new interface its addresses: those asked for, then free ones up to the counts, and in any
// case a primary IPv4 address.
func (tx *Tx) firstAddresses(n *NetworkInterface, s *Subnet, in InterfaceSpec) error {
	count4 := in.SecondaryCount
	if len(in.Addresses) == 0 {
		count4++ // the primary
	}
	var err error
	if in.SecondaryCount < 0 || in.Count6 < 0 {
		return badCount()
	}
	if n.Addresses, err = tx.extend(s, s.CIDR, nil, in.Addresses, count4, "Addresses"); err != nil {
		return err
	}
	n.Addresses6, err = tx.extend(s, s.CIDR6, nil, in.Addresses6, in.Count6, "Addresses6")
	return err
}

// AssignPrivateIpAddresses adds secondary IPv4 addresses to an interface. With AllowReassignment a secondary address
// of another interface of the subnet moves. Errors: InvalidNetworkInterfaceID.NotFound, InvalidParameterValue,
// InvalidIPAddress.InUse, InsufficientFreeAddressesInSubnet, PrivateIpAddressLimitExceeded, MissingParameter.
func (tx *Tx) AssignPrivateIpAddresses(in AssignAddressesInput) (*NetworkInterface, error) {
	return command(tx, func() (*NetworkInterface, error) {
		if in.AllowReassignment {
			if err := tx.release(in); err != nil {
				return nil, err
			}
		}
		return tx.assign(in, false)
	})
}

// AssignIpv6Addresses adds IPv6 addresses to an interface. Errors: as AssignPrivateIpAddresses.
func (tx *Tx) AssignIpv6Addresses(in AssignAddressesInput) (*NetworkInterface, error) {
	return command(tx, func() (*NetworkInterface, error) { return tx.assign(in, true) })
}

func (tx *Tx) assign(in AssignAddressesInput, v6 bool) (*NetworkInterface, error) {
	old, err := need[*NetworkInterface](&tx.View, KindNetworkInterface, in.ID, "ID")
	if err != nil {
		return nil, err
	}
	if in.Count < 0 {
		return nil, badCount()
	}
	if len(in.Addresses) == 0 && in.Count == 0 {
		return nil, fail("MissingParameter", "Addresses", "Either the addresses or their number must be provided")
	}
	s, _ := tx.Subnet(old.SubnetID)
	n := *old
	list, block := &n.Addresses, s.CIDR
	if v6 {
		list, block = &n.Addresses6, s.CIDR6
	}
	if *list, err = tx.extend(s, block, *list, in.Addresses, in.Count, "Addresses"); err != nil {
		return nil, err
	}
	tx.put(&n)
	return &n, nil
}

func badCount() error {
	return fail("InvalidParameterValue", "Count", "The number of addresses may not be negative.")
}

// release takes the addresses of the input, where they are secondary ones, from the interfaces that have them.
func (tx *Tx) release(in AssignAddressesInput) error {
	n, err := need[*NetworkInterface](&tx.View, KindNetworkInterface, in.ID, "ID")
	if err != nil {
		return err
	}
	for _, a := range in.Addresses {
		other, ok := tx.NetworkInterfaceByAddr(n.VPCID, a)
		if !ok || other.ID == n.ID || slices.Index(other.Addresses, a) < 1 {
			continue // assign says what is wrong, if anything
		}
		c := *other
		c.Addresses = slices.DeleteFunc(slices.Clone(other.Addresses), func(b netip.Addr) bool { return a == b })
		tx.put(&c)
	}
	return nil
}

// extend is a new list of the addresses in have, those asked for, and so many free ones, all of the subnet's block.
func (tx *Tx) extend(s *Subnet, block netip.Prefix, have, ask []netip.Addr, count int, field string) ([]netip.Addr, error) {
	if quota := tx.cfg.Quotas.AddressesPerInterface; count > quota || len(have)+len(ask)+count > quota {
		return nil, fail("PrivateIpAddressLimitExceeded", field, "Number of private addresses will exceed limit.").
			hint("the quota is %d", quota)
	}
	out := slices.Clone(have)
	for i, a := range ask {
		if err := tx.checkAddr(s, block, out, a); err != nil {
			return nil, within(err, element(field, i))
		}
		out = append(out, a)
	}
	for range count {
		a, err := tx.freeAddr(s, block, out)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// checkAddr checks an address that was asked for; mine are those the interface has already.
func (tx *Tx) checkAddr(s *Subnet, block netip.Prefix, mine []netip.Addr, a netip.Addr) error {
	if !block.IsValid() {
		return fail("InvalidParameterValue", "", "Subnet %s has no IPv6 CIDR block", s.ID).
			hint("create the subnet with an IPv6 block")
	}
	first, last := Usable(block)
	switch {
	case a.Zone() != "" || !block.Contains(a):
		return fail("InvalidParameterValue", "", "Address %s does not fall within the subnet's address range", a).
			hint("use %s to %s", first, last)
	case a.Less(first) || last.Less(a):
		return fail("InvalidParameterValue", "", "Address %s is in subnet's reserved address range", a).
			hint("use %s to %s", first, last)
	case slices.Contains(mine, a):
		return fail("InvalidIPAddress.InUse", "", "Address %s is in use.", a).hint("it is given twice")
	}
	if n, ok := tx.NetworkInterfaceByAddr(s.VPCID, a); ok {
		return fail("InvalidIPAddress.InUse", "", "Address %s is in use.", a).hint("%s has it", n.ID)
	}
	return nil
}

// freeAddr finds a free address: the next one after the last that was given out, so that a released address rests for
// a while, and a sequence of creations costs one look-up each.
func (tx *Tx) freeAddr(s *Subnet, block netip.Prefix, mine []netip.Addr) (netip.Addr, error) {
	none := fail("InsufficientFreeAddressesInSubnet", "SubnetID",
		"The specified subnet does not have enough free addresses to satisfy the request.")
	if !block.IsValid() {
		return netip.Addr{}, none.hint("subnet %s has no IPv6 CIDR block", s.ID)
	}
	first, last := Usable(block)
	hintKey := s.ID + "/4"
	if block.Addr().Is6() {
		hintKey = s.ID + "/6"
	}
	start := tx.next[hintKey]
	if !start.IsValid() || start.Less(first) || last.Less(start) {
		start = first
	}
	for a := start; ; {
		after := a.Next()
		if last.Less(after) {
			after = first
		}
		if _, taken := tx.NetworkInterfaceByAddr(s.VPCID, a); !taken && !slices.Contains(mine, a) {
			tx.next[hintKey] = after
			return a, nil
		}
		if a = after; a == start {
			return netip.Addr{}, none
		}
	}
}

// UnassignPrivateIpAddresses takes secondary IPv4 addresses from an interface; the primary one stays for its life.
// Errors: InvalidNetworkInterfaceID.NotFound, InvalidParameterValue, MissingParameter.
func (tx *Tx) UnassignPrivateIpAddresses(in UnassignAddressesInput) (*NetworkInterface, error) {
	return command(tx, func() (*NetworkInterface, error) { return tx.unassign(in, false) })
}

// UnassignIpv6Addresses takes IPv6 addresses from an interface. Errors: as UnassignPrivateIpAddresses.
func (tx *Tx) UnassignIpv6Addresses(in UnassignAddressesInput) (*NetworkInterface, error) {
	return command(tx, func() (*NetworkInterface, error) { return tx.unassign(in, true) })
}

func (tx *Tx) unassign(in UnassignAddressesInput, v6 bool) (*NetworkInterface, error) {
	old, err := need[*NetworkInterface](&tx.View, KindNetworkInterface, in.ID, "ID")
	if err != nil {
		return nil, err
	}
	if len(in.Addresses) == 0 {
		return nil, fail("MissingParameter", "Addresses", "The request must contain the parameter privateIpAddress")
	}
	n := *old
	list, kept := &n.Addresses, 1
	if v6 {
		list, kept = &n.Addresses6, 0
	}
	left := slices.Clone(*list)
	for i, a := range in.Addresses {
		at := slices.Index(left, a)
		switch {
		case at < 0:
			return nil, fail("InvalidParameterValue", element("Addresses", i), "Some of [%s] are not assigned to interface %s", a, n.ID)
		case at < kept:
			return nil, fail("InvalidParameterValue", element("Addresses", i), "The primary address %s of interface %s cannot be unassigned", a, n.ID)
		}
		left = slices.Delete(left, at, at+1)
	}
	*list = left
	tx.put(&n)
	return &n, nil
}

// AvailableAddresses is how many IPv4 addresses of a subnet are free.
func (v *View) AvailableAddresses(subnetID string) int {
	s, ok := v.Subnet(subnetID)
	if !ok {
		return 0
	}
	free := 1<<(32-s.CIDR.Bits()) - 5
	for _, n := range v.InterfacesInSubnet(subnetID) {
		free -= len(n.Addresses)
	}
	return free
}
