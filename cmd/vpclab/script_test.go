package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/internal/doctor"
)

// The scripted world: what an agent could answer. It serves to test what commands ask and print, nothing else.

var (
	now     = time.Date(2026, 3, 1, 14, 5, 0, 0, time.UTC)
	started = now.Add(-192 * time.Second)
	web     = end("web-1", "10.0.1.10", 0, "")

	ruleHTTP = agent.RuleRef{ID: "sgr-0a", GroupID: "sg-0a", Group: "web", Direction: agent.Ingress, Words: "http from anywhere", Where: "lab.yaml:10"}
	ruleAll  = agent.RuleRef{ID: "sgr-0b", GroupID: "sg-0a", Group: "web", Direction: agent.Egress, Words: "all to anywhere", Default: true}
	ruleApp  = agent.RuleRef{ID: "sgr-0c", GroupID: "sg-0b", Group: "app", Direction: agent.Ingress, Words: "tcp 8080 from web", Where: "lab.yaml:11"}
	ruleNone = agent.RuleRef{Group: "db", Direction: agent.Ingress, Words: "no rule"}
)

func end(name, addr string, port int, service string) agent.Endpoint {
	return agent.Endpoint{Name: name, Address: netip.MustParseAddr(addr), Port: port, Service: service}
}

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// script implements agent.Backend. asked keeps each request, so that tests see what the flags became.
type script struct {
	asked    []any
	stops    bool // Down without a lab ends the agent
	labs     []agent.LabRow
	fail     error                       // of every request, if set
	failures map[string]error            // of single requests, by name
	testing  func(context.Context)       // called within Test
	sum      func(*agent.TestSummary)    // changes the summary
	follow   func(context.Context) error // goes on where Flows follows
	warnings []agent.Problem             // of Apply and Validate
	names    []agent.Name                // instead of its own
}

func (s *script) ask(name string, r any) error {
	s.asked = append(s.asked, r)
	if s.fail != nil {
		return s.fail
	}
	return s.failures[name]
}

func instanceRows() []agent.InstanceRow {
	row := func(name, id, subnet string, groups, listen []string, a ...string) agent.InstanceRow {
		return agent.InstanceRow{Lab: "three-tier", Name: name, ID: id, State: "running", Driver: "netns", VPC: "shop", Subnet: subnet, Addresses: addrs(a...), Groups: groups, Listen: listen}
	}
	return []agent.InstanceRow{
		row("app-1", "i-0b", "private", []string{"app"}, []string{"tcp/8080"}, "10.0.2.10"),
		row("db-1", "i-0c", "private", []string{"db", "ops"}, []string{"tcp/5432", "udp/53"}, "10.0.2.20", "2001:db8::20"),
		row("web-1", "i-0a", "public", []string{"web"}, []string{"tcp/80"}, "10.0.1.10"),
	}
}

func (s *script) Status(context.Context) (*agent.Status, error) {
	return &agent.Status{
		Agent: agent.AgentInfo{Version: "v0.1.0", PID: 4711, DataDir: "DATA", Driver: "netns", Started: started, Revision: 12, Applied: 11, Account: "123456789012", Region: "us-east-1"},
		Labs:  s.labs, Instances: instanceRows(),
		Conntrack: agent.TableStats{Halves: 12, Rejected: 2, Capacity: 1000000, Full: 1, Evicted: 3},
		Drops:     []agent.Counter{{Name: "spoofed-ip", Where: "web-1", Value: 3}, {Name: "malformed", Value: 1}},
	}, s.ask("status", nil)
}

func (s *script) Names(_ context.Context, r *agent.NamesRequest) ([]agent.Name, error) {
	all := []agent.Name{
		{Kind: "instance", Name: "app-1", Detail: "10.0.2.10"}, {Kind: "instance", Name: "web-1", Detail: "10.0.1.10"},
		{Kind: "lab", Name: "three-tier"}, {Kind: "security-group", Name: "web", ID: "sg-0a"}, {Kind: "route-table", ID: "rtb-0a"},
	}
	if s.names != nil {
		all = slices.Clone(s.names)
	}
	all = slices.DeleteFunc(all, func(n agent.Name) bool { return len(r.Kinds) > 0 && !slices.Contains(r.Kinds, n.Kind) })
	return all, s.ask("names", r)
}

