package vswitch

import (
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func (p *stubPort) compiled() *eni { return p.w.sw.snap.Load().byID[p.eni] }

// TestPoliciesAreShared: interfaces with one set of groups share one policy, in whatever order they were given.
func TestPoliciesAreShared(t *testing.T) {
	w := newWorld(t)
	w.group("g", "tcp 80 from anywhere")
	w.group("h", "tcp 443 from g")
	one, two := w.instance("i-1", "a", "10.0.1.10", "g", "h"), w.instance("i-2", "b", "10.0.2.10", "h", "g")
	three := w.instance("i-3", "b", "10.0.2.11", "g")
	if one.compiled().policy != two.compiled().policy {
		t.Error("the same groups have two policies")
	}
	if p := three.compiled().policy; p == one.compiled().policy || p.gen == one.compiled().policy.gen {
		t.Error("different sets of groups share a policy or a generation")
	}
	if n := len(w.sw.compiler.policies); n != 2 {
		t.Errorf("%d policies are kept, want 2", n)
	}
	w.groups("i-3", "h", "g")
	if three.compiled().policy != one.compiled().policy || len(w.sw.compiler.policies) != 1 {
		t.Errorf("%d policies are kept, want the one that is used", len(w.sw.compiler.policies))
	}
}

// TestRecompiledOnlyWhereNeeded: a policy's generation rises with what it was made of, and with nothing else;
// it is compiled anew only for rules and prefix lists, not for membership.
func TestRecompiledOnlyWhereNeeded(t *testing.T) {
	w := newWorld(t)
	var list *vpc.PrefixList
	w.update(func(tx *vpc.Tx) (err error) {
		in := vpc.CreateManagedPrefixListInput{Family: 4, MaxEntries: 5}
		in.Name = "pl"
		list, err = tx.CreateManagedPrefixList(in)
		return err
	})
	w.group("named")
	w.group("g", "tcp 80 from named", "udp 1 from "+list.ID)
	w.group("other", "tcp 1 from anywhere")
	p, n := w.instance("p", "a", "10.0.1.10", "g"), w.instance("n", "a", "10.0.1.11", "other")
	w.instance("m", "a", "10.0.1.12", "named")
	for _, test := range []struct {
		name               string
		change             func()
		raised, recompiled bool // of g's policy
		raisedOther        bool
		path               bool // of the VPC
	}{
		{name: "nothing", change: func() { w.sw.Apply(w.store.View()) }},
		{name: "a tag", change: func() { w.setTag(p.eni) }},
		{name: "rule of another group", change: func() { w.authorize("other", "tcp 2 from anywhere") }, raisedOther: true},
		{name: "rule", change: func() { w.authorize("g", "tcp 81 from named") }, raised: true, recompiled: true},
		{name: "egress rule", change: func() { w.revoke("g", "all to anywhere") }, raised: true, recompiled: true},
		{name: "prefix list", change: func() {
			w.update(func(tx *vpc.Tx) (err error) {
				list, err = tx.ModifyManagedPrefixList(vpc.ModifyManagedPrefixListInput{
					ID: list.ID, CurrentVersion: list.Version, Add: []vpc.PrefixListEntry{{CIDR: netip.MustParsePrefix("192.0.2.0/24")}}})
				return err
			})
		}, raised: true, recompiled: true},
		{name: "a new member of a group that it names", change: func() { w.instance("m-2", "b", "10.0.2.12", "named") }, raised: true},
		{name: "a new interface of another group", change: func() { w.instance("x", "b", "10.0.2.13", "other") }},
		{name: "an address of a member", change: func() {
			w.update(func(tx *vpc.Tx) error {
				_, err := tx.AssignPrivateIpAddresses(vpc.AssignAddressesInput{ID: w.names["m"], Count: 1})
				return err
			})
		}, raised: true},
		{name: "a member leaves", change: func() { w.groups("m-2", "other") }, raised: true},
		{name: "an interface goes", change: func() { w.remove("x") }, path: true},
		{name: "a new subnet", change: func() {
			w.update(func(tx *vpc.Tx) error {
				_, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: w.vpcID, CIDR: netip.MustParsePrefix("10.0.3.0/24")})
				return err
			})
		}, path: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			was, other, path := p.compiled().policy, n.compiled().policy, p.compiled().net.gen
			test.change()
			now, otherNow, pathNow := p.compiled().policy, n.compiled().policy, p.compiled().net.gen
			if raised := now.gen != was.gen; raised != test.raised || (now != was) != raised {
				t.Errorf("generation %d, was %d, same policy %v", now.gen, was.gen, now == was)
			}
			if recompiled := now.Policy != was.Policy; recompiled != test.recompiled {
				t.Errorf("compiled anew: %v, want %v", recompiled, test.recompiled)
			}
			if (otherNow != other) != test.raisedOther {
				t.Errorf("the other group's policy changed: %v", otherNow != other)
			}
			if (pathNow != path) != test.path {
				t.Errorf("path generation %d, was %d", pathNow, path)
			}
		})
	}
}

func (w *world) setTag(id string) {
	w.update(func(tx *vpc.Tx) error {
		return tx.SetTags(vpc.SetTagsInput{ResourceID: id, Set: map[string]string{"k": "v"}})
	})
}

// TestNumbersAreForLife: an interface keeps its number over revisions, and a new one never gets an old one.
func TestNumbersAreForLife(t *testing.T) {
	w, web, app := pair(t)
	num, gone := web.compiled().num, app.compiled().num
	w.remove("app-1")
	again := w.instance("app-1", "b", "10.0.2.10", "app")
	if web.compiled().num != num || again.compiled().num == gone || again.compiled().num == num {
		t.Errorf("web-1 %d, then %d; app-1 %d, then %d", num, web.compiled().num, gone, again.compiled().num)
	}
	if w.sw.snap.Load().eni(gone) != nil || w.sw.snap.Load().eni(1000) != nil {
		t.Error("a number that is not in use gives an interface")
	}
}

// TestGenerationsWrap stays within what a verdict can hold and never gives 0, which no policy has.
func TestGenerationsWrap(t *testing.T) {
	c := &compiler{gen: maxGen - 1}
	for _, want := range []uint32{maxGen, 1, 2} {
		if got := c.nextGen(); got != want {
			t.Errorf("generation %d, want %d", got, want)
		}
	}
}

func TestAppliedRevision(t *testing.T) {
	w, _, _ := pair(t)
	before := w.sw.Applied()
	w.authorize("app", "tcp 1 from web")
	if got, want := w.sw.Applied(), w.store.View().Revision(); got != want || got == before {
		t.Errorf("revision %d is applied, was %d; the store is at %d", got, before, want)
	}
}
