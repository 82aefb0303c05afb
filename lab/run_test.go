package lab

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

// scriptWorld is a World that answers from a script and writes down what it is asked. It knows nothing of rules: it
// is for Run's own logic only.
type scriptWorld struct {
	answers map[string]*Observation // by "from>to", or the connection's name for Send
	log     []string
	now     time.Time
	fail    map[string]error // by the line of the log
	cancel  map[string]context.CancelFunc
}

func (w *scriptWorld) note(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	w.log = append(w.log, line)
	w.now = w.now.Add(100 * time.Millisecond)
	if c := w.cancel[line]; c != nil {
		c()
	}
	return w.fail[line]
}

func (w *scriptWorld) Probe(_ context.Context, t Traffic) (*Observation, error) {
	key := t.From + ">" + t.To.String()
	return w.answers[key], w.note("probe %s", key)
}

func (w *scriptWorld) Open(_ context.Context, conn string, t Traffic) (*Observation, error) {
	return w.answers[t.From+">"+t.To.String()], w.note("open %s", conn)
}

func (w *scriptWorld) Send(_ context.Context, conn string) (*Observation, error) {
	return w.answers[conn], w.note("send %s", conn)
}

func (w *scriptWorld) Close(_ context.Context, conn string) error { return w.note("close %s", conn) }

func (w *scriptWorld) edit(what string, e Edit) (func(context.Context) error, error) {
	line := fmt.Sprintf("%s %s %s %s %s", what, e.Group, e.Direction, e.Rule, e.Where)
	if err := w.note("%s", line); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return w.note("undo %s", line)
	}, nil
}

func (w *scriptWorld) Authorize(_ context.Context, e Edit) (func(context.Context) error, error) {
	return w.edit("authorize", e)
}

func (w *scriptWorld) Revoke(_ context.Context, e Edit) (func(context.Context) error, error) {
	return w.edit("revoke", e)
}

func (w *scriptWorld) Now() time.Time { return w.now }

func (w *scriptWorld) Wait(ctx context.Context, d time.Duration) error {
	w.now = w.now.Add(d)
	return errors.Join(w.note("wait %v", d), ctx.Err())
}

const runLab = `lab: run
vpcs: { v: { cidr: 10.0.0.0/16, subnets: { s: 10.0.1.0/24 } } }
security-groups:
  web: { ingress: [http from anywhere, ssh from app], egress: [http to web] }
  app: {}
instances:
  a: { subnet: s, ip: 10.0.1.10, groups: app }
  b: { subnet: s, ip: 10.0.1.20, groups: web }
tests:
`

var (
	a1 = netip.MustParseAddrPort("10.0.1.10:40000")
	b1 = netip.MustParseAddrPort("10.0.1.20:80")
)

// accepted and rejected are what a world sees of traffic from a to b.
func accepted() *Observation {
	rule := RuleRef{Group: "web", Words: "http from anywhere", Where: "lab.yaml:4"}
	all := RuleRef{Group: "app", Words: "all to anywhere", Default: true}
	return &Observation{
		Outcome: Answered, Source: a1, Destination: b1, DestinationName: "b", RTT: 400 * time.Microsecond,
		Judgements: []Judgement{
			{Instance: "a", Groups: []string{"app"}, Direction: vpc.Egress, Accept: true, Rule: all},
			{Instance: "b", Groups: []string{"web"}, Direction: vpc.Ingress, Accept: true, Rule: rule},
			{Instance: "b", Groups: []string{"web"}, Direction: vpc.Egress, Accept: true, Tracked: true, Rule: rule},
			{Instance: "a", Groups: []string{"app"}, Direction: vpc.Ingress, Accept: true, Tracked: true, Rule: all},
		},
		Records: []Record{{"a", vpc.Egress, true}, {"b", vpc.Ingress, true}, {"b", vpc.Egress, true}, {"a", vpc.Ingress, true}},
	}
}

func tracked() *Observation {
	o := accepted()
	for i := range o.Judgements {
		o.Judgements[i].Tracked = true
	}
	return o
}

func rejected() *Observation {
	o := accepted()
	o.Outcome, o.RTT, o.Judgements, o.Records = Rejected, 0, o.Judgements[:2], []Record{{"a", vpc.Egress, true}, {"b", vpc.Ingress, false}}
	o.Judgements[1] = Judgement{Instance: "b", Groups: []string{"extra", "web"}, Direction: vpc.Ingress}
	return o
}

func observed(o Outcome, detail string) *Observation {
	return &Observation{Outcome: o, Detail: detail, Source: a1, Destination: netip.MustParseAddrPort("192.0.2.1:80")}
}

