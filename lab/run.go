package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

// ErrNoTests is the error of Run for a file without tests: there was nothing to check, which is not a success.
var ErrNoTests = errors.New("no tests")

// Run runs the tests of a file against its running lab, one after the other in the order of the file, and gives each
// result to report (from the caller's goroutine) when it has ended. After each test, whatever came of it, its open
// connections are closed and the rules it changed are restored.
//
// Tests that fail are not an error. The error is ErrNoTests; ctx's error, if it ended (the test that ran then is
// reported as skipped, its rules are restored); or that rules could not be restored, after which no test means
// anything. The summary covers what was run.
func Run(ctx context.Context, f *File, w World, report func(Result)) (Summary, error) {
	if len(f.Tests) == 0 {
		return Summary{Lab: f.Lab}, fmt.Errorf("%s: the file has %w; add tests: [ ... ] with from, to and expect", f.Name(), ErrNoTests)
	}
	r := &runner{f: f, w: w, used: map[ruleKey]bool{}}
	sum := Summary{Lab: f.Lab}
	began := w.Now()
	var err error
	for i, t := range f.Tests {
		if err = ctx.Err(); err != nil {
			break
		}
		var result Result
		result, err = r.test(ctx, t, i+1)
		sum.add(result.Status)
		report(result)
		if err != nil {
			break
		}
	}
	sum.Elapsed = w.Now().Sub(began)
	r.countRules(&sum)
	return sum, err
}

func (s *Summary) add(status Status) {
	s.Total++
	switch status {
	case Passed:
		s.Passed++
	case Failed:
		s.Failed++
	default:
		s.Skipped++
	}
}

// ruleKey names a rule as written.
type ruleKey struct {
	group     string
	direction vpc.Direction
	words     string
}

func (r *runner) countRules(sum *Summary) {
	for _, g := range r.f.Groups {
		for _, rule := range append(append([]Rule{}, g.Ingress...), g.Egress...) {
			sum.Rules++
			if r.used[ruleKey{g.Name, rule.Direction, normalize(rule.Words)}] {
				sum.RulesUsed++
				continue
			}
			sum.Unused = append(sum.Unused, RuleUse{g.Name, rule.Direction, rule.Words, rule.Pos})
		}
	}
}

// runner runs tests.
type runner struct {
	f    *File
	w    World
	used map[ruleKey]bool
	// of the test that runs:
	conns map[string]Traffic // open connections
	order []string           // their names, in the order in which they were opened
	undo  []func(context.Context) error
}

// test runs one test. The error is one after which no other test may run.
func (r *runner) test(ctx context.Context, t *Test, number int) (Result, error) {
	out := Result{Number: number, Name: t.Name, Status: Passed, Single: t.Steps == nil, Pos: t.Pos}
	steps := t.Steps
	if out.Single {
		steps = []*Step{{Check: t.Check, Pos: t.Pos, problem: t.problem}}
	}
	r.conns, r.order, r.undo = map[string]Traffic{}, nil, nil
	began := r.w.Now()
	for _, s := range steps {
		step := StepResult{Text: s.text(), Status: Skipped, Pos: s.Pos}
		if out.Status == Passed && ctx.Err() == nil {
			step = r.step(ctx, s)
			out.Status = step.Status
		}
		out.Steps = append(out.Steps, step)
	}
	if ctx.Err() != nil {
		out.Status = Skipped
	}
	err := r.restore(ctx)
	if err != nil {
		out.Status = Failed
		out.Problems = append(out.Problems, err.Error())
	} else if out.Status == Skipped {
		err = ctx.Err()
	}
	out.Elapsed = r.w.Now().Sub(began)
	return out, err
}

// restoreTime bounds how long the world may take to restore what a test changed, also in a run that was cancelled.
const restoreTime = 30 * time.Second

