package vpc_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vpc/storetest"
)

// gambler makes random commands, most of them sensible.
type gambler struct {
	*rand.Rand
	tx *vpc.Tx
}

// pick gives the id of an object of a kind; now and then of any kind, or one that nothing has.
func (g *gambler) pick(kind vpc.Kind) string {
	var all []vpc.Object
	for _, o := range g.tx.Objects() {
		if o.Kind() == kind || g.IntN(100) == 0 {
			all = append(all, o)
		}
	}
	if len(all) == 0 || g.IntN(50) == 0 {
		return absent("sg")
	}
	return all[g.IntN(len(all))].Metadata().ID
}

func (g *gambler) picks(kind vpc.Kind, most int) []string {
	var out []string
	for range g.IntN(most + 1) {
		out = append(out, g.pick(kind))
	}
	return out
}

// groupsOf gives groups, mostly of the VPC of a subnet or interface.
func (g *gambler) groupsOf(vpcID string) []string {
	list := g.tx.SecurityGroups(vpcID)
	if len(list) == 0 || g.IntN(10) == 0 {
		return g.picks(vpc.KindSecurityGroup, 2)
	}
	var out []string
	for range g.IntN(4) {
		out = append(out, list[g.IntN(len(list))].ID)
	}
	return out
}

func (g *gambler) block(base string, bits int) netip.Prefix {
	b := netip.MustParseAddr(base).As4()
	b[2] = byte(g.IntN(4))
	b[3] = byte(g.IntN(256))
	return netip.PrefixFrom(netip.AddrFrom4(b), bits)
}

func (g *gambler) addr() netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(g.IntN(4)), byte(g.IntN(40))})
}

func (g *gambler) addrs(most int) []netip.Addr {
	var out []netip.Addr
	for range g.IntN(most + 1) {
		out = append(out, g.addr())
	}
	return out
}

func (g *gambler) spec() vpc.InterfaceSpec {
	if g.IntN(8) == 0 {
		return vpc.InterfaceSpec{NetworkInterfaceID: g.pick(vpc.KindNetworkInterface)}
	}
	s := vpc.InterfaceSpec{SubnetID: g.pick(vpc.KindSubnet), SecondaryCount: g.IntN(3), Count6: g.IntN(2) * g.IntN(2)}
	if sub, ok := g.tx.Subnet(s.SubnetID); ok {
		s.Groups = g.groupsOf(sub.VPCID)
	}
	if g.IntN(3) == 0 {
		s.Addresses = g.addrs(2)
	}
	return s
}

func (g *gambler) permission() vpc.Permission {
	p := vpc.Permission{Protocol: []int{-1, 1, 6, 6, 17, 47, 58}[g.IntN(7)], FromPort: g.IntN(3), ToPort: g.IntN(3)}
	switch g.IntN(4) {
	case 0:
		p.CIDR = netip.PrefixFrom(g.addr(), g.IntN(33))
	case 1:
		p.CIDR = netip.PrefixFrom(netip.MustParseAddr("2001:db8::1"), g.IntN(129))
	case 2:
		p.GroupID = g.pick(vpc.KindSecurityGroup)
	case 3:
		p.PrefixListID = g.pick(vpc.KindPrefixList)
	}
	return p
}

func (g *gambler) rules() []vpc.RuleSpec {
	var out []vpc.RuleSpec
	for range 1 + g.IntN(3) {
		out = append(out, vpc.RuleSpec{Permission: g.permission()})
	}
	return out
}

func (g *gambler) revoke() vpc.RevokeSecurityGroupInput {
	in := vpc.RevokeSecurityGroupInput{GroupID: g.pick(vpc.KindSecurityGroup)}
	grp, ok := g.tx.SecurityGroup(in.GroupID)
	if !ok || len(grp.Rules) == 0 || g.IntN(8) == 0 {
		in.Permissions = []vpc.Permission{g.permission()}
		return in
	}
	r := grp.Rules[g.IntN(len(grp.Rules))]
	if g.IntN(2) == 0 {
		in.RuleIDs = []string{r.ID}
	} else {
		in.Permissions = []vpc.Permission{r.Permission}
	}
	return in
}