func newScript() *scriptWorld {
	return &scriptWorld{
		now:  time.Unix(0, 0),
		fail: map[string]error{}, cancel: map[string]context.CancelFunc{},
		answers: map[string]*Observation{"a>b:80": accepted(), "a>b:81": rejected(), "c1": tracked(), "a>192.0.2.1:80": observed(Dropped, "no route")},
	}
}

// runTests runs tests in the fake world.
func runTests(t *testing.T, ctx context.Context, w *scriptWorld, tests string) ([]Result, Summary, error) {
	t.Helper()
	f := parseText(t, runLab+tests)
	var results []Result
	sum, err := Run(ctx, f, w, func(r Result) { results = append(results, r) })
	return results, sum, err
}

const stepsTest = `  - name: steps
    steps:
      - { open: c1, from: a, to: "b:80" }
      - { revoke: http from anywhere, group: web }
      - { authorize: http   to anywhere, group: app }
      - { wait: 50ms }
      - { send: c1, because: tracked }
      - { from: a, to: "b:81", expect: reject }
  - { from: a, to: "b:80", expect: accept }
`

func TestRunOrder(t *testing.T) {
	w := newScript()
	results, sum, err := runTests(t, t.Context(), w, stepsTest)
	if err != nil || sum.Passed != 2 || sum.ExitCode() != 0 {
		t.Fatalf("%+v %v\n%+v", sum, err, results)
	}
	want := `open c1
revoke web ingress http from anywhere lab.yaml:13
authorize app egress http to anywhere lab.yaml:14
wait 50ms
send c1
probe a>b:81
close c1
undo authorize app egress http to anywhere lab.yaml:14
undo revoke web ingress http from anywhere lab.yaml:13
probe a>b:80`
	if got := strings.Join(w.log, "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if results[0].Elapsed != 950*time.Millisecond || sum.Elapsed != 1050*time.Millisecond {
		t.Errorf("elapsed %v, %v", results[0].Elapsed, sum.Elapsed)
	}
	if sum.Rules != 3 || sum.RulesUsed != 1 || len(sum.Unused) != 2 || sum.Unused[1].String() != "web egress: http to web" || sum.Unused[0].Pos.String() != "lab.yaml:4" {
		t.Errorf("rules: %+v", sum)
	}
}

// Whatever comes of a test, its connections are closed and its rules are restored; the steps after a failure are not run.
func TestRunRestores(t *testing.T) {
	const undone = "undo revoke web ingress http from anywhere lab.yaml:13"
	for _, c := range []struct {
		name, line string // of the log, where it goes wrong
		err        error
		status     Status
		last, want string // last lines of the log; problem
	}{
		{"world fails", "wait 50ms", errors.New("no clock"), Failed, "close c1\nundo authorize app egress http to anywhere lab.yaml:14\n" + undone + "\nprobe a>b:80", "no clock"},
		{"edit fails", "authorize app egress http to anywhere lab.yaml:14", errors.New("refused"), Failed, "close c1\n" + undone + "\nprobe a>b:80", "refused"},
		{"close fails", "close c1", errors.New("stuck"), Passed, "close c1\nundo authorize app egress http to anywhere lab.yaml:14\n" + undone + "\nprobe a>b:80", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newScript()
			w.fail[c.line] = c.err
			results, sum, err := runTests(t, t.Context(), w, stepsTest)
			if err != nil || results[0].Status != c.status || results[1].Status != Passed {
				t.Errorf("%v %+v", err, sum)
			}
			if got := strings.Join(w.log, "\n"); !strings.HasSuffix(got, c.last) {
				t.Errorf("got:\n%s\nwant at the end:\n%s", got, c.last)
			}
			if got := allProblems(results[0]); got != c.want {
				t.Errorf("problems: %q; want %q", got, c.want)
			}
		})
	}
}

func allProblems(r Result) string {
	var all []string
	for _, s := range r.Steps {
		all = append(all, s.Problems...)
	}
	return strings.Join(append(all, r.Problems...), "\n")
}

func TestRunCancelled(t *testing.T) {
	w := newScript()
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel["wait 50ms"] = cancel
	results, sum, err := runTests(t, ctx, w, stepsTest)
	if !errors.Is(err, context.Canceled) || len(results) != 1 || results[0].Status != Skipped || sum.Skipped != 1 || sum.ExitCode() == 0 {
		t.Errorf("%v %+v %+v", err, sum, results)
	}
	if got := allProblems(results[0]); got != "" {
		t.Errorf("a cancelled test says %q", got)
	}
	var b strings.Builder
	if err := WriteJUnit(&b, results, sum); err != nil || !strings.Contains(b.String(), "<skipped></skipped>") || !strings.Contains(b.String(), `skipped="1"`) {
		t.Errorf("%v\n%s", err, b.String())
	}
	if got := strings.Join(w.log[4:], "\n"); got != "close c1\nundo authorize app egress http to anywhere lab.yaml:14\nundo revoke web ingress http from anywhere lab.yaml:13" {
		t.Errorf("got:\n%s", got)
	}
}

