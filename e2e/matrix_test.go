//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

// What has to come of three-tier, for every ordered pair of instances and every port. Written by hand, from the file:
//
//	web  from anywhere: http            web-1    10.0.1.10
//	app  from web: tcp 8080             app-1    10.0.2.10
//	db   from app: postgres; to nobody  db-1     10.0.2.20
//	default  from its own members       guest-1  10.0.1.66
//
// accept: it arrives, and is answered. ingress: it leaves, and the destination's groups reject it. egress: it does not even
// leave.
const matrixText = `
from     to       80       8080     5432     22       ping
web-1    app-1    ingress  accept   ingress  ingress  ingress
web-1    db-1     ingress  ingress  ingress  ingress  ingress
web-1    guest-1  ingress  ingress  ingress  ingress  ingress
app-1    web-1    accept   ingress  ingress  ingress  ingress
app-1    db-1     ingress  ingress  accept   ingress  ingress
app-1    guest-1  ingress  ingress  ingress  ingress  ingress
db-1     web-1    egress   egress   egress   egress   egress
db-1     app-1    egress   egress   egress   egress   egress
db-1     guest-1  egress   egress   egress   egress   egress
guest-1  web-1    accept   ingress  ingress  ingress  ingress
guest-1  app-1    ingress  ingress  ingress  ingress  ingress
guest-1  db-1     ingress  ingress  ingress  ingress  ingress
`

var (
	matrixAddress = map[string]string{"web-1": "10.0.1.10", "app-1": "10.0.2.10", "db-1": "10.0.2.20", "guest-1": "10.0.1.66"}
	matrixGroup   = map[string]string{"web-1": "web", "app-1": "app", "db-1": "db", "guest-1": "default"}
	// the rule that admits on the way in, by destination
	matrixRule = map[string]string{"web-1": "http from anywhere", "app-1": "tcp 8080 from web", "db-1": "postgres from app"}
)

// cell is one of the matrix.
type cell struct {
	from, to string
	port     int // 0: ping
	want     string
}

func (c *cell) String() string { return fmt.Sprintf("%s to %s", c.from, c.target()) }

func (c *cell) target() string {
	if c.port == 0 {
		return c.to + "/icmp"
	}
	return c.to + ":" + itoa(c.port)
}

func (c *cell) verdict() string {
	if c.want == "accept" {
		return agent.Accept
	}
	return agent.Reject
}

// records are those that the flow causes.
func (c *cell) records() []string {
	switch c.want {
	case "egress":
		return []string{c.from + " egress REJECT"}
	case "ingress":
		return []string{c.from + " egress ACCEPT", c.to + " ingress REJECT"}
	}
	return []string{c.from + " egress ACCEPT", c.to + " ingress ACCEPT", c.to + " egress ACCEPT", c.from + " ingress ACCEPT"}
}

// rule is the one that decides.
func (c *cell) rule() (group, direction, words string) {
	switch c.want {
	case "egress":
		return matrixGroup[c.from], "egress", "no rule"
	case "ingress":
		return matrixGroup[c.to], "ingress", "no rule"
	}
	return matrixGroup[c.to], "ingress", matrixRule[c.to]
}

func matrix(t *testing.T) []*cell {
	t.Helper()
	var all []*cell
	var ports []int
	for line := range strings.Lines(strings.TrimSpace(matrixText)) {
		f := strings.Fields(line)
		if ports == nil {
			for _, p := range f[2:] {
				n := 0
				fmt.Sscan(strings.Replace(p, "ping", "0", 1), &n)
				ports = append(ports, n)
			}
			continue
		}
		for i, want := range f[2:] {
			all = append(all, &cell{f[0], f[1], ports[i], want})
		}
	}
	if len(all) != 4*3*5 {
		t.Fatalf("the matrix has %d cells", len(all))
	}
	return all
}

func words(refs []agent.RecordRef) []string {
	var out []string
	for _, r := range refs {
		out = append(out, r.At+" "+r.Direction+" "+r.Action)
	}
	return out
}

