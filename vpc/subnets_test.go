package vpc_test

import (
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestCreateSubnet(t *testing.T) {
	f := newFixture(t, vpc.Config{Region: "ap-southeast-2"})
	f.do(t, func(tx *vpc.Tx) error {
		s, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: f.shop.ID, CIDR: pfx("10.0.200.77/20"), AvailabilityZone: "ap-southeast-2c", AutoCIDR6: true})
		if err != nil {
			return err
		}
		if s.CIDR != pfx("10.0.192.0/20") || s.CIDR6 != pfx("2001:db8:1234::/64") || s.ZoneID != "apse2-az3" {
			t.Errorf("subnet %+v", s)
		}
		if s.Router() != netip.MustParseAddr("10.0.192.1") || s.Router6() != netip.MustParseAddr("2001:db8:1234::1") {
			t.Errorf("router %s, %s", s.Router(), s.Router6())
		}
		// :0:, :1: and :2: are taken now.
		s, err = tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: f.shop.ID, CIDR: pfx("10.0.4.0/24"), AutoCIDR6: true})
		if err != nil {
			return err
		}
		if s.CIDR6 != pfx("2001:db8:1234:3::/64") || s.AvailabilityZone != "ap-southeast-2a" {
			t.Errorf("subnet %+v", s)
		}
		return nil
	})
	if f.tiny.Router6().IsValid() {
		t.Error("a subnet without IPv6 has an IPv6 router")
	}
}