// restore closes the connections and then takes the edits back, the last first.
func (r *runner) restore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
	defer cancel()
	for _, name := range r.order {
		if _, open := r.conns[name]; open {
			_ = r.w.Close(ctx, name) // the test is over; what a connection's end looks like is not its subject
		}
	}
	var errs []error
	for i := len(r.undo) - 1; i >= 0; i-- {
		if err := r.undo[i](ctx); err != nil {
			errs = append(errs, fmt.Errorf("the rules could not be restored: %w", err))
		}
	}
	return errors.Join(errs...)
}

// text says what a step does.
func (s *Step) text() string {
	traffic := s.From + " -> " + s.To
	switch {
	case s.Open != "":
		return "open " + s.Open + " " + traffic
	case s.Send != "":
		return "send " + s.Send
	case s.Close != "":
		return "close " + s.Close
	case s.Authorize != "":
		return "authorize " + s.Authorize + " (" + s.Group + ")"
	case s.Revoke != "":
		return "revoke " + s.Revoke + " (" + s.Group + ")"
	case s.Wait != 0:
		return "wait " + s.Wait.String()
	}
	return traffic
}

// step runs one step.
func (r *runner) step(ctx context.Context, s *Step) StepResult {
	out := StepResult{Text: s.text(), Status: Passed, Pos: s.Pos}
	if s.problem != "" {
		out.fail(s.problem)
		return out
	}
	var err error
	switch {
	case s.Open != "":
		err = r.open(ctx, s, &out)
	case s.Send != "":
		err = r.send(ctx, s, &out)
	case s.Close != "":
		delete(r.conns, s.Close)
		err = r.w.Close(ctx, s.Close)
	case s.Authorize != "":
		err = r.edit(ctx, s, s.Authorize, r.w.Authorize)
	case s.Revoke != "":
		err = r.edit(ctx, s, s.Revoke, r.w.Revoke)
	case s.Wait != 0:
		err = r.w.Wait(ctx, s.Wait)
	default:
		var o *Observation
		if o, err = r.w.Probe(ctx, s.Traffic); err == nil {
			r.compare(&s.Check, o, s.Traffic, &out)
		}
	}
	if err != nil {
		out.fail(err.Error())
	}
	if err != nil && ctx.Err() != nil {
		out.Status, out.Problems = Skipped, nil
	}
	return out
}

func (s *StepResult) fail(problems ...string) {
	if len(problems) > 0 {
		s.Status = Failed
		s.Problems = append(s.Problems, problems...)
	}
}

// compare fills in what was seen and whether that was expected, and notes the rules that admitted.
func (r *runner) compare(k *Check, o *Observation, t Traffic, out *StepResult) {
	for _, j := range o.Judgements {
		if j.Accept {
			r.used[ruleKey{j.Rule.Group, j.Direction, normalize(j.Rule.Words)}] = true
		}
	}
	out.describe(r.f, o, t)
	check := *k
	check.Traffic = t
	out.fail(check.judge(o)...)
}

func (r *runner) open(ctx context.Context, s *Step, out *StepResult) error {
	o, err := r.w.Open(ctx, s.Open, s.Traffic)
	if err != nil {
		return err
	}
	if o.Outcome == Answered {
		r.conns[s.Open] = s.Traffic
		r.order = append(r.order, s.Open)
	}
	r.compare(&s.Check, o, s.Traffic, out)
	return nil
}

func (r *runner) send(ctx context.Context, s *Step, out *StepResult) error {
	t, open := r.conns[s.Send]
	if !open {
		return fmt.Errorf("connection %s was not opened", s.Send)
	}
	o, err := r.w.Send(ctx, s.Send)
	if err != nil {
		return err
	}
	r.compare(&s.Check, o, t, out)
	return nil
}

// edit authorizes or revokes, and notes how to take that back.
func (r *runner) edit(ctx context.Context, s *Step, rule string, call func(context.Context, Edit) (func(context.Context) error, error)) error {
	undo, err := call(ctx, Edit{Group: s.Group, Rule: strings.Join(strings.Fields(rule), " "), Direction: s.Direction, Where: s.Pos.String()})
	if undo != nil {
		r.undo = append(r.undo, undo)
	}
	return err
}
