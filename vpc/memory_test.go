package vpc_test

import (
	"testing"

	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vpc/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, cfg vpc.Config) vpc.Store { return vpc.NewMemoryStore(cfg) })
}

func TestMemoryStoreForgetsOldChanges(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	start := f.store.View().Revision()
	for n := range 1025 {
		tags := map[string]string{"n": string(rune('a' + n%2))}
		if _, err := f.store.Update(t.Context(), func(tx *vpc.Tx) error { return tx.SetTags(vpc.SetTagsInput{ResourceID: f.shop.ID, Set: tags}) }); err != nil {
			t.Fatal(err)
		}
	}
	if sets, ok := f.store.Changes(start); ok {
		t.Errorf("1025 commits ago: %d sets", len(sets))
	}
	if sets, ok := f.store.Changes(start + 1); !ok || len(sets) != 1024 || sets[0].Revision != start+2 {
		t.Errorf("1024 commits ago: %d sets, %v", len(sets), ok)
	}
}

func TestModelCommitOfAStaleTransaction(t *testing.T) {
	m := vpc.NewModel(vpc.Config{})
	create := func(tx *vpc.Tx) {
		if _, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx("10.0.0.0/16")}); err != nil {
			t.Error(err)
		}
	}
	first, second := m.Begin(), m.Begin()
	create(first)
	create(second)
	if len(m.View().VPCs()) != 0 {
		t.Error("a transaction is seen before its commit")
	}
	if err := m.Commit(first, 1); err != nil {
		t.Error(err)
	}
	if err := m.Commit(second, 2); err == nil {
		t.Error("a transaction that began before another's commit could commit")
	}
	if v := m.View(); v.Revision() != 1 || len(v.VPCs()) != 1 {
		t.Errorf("revision %d, %d VPCs", v.Revision(), len(v.VPCs()))
	}
}

// TestChangesAreFolded: one entry per object, whatever a transaction did to it.
func TestChangesAreFolded(t *testing.T) {
	m := vpc.NewModel(vpc.Config{})
	tx := m.Begin()
	v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := tx.SetTags(vpc.SetTagsInput{ResourceID: v.ID, Set: map[string]string{"Name": name}}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: v.ID, CIDR: pfx("10.0.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.DeleteSubnet(s.ID); err != nil {
		t.Fatal(err)
	}
	changes := tx.Changes()
	if len(changes) != 3 {
		t.Fatalf("%d changes, want VPC, route table, group", len(changes))
	}
	for _, c := range changes {
		if c.Before != nil {
			t.Errorf("%s is said to have been there before", c.Object().Metadata().ID)
		}
		if got, ok := c.After.(*vpc.VPC); ok && got.Name != "b" {
			t.Errorf("the VPC ends as %q", got.Name)
		}
	}
}
