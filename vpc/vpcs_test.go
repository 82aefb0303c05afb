package vpc_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestNewVpcFurniture(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	v := f.store.View()
	table, ok := v.RouteTable(f.shop.MainRouteTableID)
	want := []vpc.Route{
		{Destination: pfx("10.0.0.0/16"), Target: "local", State: "active", Origin: "CreateRouteTable"},
		{Destination: pfx("2001:db8:1234::/56"), Target: "local", State: "active", Origin: "CreateRouteTable"},
	}
	if !ok || !table.Main || table.Lab != "lab" || !reflect.DeepEqual(table.Routes, want) {
		t.Errorf("main route table %+v", table)
	}
	g, ok := v.SecurityGroup(f.shop.DefaultSecurityGroup)
	if !ok || g.GroupName != "default" || g.Description != "default VPC security group" || g.Lab != "lab" {
		t.Fatalf("default group %+v", g)
	}
	wantRules(t, g, []vpc.SecurityGroupRule{
		{Direction: vpc.Ingress, Permission: all(peerGroup(g.ID))},
		{Direction: vpc.Egress, Permission: all(peerCIDR("0.0.0.0/0"))},
		{Direction: vpc.Egress, Permission: all(peerCIDR("::/0"))},
	})
	only4, _ := v.SecurityGroup(f.other.DefaultSecurityGroup)
	wantRules(t, only4, []vpc.SecurityGroupRule{
		{Direction: vpc.Ingress, Permission: all(peerGroup(only4.ID))},
		{Direction: vpc.Egress, Permission: all(peerCIDR("0.0.0.0/0"))},
	})
	if !f.shop.EnableDNSSupport || f.shop.EnableDNSHostnames || f.shop.IsDefault {
		t.Errorf("attributes of a new VPC: %+v", f.shop)
	}
}

// wantRules compares direction, permission and default mark.
func wantRules(t *testing.T, g *vpc.SecurityGroup, want []vpc.SecurityGroupRule) {
	t.Helper()
	if len(g.Rules) != len(want) {
		t.Fatalf("%s has %d rules, want %d", g.GroupName, len(g.Rules), len(want))
	}
	for i, r := range g.Rules {
		if r.Direction != want[i].Direction || r.Permission != want[i].Permission || !r.Default {
			t.Errorf("rule %d of %s is %s %s, default %v; want %s %s", i, g.GroupName, r.Direction, r.Message(), r.Default,
				want[i].Direction, want[i].Message())
		}
	}
}

func TestCreateVpc(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	for _, tt := range []struct{ cidr, want string }{
		{"100.68.0.18/18", "100.68.0.0/18"}, // AWS clears the host bits
		{"10.0.0.0/28", "10.0.0.0/28"},
		{"172.31.255.255/16", "172.31.0.0/16"},
	} {
		f.do(t, func(tx *vpc.Tx) error {
			v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx(tt.cidr)})
			if err == nil && v.CIDR.String() != tt.want {
				t.Errorf("%s is stored as %s, want %s", tt.cidr, v.CIDR, tt.want)
			}
			return err
		})
	}
}

func TestCreateVpcIPv6(t *testing.T) {
	f := newFixture(t, vpc.Config{Quotas: vpc.Quotas{VPCs: 100}})
	seen := map[netip.Prefix]bool{}
	for range 50 {
		f.do(t, func(tx *vpc.Tx) error {
			v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx("10.0.0.0/16"), AmazonProvidedIPv6: true})
			if err != nil {
				return err
			}
			p := v.CIDRs6[0]
			if len(v.CIDRs6) != 1 || p.Bits() != 56 || p != p.Masked() || seen[p] || p.Overlaps(pfx("fd00:ec2::/32")) || !pfx("fd00::/8").Overlaps(p) {
				t.Errorf("provided block %v", v.CIDRs6)
			}
			seen[p] = true
			return nil
		})
	}
	f.do(t, func(tx *vpc.Tx) error { // a VPC is an island: another may have the same block
		v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx("10.0.0.0/16"), CIDR6: pfx("2001:db8:1234:ff::1/56")})
		if err == nil && v.CIDRs6[0] != pfx("2001:db8:1234::/56") {
			t.Errorf("stored as %s", v.CIDRs6[0])
		}
		return err
	})
}

