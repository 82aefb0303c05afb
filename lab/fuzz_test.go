package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/vpclab/vpclab/vpc"
)

// noQuotas are quotas that no lab file reaches.
var noQuotas = vpc.Quotas{
	VPCs: 1e6, SubnetsPerVPC: 1e6, SecurityGroups: 1e6, RulesPerGroup: 1e6, GroupsPerInterface: 16, NetworkInterfaces: 1e6, AddressesPerInterface: 1e6,
	PrefixLists: 1e6, EntriesPerPrefixList: 1e6, FlowLogsPerResource: 1e6, InterfacesPerInstance: 1e6, TagsPerResource: 1e6, FlowLogResourcesAtOnce: 1e6,
}

// FuzzParse: Parse never panics; its problems are in the text and fit on a line; what it takes the schema and an
// empty model take, too, and taking it twice changes nothing.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "../examples/*/lab.yaml"} {
		for _, path := range glob(f, pattern) {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, data []byte) { parseAny(t, schema, vpc.NewMemoryStore(storeConfig), data) })
}

var storeConfig = vpc.Config{Seed: 1, Quotas: noQuotas}

// parseAny checks what FuzzParse promises of any text, and whether the text is a lab file. The store may hold an
// earlier state of the lab.
func parseAny(t *testing.T, schema *jsonschema.Schema, s *vpc.MemoryStore, data []byte) bool {
	file, err := Parse("lab.yaml", data)
	if err != nil {
		checkProblems(t, data, err)
		return false
	}
	if err := validate(schema, data); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
	_, err = s.Update(context.Background(), func(tx *vpc.Tx) error { _, err := Apply(tx, file); return err })
	if p, ok := errors.AsType[*Problem](err); ok && strings.Contains(p.Wrong, "availabilityZone") {
		return false // only the model knows its Region
	}
	if err != nil {
		t.Fatalf("the model refuses it: %v", err)
	}
	if again, err := Plan(s.View(), file); err != nil || len(again) > 0 {
		t.Errorf("the second plan: %s, %v", lines(again), err)
	}
	return true
}

// word is what TestParseMutated puts in the place of another.
var word = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9_./:-]*|[][{},]`)

// TestParseMutated checks the same of lab files of which some words were replaced by other words of lab files, and
// applies each on top of the last one: any lab can become any other in one step.
func TestParseMutated(t *testing.T) {
	schema := compileSchema(t)
	var files []string
	pool := []string{"0", "-1", "70000", "~", "default", "anywhere-v6", "sg-0123456789abcdef0", "*x", "&x", "<<", "10.0.1.4", "10.0.0.0/8", "fd00:1::/64", "tracked"}
	for _, path := range append(glob(t, "testdata/good/*.yaml"), glob(t, "../examples/*/lab.yaml")...) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, strings.Replace(string(data), "lab: "+parseFile(t, path).Lab, "lab: same", 1))
		pool = append(pool, word.FindAllString(string(data), -1)...)
	}
	seed := uint64(1)
	if env := os.Getenv("LAB_SEED"); env != "" {
		if _, err := fmt.Sscan(env, &seed); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(seed, 1))
	s := vpc.NewMemoryStore(storeConfig)
	good := 0
	for range 1200 {
		text := files[r.IntN(len(files))]
		for range 1 + r.IntN(3) {
			places := word.FindAllStringIndex(text, -1)
			at := places[r.IntN(len(places))]
			text = text[:at[0]] + pool[r.IntN(len(pool))] + text[at[1]:]
		}
		if parseAny(t, schema, s, []byte(text)) {
			good++
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, text)
		}
	}
	if good < 50 {
		t.Errorf("only %d texts were lab files", good)
	}
}

func checkProblems(t *testing.T, data []byte, err error) {
	t.Helper()
	ps, ok := errors.AsType[Problems](err)
	if !ok || len(ps) == 0 || len(ps) > maxProblems {
		t.Fatalf("the error is %T with %d problems", err, len(ps))
	}
	height := strings.Count(string(data), "\n") + 1
	for i, p := range ps {
		if p.Wrong == "" || p.File != "lab.yaml" || p.Line < 0 || p.Line > height {
			t.Errorf("problem %+v", p)
		}
		if i > 0 && ps[i-1].Line > p.Line {
			t.Error("problems are not sorted")
		}
		if strings.ContainsFunc(p.Error(), isControl) || strings.ContainsAny(p.Error(), "\n") {
			t.Errorf("a message is not one line of text: %q", p.Error())
		}
	}
}
