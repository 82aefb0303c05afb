package vpc_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

func TestNetworkInterfaceDefaults(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		n, err := tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{InterfaceSpec: vpc.InterfaceSpec{SubnetID: f.private.ID}})
		if err != nil {
			return err
		}
		want := vpc.NetworkInterface{
			Meta: vpc.Meta{ID: n.ID}, VPCID: f.shop.ID, SubnetID: f.private.ID, MAC: n.MAC, Addresses: addrs("10.0.2.4"),
			Groups: []string{f.shop.DefaultSecurityGroup}, SourceDestCheck: true, Status: "available",
		}
		if !reflect.DeepEqual(*n, want) {
			t.Errorf("have %+v\nwant %+v", *n, want)
		}
		if n.MAC[:3] != "02:" || len(n.MAC) != 17 {
			t.Errorf("MAC %s", n.MAC)
		}
		return nil
	})
}

func TestNetworkInterfaceAsAsked(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	off := false
	tracking := vpc.ConnectionTracking{TCPEstablished: 350 * time.Second, UDPStream: 60 * time.Second, UDP: 60 * time.Second}
	f.do(t, func(tx *vpc.Tx) error {
		n, err := tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{
			Owner: vpc.Owner{Name: "eth1", Lab: "lab", Tags: map[string]string{"a": "b"}},
			InterfaceSpec: vpc.InterfaceSpec{
				SubnetID: f.public.ID, Description: "second", MAC: "52:54:00:AB:CD:EF", Addresses: addrs("10.0.1.254", "10.0.1.4"), SecondaryCount: 2,
				Addresses6: addrs("2001:db8:1234:1::4"), Count6: 2, Groups: []string{f.web.ID, f.app.ID, f.web.ID}, SourceDestCheck: &off, Tracking: tracking,
			}})
		if err != nil {
			return err
		}
		groups := []string{f.web.ID, f.app.ID}
		slices.Sort(groups)
		want := vpc.NetworkInterface{
			Meta: vpc.Meta{ID: n.ID, Name: "eth1", Lab: "lab", Tags: map[string]string{"a": "b"}}, VPCID: f.shop.ID, SubnetID: f.public.ID,
			Description: "second", MAC: "52:54:00:ab:cd:ef", Addresses: addrs("10.0.1.254", "10.0.1.4", "10.0.1.5", "10.0.1.6"),
			Addresses6: addrs("2001:db8:1234:1::4", "2001:db8:1234:1::5", "2001:db8:1234:1::6"), Groups: groups, Tracking: tracking, Status: "available",
		}
		if !reflect.DeepEqual(*n, want) {
			t.Errorf("have %+v\nwant %+v", *n, want)
		}
		return nil
	})
}

func TestModifyNetworkInterface(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	off, text, tracking := false, "middlebox", vpc.ConnectionTracking{UDP: 45 * time.Second}
	f.do(t, func(tx *vpc.Tx) error {
		n, err := tx.ModifyNetworkInterface(vpc.ModifyNetworkInterfaceInput{
			ID: f.eni.ID, Groups: []string{f.app.ID}, SourceDestCheck: &off, Description: &text, Tracking: &tracking})
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(n.Groups, []string{f.app.ID}) || n.SourceDestCheck || n.Description != text || n.Tracking != tracking {
			t.Errorf("interface %+v", n)
		}
		if len(tx.InterfacesInGroup(f.web.ID)) != 0 || len(tx.InterfacesInGroup(f.app.ID)) != 1 {
			t.Error("membership did not follow")
		}
		same, err := tx.ModifyNetworkInterface(vpc.ModifyNetworkInterfaceInput{ID: f.eni.ID})
		if err == nil && !reflect.DeepEqual(same, n) {
			t.Errorf("a change of nothing changed %+v to %+v", n, same)
		}
		return err
	})
	if f.eni.Description != "Primary network interface" || !f.eni.SourceDestCheck || len(f.eni.Groups) != 2 {
		t.Errorf("the stored object was mutated: %+v", f.eni)
	}
}