func TestSubnetErrors(t *testing.T) {
	create := func(edit func(*fixture, *vpc.CreateSubnetInput)) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			in := vpc.CreateSubnetInput{VPCID: f.shop.ID, CIDR: pfx("10.0.9.0/24")}
			edit(f, &in)
			return errOf(tx.CreateSubnet(in))
		}
	}
	cidr := func(s string) func(*fixture, *vpc.Tx) error {
		return create(func(_ *fixture, in *vpc.CreateSubnetInput) { in.CIDR = pfx(s) })
	}
	cidr6 := func(s string) func(*fixture, *vpc.Tx) error {
		return create(func(_ *fixture, in *vpc.CreateSubnetInput) { in.CIDR6 = pfx(s) })
	}
	zone := func(s string) func(*fixture, *vpc.Tx) error {
		return create(func(_ *fixture, in *vpc.CreateSubnetInput) { in.AvailabilityZone = s })
	}
	refuse(t, vpc.Config{}, []refusal{
		{"too large", cidr("10.0.0.0/15"), "InvalidSubnet.Range", say("The CIDR '10.0.0.0/15' is invalid."), "CIDR", "/16 to /28"},
		{"too small", cidr("10.0.9.0/29"), "InvalidSubnet.Range", say("The CIDR '10.0.9.0/29' is invalid."), "CIDR", "/16 to /28"},
		{"outside the VPC", cidr("10.1.0.0/24"), "InvalidSubnet.Range", say("The CIDR '10.1.0.0/24' is invalid."), "CIDR", "10.0.0.0/16"},
		{"the same block", cidr("10.0.1.0/24"), "InvalidSubnet.Conflict", say("The CIDR '10.0.1.0/24' conflicts with another subnet"), "CIDR", "public (10.0.1.0/24)"},
		{"a smaller block", cidr("10.0.1.128/25"), "InvalidSubnet.Conflict", say("The CIDR '10.0.1.128/25' conflicts with another subnet"), "CIDR", "public"},
		{"a larger block", cidr("10.0.0.0/22"), "InvalidSubnet.Conflict", say("The CIDR '10.0.0.0/22' conflicts with another subnet"), "CIDR", "overlaps"},
		{"no CIDR", create(func(_ *fixture, in *vpc.CreateSubnetInput) { in.CIDR = netip.Prefix{} }),
			"MissingParameter", say("The request must contain the parameter cidrBlock"), "CIDR", ""},
		{"IPv6 in use", cidr6("2001:db8:1234:1::/64"), "InvalidSubnet.Conflict", say("The CIDR '2001:db8:1234:1::/64' conflicts with another subnet"), "CIDR6", "public"},
		{"IPv6 outside the VPC", cidr6("2001:db8:1235:1::/64"), "InvalidSubnet.Range", say("The CIDR '2001:db8:1235:1::/64' is invalid."), "CIDR6", "2001:db8:1234::/56"},
		{"IPv6 of a wrong size", cidr6("2001:db8:1234::/60"), "InvalidSubnet.Range", say("The CIDR '2001:db8:1234::/60' is invalid."), "CIDR6", "/64"},
		{"IPv6 in a VPC without", create(func(f *fixture, in *vpc.CreateSubnetInput) {
			in.VPCID, in.CIDR6 = f.other.ID, pfx("2001:db8:1234:9::/64")
		}),
			"InvalidSubnet.Range", say("The CIDR '2001:db8:1234:9::/64' is invalid."), "CIDR6", "no IPv6 block"},
		{"IPv6 asked for in a VPC without", create(func(f *fixture, in *vpc.CreateSubnetInput) { in.VPCID, in.AutoCIDR6 = f.other.ID, true }),
			"InvalidSubnet.Range", say("There is no free IPv6 CIDR block in the vpc 'vpc-..."), "AutoCIDR6", "no IPv6 block"},
		{"IPv6 given and asked for", create(func(f *fixture, in *vpc.CreateSubnetInput) {
			in.CIDR6, in.AutoCIDR6 = pfx("2001:db8:1234:9::/64"), true
		}), "InvalidParameterCombination", say("Give an IPv6 CIDR block or ask for one, not both."), "CIDR6", ""},
		{"no such zone", zone("us-east-1z"), "InvalidParameterValue", say("Value (us-east-1z) for parameter availabilityZone is invalid. " +
			"Subnets can currently only be created in the following availability zones: " +
			"us-east-1a, us-east-1b, us-east-1c, us-east-1d, us-east-1e, us-east-1f."), "AvailabilityZone", ""},
		{"a zone elsewhere", zone("eu-west-1a"), "InvalidParameterValue", say("Value (eu-west-1a) for parameter availabilityZone is invalid. ..."), "AvailabilityZone", ""},
		{"no such VPC", create(func(_ *fixture, in *vpc.CreateSubnetInput) { in.VPCID = absent("vpc") }),
			"InvalidVpcID.NotFound", say("The vpc ID 'vpc-0123456789abcdef0' does not exist"), "VPCID", ""},
		{"a subnet's id as VPC", create(func(f *fixture, in *vpc.CreateSubnetInput) { in.VPCID = absent("subnet") }),
			"InvalidVpcID.Malformed", say(`Invalid id: "subnet-0123456789abcdef0" (expecting "vpc-...")`), "VPCID", ""},
		{"delete in use", func(f *fixture, tx *vpc.Tx) error { return tx.DeleteSubnet(f.public.ID) },
			"DependencyViolation", func(f *fixture) string {
				return "The subnet '" + f.public.ID + "' has dependencies and cannot be deleted."
			}, "ID", "eni-"},
		{"delete what is not there", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteSubnet(absent("subnet")) },
			"InvalidSubnetID.NotFound", say("The subnet ID 'subnet-0123456789abcdef0' does not exist"), "ID", ""},
		{"delete a bad id", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteSubnet("subnet-XYZ") },
			"InvalidSubnetID.Malformed", say(`Invalid id: "subnet-XYZ" (expecting "subnet-...")`), "ID", ""},
	})
	refuse(t, vpc.Config{Quotas: vpc.Quotas{SubnetsPerVPC: 3}}, []refusal{
		{"one too many", cidr("10.0.9.0/24"), "SubnetLimitExceeded", say("The maximum number of subnets has been reached."), "", "the quota is 3"},
	})
}

func TestDeleteSubnetTakesItsFlowLogs(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		in := f.flowLogs()
		in.ResourceType, in.ResourceIDs = "Subnet", []string{f.tiny.ID}
		if _, err := tx.CreateFlowLogs(in); err != nil {
			return err
		}
		return tx.DeleteSubnet(f.tiny.ID)
	})
	if logs := f.store.View().FlowLogs(); len(logs) != 1 || logs[0].ID != f.log.ID {
		t.Errorf("%d flow logs are left", len(logs))
	}
}

func TestAllIPv6BlocksOfAVpc(t *testing.T) {
	f := newFixture(t, vpc.Config{Quotas: vpc.Quotas{SubnetsPerVPC: 300}})
	_, err := f.store.Update(t.Context(), func(tx *vpc.Tx) error {
		for n := range 260 {
			b := [4]byte{10, 0, byte(100 + n/16), byte(n % 16 * 16)}
			_, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: f.shop.ID, CIDR: netip.PrefixFrom(netip.AddrFrom4(b), 28), AutoCIDR6: true})
			if err != nil {
				if n != 254 { // the fixture has two
					t.Errorf("failed after %d subnets", n)
				}
				return err
			}
		}
		return nil
	})
	if vpc.ErrorCode(err) != "InvalidSubnet.Range" {
		t.Errorf("error %v", err)
	}
}
