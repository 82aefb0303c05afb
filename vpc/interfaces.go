package vpc

import (
	"net"
	"slices"
	"time"
)

// CreateNetworkInterface makes an interface in a subnet. Without addresses it gets a free IPv4 address, without groups
// the VPC's default group. Errors: InvalidSubnetID.NotFound, InvalidParameterValue (an address outside the subnet or
// reserved, a bad MAC or timeout), InvalidIPAddress.InUse, InsufficientFreeAddressesInSubnet, InvalidGroup.NotFound,
// SecurityGroupsPerInterfaceLimitExceeded, PrivateIpAddressLimitExceeded, NetworkInterfaceLimitExceeded.
func (tx *Tx) CreateNetworkInterface(in CreateNetworkInterfaceInput) (*NetworkInterface, error) {
	return command(tx, func() (*NetworkInterface, error) {
		if in.NetworkInterfaceID != "" {
			return nil, fail("UnknownParameter", "NetworkInterfaceID", "The parameter NetworkInterfaceId is not recognized")
		}
		n, err := tx.newInterface(in.Owner, in.InterfaceSpec)
		if err != nil {
			return nil, err
		}
		tx.put(n)
		return n, nil
	})
}

// newInterface makes an available interface that is not stored yet.
func (tx *Tx) newInterface(owner Owner, in InterfaceSpec) (*NetworkInterface, error) {
	s, err := need[*Subnet](&tx.View, KindSubnet, in.SubnetID, "SubnetID")
	if err != nil {
		return nil, err
	}
	v, _ := tx.VPC(s.VPCID)
	err = tx.room(tx.cfg.Quotas.NetworkInterfaces, KindNetworkInterface, "NetworkInterfaceLimitExceeded", "network interfaces")
	if err != nil {
		return nil, err
	}
	n := &NetworkInterface{
		VPCID: v.ID, SubnetID: s.ID, Description: in.Description, Tracking: in.Tracking,
		SourceDestCheck: in.SourceDestCheck == nil || *in.SourceDestCheck, Status: "available",
	}
	if n.Groups, err = tx.interfaceGroups(v, in.Groups); err != nil {
		return nil, err
	}
	if err = checkTracking(in.Tracking); err != nil {
		return nil, err
	}
	if err = printable(in.Description, 255, "Description", "Value (%s) for parameter description is invalid."); err != nil {
		return nil, err
	}
	if n.MAC, err = tx.interfaceMAC(v.ID, in.MAC); err != nil {
		return nil, err
	}
	if err = tx.firstAddresses(n, s, in); err != nil {
		return nil, err
	}
	n.Meta, err = tx.meta(prefixInterface, owner)
	return n, err
}

// interfaceGroups checks the groups of an interface: they exist, in its VPC, and are not too many. It gives them
// sorted, each once; the VPC's default group if there are none.
func (tx *Tx) interfaceGroups(v *VPC, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return []string{v.DefaultSecurityGroup}, nil
	}
	for i, id := range ids {
		if _, err := tx.groupIn(v.ID, id); err != nil {
			return nil, within(err, element("Groups", i))
		}
	}
	out := slices.Clone(ids)
	slices.Sort(out)
	out = slices.Compact(out)
	if quota := tx.cfg.Quotas.GroupsPerInterface; len(out) > quota {
		return nil, fail("SecurityGroupsPerInterfaceLimitExceeded", "Groups",
			"The maximum number of security groups per interface has been reached.").hint("the quota is %d", quota)
	}
	return out, nil
}

// interfaceMAC checks a MAC that was given, or makes one.
func (tx *Tx) interfaceMAC(vpcID, given string) (string, error) {
	if given == "" {
		return tx.model.ids.mac(func(mac string) bool { return len(tx.NetworkInterfacesByMAC(mac)) > 0 }), nil
	}
	mac, err := net.ParseMAC(given)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00" {
		return "", fail("InvalidParameterValue", "MAC", "Value (%s) for parameter macAddress is invalid.", given).
			hint("write a unicast address such as 02:00:00:00:00:01")
	}
	for _, n := range tx.NetworkInterfacesByMAC(mac.String()) {
		if n.VPCID == vpcID {
			return "", fail("InvalidParameterValue", "MAC", "The MAC address %s is in use.", mac).hint("%s has it", n.ID)
		}
	}
	return mac.String(), nil
}