func checkRule(t *testing.T, c *cell, who string, r *agent.RuleRef) {
	t.Helper()
	if g, d, w := c.rule(); r == nil || r.Group != g || r.Direction != d || r.Words != w {
		t.Errorf("%v: %s names %+v, want %s %s: %s", c, who, r, g, d, w)
	}
}

// TestMatrix compares what probe and explain say, what the kernels' own programs get, what the flow log says of both, and
// what is seen on the destinations' devices.
func TestMatrix(t *testing.T) {
	for _, driver := range []string{"netns", "netstack"} {
		t.Run(driver, func(t *testing.T) {
			if driver == "netns" {
				needsRoot(t)
				needsProgram(t, "ping", "iputils-ping")
			}
			h := newHost(t)
			h.up(three, "--driver", driver, "--no-tests")
			cells := matrix(t)
			for _, c := range cells {
				h.checkExplain(t, c)
			}
			if rows := h.flows(); len(rows) != 0 {
				t.Errorf("explain left %d records", len(rows))
			}
			var wires *wires
			if driver == "netns" {
				wires = h.sniffAll()
			}
			for _, c := range cells {
				h.checkProbe(t, c)
			}
			if driver == "netns" {
				wires.check(t, cells, 1, "probe")
				h.checkKernels(t, cells)
				wires.check(t, cells, 1, "the kernels' own programs")
			}
			h.checkRecords(t, cells)
		})
	}
}

func (h *host) checkExplain(t *testing.T, c *cell) {
	t.Helper()
	var e agent.Explanation
	h.json(&e, "explain", c.from, c.target())
	if e.Verdict != c.verdict() || !slices.Equal(words(e.Records), c.records()) {
		t.Errorf("%v: explain says %s, records %q; want %s, %q", c, e.Verdict, words(e.Records), c.verdict(), c.records())
	}
	checkRule(t, c, "explain", lastRule(&e))
}

// lastRule is the one that the last step names.
func lastRule(e *agent.Explanation) *agent.RuleRef {
	if len(e.Steps) == 0 {
		return nil
	}
	s := e.Steps[len(e.Steps)-1]
	if s.Rule != nil {
		return s.Rule
	}
	group, words, _ := strings.Cut(s.Detail, ": ")
	return &agent.RuleRef{Group: group, Direction: strings.TrimPrefix(s.Stage, "sg "), Words: words}
}

func (h *host) checkProbe(t *testing.T, c *cell) {
	t.Helper()
	outcome := agent.Answered
	if c.want != "accept" {
		outcome = agent.Rejected
	}
	var p agent.ProbeResult
	h.json(&p, "probe", c.from, c.target())
	if p.Verdict != c.verdict() || p.Outcome != outcome || !slices.Equal(words(p.Records), c.records()) {
		t.Errorf("%v: probe says %s, %s, records %q; want %s, %s, %q", c, p.Verdict, p.Outcome, words(p.Records), c.verdict(), outcome, c.records())
	}
	checkRule(t, c, "probe", &p.Rule)
}

// checkKernels does the same with connect(2) and ping(8) on the instances.
func (h *host) checkKernels(t *testing.T, cells []*cell) {
	t.Helper()
	var all sync.WaitGroup
	for name := range matrixAddress {
		all.Go(func() {
			var addrs []string
			want := map[string]string{}
			for _, c := range cells {
				if c.from != name || c.port == 0 {
					continue
				}
				addr := matrixAddress[c.to] + ":" + itoa(c.port)
				addrs = append(addrs, addr)
				want[addr] = map[bool]string{true: "connected", false: "timeout"}[c.want == "accept"]
			}
			r := h.run(on(name, append([]string{"connect"}, addrs...)...)...)
			came := map[string]string{}
			if err := json.Unmarshal([]byte(r.out), &came); err != nil {
				t.Errorf("%v: %v", err, r)
				return
			}
			for addr, w := range want {
				if came[addr] != w {
					t.Errorf("%s to %s: the kernel's connect: %s, want %s", name, addr, came[addr], w)
				}
			}
		})
	}
	for _, c := range cells {
		if c.port != 0 {
			continue
		}
		all.Go(func() {
			want := 1 // no answer
			if c.want == "accept" {
				want = 0
			}
			if r := h.run("exec", c.from, "--", "ping", "-c", "1", "-W", "1", matrixAddress[c.to]); r.code != want {
				t.Errorf("%v: want %d\n%v", c, want, r)
			}
		})
	}
	all.Wait()
}

