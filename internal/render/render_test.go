package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/api/agent"
)

// The lab of the model in these tests: web may ask app, app may ask db.
var (
	guest = agent.Endpoint{Name: "guest-1", Address: netip.MustParseAddr("10.0.1.66")}
	web   = agent.Endpoint{Name: "web-1", Address: netip.MustParseAddr("10.0.1.10")}
	app   = agent.Endpoint{Name: "app-1", Address: netip.MustParseAddr("10.0.2.10")}
	db    = agent.Endpoint{Name: "db-1", Address: netip.MustParseAddr("10.0.2.20")}
	now   = time.Date(2026, 3, 1, 14, 5, 0, 0, time.UTC)
)

func at(e agent.Endpoint, port int, service ...string) agent.Endpoint {
	e.Port, e.Service = port, strings.Join(service, "")
	return e
}

func printed(t *testing.T, f Format, print func(*Printer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := print(&Printer{W: &b, Format: f, Zone: time.UTC, Now: now}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// same compares with the expected text, which begins and ends with a line of its own.
func same(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

var (
	allToAnywhere = agent.RuleRef{ID: "sgr-1", Group: "web", Direction: agent.Egress, Words: "all to anywhere", Default: true}
	tcp8080       = agent.RuleRef{ID: "sgr-2", Group: "app", Direction: agent.Ingress, Words: "tcp 8080 from web", Where: "lab.yaml:11"}
	dbNone        = agent.RuleRef{Group: "db", Direction: agent.Ingress, Words: "no rule"}
	tracked       = agent.RuleRef{ID: "sgr-2", Group: "app", Words: "tcp 8080 from web", Tracked: true}
)

func rejected() *agent.Explanation {
	return &agent.Explanation{
		Verdict: agent.Reject, Protocol: "tcp", Source: at(web, 40112), Destination: at(db, 5432, "postgres"),
		Steps: []agent.Step{
			{At: "web-1", Stage: "sg egress", Result: agent.Accept, Rule: &allToAnywhere},
			{At: "shop", Stage: "route", Result: "local", Detail: "10.0.0.0/16"},
			{At: "public", Stage: "acl egress", Result: agent.Accept, Detail: "100 all"},
			{At: "private", Stage: "acl ingress", Result: agent.Accept, Detail: "100 all"},
			{At: "db-1", Stage: "sg ingress", Result: agent.Reject, Rule: &dbNone, Code: "ENI_SG_RULES_MISMATCH",
				Nearest: &agent.Nearest{Rule: agent.RuleRef{Group: "db", Words: "postgres from app", Where: "lab.yaml:12"}, Differs: "peer", Why: "web-1 is in web, not app"}},
		},
		Return:  agent.ReturnPath{Text: "not reached"},
		Records: []agent.RecordRef{{At: "web-1", Direction: agent.Egress, Action: agent.Accept}, {At: "db-1", Direction: agent.Ingress, Action: agent.Reject}},
	}
}

func TestExplainReject(t *testing.T) {
	got := printed(t, Table, func(p *Printer) error { return p.Explanation(rejected()) })
	same(t, got, `
REJECT  tcp  web-1[10.0.1.10] -> db-1[10.0.2.20]:5432(postgres)

1  web-1    sg egress    ACCEPT  web: all to anywhere (default)
2  shop     route        local   10.0.0.0/16
3  public   acl egress   ACCEPT  100 all
4  private  acl ingress  ACCEPT  100 all
5  db-1     sg ingress   REJECT  db: no rule                     ENI_SG_RULES_MISMATCH
            nearest              db: postgres from app           lab.yaml:12, web-1 is in web, not app
return   not reached
records  web-1 egress ACCEPT, db-1 ingress REJECT
`)
}

func TestExplainReturnPath(t *testing.T) {
	e := &agent.Explanation{Verdict: agent.Accept, Protocol: "udp", Source: web, Destination: at(app, 53, "dns"),
		Steps:  []agent.Step{{At: "app-1", Stage: "sg ingress", Result: agent.Accept, Rule: &tcp8080, Where: "lab.yaml:11"}},
		Return: agent.ReturnPath{Verdict: agent.Accept, Text: "by rules, not tracked", Steps: []agent.Step{{At: "app-1", Stage: "sg egress", Result: agent.Accept, Detail: "app: all to anywhere"}}},
		Note:   "an open connection would pass"}
	got := printed(t, Table, func(p *Printer) error { return p.Explanation(e) })
	same(t, got, `
ACCEPT  udp  web-1[10.0.1.10] -> app-1[10.0.2.10]:53(dns)

1  app-1  sg ingress  ACCEPT  app: tcp 8080 from web  lab.yaml:11
return   ACCEPT  by rules, not tracked
1  app-1  sg egress   ACCEPT  app: all to anywhere
records  none
note     an open connection would pass
`)
}

func flowRows() []agent.FlowRow {
	start := time.Date(2026, 3, 1, 14, 3, 7, 0, time.UTC)
	row := func(after time.Duration, at, dir string, src, dst agent.Endpoint, action string, packets, bytes uint64, flags uint8, r agent.RuleRef) agent.FlowRow {
		return agent.FlowRow{Start: start.Add(after), End: start.Add(after), At: at, InterfaceID: "eni-1", Direction: dir, Protocol: "tcp", Source: src, Destination: dst,
			Action: action, Packets: packets, Bytes: bytes, TCPFlags: flags, Rule: r, Status: "OK"}
	}
	w, a, w2, d := at(web, 40112), at(app, 8080), at(web, 51034), at(db, 5432, "postgres")
	return []agent.FlowRow{
		row(0, "web-1", agent.Egress, w, a, agent.Accept, 4, 216, 3, allToAnywhere),
		row(0, "app-1", agent.Ingress, w, a, agent.Accept, 4, 216, 3, tcp8080),
		row(0, "app-1", agent.Egress, a, w, agent.Accept, 3, 164, 19, tracked),
		row(0, "web-1", agent.Ingress, a, w, agent.Accept, 3, 164, 19, tracked),
		row(time.Second, "web-1", agent.Egress, w2, d, agent.Accept, 1, 60, 2, allToAnywhere),
		row(time.Second, "db-1", agent.Ingress, w2, d, agent.Reject, 1, 60, 2, dbNone),
	}
}

func TestFlowsTable(t *testing.T) {
	got := printed(t, Table, func(p *Printer) error { return p.Flows(flowRows()) })
	same(t, got, `
TIME      AT     DIR      SOURCE                  DESTINATION             ACTION  PKTS  BYTES  FLAGS        RULE
14:03:07  web-1  egress   web-1[10.0.1.10]:40112  app-1[10.0.2.10]:8080   ACCEPT     4    216  SYN FIN      web: all to anywhere
14:03:07  app-1  ingress  web-1[10.0.1.10]:40112  app-1[10.0.2.10]:8080   ACCEPT     4    216  SYN FIN      app: tcp 8080 from web
14:03:07  app-1  egress   app-1[10.0.2.10]:8080   web-1[10.0.1.10]:40112  ACCEPT     3    164  SYN-ACK FIN  reply, tracked
14:03:07  web-1  ingress  app-1[10.0.2.10]:8080   web-1[10.0.1.10]:40112  ACCEPT     3    164  SYN-ACK FIN  reply, tracked
14:03:08  web-1  egress   web-1[10.0.1.10]:51034  db-1[10.0.2.20]:5432    ACCEPT     1     60  SYN          web: all to anywhere
14:03:08  db-1   ingress  web-1[10.0.1.10]:51034  db-1[10.0.2.20]:5432    REJECT     1     60  SYN          db: no rule
`)
}

func TestFlowsOfOtherProtocolsAndDays(t *testing.T) {
	rows := flowRows()[:1]
	ping := rows[0]
	ping.Protocol, ping.Source, ping.Destination, ping.TCPFlags = "icmp", web, agent.Endpoint{Address: netip.MustParseAddr("10.0.9.9")}, 0
	quiet := agent.FlowRow{Start: ping.Start.Add(-24 * time.Hour), At: "db-1", Status: "NODATA"}
	got := printed(t, Table, func(p *Printer) error { return p.Flows(append(rows, ping, quiet)) })
	same(t, got, `
TIME                 AT     DIR     PROTO   SOURCE                  DESTINATION            ACTION  PKTS  BYTES  FLAGS    RULE
2026-03-01 14:03:07  web-1  egress  tcp     web-1[10.0.1.10]:40112  app-1[10.0.2.10]:8080  ACCEPT     4    216  SYN FIN  web: all to anywhere
2026-03-01 14:03:07  web-1  egress  icmp    web-1[10.0.1.10]        10.0.9.9               ACCEPT     4    216  -        web: all to anywhere
2026-02-28 14:03:07  db-1   -       -       -                       -                      -          -      -  -        NODATA
`)
}

func TestFollowingFlows(t *testing.T) {
	rows := flowRows()
	rows[1].Open = true
	rows[1].Source.Name = strings.Repeat("w", 20)
	follow := func(p *Printer) error {
		f := p.FollowFlows()
		for i := range rows[:3] {
			if err := f.Add(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	same(t, printed(t, Table, follow), `
TIME      AT          DIR      PROTO   SOURCE                    DESTINATION               ACTION  PKTS  BYTES  FLAGS        RULE
14:03:07  web-1       egress   tcp     web-1[10.0.1.10]:40112    app-1[10.0.2.10]:8080     ACCEPT     4    216  SYN FIN      web: all to anywhere
14:03:07  app-1       ingress  tcp     wwwwwwwwwwwwwwwwwwww[10.0.1.10]:40112  app-1[10.0.2.10]:8080     ACCEPT     4    216  SYN FIN      app: tcp 8080 from web (so far)
14:03:07  app-1       egress   tcp     app-1[10.0.2.10]:8080                  web-1[10.0.1.10]:40112    ACCEPT     3    164  SYN-ACK FIN  reply, tracked
`)
	if got := printed(t, JSON, follow); strings.Count(got, "\n") != 3 || !strings.HasPrefix(got, `{"start":"2026-03-01T14:03:07Z"`) {
		t.Errorf("JSON lines:\n%s", got)
	}
	if got := printed(t, YAML, follow); strings.Count(got, "---\n") != 3 {
		t.Errorf("YAML documents:\n%s", got)
	}
	if got := printed(t, CSV, follow); strings.Count(got, "\n") != 4 || strings.Count(got, "start,end") != 1 {
		t.Errorf("CSV with one header:\n%s", got)
	}
}

func modelTests() ([]agent.TestResult, *agent.TestSummary) {
	check := func(n int, from, to agent.Endpoint, verdict, because, where string) agent.TestResult {
		return agent.TestResult{Number: n, Status: agent.TestOK, Source: &from, Destination: &to, Protocol: "tcp", Verdict: verdict, Because: because, Where: where}
	}
	return []agent.TestResult{
			check(1, guest, at(web, 80), agent.Accept, "web ingress: http from anywhere", "lab.yaml:10"),
			check(2, web, at(app, 8080), agent.Accept, "app ingress: tcp 8080 from web", "lab.yaml:11"),
			check(3, app, at(db, 5432), agent.Accept, "db ingress: postgres from app", "lab.yaml:12"),
			check(4, web, at(db, 5432), agent.Reject, "db ingress: no rule", "lab.yaml:12"),
			{Number: 5, Name: "an open connection outlives its rule", Status: agent.TestOK, Steps: make([]agent.StepCheck, 4)},
		}, &agent.TestSummary{Lab: "three-tier", Total: 5, Passed: 5,
			Elapsed: 1.4, RulesUsed: 3, Rules: 3}
}

func TestTestsTable(t *testing.T) {
	results, sum := modelTests()
	got := printed(t, Table, func(p *Printer) error { return p.Tests(results, sum) })
	same(t, got, `
ok    guest-1[10.0.1.66]  web-1[10.0.1.10]:80    ACCEPT  web ingress: http from anywhere  lab.yaml:10
ok    web-1[10.0.1.10]    app-1[10.0.2.10]:8080  ACCEPT  app ingress: tcp 8080 from web   lab.yaml:11
ok    app-1[10.0.2.10]    db-1[10.0.2.20]:5432   ACCEPT  db ingress: postgres from app    lab.yaml:12
ok    web-1[10.0.1.10]    db-1[10.0.2.20]:5432   REJECT  db ingress: no rule              lab.yaml:12
ok    an open connection outlives its rule       4 steps

5 passed in 1.4 s; rules used: 3 of 3
`)
}

func TestFailedTests(t *testing.T) {
	results, _ := modelTests()
	results = results[3:]
	results[0].Status, results[0].Verdict, results[0].Name, results[0].Protocol = agent.TestFail, agent.Accept, "db is closed", "udp"
	results[0].Problems = []agent.Problem{{Where: "lab.yaml:25:5", Field: "tests[3].expect", Message: "expected reject, got ACCEPT"}}
	results[1].Status = agent.TestWarn
	results[1].Name = "a name that is longer than the two columns that it stands over"
	results[1].Steps = []agent.StepCheck{{Text: "open c1 web-1 -> app-1:8080", Status: "ok", Verdict: agent.Accept, Because: "tracked", Where: "lab.yaml:28"}, {Text: "wait 1s", Status: "warn"}}
	sum := &agent.TestSummary{Total: 2, Failed: 1, Warnings: 1, Skipped: 1, Elapsed: 0.0123, Rules: 2, RulesUsed: 1, Unused: []agent.RuleRef{tcp8080}}
	got := printed(t, Table, func(p *Printer) error { return p.Tests(results, sum) })
	same(t, got, `
FAIL  web-1[10.0.1.10]  db-1[10.0.2.20]:5432/udp                      ACCEPT  db ingress: no rule  lab.yaml:12
      db is closed
      lab.yaml:25:5: tests[3].expect: expected reject, got ACCEPT
warn  a name that is longer than the two columns that it stands over  2 steps
      1  ok    open c1 web-1 -> app-1:8080  ACCEPT  tracked  lab.yaml:28
      2  warn  wait 1s

0 passed, 1 failed, 1 skipped, 1 warning in 12.3 ms; rules used: 1 of 2
not used by any test: app ingress: tcp 8080 from web  lab.yaml:11
`)
}

func TestWords(t *testing.T) {
	for flags, want := range map[uint8]string{0: "", 1: "FIN", 2: "SYN", 3: "SYN FIN", 4: "RST", 7: "SYN FIN RST", 16: "ACK", 18: "SYN-ACK", 19: "SYN-ACK FIN", 24: "ACK PSH", 32: "URG"} {
		if got := TCPFlags(flags); got != want {
			t.Errorf("flags %d: %q, want %q", flags, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0.00 ms", 420 * time.Microsecond: "0.42 ms", 12345 * time.Microsecond: "12.3 ms", 1400 * time.Millisecond: "1.4 s",
		192 * time.Second: "3m12s", 2*time.Hour + 5*time.Minute: "2h05m", 432000 * time.Second: "5d00h",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 40: "1.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
	for in, want := range map[string]string{"tcp/80": "80(http)", "tcp/8080": "8080", "udp/53": "53/udp(dns)", "odd": "odd"} {
		if got := listen(in); got != want {
			t.Errorf("listen %s: %q, want %q", in, got, want)
		}
	}
}

func TestEndpoints(t *testing.T) {
	six := netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		e       agent.Endpoint
		service bool
		want    string
	}{
		{web, true, "web-1[10.0.1.10]"},
		{at(db, 5432, "postgres"), true, "db-1[10.0.2.20]:5432(postgres)"},
		{at(db, 5432, "postgres"), false, "db-1[10.0.2.20]:5432"},
		{agent.Endpoint{Address: six, Port: 443}, true, "[2001:db8::1]:443"},
		{agent.Endpoint{Address: six}, true, "2001:db8::1"},
		{agent.Endpoint{Name: "a", Address: six, Port: 443}, true, "a[2001:db8::1]:443"},
		{agent.Endpoint{Name: "a"}, true, "a"},
	} {
		if got := Endpoint(c.e, c.service); got != c.want {
			t.Errorf("%+v: %q, want %q", c.e, got, c.want)
		}
	}
}

func TestRuleWords(t *testing.T) {
	for _, c := range []struct {
		r    agent.RuleRef
		want string
	}{{tcp8080, "app: tcp 8080 from web"}, {dbNone, "db: no rule"}, {tracked, "reply, tracked"}, {agent.RuleRef{Words: "router"}, "router"}, {agent.RuleRef{}, ""}} {
		if got := Rule(c.r); got != c.want {
			t.Errorf("%+v: %q, want %q", c.r, got, c.want)
		}
	}
}

// What a file or a packet says must not move a terminal's cursor.
func TestControlCharactersAreShown(t *testing.T) {
	for in, want := range map[string]string{"plain ä": "plain ä", "a\x1b[2Jb": `a\x1b[2Jb`, "a\nb\t": `a\nb\t`, "a\x00": `a\x00`, "\u202e": `\u202e`, "a\xff": `a\ufffd`} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	evil := agent.InstanceRow{Name: "a\x1b[31m", Problem: "x\ny"}
	if got := printed(t, Table, func(p *Printer) error { return p.Instances([]agent.InstanceRow{evil}) }); strings.Contains(got, "\x1b") || strings.Count(got, "\n") != 2 {
		t.Errorf("the terminal gets %q", got)
	}
}

func TestEmptyLists(t *testing.T) {
	for f, want := range map[Format]string{JSON: "[]\n", YAML: "[]\n", Table: "TIME  AT  DIR  SOURCE  DESTINATION  ACTION  PKTS  BYTES  FLAGS  RULE\n"} {
		if got := printed(t, f, func(p *Printer) error { return p.Flows(nil) }); got != want {
			t.Errorf("%s: %q, want %q", f, got, want)
		}
	}
	got := printed(t, JSON, func(p *Printer) error { return p.Explanation(&agent.Explanation{}) })
	if !strings.Contains(got, `"steps": []`) || strings.Contains(got, "null") {
		t.Errorf("a list that is not there is not an empty list:\n%s", got)
	}
}

func TestPrintingDoesNotChangeWhatIsPrinted(t *testing.T) {
	e := &agent.Explanation{Steps: []agent.Step{{Rule: &tcp8080}}}
	printed(t, JSON, func(p *Printer) error { return p.Explanation(e) })
	if e.Steps[0].Detail != "" || e.Records != nil {
		t.Errorf("it became %+v", e)
	}
}

func TestColours(t *testing.T) {
	var b bytes.Buffer
	p := &Printer{W: &b, Color: true, Zone: time.UTC, Now: now}
	if err := p.Flows(flowRows()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[32mACCEPT\x1b[0m", "\x1b[31mREJECT\x1b[0m", "\x1b[1mTIME\x1b[0m"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	plain := printed(t, Table, func(p *Printer) error { return p.Flows(flowRows()) })
	if got := regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(b.String(), ""); got != plain {
		t.Errorf("colours move columns:\n%s", got)
	}
}

func TestWhenToUseColour(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	for _, c := range []struct {
		w    io.Writer
		env  map[string]string
		want bool
	}{
		{tty, nil, true},
		{tty, map[string]string{"NO_COLOR": "1"}, false},
		{tty, map[string]string{"NO_COLOR": ""}, true},
		{tty, map[string]string{"TERM": "dumb"}, false},
		{tty, map[string]string{"TERM": "xterm"}, true},
		{&bytes.Buffer{}, nil, false},
	} {
		if got := UseColor(c.w, func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("%T with %v: %v", c.w, c.env, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("a\x1bb"), "error: a\\x1bb\n"},
		{&agent.Error{Code: agent.CodeUnreachable, Where: "/d/agent.sock", Message: "no agent", Fix: "start one"}, "error: /d/agent.sock: no agent\n  start one\n"},
		{&agent.Error{Code: agent.CodeUnknownObject, Message: "there is no web-9", Near: []string{"web-1", "web-2"}}, "error: there is no web-9\n  did you mean web-1, web-2?\n"},
		{fmt.Errorf("x: %w", &agent.Error{Code: "InvalidPermission.Duplicate", Message: "already there"}), "error: already there (InvalidPermission.Duplicate)\n"},
		{&agent.Error{Code: agent.CodeInvalidLab, Message: "unused", Problems: []agent.Problem{
			{Where: "lab.yaml:1:2", Field: "f", Message: "bad", Excerpt: "1 | \tf: x\n  | \t^"}, {Where: "lab.yaml", Message: "worse"}}},
			"lab.yaml:1:2: f: bad\n  1 | \tf: x\n    | \t^\nlab.yaml: worse\n"},
	} {
		var b bytes.Buffer
		Error(&b, c.err, false)
		if b.String() != c.want {
			t.Errorf("got %q, want %q", b.String(), c.want)
		}
	}
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	Progress(&b, &agent.Progress{Action: "start", Kind: "instance", Name: "web-1", Detail: "netns", Done: 2, Total: 4}, false)
	Progress(&b, &agent.Progress{Action: "publish"}, false)
	if want := "[2/4] start instance web-1 netns\npublish\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestLogLineThatDoesNotFitItsHeader(t *testing.T) {
	l := (&Printer{W: io.Discard, Format: JSON}).FollowLogLines()
	l.Add(&agent.FlowLogLine{Header: true, Line: "version action"})
	if err := l.Add(&agent.FlowLogLine{Line: "2"}); err == nil || !strings.Contains(err.Error(), "1 field, its header names 2") {
		t.Errorf("got %v", err)
	}
}

func TestFormats(t *testing.T) {
	for f, want := range map[Format]bool{Table: true, JSON: true, YAML: true, CSV: true, "aws": true, "xml": false, "": false} {
		if Known(f, "aws") != want {
			t.Errorf("%s: known is %v", f, !want)
		}
	}
	if err := UnknownFormat("xml", "aws"); err.Error() != `"xml" is not an output format; use table, json, yaml, csv or aws` {
		t.Error(err)
	}
}

// full is a terminal that has gone away.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAWriterThatFailsIsTold(t *testing.T) {
	for _, f := range Formats() {
		p := &Printer{W: full{}, Format: f, Zone: time.UTC, Now: now}
		results, sum := modelTests()
		for name, print := range map[string]func() error{
			"flows":    func() error { return p.Flows(flowRows()) },
			"explain":  func() error { return p.Explanation(rejected()) },
			"tests":    func() error { return p.Tests(results, sum) },
			"follower": func() error { return p.FollowFlows().Add(&flowRows()[0]) },
			"status":   func() error { return p.Status(&agent.Status{}) },
		} {
			if err := print(); err == nil {
				t.Errorf("%s as %s: no error", name, f)
			}
		}
	}
}

func BenchmarkFlows(b *testing.B) {
	rows := make([]agent.FlowRow, 0, 1000)
	for len(rows) < 1000 {
		rows = append(rows, flowRows()...)
	}
	for _, f := range Formats() {
		b.Run(string(f), func(b *testing.B) {
			p := &Printer{W: io.Discard, Format: f, Zone: time.UTC, Now: now}
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Flows(rows); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