// moves are the commands, by how often they are tried.
func (g *gambler) moves() []func() error {
	tx, owner := g.tx, vpc.Owner{Lab: []string{"", "a", "b"}[g.IntN(3)], Name: []string{"", "x", "y"}[g.IntN(3)]}
	return []func() error{
		func() error {
			return errOf(tx.CreateVpc(vpc.CreateVpcInput{Owner: owner, CIDR: netip.PrefixFrom(g.addr(), 20+g.IntN(4)), AmazonProvidedIPv6: g.IntN(2) == 0, IsDefault: g.IntN(5) == 0}))
		},
		func() error { return tx.DeleteVpc(g.pick(vpc.KindVPC)) },
		func() error {
			return errOf(tx.CreateSubnet(vpc.CreateSubnetInput{Owner: owner, VPCID: g.pick(vpc.KindVPC), CIDR: g.block("10.0.0.0", 25+g.IntN(4)), AutoCIDR6: g.IntN(3) == 0}))
		},
		func() error {
			return errOf(tx.CreateSubnet(vpc.CreateSubnetInput{Owner: owner, VPCID: g.pick(vpc.KindVPC), CIDR: g.block("10.0.0.0", 28)}))
		},
		func() error { return tx.DeleteSubnet(g.pick(vpc.KindSubnet)) },
		func() error {
			return errOf(tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{Owner: owner, InterfaceSpec: g.spec()}))
		},
		func() error { return tx.DeleteNetworkInterface(g.pick(vpc.KindNetworkInterface)) },
		func() error {
			in := vpc.ModifyNetworkInterfaceInput{ID: g.pick(vpc.KindNetworkInterface)}
			if n, ok := tx.NetworkInterface(in.ID); ok {
				in.Groups = g.groupsOf(n.VPCID)
			}
			return errOf(tx.ModifyNetworkInterface(in))
		},
		func() error {
			return errOf(tx.AssignPrivateIpAddresses(vpc.AssignAddressesInput{ID: g.pick(vpc.KindNetworkInterface), Addresses: g.addrs(2), Count: g.IntN(2), AllowReassignment: g.IntN(2) == 0}))
		},
		func() error {
			return errOf(tx.AssignIpv6Addresses(vpc.AssignAddressesInput{ID: g.pick(vpc.KindNetworkInterface), Count: 1}))
		},
		func() error {
			in := vpc.UnassignAddressesInput{ID: g.pick(vpc.KindNetworkInterface)}
			if n, ok := tx.NetworkInterface(in.ID); ok {
				in.Addresses = n.Addresses[g.IntN(len(n.Addresses)):]
			}
			return errOf(tx.UnassignPrivateIpAddresses(in))
		},
		func() error {
			return errOf(tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{Owner: owner, VPCID: g.pick(vpc.KindVPC), GroupName: fmt.Sprint("g", g.IntN(9)), Description: "d"}))
		},
		func() error { return tx.DeleteSecurityGroup(g.pick(vpc.KindSecurityGroup)) },
		func() error {
			return errOf(tx.AuthorizeSecurityGroupIngress(vpc.AuthorizeSecurityGroupInput{GroupID: g.pick(vpc.KindSecurityGroup), Rules: g.rules()}))
		},
		func() error {
			return errOf(tx.AuthorizeSecurityGroupEgress(vpc.AuthorizeSecurityGroupInput{GroupID: g.pick(vpc.KindSecurityGroup), Rules: g.rules()}))
		},
		func() error { return errOf(tx.RevokeSecurityGroupIngress(g.revoke())) },
		func() error { return errOf(tx.RevokeSecurityGroupEgress(g.revoke())) },
		func() error {
			return errOf(tx.CreateManagedPrefixList(vpc.CreateManagedPrefixListInput{Owner: vpc.Owner{Name: "l"}, Family: 4 + 2*g.IntN(2), MaxEntries: 1 + g.IntN(5)}))
		},
		func() error {
			l, _ := tx.PrefixList(g.pick(vpc.KindPrefixList))
			if l == nil {
				return nil
			}
			return errOf(tx.ModifyManagedPrefixList(vpc.ModifyManagedPrefixListInput{ID: l.ID, CurrentVersion: l.Version - g.IntN(2), MaxEntries: g.IntN(30),
				Add: []vpc.PrefixListEntry{{CIDR: netip.PrefixFrom(g.addr(), g.IntN(33))}}}))
		},
		func() error { return tx.DeleteManagedPrefixList(g.pick(vpc.KindPrefixList)) },
		func() error {
			in := vpc.RunInstanceInput{Owner: owner}
			for range 1 + g.IntN(3) {
				in.Interfaces = append(in.Interfaces, g.spec())
			}
			return errOf(tx.RunInstance(in))
		},
		func() error {
			return errOf(tx.SetInstanceState(g.pick(vpc.KindInstance), []string{"pending", "running", "stopping", "stopped"}[g.IntN(4)]))
		},
		func() error { return tx.TerminateInstance(g.pick(vpc.KindInstance)) },
		func() error {
			i := g.IntN(3)
			kind := []vpc.Kind{vpc.KindVPC, vpc.KindSubnet, vpc.KindNetworkInterface}[i]
			return errOf(tx.CreateFlowLogs(vpc.CreateFlowLogsInput{ResourceType: []string{"VPC", "Subnet", "NetworkInterface"}[i], ResourceIDs: []string{g.pick(kind), g.pick(kind)},
				TrafficType: "ALL", LogDestination: "logs"}))
		},
		func() error { return tx.DeleteFlowLogs(g.pick(vpc.KindFlowLog)) },
		func() error {
			kind := vpc.Kinds[g.IntN(len(vpc.Kinds))]
			return tx.SetTags(vpc.SetTagsInput{ResourceID: g.pick(kind), Set: map[string]string{"Name": fmt.Sprint(g.IntN(5))}})
		},
	}
}