// checkRecords compares all records that were made with the matrix: no flow has one more, and none one less.
func (h *host) checkRecords(t *testing.T, cells []*cell) {
	t.Helper()
	got := map[string][]string{}
	for _, r := range h.flows() {
		there := fmt.Sprintf("%s > %s:%d", r.Source.Name, r.Destination.Name, r.Destination.Port)
		if r.Direction == "egress" && r.Rule.Tracked || r.Direction == "ingress" && r.Rule.Tracked || answersHTTP(&r) {
			there = fmt.Sprintf("%s > %s:%d", r.Destination.Name, r.Source.Name, r.Source.Port)
		}
		word := r.At + " " + r.Direction + " " + r.Action
		if !slices.Contains(got[there], word) {
			got[there] = append(got[there], word)
		}
	}
	for _, c := range cells {
		name := fmt.Sprintf("%s > %s:%d", c.from, c.to, c.port)
		want := c.records()
		slices.Sort(want)
		slices.Sort(got[name])
		if !slices.Equal(got[name], want) {
			t.Errorf("%v: records %q, want %q", c, got[name], want)
		}
		delete(got, name)
	}
	for name, r := range got {
		t.Errorf("records of what nobody sent: %s %q", name, r)
	}
}

// answersHTTP says of a record that it is of web-1's answers. They pass by web's egress rule: "http from anywhere" with
// "all to anywhere" is not tracked (VPC user guide, untracked connections).
func answersHTTP(r *agent.FlowRow) bool { return r.Source.Name == "web-1" && r.Source.Port == 80 }

// wires are the sniffers on all instances.
type wires struct {
	report map[string]func() map[string]int
	before map[string]map[string]int
}

func (h *host) sniffAll() *wires {
	w := &wires{report: map[string]func() map[string]int{}, before: map[string]map[string]int{}}
	for name := range matrixAddress {
		p, in := h.piped(on(name, "sniff")...)
		p.await(&p.out, "sniffing\n")
		n := 1
		w.report[name] = func() map[string]int {
			io.WriteString(in, "\n")
			n++
			eventually(h.t, "a sniffer's report", func() bool { return strings.Count(p.out.String(), "\n") >= n })
			counts := map[string]int{}
			lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
			if err := json.Unmarshal([]byte(lines[n-1]), &counts); err != nil {
				h.t.Fatal(err)
			}
			return counts
		}
	}
	return w
}

// check compares what came in on each destination's device since the last time: at least so many packets of what is
// accepted, none of what is rejected.
func (w *wires) check(t *testing.T, cells []*cell, atLeast int, who string) {
	t.Helper()
	now := map[string]map[string]int{}
	for name, report := range w.report {
		now[name] = report()
	}
	for _, c := range cells {
		name := fmt.Sprintf("tcp %s > %s:%d", matrixAddress[c.from], matrixAddress[c.to], c.port)
		if c.port == 0 {
			name = fmt.Sprintf("icmp %s > %s:8", matrixAddress[c.from], matrixAddress[c.to])
		}
		n := now[c.to][name] - w.before[c.to][name]
		if c.want == "accept" && n < atLeast || c.want != "accept" && n != 0 {
			t.Errorf("%v: %d packets of %s came in on eth0 of %s", c, n, who, c.to)
		}
	}
	w.before = now
}
