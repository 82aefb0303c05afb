package lab

import (
	"os"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func parseTAPs(t *testing.T) (*File, string) {
	t.Helper()
	data, err := os.ReadFile("testdata/good/tap.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("lab.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return f, string(data)
}

func applyFile(t *testing.T, s vpc.Store, f *File) (done *Applied, err error) {
	t.Helper()
	_, err = s.Update(t.Context(), func(tx *vpc.Tx) (err error) {
		done, err = Apply(tx, f)
		return err
	})
	return done, err
}

func TestTAPInModel(t *testing.T) {
	f, text := parseTAPs(t)
	s := vpc.NewMemoryStore(vpc.Config{Seed: 1})
	done, err := applyFile(t, s, f)
	if err != nil {
		t.Fatal(err)
	}
	view := s.View()
	for name, want := range map[string]struct {
		tap *vpc.TAP
		mac string
	}{
		"theirs": {&vpc.TAP{Device: "vnet3", Learn: true}, ""},
		"known":  {&vpc.TAP{Device: "vnet4"}, "52:54:00:ab:cd:ef"},
		"ours":   {&vpc.TAP{Device: "vm0", Make: true, Owner: "alice", Group: "105", Netns: "lab", Learn: true}, ""},
		"short":  {&vpc.TAP{Device: "vm1", Make: true, Learn: true}, ""},
		"plain":  {nil, "02:00:00:00:00:01"},
	} {
		i, _ := view.Instance(done.Instances[name])
		n, _ := view.NetworkInterface(done.Interfaces[name])
		if !i.TAP.Equal(want.tap) || want.mac != "" && n.MAC != want.mac || (i.Driver == "tap") != (want.tap != nil) {
			t.Errorf("%s: driver %s, %+v, %s", name, i.Driver, i.TAP, n.MAC)
		}
	}
	// A MAC that was learnt is no difference; one that the file gives is.
	learnt := "52:54:00:12:34:56"
	_, err = s.Update(t.Context(), func(tx *vpc.Tx) error {
		_, err := tx.ModifyNetworkInterface(vpc.ModifyNetworkInterfaceInput{ID: done.Interfaces["theirs"], MAC: &learnt})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := parseTAPs(t)
	if changes, err := Plan(s.View(), again); err != nil || len(changes) != 0 {
		t.Errorf("%v, %v", changes, err)
	}
	for name, edit := range map[string][2]string{
		"another device": {"tap: vnet3", "tap: vnet5"},
		"ours, not hers": {"tap: vnet3", "tap: { name: vnet3 }"},
		"another owner":  {"owner: alice", "owner: bob"},
		"another MAC":    {"mac: 52-54-00-AB-CD-EF", "mac: 52-54-00-AB-CD-EE"},
		"no MAC":         {", mac: 52-54-00-AB-CD-EF", ""},
		"a MAC":          {"tap: vnet3", "tap: vnet3, mac: 52:54:00:12:34:56"},
	} {
		f, err := Parse("lab.yaml", []byte(strings.Replace(text, edit[0], edit[1], 1)))
		if err != nil {
			t.Fatal(err)
		}
		if changes, err := Plan(s.View(), f); err != nil || len(changes) != 2 { // it goes and comes
			t.Errorf("%s: %v, %v", name, changes, err)
		}
	}
}

// TestJoined: what joined a lab live is let be by its file, keeps its name, and goes with the lab.
func TestJoined(t *testing.T) {
	f, text := parseTAPs(t)
	f.MTU = 1500
	s := vpc.NewMemoryStore(vpc.Config{Seed: 1})
	done, err := applyFile(t, s, f)
	if err != nil {
		t.Fatal(err)
	}
	in := vpc.RunInstanceInput{Driver: "tap", TAP: &vpc.TAP{Device: "vnet9", Attached: true}, Owner: vpc.Owner{Name: "guest"},
		Interfaces: []vpc.InterfaceSpec{{SubnetID: done.Subnets["main/a"]}}}
	f.Join(&in)
	if in.Lab != "taps" || in.Name != "guest" {
		t.Errorf("%+v", in.Owner)
	}
	_, err = s.Update(t.Context(), func(tx *vpc.Tx) error {
		i, err := tx.RunInstance(in)
		if err == nil && MTU(i) != 1500 {
			t.Errorf("MTU %d", MTU(i))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if changes, err := Plan(s.View(), f); err != nil || len(changes) != 0 {
		t.Errorf("%v, %v", changes, err)
	}
	same, err := Parse("lab.yaml", []byte(text+"  guest: { subnet: a }\n"))
	if err != nil {
		t.Fatal(err)
	}
	same.MTU = 1500
	_, err = applyFile(t, s, same)
	if err == nil || !strings.Contains(err.Error(), "device vnet9 was attached as guest") || !strings.Contains(err.Error(), "vpclab detach guest") {
		t.Errorf("%v", err)
	}
	_, err = s.Update(t.Context(), func(tx *vpc.Tx) error { _, err := Remove(tx, "taps"); return err })
	if err != nil || len(s.View().LabObjects("taps")) != 0 {
		t.Errorf("%v, left: %v", err, s.View().LabObjects("taps"))
	}
}