// checkTracking checks idle timeouts against AWS's ranges (ConnectionTrackingSpecificationRequest).
func checkTracking(t ConnectionTracking) error {
	for _, c := range []struct {
		field    string
		param    string // as AWS calls it
		d        time.Duration
		min, max time.Duration
	}{
		{"TCPEstablished", "TcpEstablishedTimeout", t.TCPEstablished, 60 * time.Second, 432000 * time.Second},
		{"UDPStream", "UdpStreamTimeout", t.UDPStream, 60 * time.Second, 180 * time.Second},
		{"UDP", "UdpTimeout", t.UDP, 30 * time.Second, 60 * time.Second},
	} {
		if c.d != 0 && (c.d < c.min || c.d > c.max || c.d%time.Second != 0) {
			return fail("InvalidParameterValue", "Tracking."+c.field, "Value (%v) for parameter %s is invalid.",
				c.d.Seconds(), c.param).hint("use %d to %d whole seconds", c.min/time.Second, c.max/time.Second)
		}
	}
	return nil
}

// DeleteNetworkInterface deletes an interface that no instance has, and its flow logs.
// Errors: InvalidNetworkInterfaceID.NotFound, InvalidNetworkInterfaceId.Malformed, InvalidParameterValue (in use).
func (tx *Tx) DeleteNetworkInterface(id string) error {
	_, err := command(tx, func() (*NetworkInterface, error) {
		n, err := need[*NetworkInterface](&tx.View, KindNetworkInterface, id, "ID")
		if err != nil {
			return nil, err
		}
		if n.InstanceID != "" {
			return nil, fail("InvalidParameterValue", "ID", "Network interface '%s' is currently in use.", id).
				hint("%s has it", n.InstanceID)
		}
		tx.dropInterface(n)
		return n, nil
	})
	return err
}

func (tx *Tx) dropInterface(n *NetworkInterface) {
	tx.dropFlowLogsOf(n.ID)
	tx.drop(n)
}

// ModifyNetworkInterface changes groups, source/destination check, description, idle timeouts and MAC.
// Errors: those of CreateNetworkInterface for the same fields, and an interface's own.
func (tx *Tx) ModifyNetworkInterface(in ModifyNetworkInterfaceInput) (*NetworkInterface, error) {
	return command(tx, func() (*NetworkInterface, error) { return tx.modifyInterface(in) })
}

func (tx *Tx) modifyInterface(in ModifyNetworkInterfaceInput) (*NetworkInterface, error) {
	old, err := need[*NetworkInterface](&tx.View, KindNetworkInterface, in.ID, "ID")
	if err != nil {
		return nil, err
	}
	n := *old
	if in.Groups != nil {
		if len(in.Groups) == 0 {
			return nil, fail("InvalidParameterValue", "Groups", "You must specify at least one group")
		}
		v, _ := tx.VPC(n.VPCID)
		if n.Groups, err = tx.interfaceGroups(v, in.Groups); err != nil {
			return nil, err
		}
	}
	if in.SourceDestCheck != nil {
		n.SourceDestCheck = *in.SourceDestCheck
	}
	if in.Description != nil {
		n.Description = *in.Description
		if err = printable(n.Description, 255, "Description", "Value (%s) for parameter description is invalid."); err != nil {
			return nil, err
		}
	}
	if in.Tracking != nil {
		n.Tracking = *in.Tracking
		if err = checkTracking(n.Tracking); err != nil {
			return nil, err
		}
	}
	if in.MAC != nil && !sameMAC(*in.MAC, old.MAC) {
		if *in.MAC == "" {
			return nil, fail("MissingParameter", "MAC", "The request must contain the parameter macAddress")
		}
		if n.MAC, err = tx.interfaceMAC(n.VPCID, *in.MAC); err != nil {
			return nil, err
		}
	}
	tx.put(&n)
	return &n, nil
}

// sameMAC compares a MAC that was given with one in the model's form.
func sameMAC(given, have string) bool {
	mac, err := net.ParseMAC(given)
	return err == nil && mac.String() == have
}
