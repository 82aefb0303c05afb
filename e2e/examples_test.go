//go:build linux

package e2e

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/vpclab/vpclab/api/agent"
)

// examples are the names of all examples.
func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(home, "examples", "*", "lab.yaml"))
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	var names []string
	for _, f := range files {
		if filepath.Base(filepath.Dir(f)) == "vm" {
			continue // it needs a kernel: see TestMachineExample
		}
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	return names
}

func TestExamples(t *testing.T) {
	for _, driver := range []string{"netns", "netstack"} {
		for _, name := range examples(t) {
			t.Run(driver+"/"+name, func(t *testing.T) {
				if driver == "netns" {
					needsRoot(t)
				}
				h := newHost(t)
				r := h.run("test", "examples/"+name+"/lab.yaml", "--driver", driver)
				if r.code != 0 || !strings.Contains(r.out, " passed in ") {
					t.Errorf("%v", r)
				}
				used, all := 0, 0
				if _, rules, ok := strings.Cut(r.out, "rules used: "); !ok {
					t.Errorf("no word of rules\n%s", r.out)
				} else if _, err := fmt.Sscanf(rules, "%d of %d", &used, &all); err != nil || used != all {
					t.Errorf("%d of %d rules used: %v", used, all, err)
				}
			})
		}
	}
}

func TestExamplesHaveREADMEs(t *testing.T) {
	for _, name := range examples(t) {
		text, err := os.ReadFile(filepath.Join(home, "examples", name, "README.md"))
		if err != nil || len(text) < 500 {
			t.Errorf("%s: %d bytes: %v", name, len(text), err)
		}
	}
}

// without gives a lab file once for each rule that is written in it: the file without that rule.
func without(t *testing.T, file string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for n := 0; ; n++ {
		var top yaml.MapSlice
		if err := yaml.UnmarshalWithOptions([]byte(read(t, file)), &top, yaml.UseOrderedMap()); err != nil {
			t.Fatal(err)
		}
		removed := ""
		at := 0
		for _, g := range field(top, "security-groups") {
			lists, _ := g.Value.(yaml.MapSlice)
			for i := range lists {
				rules, _ := lists[i].Value.([]any)
				if removed == "" && n-at < len(rules) {
					removed = fmt.Sprintf("%v %v: %v", g.Key, lists[i].Key, rules[n-at])
					lists[i].Value = append(rules[:n-at:n-at], rules[n-at+1:]...)
				}
				at += len(rules)
			}
		}
		if removed == "" {
			return out
		}
		text, err := yaml.Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		out[removed] = text
	}
}

func field(m yaml.MapSlice, name string) yaml.MapSlice {
	for _, f := range m {
		if f.Key == name {
			v, _ := f.Value.(yaml.MapSlice)
			return v
		}
	}
	return nil
}

// TestEachRuleIsTested takes each written rule out of each example: the lab's tests have to notice.
func TestEachRuleIsTested(t *testing.T) {
	total := 0
	for _, name := range examples(t) {
		all := without(t, filepath.Join(home, "examples", name, "lab.yaml"))
		if len(all) == 0 {
			t.Errorf("%s: no rule was found in it", name)
		}
		total += len(all)
		for rule, text := range all {
			t.Run(name+"/"+rule, func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				r := h.run("test", h.lab(string(text)), "--driver", "netstack")
				if r.code != 1 || !strings.Contains(r.out, "\nFAIL ") && !strings.HasPrefix(r.out, "FAIL ") {
					t.Errorf("without %q: want exit code 1 and a test that fails\n%v", rule, r)
				}
			})
		}
	}
	if total < 14 {
		t.Errorf("only %d rules were found in the examples", total)
	}
}

const quietLab = `
lab: quiet
vpcs:
  main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24 } }
security-groups:
  web: { ingress: [http from anywhere] }
instances:
  web-1: { subnet: a, ip: 10.0.1.10, groups: [web], listen: [80] }
  guest-1: { subnet: a, ip: 10.0.1.20 }
`

func TestLabWithoutTests(t *testing.T) {
	h := newHost(t)
	h.fails(2, "lab quiet has no tests", "test", h.lab(quietLab), "--driver", "netstack")
	// One that is up is no different.
	h.up(h.lab(quietLab), "--driver", "netstack")
	h.fails(2, "lab quiet has no tests", "test", h.lab(quietLab))
}

// TestGrader runs tests of another file against a lab, as a grader does, and reads the report.
func TestGrader(t *testing.T) {
	h := newHost(t)
	lab := h.lab(quietLab)
	tests := filepath.Join(t.TempDir(), "grade.yaml")
	text := `
tests:
  - { name: the web is open, from: guest-1, to: web-1:80, expect: accept }
  - { name: "ping <is> \"not\" & never was", from: guest-1, to: web-1, expect: accept }
`
	if err := os.WriteFile(tests, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := h.run("test", lab, "--tests", tests, "-o", "junit", "--driver", "netstack")
	if r.code != 1 {
		t.Errorf("want exit code 1, since the second test fails\n%v", r)
	}
	type testcase struct {
		Name    string  `xml:"name,attr"`
		Time    float64 `xml:"time,attr"`
		Failure *struct {
			Message string `xml:"message,attr"`
		} `xml:"failure"`
	}
	var report struct {
		XMLName xml.Name
		Suites  []struct {
			Tests    int        `xml:"tests,attr"`
			Failures int        `xml:"failures,attr"`
			Cases    []testcase `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("%v\n%v", err, r)
	}
	if report.XMLName.Local != "testsuites" || len(report.Suites) != 1 || report.Suites[0].Tests != 2 || report.Suites[0].Failures != 1 || len(report.Suites[0].Cases) != 2 {
		t.Fatalf("%+v\n%s", report, r.out)
	}
	good, bad := report.Suites[0].Cases[0], report.Suites[0].Cases[1]
	if good.Name != "the web is open" || good.Failure != nil || good.Time < 0 {
		t.Errorf("%+v", good)
	}
	if bad.Name != `ping <is> "not" & never was` || bad.Failure == nil || !strings.Contains(bad.Failure.Message, "rejected") {
		t.Errorf("%+v %+v", bad, bad.Failure)
	}

	var list struct {
		Results []agent.TestResult `json:"results"`
		Summary agent.TestSummary  `json:"summary"`
	}
	r = h.run("test", lab, "--tests", tests, "-o", "json", "--driver", "netstack")
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || r.code != 1 || len(list.Results) != 2 || list.Summary.Failed != 1 {
		t.Errorf("%v %v", err, r)
	}
}
