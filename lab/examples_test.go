package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

// onPaper applies a file to an empty model and runs its tests on paper.
func onPaper(t *testing.T, f *File) (string, Summary) {
	t.Helper()
	s := newStore()
	apply(t, s, f)
	before := rulesIn(s.View())
	var results []Result
	sum, err := Run(t.Context(), f, &paperWorld{store: s, lab: f.Lab, open: map[string]*paperFlow{}}, func(r Result) { results = append(results, r) })
	if err != nil {
		t.Fatal(err)
	}
	if after := rulesIn(s.View()); after != before {
		t.Errorf("rules before the tests:\n%s\nand after:\n%s", before, after)
	}
	var b strings.Builder
	if err := Print(&b, results, sum); err != nil {
		t.Fatal(err)
	}
	return b.String(), sum
}

func rulesIn(v *vpc.View) string {
	var all []string
	for _, g := range v.SecurityGroups("") {
		for _, r := range g.Rules {
			all = append(all, fmt.Sprintf("%+v", r))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// TestExamples: the tests of each example pass by AWS's text, use every rule, and turn red if any written rule is gone.
func TestExamples(t *testing.T) {
	for _, path := range glob(t, "../examples/*/lab.yaml") {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			f := parseFile(t, path)
			if f.Lab != filepath.Base(filepath.Dir(path)) || f.About == "" {
				t.Errorf("lab: %q, about: %q", f.Lab, f.About)
			}
			text, sum := onPaper(t, f)
			if sum.Failed > 0 || sum.Passed != len(f.Tests) || sum.RulesUsed != sum.Rules || sum.Rules == 0 {
				t.Errorf("on paper:\n%s", text)
			}
			for _, cut := range withoutEachRule(t, path) {
				if text, sum := onPaper(t, cut.f); sum.Failed == 0 {
					t.Errorf("without %s all tests pass:\n%s", cut.rule, text)
				}
			}
		})
	}
}

type cutFile struct {
	f    *File
	rule string
}

// withoutEachRule gives the file once for each of its rules, without it.
func withoutEachRule(t *testing.T, path string) []cutFile {
	t.Helper()
	var out []cutFile
	whole := parseFile(t, path)
	for i, g := range whole.Groups {
		for j, r := range g.Ingress {
			f := parseFile(t, path)
			f.Groups[i].Ingress = slices.Delete(f.Groups[i].Ingress, j, j+1)
			out = append(out, cutFile{f, g.Name + " ingress: " + r.Words})
		}
		for j, r := range g.Egress {
			f := parseFile(t, path)
			f.Groups[i].Egress = slices.Delete(f.Groups[i].Egress, j, j+1)
			out = append(out, cutFile{f, g.Name + " egress: " + r.Words})
		}
	}
	return out
}

// commands are those that a README may ask for.
var commands = []string{
	"up", "down", "status", "apply", "validate", "exec", "probe", "explain", "test", "authorize", "revoke", "flows", "conntrack", "show", "version", "completion",
	"console", "start", "stop", "restart",
}

var shellLine = regexp.MustCompile(`(?m)^\$ (.*)$`)

// TestReadmes: each example has a README of about a page whose commands exist, and whose files, groups and instances
// are those of the lab.
func TestReadmes(t *testing.T) {
	for _, path := range glob(t, "../examples/*/lab.yaml") {
		name := filepath.Base(filepath.Dir(path))
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "README.md"))
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(text), "\n"); n < 30 || n > 110 {
			t.Errorf("%s: the README has %d lines", name, n)
		}
		f := parseFile(t, path)
		lines := shellLine.FindAllStringSubmatch(string(text), -1)
		if len(lines) < 3 {
			t.Errorf("%s: the README has %d commands", name, len(lines))
		}
		for _, line := range lines {
			if problem := checkCommand(f, name, strings.Fields(line[1])); problem != "" {
				t.Errorf("%s: %q: %s", name, line[1], problem)
			}
		}
	}
}

func checkCommand(f *File, example string, words []string) string {
	if words[0] != "vpclab" || len(words) < 2 || !slices.Contains(commands, words[1]) {
		return "no such command"
	}
	args := slices.DeleteFunc(slices.Clone(words[2:]), func(w string) bool { return strings.HasPrefix(w, "-") })
	switch words[1] {
	case "up", "test", "apply", "validate":
		if !slices.Contains(args, "examples/"+example+"/lab.yaml") {
			return "it does not name the lab file"
		}
	case "probe", "explain":
		from, _, err := parseFrom(args[0])
		if err != nil || f.instance(from) == nil || len(args) != 2 {
			return "no such sender"
		}
		if to, err := ParseTarget(args[1]); err != nil || to.Instance != "" && f.instance(to.Instance) == nil {
			return "no such target"
		}
	case "exec":
		if f.instance(args[0]) == nil {
			return "no such instance"
		}
	case "authorize", "revoke":
		rule := strings.Trim(strings.Join(args[1:], " "), `"`)
		if _, err := permissionsOf(rule, RuleDirection(rule)); err != nil || f.group(args[0]) == nil {
			return "no such group or rule"
		}
	}
	return ""
}
