package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	api "github.com/vpclab/vpclab/api/agent"
)

// testNode is a node whose instances are in-process hosts.
func testNode(t *testing.T) *node {
	t.Helper()
	n, err := newNode(Options{DataDir: t.TempDir(), Driver: "netstack"}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func example(t *testing.T, name string) api.File {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../examples", name, "lab.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return api.File{Name: "lab.yaml", Data: data}
}

func quiet(*api.Progress) {}

// up applies an example.
func (n *node) up(t *testing.T, name string) *api.ApplyResult {
	t.Helper()
	res, err := n.Apply(t.Context(), &api.ApplyRequest{File: example(t, name)}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestApplyIsIdempotent: the second time there is nothing to do; a dry run does nothing.
func TestApplyIsIdempotent(t *testing.T) {
	n := testNode(t)
	dry, err := n.Apply(t.Context(), &api.ApplyRequest{File: example(t, "three-tier"), DryRun: true}, quiet)
	if err != nil || len(dry.Changes) == 0 || len(n.store.View().VPCs()) != 0 {
		t.Fatalf("dry run: %v, %d changes", err, len(dry.Changes))
	}
	first := n.up(t, "three-tier")
	if len(first.Changes) != len(dry.Changes) || len(first.Instances) != 4 {
		t.Errorf("%d changes and %d instances; the dry run said %d", len(first.Changes), len(first.Instances), len(dry.Changes))
	}
	if again := n.up(t, "three-tier"); len(again.Changes) != 0 || again.Revision != first.Revision+1 && again.Revision < first.Revision {
		t.Errorf("applied again: %v", again.Changes)
	}
	for _, i := range first.Instances {
		if i.State == "" || i.Driver != "netstack" {
			t.Errorf("instance %+v", i)
		}
	}
}

// TestTestsPass runs an example's own tests, and holds that rules are afterwards as before.
func TestTestsPass(t *testing.T) {
	n := testNode(t)
	n.up(t, "three-tier")
	before := n.store.View()
	var results []*api.TestResult
	sum, err := n.Test(t.Context(), &api.TestRequest{File: example(t, "three-tier"), JUnit: true}, func(r *api.TestResult) error {
		results = append(results, r)
		return nil
	})
	if err != nil || sum.Failed != 0 || sum.Passed != len(results) || sum.Passed != 5 {
		t.Fatalf("%v: %+v", err, sum)
	}
	if !strings.Contains(sum.JUnit, "<testsuite") {
		t.Error("no JUnit document")
	}
	for _, g := range before.SecurityGroups("") {
		now, _ := n.store.View().SecurityGroup(g.ID)
		if len(now.Rules) != len(g.Rules) {
			t.Errorf("group %s has %d rules, had %d", g.GroupName, len(now.Rules), len(g.Rules))
		}
	}
}

// TestTestNeedsTheLab says what to do where the lab is not up.
func TestTestNeedsTheLab(t *testing.T) {
	n := testNode(t)
	_, err := n.Test(t.Context(), &api.TestRequest{File: example(t, "three-tier")}, nil)
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeUnknownObject || e.Fix == "" {
		t.Errorf("got %v", err)
	}
}

// TestProbeAndExplainAgree asks both about every pair and port of the example.
func TestProbeAndExplainAgree(t *testing.T) {
	n := testNode(t)
	res := n.up(t, "three-tier")
	for _, from := range res.Instances {
		for _, to := range res.Instances {
			for _, port := range []int{0, 80, 8080, 5432} {
				if from.ID == to.ID {
					continue
				}
				target := api.Target{Host: to.Name, Port: port}
				p, err := n.Probe(t.Context(), &api.ProbeRequest{From: from.Name, To: target})
				if err != nil {
					t.Fatal(err)
				}
				x, err := n.Explain(t.Context(), &api.ExplainRequest{From: from.Name, To: target})
				if err != nil {
					t.Fatal(err)
				}
				if p.Verdict != x.Verdict {
					t.Errorf("%s to %s:%d: probe says %s, explain %s", from.Name, to.Name, port, p.Verdict, x.Verdict)
				}
				if x.Verdict == api.Reject && (p.Outcome != api.Rejected || p.Rule.Words != "no rule" || !strings.Contains(p.Reason, "nearest")) && len(p.Rule.Group) == 0 {
					t.Errorf("%s to %s:%d: %+v", from.Name, to.Name, port, p)
				}
			}
		}
	}
}

// TestRuleEdits: an added rule holds at once; a removed one leaves its connection, and says so.
func TestRuleEdits(t *testing.T) {
	n := testNode(t)
	n.up(t, "three-tier")
	probe := func() string {
		t.Helper()
		p, err := n.Probe(t.Context(), &api.ProbeRequest{From: "web-1", To: api.Target{Host: "db-1", Port: 5432}})
		if err != nil {
			t.Fatal(err)
		}
		return p.Outcome
	}
	if got := probe(); got != api.Rejected {
		t.Fatalf("before: %s", got)
	}
	edit := &api.RuleRequest{Group: "db", Rule: "postgres from web"}
	if _, err := n.Authorize(t.Context(), edit); err != nil {
		t.Fatal(err)
	}
	if got := probe(); got != api.Answered {
		t.Errorf("with the rule: %s", got)
	}
	res, err := n.Revoke(t.Context(), edit)
	if err != nil || len(res.Rules) != 1 || res.Rules[0].Words != "postgres from web" {
		t.Fatalf("revoke: %v %+v", err, res)
	}
	if got := probe(); got != api.Rejected {
		t.Errorf("without the rule: %s", got)
	}
	if _, err := n.Revoke(t.Context(), edit); err == nil || !strings.Contains(err.Error(), "no ingress rule") {
		t.Errorf("revoked twice: %v", err)
	}
	if _, err := n.Authorize(t.Context(), &api.RuleRequest{Group: "bd", Rule: "postgres from web"}); err == nil {
		t.Error("an unknown group is no error")
	}
	if _, err := n.Authorize(t.Context(), &api.RuleRequest{Group: "db", Rule: "postgres from web", Direction: api.Egress}); err == nil {
		t.Error("a direction that contradicts the rule is no error")
	}
}

// TestShowEveryKind shows each object by name, id and address.
func TestShowEveryKind(t *testing.T) {
	n := testNode(t)
	n.up(t, "three-tier")
	view := n.store.View()
	words := []string{"three-tier", "shop", "public", "web", "web-1", "10.0.1.10", "instance/web-1"}
	for _, rt := range view.RouteTables("") {
		words = append(words, rt.ID)
	}
	for _, f := range view.FlowLogs() {
		words = append(words, f.ID)
	}
	for _, ni := range view.NetworkInterfaces("") {
		words = append(words, ni.ID)
	}
	for _, w := range words {
		if _, err := n.Show(t.Context(), &api.ShowRequest{Object: w}); err != nil {
			t.Errorf("show %s: %v", w, err)
		}
	}
	_, err := n.Show(t.Context(), &api.ShowRequest{Object: "wbe"})
	var e *api.Error
	if !errors.As(err, &e) || !strings.Contains(strings.Join(e.Near, " "), "web") {
		t.Errorf("show wbe: %v", err)
	}
	names, err := n.Names(t.Context(), &api.NamesRequest{Kinds: []string{"instance"}})
	if err != nil || len(names) != 4 {
		t.Errorf("%d names, %v", len(names), err)
	}
}

// TestFlowsInOrder: the records of a probe, each flow's in the order in which its packets meet the interfaces.
func TestFlowsInOrder(t *testing.T) {
	n := testNode(t)
	n.up(t, "three-tier")
	if _, err := n.Probe(t.Context(), &api.ProbeRequest{From: "web-1", To: api.Target{Host: "app-1", Port: 8080}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := n.Flows(t.Context(), &api.FlowsRequest{Format: api.DefaultFormat}, func(e *api.FlowEvent) error {
		if e.Flow != nil {
			got = append(got, e.Flow.At+" "+e.Flow.Direction)
			if len(strings.Fields(e.Flow.Line)) != 14 {
				t.Errorf("line %q", e.Flow.Line)
			}
		}
		return nil
	})
	if want := "web-1 egress, app-1 ingress, app-1 egress, web-1 ingress"; err != nil || strings.Join(got, ", ") != want {
		t.Errorf("%v: %v, want %s", err, got, want)
	}
	rows, err := n.Conntrack(t.Context(), &api.ConntrackRequest{Instance: "app-1"})
	if err != nil || len(rows) != 1 || rows[0].Opener != api.Ingress || rows[0].Rule.Words != "tcp 8080 from web" {
		t.Errorf("conntrack: %v %+v", err, rows)
	}
}

// TestFollowerSeesNewFlows within a few seconds, and ends with its context.
func TestFollowerSeesNewFlows(t *testing.T) {
	n := testNode(t)
	n.up(t, "three-tier")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	saw := make(chan string, 64)
	ended := make(chan error, 1)
	go func() {
		ended <- n.Flows(ctx, &api.FlowsRequest{Follow: true, Instance: "app-1"}, func(e *api.FlowEvent) error {
			if e.Flow != nil {
				saw <- e.Flow.Action
			}
			return nil
		})
	}()
	for {
		if _, err := n.Probe(t.Context(), &api.ProbeRequest{From: "guest-1", To: api.Target{Host: "app-1", Port: 8080}}); err != nil {
			t.Fatal(err)
		}
		select {
		case action := <-saw:
			if action != api.Reject {
				t.Errorf("saw %s", action)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the stream ended with %v", err)
			}
			return
		case <-ctx.Done():
			t.Fatal("the follower saw nothing")
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// TestDownTakesItsOwnOnly leaves another lab's instances and traffic alone.
func TestDownTakesItsOwnOnly(t *testing.T) {
	n := testNode(t)
	n.up(t, "three-tier")
	n.up(t, "two-subnets")
	res, err := n.Down(t.Context(), &api.DownRequest{Lab: "two-subnets"}, quiet)
	if err != nil || res.Stopping {
		t.Fatalf("%v %+v", err, res)
	}
	p, err := n.Probe(t.Context(), &api.ProbeRequest{Lab: "three-tier", From: "web-1", To: api.Target{Host: "app-1", Port: 8080}})
	if err != nil || p.Outcome != api.Answered {
		t.Errorf("after the other's down: %v %+v", err, p)
	}
	if _, err := n.Down(t.Context(), &api.DownRequest{Lab: "nosuch"}, quiet); err == nil {
		t.Error("an unknown lab is no error")
	}
	res, err = n.Down(t.Context(), &api.DownRequest{}, quiet)
	if err != nil || !res.Stopping || len(n.store.View().VPCs()) != 0 {
		t.Errorf("%v %+v", err, res)
	}
}

// TestApplyBadFileChangesNothing holds that a file with errors leaves the model and the instances alone.
func TestApplyBadFileChangesNothing(t *testing.T) {
	n := testNode(t)
	n.up(t, "three-tier")
	rev := n.store.View().Revision()
	f := example(t, "three-tier")
	f.Data = []byte(strings.Replace(string(f.Data), "10.0.1.10", "10.0.9.10", 1))
	_, err := n.Apply(t.Context(), &api.ApplyRequest{File: f}, quiet)
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeInvalidLab || len(e.Problems) == 0 {
		t.Errorf("got %v", err)
	}
	if n.store.View().Revision() != rev {
		t.Error("the model changed")
	}
}

// TestSimilar says which names are offered for a slip.
func TestSimilar(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"web", "wbe", true}, {"web-1", "web", true}, {"app-1", "app-2", true}, {"database", "web", false}, {"db", "app", false}} {
		if got := similar(c.a, c.b); got != c.want {
			t.Errorf("similar(%s, %s) = %v", c.a, c.b, got)
		}
	}
}