func TestDefaultVpc(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	if _, ok := f.store.View().DefaultVPC(); ok {
		t.Fatal("there is a default VPC already")
	}
	var id string
	f.do(t, func(tx *vpc.Tx) error {
		v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx("172.31.0.0/16"), IsDefault: true})
		id = v.ID
		if !v.EnableDNSHostnames {
			t.Error("a default VPC gives DNS host names")
		}
		return err
	})
	if v, ok := f.store.View().DefaultVPC(); !ok || v.ID != id {
		t.Errorf("default VPC %v", v)
	}
	f.do(t, func(tx *vpc.Tx) error {
		g, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{GroupName: "x", Description: "x"})
		if err == nil && g.VPCID != id {
			t.Errorf("a group without a VPC is in %s, want the default VPC %s", g.VPCID, id)
		}
		return err
	})
}

func TestDeleteVpc(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		for _, err := range []error{
			tx.TerminateInstance(f.inst.ID), tx.DeleteNetworkInterface(f.free.ID),
			tx.DeleteSubnet(f.public.ID), tx.DeleteSubnet(f.private.ID), tx.DeleteSubnet(f.tiny.ID),
			tx.DeleteSecurityGroup(f.app.ID), tx.DeleteSecurityGroup(f.web.ID), // app names web, so it goes first
			tx.DeleteVpc(f.shop.ID),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	v := f.store.View()
	for _, id := range []string{f.shop.ID, f.shop.MainRouteTableID, f.shop.DefaultSecurityGroup, f.log.ID, f.public.ID, f.eni.ID} {
		if _, ok := v.Object(id); ok {
			t.Errorf("%s is still there", id)
		}
	}
	if len(v.VPCs()) != 1 {
		t.Errorf("%d VPCs", len(v.VPCs()))
	}
}

func TestVpcErrors(t *testing.T) {
	create := func(in vpc.CreateVpcInput) func(*fixture, *vpc.Tx) error {
		return func(_ *fixture, tx *vpc.Tx) error { _, err := tx.CreateVpc(in); return err }
	}
	cidr := func(s string) vpc.CreateVpcInput { return vpc.CreateVpcInput{CIDR: pfx(s)} }
	both := func(s string) vpc.CreateVpcInput {
		return vpc.CreateVpcInput{CIDR: pfx("10.0.0.0/16"), CIDR6: pfx(s)}
	}
	dependent := func(f *fixture) string {
		return fmt.Sprintf("The vpc '%s' has dependencies and cannot be deleted.", f.shop.ID)
	}
	refuse(t, vpc.Config{}, []refusal{
		{"too large", create(cidr("10.0.0.0/15")), "InvalidVpc.Range", say("The CIDR '10.0.0.0/15' is invalid."), "CIDR", "/16 to /28"},
		{"too small", create(cidr("10.0.0.0/29")), "InvalidVpc.Range", say("The CIDR '10.0.0.0/29' is invalid."), "CIDR", "/16 to /28"},
		{"link-local", create(cidr("169.254.1.0/24")), "InvalidVpc.Range", say("The CIDR '169.254.1.0/24' is invalid."), "CIDR", "169.254.0.0/16"},
		{"loopback", create(cidr("127.0.0.0/16")), "InvalidVpc.Range", say("The CIDR '127.0.0.0/16' is invalid."), "CIDR", "127.0.0.0/8"},
		{"zero network", create(cidr("0.1.0.0/16")), "InvalidVpc.Range", say("The CIDR '0.1.0.0/16' is invalid."), "CIDR", ""},
		{"multicast", create(cidr("239.0.0.0/16")), "InvalidVpc.Range", say("The CIDR '239.0.0.0/16' is invalid."), "CIDR", ""},
		{"no CIDR", create(vpc.CreateVpcInput{}), "MissingParameter", say("The request must contain the parameter cidrBlock"), "CIDR", "10.0.0.0/16"},
		{"IPv6 as the primary CIDR", create(cidr("2001:db8::/56")), "InvalidParameterValue", say("Value (2001:db8::/56) for parameter cidrBlock is invalid. ..."), "CIDR", ""},
		{"IPv6 of a wrong size", create(both("2001:db8::/64")), "InvalidVpc.Range", say("The CIDR '2001:db8::/64' is invalid."), "CIDR6", "/56"},
		{"IPv6 link-local", create(both("fe80::/56")), "InvalidVpc.Range", say("The CIDR 'fe80::/56' is invalid."), "CIDR6", ""},
		{"IPv6 multicast", create(both("ff02::/56")), "InvalidVpc.Range", say("The CIDR 'ff02::/56' is invalid."), "CIDR6", ""},
		{"IPv6 of AWS's services", create(both("fd00:ec2:0:100::/56")), "InvalidVpc.Range", say("The CIDR 'fd00:ec2:0:100::/56' is invalid."), "CIDR6", ""},
		{"IPv4 as the IPv6 CIDR", create(both("10.0.0.0/24")), "InvalidParameterValue", say("Value (10.0.0.0/24) for parameter ipv6CidrBlock is invalid. ..."), "CIDR6", ""},
		{"two ways to IPv6", create(vpc.CreateVpcInput{CIDR: pfx("10.0.0.0/16"), CIDR6: pfx("fd00::/56"), AmazonProvidedIPv6: true}),
			"InvalidParameterCombination", say("The parameter ipv6CidrBlock cannot be used with the parameter amazonProvidedIpv6CidrBlock"), "CIDR6", ""},
		{"a second default", func(_ *fixture, tx *vpc.Tx) error {
			in := vpc.CreateVpcInput{CIDR: pfx("172.31.0.0/16"), IsDefault: true}
			v, err := tx.CreateVpc(in)
			if err != nil {
				return err
			}
			_, err = tx.CreateVpc(in)
			if again := tx.DeleteVpc(v.ID); again != nil {
				return again
			}
			return err
		}, "DefaultVpcAlreadyExists", say("A Default VPC already exists for this account in this region."), "IsDefault", ""},
		{"the sixth", func(_ *fixture, tx *vpc.Tx) error {
			var made []string
			var last error
			for range 4 {
				v, err := tx.CreateVpc(cidr("10.0.0.0/16"))
				if last = err; err == nil {
					made = append(made, v.ID)
				}
			}
			for _, id := range made {
				if err := tx.DeleteVpc(id); err != nil {
					return err
				}
			}
			if len(made) != 3 {
				return fmt.Errorf("%d VPCs were made", len(made))
			}
			return last
		}, "VpcLimitExceeded", say("The maximum number of VPCs has been reached."), "", "the quota is 5"},
		{"delete what is not there", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteVpc(absent("vpc")) },
			"InvalidVpcID.NotFound", say("The vpc ID 'vpc-0123456789abcdef0' does not exist"), "ID", ""},
		{"delete a bad id", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteVpc("vpc-shop") },
			"InvalidVpcID.Malformed", say(`Invalid id: "vpc-shop" (expecting "vpc-...")`), "ID", ""},
		{"delete nothing", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteVpc("") },
			"MissingParameter", say("The request must contain the parameter vpcId"), "ID", ""},
		{"delete with subnets", func(f *fixture, tx *vpc.Tx) error { return tx.DeleteVpc(f.shop.ID) },
			"DependencyViolation", dependent, "ID", "delete subnet-"},
	})
	refuse(t, vpc.Config{}, []refusal{
		{"delete with a group", func(f *fixture, tx *vpc.Tx) error { return deleteOnlyGroup(f, tx) },
			"DependencyViolation", say("The vpc 'vpc-..."), "ID", "(only)"},
	})
	refuse(t, vpc.Config{Quotas: vpc.Quotas{SecurityGroups: 5}}, []refusal{
		{"no room for the default group", func(_ *fixture, tx *vpc.Tx) error { return errOf(tx.CreateVpc(cidr("10.9.0.0/16"))) },
			"SecurityGroupLimitExceeded", say("The maximum number of security groups has been reached."), "", "the quota is 5"},
	})
}

// deleteOnlyGroup makes a VPC with one group, fails to delete it, and cleans up.
func deleteOnlyGroup(_ *fixture, tx *vpc.Tx) error {
	v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx("10.9.0.0/16")})
	if err != nil {
		return err
	}
	g, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{VPCID: v.ID, GroupName: "only", Description: "d"})
	if err != nil {
		return err
	}
	refused := tx.DeleteVpc(v.ID)
	if err := tx.DeleteSecurityGroup(g.ID); err != nil {
		return err
	}
	if err := tx.DeleteVpc(v.ID); err != nil {
		return err
	}
	return refused
}

// errOf keeps the error of a command.
func errOf[T any](_ T, err error) error { return err }
