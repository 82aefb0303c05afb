package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/vpc"
)

// twinLab is a lab whose names and addresses are those of every other twin. Only its web answers to its app, or not.
func twinLab(name string, open bool) api.File {
	rule := "[]"
	if open {
		rule = "[http from app]"
	}
	text := fmt.Sprintf(`lab: %s
vpcs: { main: { cidr: 10.0.0.0/16, subnets: { hall: 10.0.1.0/24 } } }
security-groups:
  web: { ingress: %s }
  app: {}
instances:
  web-1: { subnet: hall, ip: 10.0.1.10, groups: [web], listen: [80] }
  app-1: { subnet: hall, ip: 10.0.1.20, groups: [app] }
`, name, rule)
	return api.File{Name: name + ".yaml", Path: "/home/a/" + name + ".yaml", Data: []byte(text)}
}

// twins is a node with the labs red, where web-1 answers app-1, and blue, where it does not.
func twins(t *testing.T) *node {
	t.Helper()
	n := testNode(t)
	n.applyFile(t, twinLab("red", true))
	n.applyFile(t, twinLab("blue", false))
	return n
}

func (n *node) applyFile(t *testing.T, f api.File) *api.ApplyResult {
	t.Helper()
	res, err := n.Apply(t.Context(), &api.ApplyRequest{File: f}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// refused gives the *api.Error that an error has to be.
func refused(t *testing.T, what string, err error, code string) *api.Error {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("%s: %v, want %s", what, err, code)
	}
	return e
}

// TestLabsSideBySide: two labs with the same names and addresses do not see each other.
func TestLabsSideBySide(t *testing.T) {
	n := twins(t)
	for lab, want := range map[string]string{"red": api.Answered, "blue": api.Rejected} {
		p, err := n.Probe(t.Context(), &api.ProbeRequest{From: lab + "/app-1", To: api.Target{Host: "web-1", Port: 80, Protocol: "tcp"}})
		if err != nil {
			t.Fatal(err)
		}
		if p.Outcome != want {
			t.Errorf("%s: %s (%s), want %s", lab, p.Outcome, p.Reason, want)
		}
		x, err := n.Explain(t.Context(), &api.ExplainRequest{From: lab + "/app-1", To: api.Target{Host: lab + "/web-1", Port: 80, Protocol: "tcp"}})
		if err != nil || x.Verdict != p.Verdict {
			t.Errorf("%s: explain says %+v, %v; the probe %s", lab, x, err, p.Verdict)
		}
	}
	for lab, action := range map[string]string{"red": api.Accept, "blue": api.Reject} {
		n.flowsOf(t, lab, func(r *api.FlowRow) {
			if r.Lab != lab || r.At == "web-1" && r.Direction == api.Ingress && r.Action != action {
				t.Errorf("the records of %s have %+v", lab, r)
			}
		})
	}
}

func (n *node) flowsOf(t *testing.T, lab string, each func(*api.FlowRow)) {
	t.Helper()
	count := 0
	err := n.Flows(t.Context(), &api.FlowsRequest{Lab: lab}, func(e *api.FlowEvent) error { count++; each(e.Flow); return nil })
	if err != nil || count == 0 {
		t.Fatalf("lab %s: %d records, %v", lab, count, err)
	}
}

// everyName is each command that takes a name, called with one.
var everyName = map[string]func(ctx context.Context, n *node, lab, name string) error{
	"probe from": func(ctx context.Context, n *node, lab, name string) error {
		_, err := n.Probe(ctx, &api.ProbeRequest{Lab: lab, From: name, To: api.Target{Host: "10.0.1.1"}})
		return err
	},
	"explain from": func(ctx context.Context, n *node, lab, name string) error {
		_, err := n.Explain(ctx, &api.ExplainRequest{Lab: lab, From: name, To: api.Target{Host: "10.0.1.1"}})
		return err
	},
	"exec": func(ctx context.Context, n *node, lab, name string) error {
		_, err := n.ExecTarget(ctx, &api.ExecRequest{Lab: lab, Instance: name})
		return err
	},
	"show": func(ctx context.Context, n *node, lab, name string) error {
		_, err := n.Show(ctx, &api.ShowRequest{Lab: lab, Object: name})
		return err
	},
	"show KIND/": func(ctx context.Context, n *node, lab, name string) error {
		_, err := n.Show(ctx, &api.ShowRequest{Lab: lab, Object: "instance/" + name})
		return err
	},
	"flows --at": func(ctx context.Context, n *node, lab, name string) error {
		return n.Flows(ctx, &api.FlowsRequest{Lab: lab, Instance: name}, func(*api.FlowEvent) error { return nil })
	},
	"flows --addr": func(ctx context.Context, n *node, lab, name string) error {
		return n.Flows(ctx, &api.FlowsRequest{Lab: lab, Address: name}, func(*api.FlowEvent) error { return nil })
	},
	"conntrack --at": func(ctx context.Context, n *node, lab, name string) error {
		_, err := n.Conntrack(ctx, &api.ConntrackRequest{Lab: lab, Instance: name})
		return err
	},
	"conntrack --addr": func(ctx context.Context, n *node, lab, name string) error {
		_, err := n.Conntrack(ctx, &api.ConntrackRequest{Lab: lab, Address: name})
		return err
	},
}

// everyOtherName is the same for names of other kinds.
var everyOtherName = map[string]struct {
	name string
	call func(ctx context.Context, n *node, lab, name string) error
}{
	"authorize": {"web", func(ctx context.Context, n *node, lab, name string) error {
		_, err := n.Authorize(ctx, &api.RuleRequest{Lab: lab, Group: name, Rule: "tcp 9 from app"})
		if err == nil {
			_, err = n.Revoke(ctx, &api.RuleRequest{Lab: lab, Group: name, Rule: "tcp 9 from app"})
		}
		return err
	}},
	"revoke": {"app", func(ctx context.Context, n *node, lab, name string) error {
		_, err := n.Revoke(ctx, &api.RuleRequest{Lab: lab, Group: name, Rule: "all to anywhere"})
		if err == nil {
			_, err = n.Authorize(ctx, &api.RuleRequest{Lab: lab, Group: name, Rule: "all to anywhere"})
		}
		return err
	}},
	"show a group":  {"web", everyName["show"]},
	"show a subnet": {"hall", everyName["show"]},
	"show a VPC":    {"main", everyName["show"]},
	"flowlogs list": {"main", func(ctx context.Context, n *node, lab, name string) error {
		if lab != "" { // the command has no --lab
			name = lab + "/" + name
		}
		_, err := n.FlowLogFiles(ctx, &api.FlowLogsRequest{FlowLog: name})
		return err
	}},
}

// TestAmbiguousNames: a name of two labs is refused with the ways to say which, and each of these ways works, as does --lab.
func TestAmbiguousNames(t *testing.T) {
	n := twins(t)
	check := func(what, name string, call func(ctx context.Context, n *node, lab, name string) error) {
		e := refused(t, what, call(t.Context(), n, "", name), api.CodeAmbiguousObject)
		if want := []string{"blue/" + name, "red/" + name}; !slices.Equal(e.Near, want) {
			t.Errorf("%s: says %q, want %q", what, e.Near, want)
		}
		for _, way := range e.Near {
			if err := call(t.Context(), n, "", way); err != nil {
				t.Errorf("%s %s: %v", what, way, err)
			}
		}
		if err := call(t.Context(), n, "red", name); err != nil {
			t.Errorf("%s with --lab red: %v", what, err)
		}
		e = refused(t, what, call(t.Context(), n, "", "green/"+name), api.CodeUnknownObject)
		if !strings.Contains(e.Message, "no lab is called green") || !slices.Equal(e.Near, []string{"blue", "red"}) {
			t.Errorf("%s: an unknown lab gives %+v", what, e)
		}
		refused(t, what, call(t.Context(), n, "green", name), api.CodeUnknownObject)
		refused(t, what, call(t.Context(), n, "", "red/nobody"), api.CodeUnknownObject)
	}
	for what, call := range everyName {
		check(what, "web-1", call)
	}
	for what, c := range everyOtherName {
		check(what, c.name, c.call)
	}
}

// TestNamesAreUnderstoodWhereTheyAreClear: the far end's name is looked for in the sender's lab first.
func TestNamesAreUnderstoodWhereTheyAreClear(t *testing.T) {
	n := twins(t)
	for _, lab := range []string{"red", "blue"} {
		x, err := n.Explain(t.Context(), &api.ExplainRequest{From: lab + "/app-1", To: api.Target{Host: "web-1", Port: 80}})
		if err != nil || x.Destination.Name != "web-1" {
			t.Errorf("%s: %+v, %v", lab, x, err)
		}
		if err := n.Flows(t.Context(), &api.FlowsRequest{Instance: lab + "/app-1", Address: "web-1"}, func(*api.FlowEvent) error { return nil }); err != nil {
			t.Errorf("%s: flows --at %s/app-1 --addr web-1: %v", lab, lab, err)
		}
	}
	// An address of the other lab means something else here: it must not be taken for an answer.
	for what, err := range map[string]error{
		"probe":   value2(n.Probe(t.Context(), &api.ProbeRequest{From: "red/app-1", To: api.Target{Host: "blue/web-1", Port: 80}})),
		"explain": value2(n.Explain(t.Context(), &api.ExplainRequest{From: "red/app-1", To: api.Target{Host: "blue/web-1", Port: 80}})),
	} {
		if e := refused(t, what, err, api.CodeUnsupported); !strings.Contains(e.Message, "no route leads") {
			t.Errorf("%s: %v", what, e)
		}
	}
}

func value2[T any](_ T, err error) error { return err }

// TestDownTakesOnlyItsOwn: everything of the other lab, and what belongs to no lab, stays as it was and runs on.
func TestDownTakesOnlyItsOwn(t *testing.T) {
	n := twins(t)
	var foreign *vpc.VPC
	_, err := n.update(t.Context(), func(tx *vpc.Tx) (err error) { // as Terraform would
		foreign, err = tx.CreateVpc(vpc.CreateVpcInput{Owner: vpc.Owner{Name: "main"}, CIDR: twinCIDR(t, n)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	before := objectsOf(n.store.View(), "red")
	res, err := n.Down(t.Context(), &api.DownRequest{Lab: "blue"}, quiet)
	if err != nil || res.Stopping || !slices.Equal(res.Labs, []string{"blue"}) {
		t.Fatalf("%+v, %v", res, err)
	}
	view := n.store.View()
	if after := objectsOf(view, "red"); !slices.Equal(before, after) {
		t.Errorf("red had %v and has %v", before, after)
	}
	if left := objectsOf(view, "blue"); len(left) > 0 {
		t.Errorf("of blue there is still %v", left)
	}
	if _, ok := view.VPC(foreign.ID); !ok {
		t.Error("the VPC of no lab is gone")
	}
	p, err := n.Probe(t.Context(), &api.ProbeRequest{From: "app-1", To: api.Target{Host: "web-1", Port: 80, Protocol: "tcp"}})
	if err != nil || p.Outcome != api.Answered {
		t.Errorf("red does not run on: %+v, %v", p, err)
	}
	refused(t, "down blue again", value2(n.Down(t.Context(), &api.DownRequest{Lab: "blue"}, quiet)), api.CodeUnknownObject)
}

func twinCIDR(t *testing.T, n *node) netip.Prefix {
	t.Helper()
	v, ok := n.store.View().VPCNamed("red", "main")
	if !ok {
		t.Fatal("there is no red/main")
	}
	return v.CIDR
}

func objectsOf(view *vpc.View, lab string) (ids []string) {
	for _, o := range view.LabObjects(lab) {
		ids = append(ids, o.Metadata().ID)
	}
	slices.Sort(ids)
	return ids
}

// TestOneNameTwoFiles: a second file with a lab's name is refused by whatever changes or tests the lab, until it is adopted.
func TestOneNameTwoFiles(t *testing.T) {
	n := testNode(t)
	first, second := twinLab("red", true), twinLab("red", false)
	second.Name, second.Path = "other.yaml", "/home/b/other.yaml"
	n.applyFile(t, first)
	n.applyFile(t, first) // the same file is no other one
	before := n.store.View().Revision()
	for what, err := range map[string]error{
		"apply":   value2(n.Apply(t.Context(), &api.ApplyRequest{File: second}, quiet)),
		"dry run": value2(n.Apply(t.Context(), &api.ApplyRequest{File: second, DryRun: true}, quiet)),
		"test":    value2(n.Test(t.Context(), &api.TestRequest{File: second, Tests: &api.File{Name: "t", Data: []byte("tests: [{ from: app-1, to: web-1:80, expect: accept }]")}}, nil)),
	} {
		e := refused(t, what, err, api.CodeOtherFile)
		for _, want := range []string{"/home/a/red.yaml", "/home/b/other.yaml", "--adopt", "down red"} {
			if !strings.Contains(e.Message+e.Fix, want) {
				t.Errorf("%s: %q is not in %+v", what, want, e)
			}
		}
	}
	if now := n.store.View().Revision(); now != before {
		t.Errorf("revision %d before, %d after", before, now)
	}
	id := func() string { i, _ := n.store.View().InstanceNamed("red", "web-1"); return i.ID }
	web := id()
	res, err := n.Apply(t.Context(), &api.ApplyRequest{File: second, Adopt: true}, quiet)
	if err != nil || len(res.Changes) != 1 || id() != web {
		t.Fatalf("adopted with %+v, %v; web-1 was %s and is %s", res, err, web, id())
	}
	refused(t, "the first file afterwards", value2(n.Apply(t.Context(), &api.ApplyRequest{File: first}, quiet)), api.CodeOtherFile)
	if _, err := n.Down(t.Context(), &api.DownRequest{Lab: "red", Keep: true}, quiet); err != nil {
		t.Fatal(err)
	}
	n.applyFile(t, first) // the name is free again
}

// TestManyVPCs: AWS's quota of five is for one account; labs are many.
func TestManyVPCs(t *testing.T) {
	n := testNode(t)
	const labs = 12
	for i := range labs {
		n.applyFile(t, twinLab(fmt.Sprintf("lab-%d", i), true))
	}
	st, err := n.Status(t.Context())
	if err != nil || len(st.Labs) != labs || len(st.Instances) != 2*labs {
		t.Fatalf("%d labs, %d instances, %v", len(st.Labs), len(st.Instances), err)
	}
	p, err := n.Probe(t.Context(), &api.ProbeRequest{Lab: "lab-11", From: "app-1", To: api.Target{Host: "web-1", Port: 80, Protocol: "tcp"}})
	if err != nil || p.Outcome != api.Answered {
		t.Errorf("%+v, %v", p, err)
	}
	res, err := n.Down(t.Context(), &api.DownRequest{}, quiet)
	if err != nil || !res.Stopping || len(res.Labs) != labs || len(n.store.View().Objects()) != 0 {
		t.Errorf("%+v, %v, %d objects are left", res, err, len(n.store.View().Objects()))
	}
}

// TestNamesOfTwoInOneLab: where LAB/NAME is not enough, ids are told.
func TestNamesOfTwoInOneLab(t *testing.T) {
	n := testNode(t)
	n.applyFile(t, api.File{Name: "l.yaml", Data: []byte(`lab: l
vpcs:
  a: { cidr: 10.0.0.0/16, subnets: { hall: 10.0.1.0/24 } }
  b: { cidr: 10.0.0.0/16, subnets: { hall: 10.0.1.0/24 } }
`)})
	_, err := n.Show(t.Context(), &api.ShowRequest{Object: "hall"})
	e := refused(t, "show hall", err, api.CodeAmbiguousObject)
	if len(e.Near) != 2 || e.Near[0] == e.Near[1] {
		t.Fatalf("says %q", e.Near)
	}
	for _, way := range e.Near {
		if res, err := n.Show(t.Context(), &api.ShowRequest{Object: way}); err != nil || res.Subnet == nil {
			t.Errorf("show %s: %+v, %v", way, res, err)
		}
	}
}

// TestThreeTierWithoutTAPs is the first lab on a machine where there are none, as on macOS: the agent chooses netstack by itself,
// serves its socket, passes the lab's tests and leaves nothing behind.
func TestThreeTierWithoutTAPs(t *testing.T) {
	have := preferred
	preferred = []string{"netstack"}
	defer func() { preferred = have }()
	dir, err := os.MkdirTemp("", "vl-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{DataDir: dir, Driver: "auto", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, func() { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	c := api.NewClient(dir)
	file := example(t, "three-tier")
	res, err := c.Apply(ctx, &api.ApplyRequest{File: file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range res.Instances {
		if i.Driver != "netstack" || i.State != "running" {
			t.Errorf("%s: driver %s, %s", i.Name, i.Driver, i.State)
		}
	}
	sum, err := c.Test(ctx, &api.TestRequest{File: file}, func(r *api.TestResult) error {
		if r.Status != api.TestOK {
			t.Errorf("%+v", r)
		}
		return nil
	})
	if err != nil || sum.Passed != 5 || sum.RulesUsed != sum.Rules {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, err := c.Down(ctx, &api.DownRequest{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{"agent.sock*", "run/*"} {
		if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}
