package vpc_test

import (
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestTAPEqual(t *testing.T) {
	full := vpc.TAP{Device: "vm0", Make: true, Owner: "alice", Group: "kvm", Netns: "lab", Learn: true, Attached: true}
	for name, c := range map[string]struct {
		a, b *vpc.TAP
		want bool
	}{
		"none":          {nil, nil, true},
		"one is none":   {&full, nil, false},
		"other is none": {nil, &vpc.TAP{}, false},
		"same":          {&full, &vpc.TAP{Device: "vm0", Make: true, Owner: "alice", Group: "kvm", Netns: "lab", Learn: true, Attached: true}, true},
		"other device":  {&vpc.TAP{Device: "vm0"}, &vpc.TAP{Device: "vm1"}, false},
		"learns":        {&vpc.TAP{Device: "vm0", Learn: true}, &vpc.TAP{Device: "vm0"}, false},
	} {
		if got := c.a.Equal(c.b); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestInstanceKeepsItsTAP: what the caller changes afterwards does not change the model.
func TestInstanceKeepsItsTAP(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	given := &vpc.TAP{Device: "vnet3", Learn: true}
	f.do(t, func(tx *vpc.Tx) error {
		i, err := tx.RunInstance(vpc.RunInstanceInput{Driver: "tap", TAP: given, Interfaces: []vpc.InterfaceSpec{{SubnetID: f.public.ID}}})
		if err != nil {
			return err
		}
		given.Device = "other"
		if i.TAP == nil || i.TAP.Device != "vnet3" || !i.TAP.Learn {
			t.Errorf("%+v", i.TAP)
		}
		return nil
	})
}
