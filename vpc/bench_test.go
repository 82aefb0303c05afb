package vpc_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

// crowd is a VPC with n instances in one subnet and one group.
func crowd(b *testing.B, n int) (*vpc.MemoryStore, *vpc.Subnet, *vpc.SecurityGroup) {
	b.Helper()
	s := vpc.NewMemoryStore(vpc.Config{Seed: 1, Quotas: vpc.Quotas{NetworkInterfaces: 1 << 30, RulesPerGroup: 1 << 30}})
	var sub *vpc.Subnet
	var g *vpc.SecurityGroup
	_, err := s.Update(context.Background(), func(tx *vpc.Tx) error {
		v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx("10.0.0.0/16")})
		if err != nil {
			return err
		}
		if sub, err = tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: v.ID, CIDR: pfx("10.0.0.0/16")}); err != nil {
			return err
		}
		if g, err = tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{VPCID: v.ID, GroupName: "g", Description: "d"}); err != nil {
			return err
		}
		for range n {
			if _, err := tx.RunInstance(vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{{SubnetID: sub.ID, Groups: []string{g.ID}}}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return s, sub, g
}

func BenchmarkView(b *testing.B) {
	s, sub, g := crowd(b, 10000)
	v := s.View()
	addr := netip.MustParseAddr("10.0.20.20")
	n, ok := v.NetworkInterfaceByAddr(sub.VPCID, addr)
	if !ok {
		b.Fatal("no such address")
	}
	for name, fn := range map[string]func(){
		"by-id":      func() { v.NetworkInterface(n.ID) },
		"by-address": func() { v.NetworkInterfaceByAddr(sub.VPCID, addr) },
		"by-name":    func() { v.SecurityGroupNamed(sub.VPCID, "g") },
		"members":    func() { v.InterfacesInGroup(g.ID) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fn()
			}
		})
	}
}

func BenchmarkRunInstance(b *testing.B) {
	for _, n := range []int{0, 1000, 10000} {
		b.Run(fmt.Sprint("beside-", n), func(b *testing.B) {
			s, sub, g := crowd(b, n)
			b.ReportAllocs()
			for b.Loop() {
				_, err := s.Update(b.Context(), func(tx *vpc.Tx) error {
					i, err := tx.RunInstance(vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{{SubnetID: sub.ID, Groups: []string{g.ID}}}})
					if err != nil {
						return err
					}
					return tx.TerminateInstance(i.ID) // so that the VPC stays as large as it is
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAuthorize(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint("rules-", n), func(b *testing.B) {
			s, _, g := crowd(b, 1)
			spec := func(n int) vpc.RuleSpec {
				a := netip.AddrFrom4([4]byte{172, 16, byte(n >> 8), byte(n)})
				return vpc.RuleSpec{Permission: vpc.Permission{Protocol: 6, FromPort: 1, ToPort: 1, CIDR: netip.PrefixFrom(a, 32)}}
			}
			update := func(fn func(tx *vpc.Tx) error) {
				if _, err := s.Update(b.Context(), fn); err != nil {
					b.Fatal(err)
				}
			}
			in := vpc.AuthorizeSecurityGroupInput{GroupID: g.ID}
			for i := range n {
				in.Rules = append(in.Rules, spec(i))
			}
			update(func(tx *vpc.Tx) error { return errOf(tx.AuthorizeSecurityGroupIngress(in)) })
			in.Rules = []vpc.RuleSpec{spec(n)}
			b.ReportAllocs()
			for b.Loop() {
				update(func(tx *vpc.Tx) error { return errOf(tx.AuthorizeSecurityGroupIngress(in)) })
				update(func(tx *vpc.Tx) error {
					return errOf(tx.RevokeSecurityGroupIngress(vpc.RevokeSecurityGroupInput{GroupID: g.ID, Permissions: []vpc.Permission{in.Rules[0].Permission}}))
				})
			}
		})
	}
}
