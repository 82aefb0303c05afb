package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

// Open makes an empty store that lives until the test ends.
type Open func(t *testing.T, cfg vpc.Config) vpc.Store

// Run runs the suite against the stores that open makes.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"a new store is empty":                          empty,
		"a commit is seen whole":                        commit,
		"an error leaves nothing":                       abort,
		"a panic leaves nothing":                        panics,
		"a context that ended leaves nothing":           cancelled,
		"no change makes no revision":                   unchanged,
		"a view never changes":                          immutable,
		"a transaction reads its own writes":            ownWrites,
		"changed is closed by the next commit":          changed,
		"changes rebuild the model":                     changes,
		"a transaction that ended does nothing":         ended,
		"concurrent readers see only whole commits":     readers,
		"concurrent writers never give one thing twice": writers,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

var errGiveUp = errors.New("give up")

var config = vpc.Config{Account: "123456789010", Region: "us-east-1", Seed: 1, Quotas: vpc.Quotas{VPCs: 1000}}

// network makes a VPC with one subnet of 251 addresses.
func network(tx *vpc.Tx) (*vpc.VPC, *vpc.Subnet, error) {
	v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		return nil, nil, err
	}
	s, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: v.ID, CIDR: netip.MustParsePrefix("10.0.1.0/24")})
	return v, s, err
}

func update(t *testing.T, s vpc.Store, fn func(tx *vpc.Tx) error) vpc.Revision {
	t.Helper()
	rev, err := s.Update(t.Context(), fn)
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	check(t, s.View())
	return rev
}

func check(t *testing.T, v *vpc.View) {
	t.Helper()
	if err := Invariants(v); err != nil {
		t.Error(err)
	}
}

func empty(t *testing.T, open Open) {
	s := open(t, config)
	v := s.View()
	if n := len(v.Objects()); n != 0 {
		t.Errorf("%d objects", n)
	}
	if v.Account() != config.Account || v.Region() != config.Region {
		t.Errorf("account %q, region %q", v.Account(), v.Region())
	}
}

func commit(t *testing.T, open Open) {
	s := open(t, config)
	before := s.View().Revision()
	var id string
	rev := update(t, s, func(tx *vpc.Tx) error {
		if s.View().Revision() != before || len(s.View().Objects()) != 0 {
			t.Error("something is seen before the commit")
		}
		v, _, err := network(tx)
		id = v.ID
		if len(s.View().Objects()) != 0 {
			t.Error("a command is seen before the commit")
		}
		return err
	})
	v := s.View()
	if rev <= before || v.Revision() != rev {
		t.Errorf("revision %d after %d; the view has %d", rev, before, v.Revision())
	}
	if _, ok := v.VPC(id); !ok || len(v.Objects()) != 4 {
		t.Errorf("VPC there: %v, %d objects, want 4", ok, len(v.Objects()))
	}
}

// leavesNothing runs an update that makes things and then fails, and sees that the store stayed as it was.
func leavesNothing(t *testing.T, s vpc.Store, run func()) {
	t.Helper()
	update(t, s, func(tx *vpc.Tx) error { _, _, err := network(tx); return err })
	before, ch := s.View(), s.Changed()
	run()
	after := s.View()
	if after.Revision() != before.Revision() || !reflect.DeepEqual(after.Objects(), before.Objects()) {
		t.Errorf("revision %d, was %d; %d objects, were %d", after.Revision(), before.Revision(), len(after.Objects()), len(before.Objects()))
	}
	select {
	case <-ch:
		t.Error("Changed was closed")
	default:
	}
	update(t, s, func(tx *vpc.Tx) error { _, _, err := network(tx); return err }) // it still works
}

func abort(t *testing.T, open Open) {
	s := open(t, config)
	leavesNothing(t, s, func() {
		_, err := s.Update(t.Context(), func(tx *vpc.Tx) error {
			v, sub, err := network(tx)
			if err != nil {
				return err
			}
			if err := tx.DeleteSubnet(sub.ID); err != nil {
				return err
			}
			return fmt.Errorf("after %s: %w", v.ID, errGiveUp)
		})
		if !errors.Is(err, errGiveUp) {
			t.Errorf("error %v, want fn's own", err)
		}
	})
}

func panics(t *testing.T, open Open) {
	s := open(t, config)
	leavesNothing(t, s, func() {
		defer func() {
			if r := recover(); r != errGiveUp {
				t.Errorf("recovered %v", r)
			}
		}()
		_, _ = s.Update(t.Context(), func(tx *vpc.Tx) error {
			if _, _, err := network(tx); err != nil {
				return err
			}
			panic(errGiveUp)
		})
	})
}