func (s *script) Apply(_ context.Context, r *agent.ApplyRequest, progress func(*agent.Progress)) (*agent.ApplyResult, error) {
	if err := s.ask("apply", r); err != nil {
		return nil, err
	}
	if !r.DryRun {
		progress(&agent.Progress{Action: "create", Kind: "vpc", Name: "shop", Detail: "10.0.0.0/16"})
		progress(&agent.Progress{Action: "start", Kind: "instance", Name: "web-1", Detail: "netns, 10.0.1.10", Done: 1, Total: 3})
	}
	res := &agent.ApplyResult{Lab: "three-tier", Revision: 12, DryRun: r.DryRun, Instances: instanceRows(), Warnings: s.warnings, Tests: 2}
	if strings.Contains(string(r.File.Data), "no tests") {
		res.Tests = 0
	}
	if strings.Contains(string(r.File.Data), "unchanged") {
		return res, nil
	}
	res.Changes = []agent.Change{
		{Action: "add", Kind: "vpc", Name: "shop", ID: "vpc-0a", Detail: "10.0.0.0/16", Where: "lab.yaml:5"},
		{Action: "change", Kind: "instance", Name: "web-1", ID: "i-0a", Fields: []string{"groups: web -> web, app", "ip: 10.0.1.9 -> 10.0.1.10"}, Where: "lab.yaml:15"},
		{Action: "remove", Kind: "rule", Name: "app", ID: "sgr-0c", Detail: "tcp 8080 from web"},
	}
	return res, nil
}

func (s *script) Down(_ context.Context, r *agent.DownRequest, progress func(*agent.Progress)) (*agent.DownResult, error) {
	if err := s.ask("down", r); err != nil {
		return nil, err
	}
	progress(&agent.Progress{Action: "stop", Kind: "instance", Name: "web-1"})
	res := &agent.DownResult{Labs: []string{"three-tier"}, PID: 4711, Stopping: r.Lab == "" && s.stops,
		Changes: []agent.Change{{Action: "remove", Kind: "vpc", Name: "shop", ID: "vpc-0a"}}}
	return res, nil
}

func testResults() []agent.TestResult {
	guest := end("guest-1", "10.0.1.66", 0, "")
	to80, to5432 := end("web-1", "10.0.1.10", 80, "http"), end("db-1", "10.0.2.20", 5432, "postgres")
	return []agent.TestResult{
		{Number: 1, Status: agent.TestOK, Source: &guest, Destination: &to80, Protocol: "tcp", Verdict: agent.Accept, Because: "web ingress: http from anywhere", Where: "lab.yaml:10", Elapsed: 0.01},
		{Number: 2, Status: agent.TestOK, Source: &web, Destination: &to5432, Protocol: "tcp", Verdict: agent.Reject, Because: "db ingress: no rule", Where: "lab.yaml:12", Elapsed: 1},
	}
}