func TestModifyMAC(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	modify := func(tx *vpc.Tx, id, mac string) (*vpc.NetworkInterface, error) {
		return tx.ModifyNetworkInterface(vpc.ModifyNetworkInterfaceInput{ID: id, MAC: &mac})
	}
	f.do(t, func(tx *vpc.Tx) error {
		n, err := modify(tx, f.eni.ID, "52:54:00:AB:CD:EF")
		if err != nil {
			return err
		}
		if n.MAC != "52:54:00:ab:cd:ef" || len(tx.NetworkInterfacesByMAC(f.eni.MAC)) != 0 || len(tx.NetworkInterfacesByMAC(n.MAC)) != 1 {
			t.Errorf("MAC %s", n.MAC)
		}
		_, err = modify(tx, f.eni.ID, "52:54:00:ab:cd:EF") // its own is not in use
		return err
	})
	for mac, want := range map[string]string{
		"": "MissingParameter", "eth0": "InvalidParameterValue", "01:00:5e:00:00:01": "InvalidParameterValue",
		"52:54:00:ab:cd:ef": "InvalidParameterValue", // the other's
	} {
		_, err := f.store.Update(t.Context(), func(tx *vpc.Tx) error { return errOf(modify(tx, f.free.ID, mac)) })
		if vpc.ErrorCode(err) != want {
			t.Errorf("%q: %v, want %s", mac, err, want)
		}
	}
}

