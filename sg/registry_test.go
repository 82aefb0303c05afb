package sg

import (
	"fmt"
	"sync"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestRegistryGroups(t *testing.T) {
	r := NewRegistry()
	for i := range uint32(1000) { // several chunks
		id := fmt.Sprintf("sg-%d", i)
		if n := r.Group(id); n != i+1 {
			t.Fatalf("Group(%s) = %d", id, n)
		}
	}
	if n := r.Group("sg-7"); n != 8 {
		t.Errorf("a known group got number %d", n)
	}
	for n, want := range map[uint32]string{0: "", 1: "sg-0", 256: "sg-255", 257: "sg-256", 1000: "sg-999", 1001: "", 1 << 30: ""} {
		if got := r.GroupID(n); got != want {
			t.Errorf("GroupID(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRegistryRules(t *testing.T) {
	r := NewRegistry()
	g := group(t, "sg-web", "http from anywhere", "tcp 8080 from sg-app")
	g.Rules[0].Where = "lab.yaml:12"
	g.Rules[1].Words = ""
	first, second := r.Rule(&g.Rules[0], g), r.Rule(&g.Rules[1], g)
	if first != 1 || second != 2 || r.Rule(&g.Rules[0], g) != 1 || r.FindRule(g.Rules[1].ID) != 2 {
		t.Fatalf("numbers %d, %d", first, second)
	}
	want := RuleInfo{
		ID: "sgr-web-00", GroupID: "sg-web", GroupName: "web", Words: "http from anywhere", Where: "lab.yaml:12",
		Permission: g.Rules[0].Permission,
	}
	if got := *r.RuleInfo(first); got != want {
		t.Errorf("RuleInfo = %+v, want %+v", got, want)
	}
	if got := r.RuleInfo(second).Words; got != "tcp 8080 from sg-app" {
		t.Errorf("words before the name is known: %q", got)
	}
	r.SetName("sg-app", "app")
	if r.Rule(&g.Rules[1], g) != second || r.RuleInfo(second).Words != "tcp 8080 from app" {
		t.Errorf("words after the name is known: %q", r.RuleInfo(second).Words)
	}
	if r.RuleInfo(NoRule) != nil || r.RuleInfo(3) != nil || r.FindRule("sgr-none") != NoRule {
		t.Error("a rule that does not exist is known")
	}
}

// A modified rule keeps its number; who holds the old description keeps it.
func TestRegistryRuleModified(t *testing.T) {
	r := NewRegistry()
	g := group(t, "sg-web", "http from anywhere")
	n := r.Rule(&g.Rules[0], g)
	old := r.RuleInfo(n)
	g.Rules[0].Words, g.Rules[0].FromPort = "", 79
	if again := r.Rule(&g.Rules[0], g); again != n {
		t.Errorf("number %d became %d", n, again)
	}
	if got := r.RuleInfo(n).Words; got != "tcp 79-80 from anywhere" {
		t.Errorf("words = %q", got)
	}
	if old.Words != "http from anywhere" {
		t.Errorf("the old description changed to %q", old.Words)
	}
}

// A default rule has no words of its own: it gets canonical ones.
func TestRegistryDefaultRule(t *testing.T) {
	r := NewRegistry()
	g := group(t, "sg-x", "all from sg-x", "all to anywhere", "all to anywhere-v6")
	for i := range g.Rules {
		g.Rules[i].Default, g.Rules[i].Words = i < 2, ""
	}
	Compile(r, []*vpc.SecurityGroup{g}, nil)
	for i, want := range []string{"all from x", "all to anywhere", "all to anywhere-v6"} {
		if info := r.RuleInfo(uint32(i + 1)); info.Words != want || info.Default != (i < 2) {
			t.Errorf("rule %d: words %q, Default %v; want %q", i, info.Words, info.Default, want)
		}
	}
}

// A rule for a prefix list says the list's name.
func TestRegistryPrefixListName(t *testing.T) {
	r := NewRegistry()
	g := group(t, "sg-web", "ssh from pl-1")
	g.Rules[0].Words = ""
	Compile(r, []*vpc.SecurityGroup{g}, func(string) (*vpc.PrefixList, bool) {
		return &vpc.PrefixList{Meta: vpc.Meta{ID: "pl-1", Name: "partners"}}, true
	})
	if got := r.RuleInfo(1).Words; got != "ssh from prefix-list partners" {
		t.Errorf("words = %q", got)
	}
}

func TestRegistryConcurrent(t *testing.T) {
	r := NewRegistry()
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 600 {
				g := &vpc.SecurityGroup{Meta: vpc.Meta{ID: fmt.Sprintf("sg-%d", i)}, GroupName: "x"}
				rule := &vpc.SecurityGroupRule{ID: fmt.Sprintf("sgr-%d", i), Description: fmt.Sprint(worker)}
				rule.Permission = vpc.Permission{Protocol: -1, GroupID: g.ID}
				if id := r.GroupID(r.Group(g.ID)); id != g.ID {
					t.Errorf("GroupID = %q, want %q", id, g.ID)
				}
				if info := r.RuleInfo(r.Rule(rule, g)); info.ID != rule.ID || info.GroupID != g.ID {
					t.Errorf("RuleInfo = %+v, want %s", info, rule.ID)
				}
			}
		})
	}
	wg.Wait()
	if r.GroupID(600) == "" || r.GroupID(601) != "" || r.RuleInfo(600) == nil || r.RuleInfo(601) != nil {
		t.Error("numbers are not dense")
	}
}