func (s *script) Test(ctx context.Context, r *agent.TestRequest, report func(*agent.TestResult) error) (*agent.TestSummary, error) {
	if err := s.ask("test", r); err != nil {
		return nil, err
	}
	for _, t := range testResults() {
		if err := report(&t); err != nil {
			return nil, err
		}
	}
	if s.testing != nil {
		s.testing(ctx)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	sum := &agent.TestSummary{Lab: "three-tier", Total: 2, Passed: 2, Elapsed: 1.4, RulesUsed: 1, Rules: 3, Unused: []agent.RuleRef{ruleApp}, Since: started}
	if r.JUnit {
		sum.JUnit = "<testsuites/>\n"
	}
	if s.sum != nil {
		s.sum(sum)
	}
	return sum, nil
}

func (s *script) Probe(_ context.Context, r *agent.ProbeRequest) (*agent.ProbeResult, error) {
	if r.To.Host == "db-1" {
		return &agent.ProbeResult{Outcome: agent.Rejected, Verdict: agent.Reject, Protocol: "tcp", Source: web, Destination: end("db-1", "10.0.2.20", 5432, "postgres"), Rule: ruleNone,
			Reason: "web-1 is in web, not app", Attempts: []agent.Attempt{{Outcome: agent.Rejected}},
			Records: []agent.RecordRef{{At: "web-1", Direction: agent.Egress, Action: agent.Accept}, {At: "db-1", Direction: agent.Ingress, Action: agent.Reject}}}, s.ask("probe", r)
	}
	return &agent.ProbeResult{Outcome: agent.Answered, Verdict: agent.Accept, Protocol: "tcp", Source: web, Destination: end("app-1", "10.0.2.10", 8080, ""), Rule: ruleApp,
		Attempts: []agent.Attempt{{Outcome: agent.Answered, RTT: 0.00042, Detail: "HTTP 200"}, {Outcome: agent.Lost}},
		Records:  []agent.RecordRef{{At: "web-1", Direction: agent.Egress, Action: agent.Accept}}}, s.ask("probe", r)
}

func (s *script) Explain(_ context.Context, r *agent.ExplainRequest) (*agent.Explanation, error) {
	return &agent.Explanation{Verdict: agent.Reject, Protocol: "tcp", Source: web, Destination: end("db-1", "10.0.2.20", 5432, "postgres"),
		Steps: []agent.Step{
			{At: "web-1", Stage: "sg egress", Result: agent.Accept, Rule: &ruleAll},
			{At: "shop", Stage: "route", Result: "local", Detail: "10.0.0.0/16"},
			{At: "db-1", Stage: "sg ingress", Result: agent.Reject, Rule: &ruleNone, Code: "ENI_SG_RULES_MISMATCH", Nearest: &agent.Nearest{
				Rule: agent.RuleRef{Group: "db", Words: "postgres from app", Where: "lab.yaml:12"}, Differs: "peer", Why: "web-1 is in web, not app"}},
		},
		Return: agent.ReturnPath{Text: "not reached"}, Records: []agent.RecordRef{{At: "db-1", Direction: agent.Ingress, Action: agent.Reject}},
	}, s.ask("explain", r)
}

func (s *script) Authorize(_ context.Context, r *agent.RuleRequest) (*agent.RuleResult, error) {
	return &agent.RuleResult{Revision: 13, Group: "app", GroupID: "sg-0b", Rules: []agent.RuleRef{ruleApp}}, s.ask("authorize", r)
}

func (s *script) Revoke(_ context.Context, r *agent.RuleRequest) (*agent.RuleResult, error) {
	return &agent.RuleResult{Revision: 13, Group: "app", GroupID: "sg-0b", Rules: []agent.RuleRef{ruleApp}, Surviving: 2}, s.ask("revoke", r)
}

func (s *script) Flows(ctx context.Context, r *agent.FlowsRequest, emit func(*agent.FlowEvent) error) error {
	if err := s.ask("flows", r); err != nil {
		return err
	}
	w, a, d := end("web-1", "10.0.1.10", 40112, ""), end("app-1", "10.0.2.10", 8080, ""), end("db-1", "10.0.2.20", 5432, "postgres")
	rows := []agent.FlowRow{
		{At: "web-1", Direction: agent.Egress, Source: w, Destination: a, Action: agent.Accept, Packets: 4, Bytes: 216, TCPFlags: 3, Rule: ruleAll},
		{At: "app-1", Direction: agent.Ingress, Source: w, Destination: a, Action: agent.Accept, Packets: 4, Bytes: 216, TCPFlags: 3, Rule: ruleApp},
		{At: "db-1", Direction: agent.Ingress, Source: w, Destination: d, Action: agent.Reject, Packets: 1, Bytes: 60, TCPFlags: 2, Rule: ruleNone, Reason: "sg-ingress"},
	}
	if r.Format != "" {
		emit(&agent.FlowEvent{Header: "version action"})
	}
	for i := range rows {
		f := &rows[i]
		f.Start, f.End, f.Lab, f.InterfaceID, f.Protocol, f.Status = started, started.Add(time.Second), "three-tier", "eni-0a", "tcp", "OK"
		if r.Format != "" {
			f.Line = "2 " + f.Action
		}
		if err := emit(&agent.FlowEvent{Flow: f}); err != nil {
			return err
		}
	}
	if !r.Follow {
		return nil
	}
	emit(&agent.FlowEvent{Lost: 7})
	return s.follow(ctx)
}

func (s *script) Conntrack(_ context.Context, r *agent.ConntrackRequest) ([]agent.ConntrackRow, error) {
	return []agent.ConntrackRow{
		{Lab: "three-tier", At: "web-1", InterfaceID: "eni-0a", Protocol: "tcp", Inside: end("web-1", "10.0.1.10", 40112, ""), Outside: end("app-1", "10.0.2.10", 8080, ""), Opener: agent.Egress,
			State: "ESTABLISHED", Tracked: true, Action: agent.Accept, Rule: ruleAll, Opened: started, LastSeen: now, ExpiresIn: 431990},
		{Lab: "three-tier", At: "web-1", InterfaceID: "eni-0a", Protocol: "udp", Inside: end("web-1", "10.0.1.10", 53, "dns"), Outside: end("", "2001:db8::9", 4000, ""), Opener: agent.Ingress,
			Action: agent.Accept, Rule: ruleHTTP, Opened: started, LastSeen: now, ExpiresIn: 30},
		{Lab: "three-tier", At: "db-1", InterfaceID: "eni-0c", Protocol: "tcp", Inside: end("db-1", "10.0.2.20", 5432, "postgres"), Outside: end("web-1", "10.0.1.10", 51034, ""), Opener: agent.Ingress,
			State: "SYN", Action: agent.Reject, Rule: ruleNone, Opened: started, LastSeen: now, ExpiresIn: 9.5},
	}, s.ask("conntrack", r)
}

func (s *script) FlowLogFiles(_ context.Context, r *agent.FlowLogsRequest) ([]agent.FlowLogFile, error) {
	return []agent.FlowLogFile{{FlowLogID: "fl-0a", Name: "all", Resource: "shop", Key: "logs/AWSLogs/a.log.gz", Path: "DATA/flowlogs/logs/AWSLogs/a.log.gz", Size: 2345, Modified: now}}, s.ask("flowlogs", r)
}

func (s *script) FlowLogRead(_ context.Context, r *agent.FlowLogReadRequest, emit func(*agent.FlowLogLine) error) error {
	for _, key := range []string{"a.log.gz", "b.log.gz"} {
		emit(&agent.FlowLogLine{Key: key, Header: true, Line: "version action"})
		if err := emit(&agent.FlowLogLine{Key: key, Line: "2 ACCEPT"}); err != nil {
			return err
		}
	}
	return s.ask("read", r)
}

func (s *script) ExecTarget(_ context.Context, r *agent.ExecRequest) (*agent.ExecTarget, error) {
	return &agent.ExecTarget{Instance: r.Instance, Driver: "netstack", InAgent: r.Instance != "netns-1"}, s.ask("exec-target", r)
}

func (s *script) Exec(_ context.Context, r *agent.ExecRequest, io3 agent.Streams) (int, error) {
	in, _ := io.ReadAll(io3.Stdin)
	fmt.Fprintf(io3.Stdout, "%s ran %q with %q\n", r.Instance, r.Argv, in)
	fmt.Fprintln(io3.Stderr, "a word on stderr")
	return len(r.Argv), s.ask("exec", r)
}

func (s *script) Power(_ context.Context, r *agent.PowerRequest) (*agent.InstanceRow, error) {
	row := agent.InstanceRow{Lab: "shop", Name: r.Instance, ID: "i-0a", State: "running", Driver: "qemu", VPC: "main", Subnet: "public",
		Addresses: addrs("10.0.1.30"), Groups: []string{"web"}}
	if r.Action == agent.PowerStop {
		row.State = "stopped"
	}
	return &row, s.ask("power", r)
}

func (s *script) Console(_ context.Context, r *agent.ConsoleRequest, io3 agent.Streams) error {
	fmt.Fprintf(io3.Stdout, "%s login: ", r.Instance)
	in, _ := io.ReadAll(io3.Stdin)
	fmt.Fprintf(io3.Stdout, "%q was typed\n", in)
	return s.ask("console", r)
}

// host is the local side: it runs a real server on a real socket, with the script behind it.
type host struct {
	s     *script
	ran   int
	runs  error // of Run, instead of running
	clean error

	lacking int // what Doctor finds
}

func (h *host) Run(ctx context.Context, dir, _ string, ready func()) error {
	h.ran++
	if h.runs != nil {
		return h.runs
	}
	lock, err := agent.LockDataDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	l, err := lock.Listen()
	if err != nil {
		return err
	}
	server := agent.NewServer(h.s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	ready()
	select {
	case <-ctx.Done():
	case <-server.Stopping():
	}
	bounded, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(server.Shutdown(bounded), <-served)
}

func (h *host) Validate(name string, data []byte) (*agent.Validation, error) {
	if strings.Contains(string(data), "invalid") {
		return nil, &agent.Error{Code: agent.CodeInvalidLab, Message: "2 problems", Problems: []agent.Problem{
			{Where: "lab.yaml:12:5", Field: "instances.web-1.ip", Message: "10.0.9.9 is outside subnet public (10.0.1.0/24); use 10.0.1.4 to 10.0.1.254", Excerpt: "12 |   ip: 10.0.9.9\n   |       ^"},
			{Where: "lab.yaml:14:1", Message: "unknown field \"testz\"; did you mean tests?"},
		}}
	}
	v := &agent.Validation{Name: filepath.Base(name), Lab: "three-tier", VPCs: 1, Subnets: 2, Groups: 3, Rules: 3, Instances: 4, Tests: 2, Warnings: h.s.warnings}
	if strings.Contains(string(data), "no tests") {
		v.Tests = 0
	}
	return v, nil
}

func (h *host) Clean(string) error { return h.clean }

func (h *host) Doctor(dir string) *doctor.Report {
	return &doctor.Report{System: "linux/amd64, Debian GNU/Linux 13 (trixie), kernel 6.12.1", Lacking: h.lacking,
		Drivers: []doctor.Driver{
			{Name: "netns", Works: true, Why: "as root: the kernel's own TCP/IP, any program of this machine"},
			{Name: "qemu", Works: h.lacking == 0, Why: "QEMU is not installed"},
		},
		Checks: []doctor.Check{
			{Name: "root", State: doctor.OK, Found: "uid 0", For: "netns, tap"},
			{Name: "user namespaces", State: doctor.Note, Found: "none can be made; root needs none", For: "netns without root"},
			{Name: "QEMU", State: doctor.Lacks, Found: "no qemu-system-x86_64 in PATH", For: "qemu", Fix: "install it", Command: "apt install qemu-system-x86"},
			{Name: "KVM", State: doctor.Lacks, Found: "/dev/kvm: no such file or directory", For: "qemu at full speed", Fix: "switch virtualization on in the firmware"},
			{Name: "data directory", State: doctor.OK, Found: filepath.Base(dir)},
		}}
}

func (h *host) Join(_ context.Context, t *agent.ExecTarget, argv []string, s agent.Streams) (int, error) {
	fmt.Fprintf(s.Stdout, "joined %s for %q\n", t.Instance, argv)
	return 3, nil
}

// patience is far beyond what anything here takes; it only keeps a broken test from hanging.
const patience = 20 * time.Second

// rig is a program with its surroundings: a data directory, a script, and what it printed.
type rig struct {
	t        *testing.T
	host     *host
	dir      string
	out, err bytes.Buffer
	env      map[string]string
	in       string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	tmp := t.TempDir()
	return &rig{t: t, dir: filepath.Join(tmp, "data"), env: map[string]string{}, host: &host{s: &script{labs: []agent.LabRow{
		{Name: "three-tier", File: "lab.yaml", VPCs: 1, Subnets: 2, Groups: 3, Instances: 3, Running: 3}}}}}
}

// withAgent runs an agent in the rig's data directory.
func (r *rig) withAgent() *rig {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- r.host.Run(ctx, r.dir, "", func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error("the scripted agent:", err)
		}
	})
	return r
}