func TestNetworkInterfaceErrors(t *testing.T) {
	create := func(edit func(*fixture, *vpc.InterfaceSpec)) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			in := vpc.CreateNetworkInterfaceInput{InterfaceSpec: vpc.InterfaceSpec{SubnetID: f.public.ID}}
			edit(f, &in.InterfaceSpec)
			return errOf(tx.CreateNetworkInterface(in))
		}
	}
	addr := func(list ...string) func(*fixture, *vpc.Tx) error {
		return create(func(_ *fixture, in *vpc.InterfaceSpec) { in.Addresses = addrs(list...) })
	}
	addr6 := func(list ...string) func(*fixture, *vpc.Tx) error {
		return create(func(_ *fixture, in *vpc.InterfaceSpec) { in.Addresses6 = addrs(list...) })
	}
	groups := func(id func(*fixture) []string) func(*fixture, *vpc.Tx) error {
		return create(func(f *fixture, in *vpc.InterfaceSpec) { in.Groups = id(f) })
	}
	mac := func(s string) func(*fixture, *vpc.Tx) error {
		return create(func(_ *fixture, in *vpc.InterfaceSpec) { in.MAC = s })
	}
	tracking := func(c vpc.ConnectionTracking) func(*fixture, *vpc.Tx) error {
		return create(func(_ *fixture, in *vpc.InterfaceSpec) { in.Tracking = c })
	}
	modify := func(edit func(*fixture, *vpc.ModifyNetworkInterfaceInput)) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			in := vpc.ModifyNetworkInterfaceInput{ID: f.eni.ID}
			edit(f, &in)
			return errOf(tx.ModifyNetworkInterface(in))
		}
	}
	const (
		outside  = "Address %s does not fall within the subnet's address range"
		reserved = "Address %s is in subnet's reserved address range"
		taken    = "Address %s is in use."
		networks = "You have specified two resources that belong to different networks."
	)
	refuse(t, vpc.Config{}, []refusal{
		{"outside", addr("10.0.2.9"), "InvalidParameterValue", say(fmt.Sprintf(outside, "10.0.2.9")), "Addresses[0]", "use 10.0.1.4 to 10.0.1.254"},
		{"network", addr("10.0.1.0"), "InvalidParameterValue", say(fmt.Sprintf(reserved, "10.0.1.0")), "Addresses[0]", "use 10.0.1.4 to 10.0.1.254"},
		{"router", addr("10.0.1.1"), "InvalidParameterValue", say(fmt.Sprintf(reserved, "10.0.1.1")), "Addresses[0]", ""},
		{"DNS", addr("10.0.1.2"), "InvalidParameterValue", say(fmt.Sprintf(reserved, "10.0.1.2")), "Addresses[0]", ""},
		{"future use", addr("10.0.1.9", "10.0.1.3"), "InvalidParameterValue", say(fmt.Sprintf(reserved, "10.0.1.3")), "Addresses[1]", ""},
		{"broadcast", addr("10.0.1.255"), "InvalidParameterValue", say(fmt.Sprintf(reserved, "10.0.1.255")), "Addresses[0]", ""},
		{"primary in use", addr("10.0.1.10"), "InvalidIPAddress.InUse", say(fmt.Sprintf(taken, "10.0.1.10")), "Addresses[0]", "eni-"},
		{"secondary in use", addr("10.0.1.9", "10.0.1.21"), "InvalidIPAddress.InUse", say(fmt.Sprintf(taken, "10.0.1.21")), "Addresses[1]", "eni-"},
		{"given twice", addr("10.0.1.9", "10.0.1.9"), "InvalidIPAddress.InUse", say(fmt.Sprintf(taken, "10.0.1.9")), "Addresses[1]", "twice"},
		{"IPv6 among IPv4", addr("2001:db8:1234:1::9"), "InvalidParameterValue", say(fmt.Sprintf(outside, "2001:db8:1234:1::9")), "Addresses[0]", ""},
		{"IPv4 in IPv6", addr("::ffff:10.0.1.9"), "InvalidParameterValue", say(fmt.Sprintf(outside, "::ffff:10.0.1.9")), "Addresses[0]", ""},
		{"no address", create(func(_ *fixture, in *vpc.InterfaceSpec) { in.Addresses = []netip.Addr{{}} }), "InvalidParameterValue", say(fmt.Sprintf(outside, "invalid IP")), "Addresses[0]", ""},
		{"IPv6 in use", addr6("2001:db8:1234:1::10"), "InvalidIPAddress.InUse", say(fmt.Sprintf(taken, "2001:db8:1234:1::10")), "Addresses6[0]", "eni-"},
		{"IPv6 outside", addr6("2001:db8:1234:2::10"), "InvalidParameterValue", say(fmt.Sprintf(outside, "2001:db8:1234:2::10")), "Addresses6[0]", "use 2001:db8:1234:1::4 to 2001:db8:1234:1:ffff:ffff:ffff:fffe"},
		{"IPv6 with a zone", addr6("2001:db8:1234:1::9%eth0"), "InvalidParameterValue", say(fmt.Sprintf(outside, "2001:db8:1234:1::9%eth0")), "Addresses6[0]", ""},
		{"IPv6 router", addr6("2001:db8:1234:1::1"), "InvalidParameterValue", say(fmt.Sprintf(reserved, "2001:db8:1234:1::1")), "Addresses6[0]", ""},
		{"IPv6 last", addr6("2001:db8:1234:1:ffff:ffff:ffff:ffff"), "InvalidParameterValue", say(fmt.Sprintf(reserved, "2001:db8:1234:1:ffff:ffff:ffff:ffff")), "Addresses6[0]", ""},
		{"IPv6 where there is none", create(func(f *fixture, in *vpc.InterfaceSpec) {
			in.SubnetID, in.Addresses6 = f.tiny.ID, addrs("2001:db8:1234:1::9")
		}), "InvalidParameterValue", func(f *fixture) string { return "Subnet " + f.tiny.ID + " has no IPv6 CIDR block" }, "Addresses6[0]", ""},
		{"IPv6 asked for where there is none", create(func(f *fixture, in *vpc.InterfaceSpec) { in.SubnetID, in.Count6 = f.tiny.ID, 1 }),
			"InsufficientFreeAddressesInSubnet", say("The specified subnet does not have enough free addresses to satisfy the request."), "SubnetID", "no IPv6"},
		{"more than the subnet has", create(func(f *fixture, in *vpc.InterfaceSpec) { in.SubnetID, in.SecondaryCount = f.tiny.ID, 11 }),
			"InsufficientFreeAddressesInSubnet", say("The specified subnet does not have enough free addresses to satisfy the request."), "SubnetID", ""},
		{"more than an interface may have", create(func(_ *fixture, in *vpc.InterfaceSpec) { in.SecondaryCount = 50 }),
			"PrivateIpAddressLimitExceeded", say("Number of private addresses will exceed limit."), "Addresses", "50"},
		{"a negative number", create(func(_ *fixture, in *vpc.InterfaceSpec) { in.SecondaryCount = -1 }),
			"InvalidParameterValue", say("The number of addresses may not be negative."), "Count", ""},
		{"no such subnet", create(func(_ *fixture, in *vpc.InterfaceSpec) { in.SubnetID = absent("subnet") }),
			"InvalidSubnetID.NotFound", say("The subnet ID 'subnet-0123456789abcdef0' does not exist"), "SubnetID", ""},
		{"no subnet", create(func(_ *fixture, in *vpc.InterfaceSpec) { in.SubnetID = "" }),
			"MissingParameter", say("The request must contain the parameter subnetId"), "SubnetID", ""},
		{"no such group", groups(func(f *fixture) []string { return []string{f.web.ID, absent("sg")} }),
			"InvalidGroup.NotFound", say("The security group 'sg-0123456789abcdef0' does not exist"), "Groups[1]", ""},
		{"a name as group", groups(func(*fixture) []string { return []string{"web"} }),
			"InvalidGroupId.Malformed", say(`Invalid id: "web" (expecting "sg-...")`), "Groups[0]", ""},
		{"a group of another VPC", groups(func(f *fixture) []string { return []string{f.foreign.ID} }),
			"InvalidGroup.NotFound", say(networks), "Groups[0]", "(web) belongs to vpc-"},
		{"multicast MAC", mac("01:00:5e:00:00:01"), "InvalidParameterValue", say("Value (01:00:5e:00:00:01) for parameter macAddress is invalid."), "MAC", "unicast"},
		{"zero MAC", mac("00:00:00:00:00:00"), "InvalidParameterValue", say("Value (00:00:00:00:00:00) for parameter macAddress is invalid."), "MAC", ""},
		{"long MAC", mac("02:00:5e:10:00:00:00:01"), "InvalidParameterValue", say("Value (02:00:5e:10:00:00:00:01) for parameter macAddress is invalid."), "MAC", ""},
		{"no MAC", mac("eth0"), "InvalidParameterValue", say("Value (eth0) for parameter macAddress is invalid."), "MAC", ""},
		{"MAC in use", create(func(f *fixture, in *vpc.InterfaceSpec) { in.MAC = f.eni.MAC }),
			"InvalidParameterValue", func(f *fixture) string { return "The MAC address " + f.eni.MAC + " is in use." }, "MAC", "eni-"},
		{"TCP timeout too short", tracking(vpc.ConnectionTracking{TCPEstablished: 59 * time.Second}),
			"InvalidParameterValue", say("Value (59) for parameter TcpEstablishedTimeout is invalid."), "Tracking.TCPEstablished", "60 to 432000"},
		{"TCP timeout too long", tracking(vpc.ConnectionTracking{TCPEstablished: 432001 * time.Second}),
			"InvalidParameterValue", say("Value (432001) for parameter TcpEstablishedTimeout is invalid."), "Tracking.TCPEstablished", ""},
		{"UDP timeout too long", tracking(vpc.ConnectionTracking{UDP: 61 * time.Second}),
			"InvalidParameterValue", say("Value (61) for parameter UdpTimeout is invalid."), "Tracking.UDP", "30 to 60"},
		{"UDP stream timeout too long", tracking(vpc.ConnectionTracking{UDPStream: 181 * time.Second}),
			"InvalidParameterValue", say("Value (181) for parameter UdpStreamTimeout is invalid."), "Tracking.UDPStream", "60 to 180"},
		{"half a second", tracking(vpc.ConnectionTracking{UDP: 30500 * time.Millisecond}),
			"InvalidParameterValue", say("Value (30.5) for parameter UdpTimeout is invalid."), "Tracking.UDP", "whole seconds"},
		{"control characters", create(func(_ *fixture, in *vpc.InterfaceSpec) { in.Description = "a\x00b" }),
			"InvalidParameterValue", say("Value (a\x00b) for parameter description is invalid."), "Description", ""},
		{"an existing interface", create(func(f *fixture, in *vpc.InterfaceSpec) { in.NetworkInterfaceID = f.free.ID }),
			"UnknownParameter", say("The parameter NetworkInterfaceId is not recognized"), "NetworkInterfaceID", ""},
		{"modify: no group", modify(func(_ *fixture, in *vpc.ModifyNetworkInterfaceInput) { in.Groups = []string{} }),
			"InvalidParameterValue", say("You must specify at least one group"), "Groups", ""},
		{"modify: a group of another VPC", modify(func(f *fixture, in *vpc.ModifyNetworkInterfaceInput) { in.Groups = []string{f.web.ID, f.foreign.ID} }),
			"InvalidGroup.NotFound", say(networks), "Groups[1]", ""},
		{"modify: timeout", modify(func(_ *fixture, in *vpc.ModifyNetworkInterfaceInput) {
			in.Tracking = &vpc.ConnectionTracking{UDP: time.Second}
		}), "InvalidParameterValue", say("Value (1) for parameter UdpTimeout is invalid."), "Tracking.UDP", ""},
		{"modify: description", modify(func(_ *fixture, in *vpc.ModifyNetworkInterfaceInput) { s := "\n"; in.Description = &s }),
			"InvalidParameterValue", say("Value (\n) for parameter description is invalid."), "Description", ""},
		{"modify what is not there", modify(func(_ *fixture, in *vpc.ModifyNetworkInterfaceInput) { in.ID = absent("eni") }),
			"InvalidNetworkInterfaceID.NotFound", say("The networkInterface ID 'eni-0123456789abcdef0' does not exist"), "ID", ""},
		{"delete in use", func(f *fixture, tx *vpc.Tx) error { return tx.DeleteNetworkInterface(f.eni.ID) },
			"InvalidParameterValue", func(f *fixture) string { return "Network interface '" + f.eni.ID + "' is currently in use." }, "ID", "i-"},
		{"delete what is not there", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteNetworkInterface(absent("eni")) },
			"InvalidNetworkInterfaceID.NotFound", say("The networkInterface ID 'eni-0123456789abcdef0' does not exist"), "ID", ""},
		{"delete a bad id", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteNetworkInterface("eth0") },
			"InvalidNetworkInterfaceId.Malformed", say(`Invalid id: "eth0" (expecting "eni-...")`), "ID", ""},
	})
	refuse(t, vpc.Config{Quotas: vpc.Quotas{NetworkInterfaces: 2, GroupsPerInterface: 2}}, []refusal{
		{"one too many", create(func(*fixture, *vpc.InterfaceSpec) {}), "NetworkInterfaceLimitExceeded",
			say("The maximum number of network interfaces has been reached."), "", "the quota is 2"},
		{"too many groups", modify(func(f *fixture, in *vpc.ModifyNetworkInterfaceInput) {
			in.Groups = []string{f.web.ID, f.app.ID, f.shop.DefaultSecurityGroup, f.web.ID}
		}), "SecurityGroupsPerInterfaceLimitExceeded", say("The maximum number of security groups per interface has been reached."), "Groups", "2"},
	})
}

func TestOneMacInTwoVpcs(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error { // virtual machines that were cloned have one MAC; in two VPCs that is no conflict
		return errOf(tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{InterfaceSpec: vpc.InterfaceSpec{SubnetID: f.elsewhere.ID, MAC: f.eni.MAC}}))
	})
	if got := f.store.View().NetworkInterfacesByMAC(f.eni.MAC); len(got) != 2 {
		t.Errorf("%d interfaces", len(got))
	}
}
