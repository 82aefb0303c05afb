package lab

import (
	"reflect"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

const runHead = "lab: x\nvpcs: { main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24 } } }\ninstances:\n"

// TestRunForms: one command or several; a script keeps its lines.
func TestRunForms(t *testing.T) {
	for text, want := range map[string][]string{
		"  i-1: { subnet: a }":                                                               nil,
		"  i-1: { subnet: a, run: echo a b }":                                                {"echo a b"},
		"  i-1: { subnet: a, run: [echo a, 'sleep 1; b'] }":                                  {"echo a", "sleep 1; b"},
		"  i-1:\n    subnet: a\n    run: |\n      if true; then\n        echo a\n      fi\n": {"if true; then\n  echo a\nfi"},
		"  i-1: { subnet: a, driver: netns, run: x }":                                        {"x"},
	} {
		f, err := Parse("lab.yaml", []byte(runHead+text+"\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := f.Instances[0].Run; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"  i-1: { subnet: a, run: '" + strings.Repeat("x", vpc.MaxCommand+1) + "' }": "lab.yaml:4:26: instances.i-1.run[0]: a command has at most 16384 bytes; this has 16385; put it into a file, and run that",
		"  i-1: { subnet: a, driver: qemu, disk: d.img, run: x }":                    "only netns instances run commands of the lab file",
	} {
		_, err := Parse("lab.yaml", []byte(runHead+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %.300v, want %q", text, err, want)
		}
	}
}

// TestRunIsKept: the model has the commands, and others make another instance.
func TestRunIsKept(t *testing.T) {
	store := vpc.NewMemoryStore(vpc.Config{Seed: 1})
	apply := func(run string) *vpc.Instance {
		t.Helper()
		f, err := Parse("lab.yaml", []byte(runHead+"  i-1: { subnet: a, ip: 10.0.1.10, driver: netns"+run+" }\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Update(t.Context(), func(tx *vpc.Tx) error { _, err := Apply(tx, f); return err }); err != nil {
			t.Fatal(err)
		}
		return store.View().Instances("")[0]
	}
	none := apply("")
	one := apply(", run: echo one")
	same := apply(", run: [echo one]")
	two := apply(", run: [echo one, echo two]")
	again := apply("")
	if none.Run != nil || !reflect.DeepEqual(one.Run, []string{"echo one"}) || len(two.Run) != 2 || again.Run != nil {
		t.Errorf("%q, %q, %q, %q", none.Run, one.Run, two.Run, again.Run)
	}
	if one.ID != same.ID || none.ID == one.ID || one.ID == two.ID || two.ID == again.ID {
		t.Errorf("%s, %s, %s, %s, %s", none.ID, one.ID, same.ID, two.ID, again.ID)
	}
}