// TestRandomCommands runs random transactions and holds after each command that the model is sound, after a refused one
// that nothing changed, and in the end that the commits, replayed elsewhere, give the same model.
func TestRandomCommands(t *testing.T) {
	seeds, steps := 12, 150
	if testing.Short() {
		seeds = 2
	}
	worked := map[bool]int{}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			s := vpc.NewMemoryStore(vpc.Config{Seed: seed + 1, Quotas: vpc.Quotas{VPCs: 6, RulesPerGroup: 12, GroupsPerInterface: 2, AddressesPerInterface: 5, FlowLogsPerResource: 1}})
			for step := 0; step < steps && !t.Failed(); step++ {
				randomTransaction(t, s, rng, worked)
			}
			mirror := vpc.NewModel(vpc.Config{})
			sets, ok := s.Changes(0)
			for _, set := range sets {
				mirror.Apply(set.Revision, set.Changes)
			}
			if !ok || !reflect.DeepEqual(mirror.View().Objects(), s.View().Objects()) {
				t.Error("the commits do not give the same model")
			}
			if err := storetest.Invariants(mirror.View()); err != nil {
				t.Errorf("mirror: %v", err)
			}
		})
	}
	t.Logf("%d commands worked, %d were refused", worked[true], worked[false])
	if worked[true]*3 < worked[false] {
		t.Error("most commands were refused: the test tries too little")
	}
}

func randomTransaction(t *testing.T, s *vpc.MemoryStore, rng *rand.Rand, worked map[bool]int) {
	before := s.View()
	had := before.Objects()
	giveUp := rng.IntN(5) == 0
	_, err := s.Update(t.Context(), func(tx *vpc.Tx) error {
		g := &gambler{rng, tx}
		for range 1 + rng.IntN(4) {
			objects, changes := tx.Objects(), tx.Changes()
			moves := g.moves()
			i := rng.IntN(len(moves))
			err := moves[i]()
			worked[err == nil]++
			var e *vpc.Error
			if err != nil && !errors.As(err, &e) {
				t.Errorf("move %d gave an error without a code: %v", i, err)
			}
			if err != nil && (!reflect.DeepEqual(objects, tx.Objects()) || !reflect.DeepEqual(changes, tx.Changes())) {
				t.Errorf("move %d was refused (%v) and left a trace", i, err)
			}
			if err := storetest.Invariants(&tx.View); err != nil {
				t.Errorf("after move %d: %v", i, err)
			}
		}
		if giveUp {
			return errors.New("give up")
		}
		return nil
	})
	if (err != nil) != giveUp {
		t.Errorf("update: %v", err)
	}
	if giveUp && (s.View() != before || !reflect.DeepEqual(s.View().Objects(), had)) {
		t.Error("a transaction that was given up left a trace")
	}
	if err := storetest.Invariants(s.View()); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(before.Objects(), had) {
		t.Error("an old view changed")
	}
}