// run runs a command line and gives its exit code. out and err then have what it printed.
func (r *rig) run(args ...string) int {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return r.runUntil(ctx, args...)
}

func (r *rig) runUntil(ctx context.Context, args ...string) int {
	r.t.Helper()
	r.out.Reset()
	r.err.Reset()
	a := &app{in: strings.NewReader(r.in), out: &r.out, err: &r.err, getenv: func(k string) string { return r.env[k] }, uid: 1000,
		now: func() time.Time { return now }, zone: time.UTC, here: r.host}
	return a.run(ctx, append([]string{"--data-dir=" + r.dir}, args...))
}

// file writes a lab file for a test and gives its path.
func (r *rig) file(text string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "lab.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (s *script) Show(_ context.Context, r *agent.ShowRequest) (*agent.ShowResult, error) {
	if err := s.ask("show", r); err != nil {
		return nil, err
	}
	res, ok := objects()[r.Object]
	if !ok {
		return nil, &agent.Error{Code: agent.CodeUnknownObject, Message: "there is no " + r.Object, Near: []string{"web-1", "web"}}
	}
	return &res, nil
}

// objects has one object of each kind.
func objects() map[string]agent.ShowResult {
	hit := now.Add(-time.Minute)
	head := func(id, name string) agent.Head { return agent.Head{ID: id, Name: name, Lab: "three-tier"} }
	nic := agent.Interface{ID: "eni-0a", Instance: "web-1", Subnet: "public", MAC: "02:00:00:00:00:01", Addresses: addrs("10.0.1.10"), Groups: []string{"web"}}
	rules := []agent.GroupRule{
		{RuleRef: ruleHTTP, Protocol: "tcp", Ports: "80", Peer: "0.0.0.0/0", Hits: 5, Connections: 1, LastHit: &hit, Description: "the shop"},
		{RuleRef: ruleAll, Protocol: "-1", Ports: "all", Peer: "0.0.0.0/0"},
	}
	detail := agent.InterfaceDetail{Interface: nic, VPC: "shop", Lab: "three-tier", Status: "in-use", SourceDestCheck: true, Halves: 2,
		Timeouts: []agent.Timeout{{Name: "tcp established", Seconds: 432000, Default: true}, {Name: "udp", Seconds: 60}},
		Rx:       agent.FlowCount{Packets: 3, Bytes: 164}, Tx: agent.FlowCount{Packets: 1, Bytes: 60}, Drops: []agent.Counter{{Name: "spoofed-ip", Value: 3}}}
	return map[string]agent.ShowResult{
		"lab": {Kind: "lab", Lab: &agent.LabDetail{Name: "three-tier", About: "Anyone may ask web.", File: "lab.yaml", VPCs: []agent.Name{{Name: "shop", Detail: "10.0.0.0/16"}},
			Groups: []agent.Name{{Name: "app"}, {Name: "web"}}, Instances: instanceRows()}},
		"vpc": {Kind: "vpc", VPC: &agent.VPCDetail{Head: head("vpc-0a", "shop"), CIDRs: []string{"10.0.0.0/16"}, Subnets: []agent.Name{{Name: "public", Detail: "10.0.1.0/24"}},
			Groups: []agent.Name{{Name: "web"}}, RouteTables: []agent.Name{{ID: "rtb-0a"}}}},
		"subnet": {Kind: "subnet", Subnet: &agent.SubnetDetail{Head: head("subnet-0a", "public"), VPC: "shop", CIDRs: []string{"10.0.1.0/24"}, Zone: "us-east-1a", ZoneID: "use1-az1",
			Router: netip.MustParseAddr("10.0.1.1"), Available: 249, RouteTable: agent.Name{ID: "rtb-0a"}, Interfaces: []agent.Interface{nic}}},
		"group": {Kind: "security-group", SecurityGroup: &agent.GroupDetail{Head: agent.Head{ID: "sg-0a", Name: "web", Lab: "three-tier", Tags: map[string]string{"team": "shop", "env": "lab"}},
			VPC: "shop", Description: "web servers", Rules: rules, Members: []agent.Interface{nic}, ReferencedBy: []agent.Name{{Name: "app"}}}},
		"eni":      {Kind: "network-interface", NetworkInterface: &detail},
		"instance": {Kind: "instance", Instance: &agent.InstanceDetail{InstanceRow: instanceRows()[2], Launched: started, Interfaces: []agent.InterfaceDetail{detail}, Rules: rules, Info: map[string]string{"namespace": "/run/netns/vpclab-0a"}}},
		"rtb": {Kind: "route-table", RouteTable: &agent.RouteTableDetail{Head: head("rtb-0a", ""), VPC: "shop", Main: true, Routes: []agent.Route{{Destination: "10.0.0.0/16", Target: "local", State: "active", Origin: "CreateRouteTable"}},
			Subnets: []agent.Name{{Name: "public"}}}},
		"pl": {Kind: "prefix-list", PrefixList: &agent.PrefixListDetail{Head: head("pl-0a", "office"), Family: 4, Version: 2, MaxEntries: 10, Entries: []agent.PrefixEntry{{CIDR: "192.0.2.0/24", Description: "Berlin"}}}},
		"fl": {Kind: "flow-log", FlowLog: &agent.FlowLogDetail{Head: head("fl-0a", "all"), Resource: "shop", ResourceID: "vpc-0a", TrafficType: "ALL", Destination: "arn:aws:s3:::logs", Format: "${version} ${action}", Interval: 60, Created: started}},
	}
}