// After rules could not be restored no test means anything.
func TestRunCannotRestore(t *testing.T) {
	w := newScript()
	w.fail["undo authorize app egress http to anywhere lab.yaml:14"] = errors.New("the store is gone")
	results, sum, err := runTests(t, t.Context(), w, stepsTest)
	if err == nil || len(results) != 1 || results[0].Status != Failed || sum.Failed != 1 || allProblems(results[0]) != "the rules could not be restored: the store is gone" {
		t.Errorf("%v %+v", err, results)
	}
	if w.log[len(w.log)-1] != "undo revoke web ingress http from anywhere lab.yaml:13" {
		t.Error("the other edit was not taken back")
	}
}

func TestRunNoTests(t *testing.T) {
	_, _, err := runTests(t, t.Context(), newScript(), "  []")
	if !errors.Is(err, ErrNoTests) || err.Error() != "lab.yaml: the file has no tests; add tests: [ ... ] with from, to and expect" {
		t.Error(err)
	}
}

// A file of tests for another lab: what the lab does not have fails, the rest is run.
func TestRunTestsOnlyFile(t *testing.T) {
	f := parseText(t, strings.TrimSuffix(runLab, "tests:\n"))
	g, err := f.WithTests("grade.yaml", []byte("tests:\n  - { name: the database, from: a, to: \"db:5432\", expect: reject }\n  - { from: a, to: \"b:80\", expect: accept }\n"))
	if err != nil {
		t.Fatal(err)
	}
	w := newScript()
	var results []Result
	sum, err := Run(t.Context(), g, w, func(r Result) { results = append(results, r) })
	if err != nil || sum.Failed != 1 || sum.Passed != 1 || len(w.log) != 1 {
		t.Errorf("%+v %v %v", sum, err, w.log)
	}
	if got := allProblems(results[0]); got != "there is no instance db; the instances are a and b" || results[0].Pos.String() != "grade.yaml:2" {
		t.Errorf("%q at %s", got, results[0].Pos)
	}
}

func TestJudge(t *testing.T) {
	refused, lost, dropped := accepted(), accepted(), observed(Dropped, "no route")
	refused.Outcome, lost.Outcome = Refused, Lost
	udp := Traffic{From: "a", To: Target{Instance: "b", Port: 80, Protocol: "udp"}}
	for _, c := range []struct {
		name  string
		check Check
		o     *Observation
		want  string
	}{
		{"accept", Check{Expect: ExpectAccept}, accepted(), ""},
		{"accept, refused", Check{Expect: ExpectAccept}, refused, ""},
		{"accept, lost", Check{Expect: ExpectAccept}, lost, "expected accept, but no answer came"},
		{"accept, lost UDP", Check{Expect: ExpectAccept, Traffic: udp}, lost,
			"expected accept, but no answer came; a UDP port answers only if something listens there, else expect lost"},
		{"accept, rejected", Check{Expect: ExpectAccept}, rejected(), "expected accept, but it was rejected"},
		{"answered, refused", Check{Expect: ExpectAnswered, Traffic: udp}, refused,
			"expected answered, but the host refused it; nothing listens there: add it to the listen of b"},
		{"refused", Check{Expect: ExpectRefused}, refused, ""},
		{"refused, answered", Check{Expect: ExpectRefused}, accepted(), "expected refused, but it was answered in 0.4 ms"},
		{"reject", Check{Expect: ExpectReject}, rejected(), ""},
		{"reject, answered", Check{Expect: ExpectReject}, accepted(), "expected reject, but it was answered in 0.4 ms"},
		{"reject, lost", Check{Expect: ExpectReject}, dropped, "expected reject, but it was dropped (no route)"},
		{"lost", Check{Expect: ExpectLost}, lost, ""},
		{"lost, dropped", Check{Expect: ExpectLost}, dropped, ""},
		{"lost, rejected", Check{Expect: ExpectLost}, rejected(), "expected lost, but it was rejected"},
		{"because", Check{Expect: ExpectAccept, Because: "ssh from app"}, accepted(), `expected because "ssh from app", but it was web ingress: http from anywhere`},
		{"because of nothing", Check{Expect: ExpectLost, Because: "web ingress"}, dropped, `expected because "web ingress", but it was no route`},
		{"records", Check{Expect: ExpectReject, Records: rejected().Records}, rejected(), ""},
		{"records in another order", Check{Expect: ExpectReject, Records: []Record{{"b", vpc.Ingress, false}, {"a", vpc.Egress, true}}}, rejected(), ""},
		{"too few records", Check{Expect: ExpectReject, Records: accepted().Records}, rejected(),
			"the flow log has no record b ingress ACCEPT, b egress ACCEPT, a ingress ACCEPT\nthe flow log has more records than expected: b ingress REJECT"},
		{"no records", Check{Expect: ExpectReject, Records: []Record{}}, rejected(), "the flow log has more records than expected: a egress ACCEPT, b ingress REJECT"},
		{"records not checked", Check{Expect: ExpectReject}, rejected(), ""},
	} {
		if c.check.Traffic.From == "" {
			c.check.Traffic.From = "a"
		}
		if got := strings.Join(c.check.judge(c.o), "\n"); got != c.want {
			t.Errorf("%s: got %q; want %q", c.name, got, c.want)
		}
	}
}