func cancelled(t *testing.T, open Open) {
	s := open(t, config)
	leavesNothing(t, s, func() {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Update(ctx, func(tx *vpc.Tx) error {
			_, _, err := network(tx)
			cancel()
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled during the update: %v", err)
		}
		_, err = s.Update(ctx, func(*vpc.Tx) error { t.Error("fn ran with a context that has ended"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before the update: %v", err)
		}
	})
}

func unchanged(t *testing.T, open Open) {
	s := open(t, config)
	rev := update(t, s, func(tx *vpc.Tx) error { _, _, err := network(tx); return err })
	for name, fn := range map[string]func(tx *vpc.Tx) error{
		"nothing": func(*vpc.Tx) error { return nil },
		"made and deleted": func(tx *vpc.Tx) error {
			l, err := tx.CreateManagedPrefixList(vpc.CreateManagedPrefixListInput{Owner: vpc.Owner{Name: "l"}, Family: 4, MaxEntries: 1})
			if err != nil {
				return err
			}
			return tx.DeleteManagedPrefixList(l.ID)
		},
	} {
		if again := update(t, s, fn); again != rev || s.View().Revision() != rev {
			t.Errorf("%s: revision %d, view %d, want %d", name, again, s.View().Revision(), rev)
		}
	}
}

func immutable(t *testing.T, open Open) {
	s := open(t, config)
	var sub *vpc.Subnet
	update(t, s, func(tx *vpc.Tx) (err error) { _, sub, err = network(tx); return err })
	old := s.View()
	objects := old.Objects()
	update(t, s, func(tx *vpc.Tx) error {
		_, err := tx.RunInstance(vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{{SubnetID: sub.ID}}})
		if err != nil {
			return err
		}
		return tx.SetTags(vpc.SetTagsInput{ResourceID: sub.ID, Set: map[string]string{"Name": "new"}})
	})
	if !reflect.DeepEqual(old.Objects(), objects) || len(old.InterfacesInSubnet(sub.ID)) != 0 {
		t.Error("the old view changed")
	}
	if was, _ := old.Subnet(sub.ID); was.Name != "" {
		t.Errorf("the old subnet is called %q", was.Name)
	}
	if now, _ := s.View().Subnet(sub.ID); now.Name != "new" {
		t.Errorf("the new subnet is called %q", now.Name)
	}
}

func ownWrites(t *testing.T, open Open) {
	s := open(t, config)
	update(t, s, func(tx *vpc.Tx) error {
		v, sub, err := network(tx)
		if err != nil {
			return err
		}
		i, err := tx.RunInstance(vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{{SubnetID: sub.ID}}})
		if err != nil {
			return err
		}
		n, ok := tx.NetworkInterfaceByAddr(v.ID, netip.MustParseAddr("10.0.1.4"))
		if !ok || n.InstanceID != i.ID || len(tx.InterfacesInGroup(v.DefaultSecurityGroup)) != 1 {
			t.Errorf("the new interface is not found: %v %v", n, ok)
		}
		if err := tx.DeleteSubnet(sub.ID); vpc.ErrorCode(err) != "DependencyViolation" {
			t.Errorf("deleting a subnet with a new interface: %v", err)
		}
		return nil // a refused command is no reason to give up
	})
	if n := len(s.View().Instances("")); n != 1 {
		t.Errorf("%d instances", n)
	}
}

func changed(t *testing.T, open Open) {
	s := open(t, config)
	ch := s.Changed()
	rev := update(t, s, func(tx *vpc.Tx) error { _, _, err := network(tx); return err })
	select {
	case <-ch:
	default:
		t.Fatal("Changed was not closed by the commit")
	}
	if got := s.View().Revision(); got < rev {
		t.Errorf("after Changed the view is at %d, want %d", got, rev)
	}
	select {
	case <-s.Changed():
		t.Error("the new channel is closed already")
	default:
	}
}

func changes(t *testing.T, open Open) {
	s := open(t, config)
	start := s.View().Revision()
	var sub *vpc.Subnet
	var i *vpc.Instance
	update(t, s, func(tx *vpc.Tx) (err error) { _, sub, err = network(tx); return err })
	update(t, s, func(tx *vpc.Tx) (err error) {
		i, err = tx.RunInstance(vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{{SubnetID: sub.ID}}})
		if err != nil {
			return err
		}
		i, err = tx.SetInstanceState(i.ID, vpc.StateRunning)
		return err
	})
	middle := s.View().Revision()
	update(t, s, func(tx *vpc.Tx) error { return tx.TerminateInstance(i.ID) })

	mirror := vpc.NewModel(config)
	sets, ok := s.Changes(start)
	if !ok || len(sets) != 3 {
		t.Fatalf("%d change sets, %v, want 3", len(sets), ok)
	}
	for _, set := range sets {
		mirror.Apply(set.Revision, set.Changes)
		check(t, mirror.View())
		if set.Revision == middle {
			if got, _ := mirror.View().Instance(i.ID); got == nil || got.State != vpc.StateRunning {
				t.Errorf("in the middle the instance is %+v", got)
			}
		}
	}
	if v := mirror.View(); v.Revision() != s.View().Revision() || !reflect.DeepEqual(v.Objects(), s.View().Objects()) {
		t.Error("the mirror differs from the store")
	}
	if late, ok := s.Changes(middle); !ok || len(late) != 1 || late[0].Revision != s.View().Revision() {
		t.Errorf("since the middle: %d sets, %v", len(late), ok)
	}
	if none, ok := s.Changes(s.View().Revision()); !ok || len(none) != 0 {
		t.Errorf("since now: %d sets, %v", len(none), ok)
	}
	if _, ok := s.Changes(s.View().Revision() + 1); ok {
		t.Error("the store knows the future")
	}
}

