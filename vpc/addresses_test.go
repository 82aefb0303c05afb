package vpc_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestAssignAddresses(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		n, err := tx.AssignPrivateIpAddresses(vpc.AssignAddressesInput{ID: f.eni.ID, Addresses: addrs("10.0.1.100"), Count: 2})
		if err != nil {
			return err
		}
		if want := addrs("10.0.1.10", "10.0.1.100", "10.0.1.4", "10.0.1.5"); !reflect.DeepEqual(n.Addresses, want) {
			t.Errorf("addresses %v, want %v", n.Addresses, want)
		}
		n, err = tx.AssignIpv6Addresses(vpc.AssignAddressesInput{ID: f.eni.ID, Count: 1})
		if err != nil {
			return err
		}
		if want := addrs("2001:db8:1234:1::10", "2001:db8:1234:1::4"); !reflect.DeepEqual(n.Addresses6, want) {
			t.Errorf("addresses %v, want %v", n.Addresses6, want)
		}
		n, err = tx.UnassignPrivateIpAddresses(vpc.UnassignAddressesInput{ID: f.eni.ID, Addresses: addrs("10.0.1.5", "10.0.1.100")})
		if err != nil {
			return err
		}
		if want := addrs("10.0.1.10", "10.0.1.4"); !reflect.DeepEqual(n.Addresses, want) {
			t.Errorf("addresses %v, want %v", n.Addresses, want)
		}
		n, err = tx.UnassignIpv6Addresses(vpc.UnassignAddressesInput{ID: f.eni.ID, Addresses: addrs("2001:db8:1234:1::10", "2001:db8:1234:1::4")})
		if err == nil && len(n.Addresses6) != 0 {
			t.Errorf("addresses %v, want none", n.Addresses6)
		}
		return err
	})
	if _, ok := f.store.View().NetworkInterfaceByAddr(f.shop.ID, netip.MustParseAddr("10.0.1.100")); ok {
		t.Error("a released address is still found")
	}
	if n, ok := f.store.View().NetworkInterfaceByAddr(f.shop.ID, netip.MustParseAddr("::ffff:10.0.1.4")); !ok || n.ID != f.eni.ID {
		t.Error("the IPv4-mapped form of an address is not found")
	}
}

func TestReassignAddress(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		return errOf(tx.AssignPrivateIpAddresses(vpc.AssignAddressesInput{ID: f.eni.ID, Addresses: addrs("10.0.1.21"), AllowReassignment: true}))
	})
	v := f.store.View()
	from, _ := v.NetworkInterface(f.free.ID)
	to, _ := v.NetworkInterface(f.eni.ID)
	if !reflect.DeepEqual(from.Addresses, addrs("10.0.1.20")) || !reflect.DeepEqual(to.Addresses, addrs("10.0.1.10", "10.0.1.21")) {
		t.Errorf("from %v to %v", from.Addresses, to.Addresses)
	}
}

// TestAddressesInTurn: each new interface gets the next address, a released one rests until the others had their turn,
// and the whole subnet can be used.
func TestAddressesInTurn(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	var first string
	add := func(tx *vpc.Tx) (*vpc.NetworkInterface, error) {
		return tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{InterfaceSpec: vpc.InterfaceSpec{SubnetID: f.tiny.ID}})
	}
	for n := range 11 { // 10.0.3.4 to 10.0.3.14
		f.do(t, func(tx *vpc.Tx) error {
			i, err := add(tx)
			if err != nil {
				return err
			}
			want := netip.AddrFrom4([4]byte{10, 0, 3, byte(4 + n)})
			if n == 10 {
				want = netip.MustParseAddr("10.0.3.14")
			}
			if i.Addresses[0] != want {
				t.Errorf("interface %d has %s, want %s", n, i.Addresses[0], want)
			}
			if n == 0 {
				first = i.ID
			}
			return nil
		})
	}
	if free := f.store.View().AvailableAddresses(f.tiny.ID); free != 0 {
		t.Errorf("%d free", free)
	}
	if _, err := f.store.Update(t.Context(), func(tx *vpc.Tx) error { return errOf(add(tx)) }); vpc.ErrorCode(err) != "InsufficientFreeAddressesInSubnet" {
		t.Errorf("the twelfth: %v", err)
	}
	f.do(t, func(tx *vpc.Tx) error { return tx.DeleteNetworkInterface(first) })
	f.do(t, func(tx *vpc.Tx) error {
		i, err := add(tx)
		if err == nil && i.Addresses[0].String() != "10.0.3.4" {
			t.Errorf("the released address is not used again: %s", i.Addresses[0])
		}
		return err
	})
}

