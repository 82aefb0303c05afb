package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/lab"
)

// Test runs a lab's tests with real packets, one after the other.
func (n *node) Test(ctx context.Context, r *api.TestRequest, report func(*api.TestResult) error) (*api.TestSummary, error) {
	f, err := n.testFile(r)
	if err != nil {
		return nil, err
	}
	n.labbing.Lock() // no apply and no down while tests run
	defer n.labbing.Unlock()
	if !slices.Contains(n.store.View().Labs(), f.Lab) {
		return nil, &api.Error{Code: api.CodeUnknownObject, Message: fmt.Sprintf("lab %s is not up", f.Lab), Fix: "apply it first: `vpclab apply FILE`"}
	}
	if err := n.ownFile(f.Lab, r.File, false); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := n.world(f.Lab)
	defer w.closeAll(context.WithoutCancel(ctx))
	since := time.Now().Add(-recordResolution)
	var results []lab.Result
	sum, err := lab.Run(ctx, f, w, func(res lab.Result) {
		results = append(results, res)
		if report(testResult(&res)) != nil {
			cancel() // the client is gone
		}
	})
	if errors.Is(err, lab.ErrNoTests) {
		return nil, &api.Error{Code: api.CodeNoTests, Message: err.Error()}
	}
	if err != nil {
		return nil, err
	}
	out := summary(&sum, since)
	if r.JUnit {
		var b bytes.Buffer
		if err := lab.WriteJUnit(&b, results, sum); err != nil {
			return nil, err
		}
		out.JUnit = b.String()
	}
	return out, nil
}

// recordResolution is how exact the times of records are: the first may seem to be so much older than it is.
const recordResolution = 2 * time.Millisecond

// testFile is the lab's file, perhaps with the tests of another.
func (n *node) testFile(r *api.TestRequest) (*lab.File, error) {
	f, err := lab.Parse(r.File.Name, r.File.Data)
	if err == nil && r.Tests != nil {
		f, err = f.WithTests(r.Tests.Name, r.Tests.Data)
	}
	if err != nil {
		return nil, labError(err)
	}
	return f, nil
}

func testResult(r *lab.Result) *api.TestResult {
	out := &api.TestResult{
		Number: r.Number, Name: strings.Join(strings.Fields(r.Name), " "), Status: string(r.Status), Where: r.Pos.String(), Elapsed: api.SecondsOf(r.Elapsed),
	}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, api.Problem{Where: r.Pos.String(), Message: p})
	}
	if r.Single && len(r.Steps) > 0 {
		singleResult(out, &r.Steps[0])
		return out
	}
	if out.Name == "" {
		out.Name = "test at " + r.Pos.String()
	}
	for i := range r.Steps {
		s := &r.Steps[i]
		out.Steps = append(out.Steps, api.StepCheck{Text: s.Text, Status: string(s.Status), Verdict: s.Verdict, Because: s.Because, Where: s.DecidedAt})
		out.Problems = append(out.Problems, problems(s)...)
	}
	return out
}

// singleResult fills in what a test of one check has to say.
func singleResult(out *api.TestResult, s *lab.StepResult) {
	out.Verdict, out.Because, out.Protocol = s.Verdict, s.Because, s.Protocol
	out.Problems = append(out.Problems, problems(s)...)
	if s.DecidedAt != "" {
		out.Where = s.DecidedAt
	}
	o := s.Observation
	if o == nil {
		if out.Name == "" {
			out.Name = s.Text
		}
		return
	}
	out.Source = &api.Endpoint{Name: s.From, Address: o.Source.Addr()}
	out.Destination = &api.Endpoint{Name: o.DestinationName, Address: o.Destination.Addr(), Port: int(o.Destination.Port())}
	for _, r := range o.Records {
		ref := api.RecordRef{At: r.Instance, Direction: r.Direction.String(), Action: api.Reject}
		if r.Accept {
			ref.Action = api.Accept
		}
		out.Records = append(out.Records, ref)
	}
}

func problems(s *lab.StepResult) []api.Problem {
	var out []api.Problem
	for _, p := range s.Problems {
		out = append(out, api.Problem{Where: s.Pos.String(), Message: p})
	}
	return out
}

func summary(s *lab.Summary, since time.Time) *api.TestSummary {
	out := &api.TestSummary{
		Lab: s.Lab, Total: s.Total, Passed: s.Passed, Failed: s.Failed, Skipped: s.Skipped, Elapsed: api.SecondsOf(s.Elapsed),
		RulesUsed: s.RulesUsed, Rules: s.Rules, Since: since,
	}
	for _, u := range s.Unused {
		out.Unused = append(out.Unused, api.RuleRef{Group: u.Group, Direction: u.Direction.String(), Words: u.Words, Where: u.Pos.String()})
	}
	return out
}

// Validate says what a lab file is, without an agent. The error is an *api.Error with all that is wrong.
func Validate(name string, data []byte) (*api.Validation, error) {
	f, err := lab.Parse(name, data)
	if err != nil {
		return nil, labError(err)
	}
	v := &api.Validation{Name: name, Lab: f.Lab, VPCs: len(f.VPCs), Groups: len(f.Groups), Instances: len(f.Instances), Tests: len(f.Tests)}
	for _, x := range f.VPCs {
		v.Subnets += len(x.Subnets)
	}
	for _, g := range f.Groups {
		v.Rules += len(g.Ingress) + len(g.Egress)
	}
	return v, nil
}