func ended(t *testing.T, open Open) {
	s := open(t, config)
	var kept *vpc.Tx
	update(t, s, func(tx *vpc.Tx) error { kept = tx; _, _, err := network(tx); return err })
	n := len(s.View().Objects())
	late := func(what string) {
		if _, err := kept.CreateVpc(vpc.CreateVpcInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")}); err == nil {
			t.Errorf("a command worked after its transaction was %s", what)
		}
	}
	late("committed")
	_, _ = s.Update(t.Context(), func(tx *vpc.Tx) error { kept = tx; return errGiveUp })
	late("given up")
	if len(s.View().Objects()) != n {
		t.Error("it changed the store")
	}
}

// readers hold that instance and interface, and a network of four objects, come and go together.
func readers(t *testing.T, open Open) {
	s := open(t, config)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			last := vpc.Revision(0)
			for !stop.Load() {
				v := s.View()
				if v.Revision() < last {
					t.Errorf("the revision fell from %d to %d", last, v.Revision())
				}
				last = v.Revision()
				if err := Invariants(v); err != nil {
					t.Error(err)
				}
				if nets, subs := len(v.VPCs()), len(v.Subnets("")); nets != subs {
					t.Errorf("%d VPCs, %d subnets: half a commit", nets, subs)
				}
			}
		})
	}
	for round := range 20 {
		var sub *vpc.Subnet
		var i *vpc.Instance
		must := func(fn func(tx *vpc.Tx) error) {
			if _, err := s.Update(t.Context(), fn); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		must(func(tx *vpc.Tx) (err error) { _, sub, err = network(tx); return err })
		must(func(tx *vpc.Tx) (err error) {
			i, err = tx.RunInstance(vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{{SubnetID: sub.ID, SecondaryCount: 3}}})
			return err
		})
		_, _ = s.Update(t.Context(), func(tx *vpc.Tx) error { _, _, _ = network(tx); return errGiveUp })
		must(func(tx *vpc.Tx) error {
			if err := tx.TerminateInstance(i.ID); err != nil {
				return err
			}
			if err := tx.DeleteSubnet(sub.ID); err != nil {
				return err
			}
			return tx.DeleteVpc(sub.VPCID)
		})
	}
	stop.Store(true)
	wg.Wait()
}

func writers(t *testing.T, open Open) {
	s := open(t, config)
	var sub *vpc.Subnet
	update(t, s, func(tx *vpc.Tx) (err error) { _, sub, err = network(tx); return err })
	var wg sync.WaitGroup
	var made, full, dup atomic.Int64
	for w := range 4 {
		wg.Go(func() {
			for n := range 70 {
				_, err := s.Update(t.Context(), func(tx *vpc.Tx) error {
					_, err := tx.RunInstance(vpc.RunInstanceInput{Interfaces: []vpc.InterfaceSpec{{SubnetID: sub.ID}}})
					return err
				})
				switch vpc.ErrorCode(err) {
				case "":
					made.Add(1)
				case "InsufficientFreeAddressesInSubnet":
					full.Add(1)
				default:
					t.Errorf("writer %d: %v", w, err)
				}
				_, err = s.Update(t.Context(), func(tx *vpc.Tx) error {
					_, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{
						VPCID: sub.VPCID, GroupName: fmt.Sprintf("group-%d", n), Description: "d",
					})
					return err
				})
				if vpc.ErrorCode(err) == "InvalidGroup.Duplicate" {
					dup.Add(1)
				} else if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	check(t, s.View())
	if made.Load() != 251 || full.Load() != 4*70-251 || dup.Load() != 3*70 {
		t.Errorf("%d instances, %d refused, %d duplicates; want 251, 29, 210", made.Load(), full.Load(), dup.Load())
	}
	if free := s.View().AvailableAddresses(sub.ID); free != 0 {
		t.Errorf("%d addresses are free", free)
	}
}