func TestReleasedAddressRests(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	for _, want := range []string{"10.0.2.4", "10.0.2.5", "10.0.2.6"} {
		var n *vpc.NetworkInterface
		f.do(t, func(tx *vpc.Tx) (err error) {
			n, err = tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{InterfaceSpec: vpc.InterfaceSpec{SubnetID: f.private.ID}})
			return err
		})
		if n.Addresses[0].String() != want {
			t.Errorf("address %s, want %s", n.Addresses[0], want)
		}
		f.do(t, func(tx *vpc.Tx) error { return tx.DeleteNetworkInterface(n.ID) })
	}
}

func TestAddressErrors(t *testing.T) {
	assign := func(edit func(*fixture, *vpc.AssignAddressesInput)) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			in := vpc.AssignAddressesInput{ID: f.eni.ID}
			edit(f, &in)
			return errOf(tx.AssignPrivateIpAddresses(in))
		}
	}
	unassign := func(list ...string) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			return errOf(tx.UnassignPrivateIpAddresses(vpc.UnassignAddressesInput{ID: f.free.ID, Addresses: addrs(list...)}))
		}
	}
	refuse(t, vpc.Config{}, []refusal{
		{"in use", assign(func(_ *fixture, in *vpc.AssignAddressesInput) { in.Addresses = addrs("10.0.1.21") }),
			"InvalidIPAddress.InUse", say("Address 10.0.1.21 is in use."), "Addresses[0]", "eni-"},
		{"the interface's own", assign(func(_ *fixture, in *vpc.AssignAddressesInput) { in.Addresses = addrs("10.0.1.10") }),
			"InvalidIPAddress.InUse", say("Address 10.0.1.10 is in use."), "Addresses[0]", ""},
		{"a primary cannot be reassigned", assign(func(_ *fixture, in *vpc.AssignAddressesInput) {
			in.Addresses, in.AllowReassignment = addrs("10.0.1.21", "10.0.1.20"), true
		}), "InvalidIPAddress.InUse", say("Address 10.0.1.20 is in use."), "Addresses[1]", ""},
		{"of another subnet", assign(func(_ *fixture, in *vpc.AssignAddressesInput) { in.Addresses = addrs("10.0.2.9") }),
			"InvalidParameterValue", say("Address 10.0.2.9 does not fall within the subnet's address range"), "Addresses[0]", ""},
		{"IPv6 by the IPv4 command", assign(func(_ *fixture, in *vpc.AssignAddressesInput) { in.Addresses = addrs("2001:db8:1234:1::9") }),
			"InvalidParameterValue", say("Address 2001:db8:1234:1::9 does not fall within the subnet's address range"), "Addresses[0]", ""},
		{"IPv4 by the IPv6 command", func(f *fixture, tx *vpc.Tx) error {
			return errOf(tx.AssignIpv6Addresses(vpc.AssignAddressesInput{ID: f.eni.ID, Addresses: addrs("10.0.1.9")}))
		}, "InvalidParameterValue", say("Address 10.0.1.9 does not fall within the subnet's address range"), "Addresses[0]", ""},
		{"nothing", assign(func(*fixture, *vpc.AssignAddressesInput) {}),
			"MissingParameter", say("Either the addresses or their number must be provided"), "Addresses", ""},
		{"too many", assign(func(_ *fixture, in *vpc.AssignAddressesInput) { in.Count = 50 }),
			"PrivateIpAddressLimitExceeded", say("Number of private addresses will exceed limit."), "Addresses", ""},
		{"negative", assign(func(_ *fixture, in *vpc.AssignAddressesInput) { in.Count = -1 }),
			"InvalidParameterValue", say("The number of addresses may not be negative."), "Count", ""},
		{"to what is not there", assign(func(_ *fixture, in *vpc.AssignAddressesInput) { in.ID, in.AllowReassignment = absent("eni"), true }),
			"InvalidNetworkInterfaceID.NotFound", say("The networkInterface ID 'eni-0123456789abcdef0' does not exist"), "ID", ""},
		{"unassign the primary", unassign("10.0.1.20"), "InvalidParameterValue",
			func(f *fixture) string {
				return "The primary address 10.0.1.20 of interface " + f.free.ID + " cannot be unassigned"
			}, "Addresses[0]", ""},
		{"unassign what it has not", unassign("10.0.1.21", "10.0.1.22"), "InvalidParameterValue",
			func(f *fixture) string { return "Some of [10.0.1.22] are not assigned to interface " + f.free.ID }, "Addresses[1]", ""},
		{"unassign nothing", unassign(), "MissingParameter", say("The request must contain the parameter privateIpAddress"), "Addresses", ""},
		{"unassign from a bad id", func(_ *fixture, tx *vpc.Tx) error {
			return errOf(tx.UnassignIpv6Addresses(vpc.UnassignAddressesInput{ID: "eni-1"}))
		}, "InvalidNetworkInterfaceId.Malformed", say(`Invalid id: "eni-1" (expecting "eni-...")`), "ID", ""},
	})
}