func TestMatches(t *testing.T) {
	egress := accepted()
	egress.Judgements[0].Rule = RuleRef{Group: "app", Words: "http to web"}
	itself := accepted()
	itself.DestinationName = "a"
	for i := range itself.Judgements {
		itself.Judgements[i].Instance = "a"
	}
	two := accepted()
	two.Judgements[1].Rule.Words = "http from anywhere, app"
	for _, c := range []struct {
		because string
		o       *Observation
		want    bool
	}{
		{"http from anywhere", itself, true},
		{"tracked", itself, false},
		{"http from anywhere", two, false},
		{"http from app, anywhere", two, true},
		{"http from anywhere", accepted(), true},
		{"HTTP  from anywhere", accepted(), true},
		{"web http from anywhere", accepted(), true},
		{"app http from anywhere", accepted(), false},
		{"tcp 80 from 0.0.0.0/0", accepted(), true},
		{"web tcp 80-80 from anywhere", accepted(), true},
		{"tcp 80 from anywhere-v6", accepted(), false},
		{"http from anywhere, app", accepted(), false},
		{"https from anywhere", accepted(), false},
		{"http to web", egress, true},
		{"app http to web", egress, true},
		{"all to anywhere", accepted(), true},
		{"tracked", accepted(), false}, // the first packets are not, though the answer is
		{"tracked", tracked(), true},
		{"http from anywhere", tracked(), true}, // the rule that opened it
		{"web ingress", accepted(), false},
		{"web ingress", rejected(), true},
		{"Web  Ingress", rejected(), true},
		{"extra ingress", rejected(), true},
		{"web, extra ingress", rejected(), true},
		{"web, app ingress", rejected(), false},
		{"app ingress", rejected(), false},
		{"web egress", rejected(), false},
		{"web", rejected(), false},
		{"all to anywhere", rejected(), false},
		{"tracked", rejected(), false},
		{"tracked", observed(Lost, ""), false},
	} {
		if got := Matches(c.because, "a", c.o); got != c.want {
			t.Errorf("Matches(%q) of %s: %v", c.because, c.o.reasons("a"), got)
		}
	}
}

const printTests = `  - { from: a, to: "b:80", expect: accept, because: http from anywhere }
  - { name: closed, from: a, to: "b:81", expect: reject, because: web ingress }
  - { from: a, to: "192.0.2.1:80", expect: lost }
  - { from: a, to: "b:80", expect: reject, because: web ingress, records: [a egress ACCEPT] }
  - name: goes well
    steps: [ { open: c1, from: a, to: "b:80" }, { send: c1 } ]
  - name: goes wrong
    steps:
      - { open: c1, from: a, to: "b:80" }
      - { authorize: ssh from anywhere, group: web }
      - { send: c1, expect: reject }
      - { close: c1 }
`

func TestPrint(t *testing.T) {
	results, sum, err := runTests(t, t.Context(), newScript(), printTests)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := Print(&b, results, sum); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/print.txt", b.String())
	b.Reset()
	if err := WriteJUnit(&b, results, sum); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/junit.xml", b.String())
	if err := xml.Unmarshal([]byte(b.String()), &junitSuites{}); err != nil {
		t.Error(err)
	}
}

// The text of a failed write is the writer's.
func TestPrintErrors(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if Print(f, nil, Summary{}) == nil || WriteJUnit(f, nil, Summary{}) == nil {
		t.Error("writing to a closed file succeeds")
	}
}
