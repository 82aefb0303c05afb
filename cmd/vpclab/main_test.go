package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/vpclab/vpclab/api/agent"
)

// TestMain is also the program that `up --detach` starts: this binary, with the script behind it.
func TestMain(m *testing.M) {
	if os.Getenv("VPCLAB_TEST_MAIN") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	h := &host{s: &script{stops: true}}
	if text := os.Getenv("VPCLAB_TEST_FAIL"); text != "" {
		h.runs = &agent.Error{Code: agent.CodeNoDriver, Message: text}
	}
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, uid: 1000, now: time.Now, here: h}
	os.Exit(a.run(ctx, os.Args[1:]))
}

// want fails unless a run ended with a code and its standard error has the texts.
func (r *rig) want(t *testing.T, code, want int, texts ...string) {
	t.Helper()
	if code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	for _, s := range texts {
		if !strings.Contains(r.err.String(), s) {
			t.Errorf("%q is not on standard error", s)
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%sstderr:\n%s", r.out.String(), r.err.String())
	}
}

func TestUsageErrors(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":    {[]string{"fly"}, `unknown command "fly"`},
		"near command":       {[]string{"statis"}, "status"},
		"flowlogs":           {[]string{"flowlogs"}, "vpclab flowlogs list"},
		"flowlogs what":      {[]string{"flowlogs", "burn"}, `unknown command "burn"`},
		"unknown flag":       {[]string{"status", "--fast"}, "unknown flag: --fast"},
		"no file":            {[]string{"up"}, "accepts 1 arg(s), received 0"},
		"format":             {[]string{"status", "-o", "xml"}, `-o: "xml" is not an output format; use table, json, yaml or csv`},
		"format of flows":    {[]string{"flows", "-o", "xml"}, "table, json, yaml, csv or aws"},
		"format of test":     {[]string{"test", "x", "-o", "xml"}, "csv or junit"},
		"colour":             {[]string{"status", "--color", "red"}, `"red" is none of auto, always and never`},
		"port":               {[]string{"probe", "a", "b:70000"}, "a port is a number from 1 to 65535"},
		"explain's port":     {[]string{"explain", "a", "b:x"}, `"b:x": "x" is not a port`},
		"source port":        {[]string{"explain", "a", "b:1", "--source-port", "70000"}, "1 to 65535"},
		"probe count":        {[]string{"probe", "a", "b:1", "-c", "0"}, "--count must be 1 or more"},
		"since":              {[]string{"flows", "--since", "yesterday"}, `"yesterday" is neither a length of time`},
		"last":               {[]string{"flows", "--last", "-1"}, "--last must not be negative"},
		"flows port":         {[]string{"flows", "--port", "65536"}, "1 to 65535"},
		"flows direction":    {[]string{"flows", "--direction", "up"}, "neither ingress nor egress"},
		"format without aws": {[]string{"flows", "--format", "${version}"}, "go with -o aws"},
		"rule's direction":   {[]string{"authorize", "g", "r", "--direction", "up"}, "neither ingress nor egress"},
		"no program":         {[]string{"exec", "web-1", "--"}, "exec needs a program"},
		"driver":             {[]string{"up", "FILE", "--driver", "kvm"}, `--driver: "kvm" is none of auto, netns, netstack`},
		"records":            {[]string{"up", "FILE", "--records", "all"}, `"all" is none of table, aws and none`},
		"up has no csv":      {[]string{"up", "FILE", "-o", "csv"}, "no csv form"},
		"show has no csv":    {[]string{"show", "web", "-o", "csv"}, "no csv form"},
		"conntrack port":     {[]string{"conntrack", "--port", "-1"}, "1 to 65535"},
		"flowlogs last":      {[]string{"flowlogs", "list", "--last", "-1"}, "--last must not be negative"},
		"missing file":       {[]string{"up", "/nonexistent/lab.yaml"}, "/nonexistent/lab.yaml: no such file or directory"},
		"missing tests file": {[]string{"test", "FILE", "--tests", "/nonexistent/t.yaml"}, "/nonexistent/t.yaml: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for i, a := range c.args {
				if a == "FILE" {
					c.args[i] = r.file("lab: x")
				}
			}
			r.want(t, r.run(c.args...), 2, c.want)
			if r.out.Len() > 0 {
				t.Errorf("standard output has %q", r.out.String())
			}
		})
	}
}

func TestAgentNotReachable(t *testing.T) {
	for _, line := range []string{"status", "apply FILE", "exec a -- b", "console a", "start a", "stop a", "restart a", "probe a b:1", "explain a b:1", "authorize g tcp", "revoke g tcp", "flows", "flows -f", "conntrack", "flowlogs list", "flowlogs read", "show x"} {
		t.Run(line, func(t *testing.T) {
			r := newRig(t)
			args := strings.Fields(strings.ReplaceAll(line, "FILE", r.file("lab: x")))
			r.want(t, r.run(args...), 4, r.dir+"/agent.sock: no agent is running", "start one with `vpclab up FILE`")
		})
	}
}

func TestExitCodesOfFailedRequests(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{&agent.Error{Code: agent.CodeUnknownObject, Message: "there is no web-9", Near: []string{"web-1"}}, 2, "error: there is no web-9\n  did you mean web-1?"},
		{&agent.Error{Code: agent.CodeAmbiguousObject, Message: "two labs have web-1", Near: []string{"a/web-1", "b/web-1"}}, 2, "a/web-1, b/web-1"},
		{&agent.Error{Code: "InvalidPermission.Duplicate", Message: "the rule is there already"}, 1, "error: the rule is there already (InvalidPermission.Duplicate)"},
		{&agent.Error{Code: agent.CodeNoDriver, Message: "no TUN device", Fix: "modprobe tun"}, 1, "modprobe tun"},
		{errors.New("out of luck"), 1, "error: out of luck"},
	} {
		r := newRig(t).withAgent()
		r.host.s.fail = c.err
		r.want(t, r.run("conntrack"), c.code, c.want)
		r.want(t, r.run("flows"), c.code, c.want)
	}
}

func TestShowNamesWhatWasPerhapsMeant(t *testing.T) {
	r := newRig(t).withAgent()
	r.want(t, r.run("show", "wbe"), 2, "there is no wbe", "did you mean web-1, web?")
}

func TestValidateExitCodes(t *testing.T) {
	r := newRig(t)
	r.want(t, r.run("validate", r.file("invalid")), 1, "lab.yaml:12:5: instances.web-1.ip: 10.0.9.9 is outside subnet public (10.0.1.0/24); use 10.0.1.4 to 10.0.1.254\n  12 |   ip: 10.0.9.9\n     |       ^\nlab.yaml:14:1: unknown field")
	r.want(t, r.run("validate", r.file("valid")), 0)
	r.host.s.warnings = []agent.Problem{{Where: "lab.yaml:3:1", Message: "group db has no member"}}
	r.want(t, r.run("validate", r.file("valid")), 3)
	if !strings.Contains(r.out.String(), "warning: lab.yaml:3:1: group db has no member") {
		t.Errorf("stdout %q", r.out.String())
	}
}

func TestInvalidFileStartsNoAgent(t *testing.T) {
	for _, line := range []string{"up FILE", "up FILE --detach", "test FILE"} {
		r := newRig(t)
		code := r.run(strings.Fields(strings.ReplaceAll(line, "FILE", r.file("invalid")))...)
		r.want(t, code, 2, "lab.yaml:12:5: instances.web-1.ip")
		if r.host.ran != 0 {
			t.Errorf("%s: an agent was started", line)
		}
	}
}

func TestFilesFromStandardInputAndDirectories(t *testing.T) {
	r := newRig(t)
	r.in = "lab: x"
	r.want(t, r.run("validate", "-"), 0)
	if !strings.HasPrefix(r.out.String(), "stdin: valid") {
		t.Errorf("stdout %q", r.out.String())
	}
	r.want(t, r.run("validate", filepath.Dir(r.file("lab: x"))), 0)
	r.in = strings.Repeat("#", maxFile+1)
	r.want(t, r.run("validate", "-"), 2, "larger than 16 MiB")
}

func TestTestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		sum  func(*agent.TestSummary)
		want int
	}{
		"passed":   {nil, 0},
		"failed":   {func(s *agent.TestSummary) { s.Failed, s.Warnings = 1, 1 }, 1},
		"nothing":  {func(s *agent.TestSummary) { s.Total = 0 }, 2},
		"warnings": {func(s *agent.TestSummary) { s.Warnings = 1 }, 3},
	} {
		r := newRig(t)
		r.host.s.sum = c.sum
		r.want(t, r.run("test", r.file("lab: x")), c.want)
		if !strings.Contains(r.out.String(), "2 passed") {
			t.Errorf("%s: stdout %q", name, r.out.String())
		}
	}
	r := newRig(t)
	r.want(t, r.run("test", r.file("no tests")), 2, "lab three-tier has no tests")
}

func TestTestStartsAnAgentOnlyWhereNoneRuns(t *testing.T) {
	r := newRig(t) // none: start, apply, test, and all is gone
	r.host.s.labs = nil
	r.want(t, r.run("test", r.file("lab: x")), 0)
	if got := asked(r); !reflect.DeepEqual(got, []string{"ApplyRequest", "TestRequest"}) || r.host.ran != 1 {
		t.Errorf("asked %v, %d agents", got, r.host.ran)
	}
	if agent.Holder(r.dir) != 0 {
		t.Error("the agent is still there")
	}
	r = newRig(t).withAgent() // one with the lab up: only test
	r.want(t, r.run("test", r.file("lab: x")), 0)
	if got := asked(r); !reflect.DeepEqual(got, []string{"TestRequest"}) || r.host.ran != 1 {
		t.Errorf("asked %v, %d agents", got, r.host.ran)
	}
	r = newRig(t).withAgent() // one without the lab: bring it up, and take only it away
	r.host.s.labs = nil
	r.want(t, r.run("test", r.file("lab: x")), 0)
	if got := asked(r); !reflect.DeepEqual(got, []string{"ApplyRequest", "TestRequest", "DownRequest"}) {
		t.Errorf("asked %v", got)
	}
	if d := r.host.s.asked[len(r.host.s.asked)-1].(*agent.DownRequest); d.Lab != "three-tier" {
		t.Errorf("took %+v down", d)
	}
}

// asked gives the kinds of the requests, without those that only look.
func asked(r *rig) (kinds []string) {
	for _, q := range r.host.s.asked {
		if q != nil {
			kinds = append(kinds, reflect.TypeOf(q).Elem().Name())
		}
	}
	return kinds
}

func TestJUnitAndTestsFile(t *testing.T) {
	r := newRig(t).withAgent()
	r.want(t, r.run("test", r.file("lab: x"), "--tests", r.file("hidden"), "-o", "junit"), 0)
	if r.out.String() != "<testsuites/>\n" {
		t.Errorf("stdout %q", r.out.String())
	}
	q := r.host.s.asked[len(r.host.s.asked)-1].(*agent.TestRequest)
	if !q.JUnit || q.Tests == nil || string(q.Tests.Data) != "hidden" {
		t.Errorf("asked %+v", q)
	}
}

// A run that is broken off prints what it has, and says so by its code.
func TestInterruptedTestPrintsWhatItHas(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.host.s.testing = func(ctx context.Context) { cancel(); <-ctx.Done() }
	r.want(t, r.runUntil(ctx, "test", r.file("lab: x")), 130)
	if agent.Holder(r.dir) != 0 {
		t.Error("the agent is still there")
	}
}

func TestFollowEndsWithCtrlC(t *testing.T) {
	for _, form := range []string{"table", "json", "aws"} {
		r := newRig(t).withAgent()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		r.host.s.follow = func(ctx context.Context) error { cancel(); <-ctx.Done(); close(ended); return ctx.Err() }
		r.want(t, r.runUntil(ctx, "flows", "-f", "-o", form), 130)
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("the agent still follows")
		}
	}
}

func TestFollowTellsOfLosses(t *testing.T) {
	r := newRig(t).withAgent()
	r.host.s.follow = func(context.Context) error { return nil }
	r.want(t, r.run("flows", "-f", "-o", "json"), 0, "7 records were lost: this follower is too slow")
	if n := strings.Count(r.out.String(), "\n"); n != 3 || !strings.HasPrefix(r.out.String(), "{") {
		t.Errorf("%d JSON lines, want 3:\n%s", n, r.out.String())
	}
}

func TestFlowsFlags(t *testing.T) {
	r := newRig(t).withAgent()
	for _, c := range []struct {
		line string
		want agent.FlowsRequest
	}{
		{"flows", agent.FlowsRequest{}},
		{"flows --reject", agent.FlowsRequest{Action: agent.Reject}},
		{"flows --accept", agent.FlowsRequest{Action: agent.Accept}},
		{"flows --accept --reject", agent.FlowsRequest{}},
		{"flows --last 5 --since 5m", agent.FlowsRequest{Last: 5, Since: now.Add(-5 * time.Minute)}},
		{"flows --since 14:03", agent.FlowsRequest{Since: time.Date(2026, 3, 1, 14, 3, 0, 0, time.UTC)}},
		{"flows --since 2026-01-31T14:03:00Z", agent.FlowsRequest{Since: time.Date(2026, 1, 31, 14, 3, 0, 0, time.UTC)}},
		{"flows --at web-1 --addr 10.0.0.0/8 --port 80 --proto udp --direction egress --lab l --sealed",
			agent.FlowsRequest{Lab: "l", Instance: "web-1", Address: "10.0.0.0/8", Port: 80, Protocol: "udp", Dir: agent.Egress, Sealed: true}},
		{"flows -o aws", agent.FlowsRequest{Format: agent.DefaultFormat}},
		{"flows -o aws --format ${version}", agent.FlowsRequest{Format: "${version}"}},
	} {
		r.want(t, r.run(strings.Fields(c.line)...), 0)
		if got := r.host.s.asked[len(r.host.s.asked)-1].(*agent.FlowsRequest); !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: asked %+v, want %+v", c.line, *got, c.want)
		}
	}
	r.run("flows", "-o", "aws")
	if got := r.out.String(); got != "2 ACCEPT\n2 ACCEPT\n2 REJECT\n" {
		t.Errorf("the lines are %q", got)
	}
	r.run("flows", "-o", "aws", "--header")
	if got := r.out.String(); !strings.HasPrefix(got, "version action\n2 ACCEPT\n") {
		t.Errorf("with header: %q", got)
	}
}

func TestRequestsOfOtherCommands(t *testing.T) {
	r := newRig(t).withAgent()
	for _, c := range []struct {
		line string
		want any
	}{
		{"probe web-1 app-1:8080 -c 3 --timeout 500ms --lab l", &agent.ProbeRequest{Lab: "l", From: "web-1", To: agent.Target{Host: "app-1", Port: 8080, Protocol: "tcp"}, Count: 3, Timeout: 0.5}},
		{"explain web-1 app-1:53/udp --source-port 99", &agent.ExplainRequest{From: "web-1", To: agent.Target{Host: "app-1", Port: 53, Protocol: "udp"}, SourcePort: 99}},
		{"authorize app tcp 8080 from web", &agent.RuleRequest{Group: "app", Rule: "tcp 8080 from web"}},
		{"revoke app sgr-0c --direction egress", &agent.RuleRequest{Group: "app", Rule: "sgr-0c", Direction: agent.Egress}},
		{"conntrack --at web-1 --addr db-1 --port 5432 --proto tcp --rejected --last 9", &agent.ConntrackRequest{Instance: "web-1", Address: "db-1", Port: 5432, Protocol: "tcp", Rejected: true, Last: 9}},
		{"flowlogs list --flow-log all --last 2 --since 1h", &agent.FlowLogsRequest{FlowLog: "all", Last: 2, Since: now.Add(-time.Hour)}},
		{"flowlogs read a.log.gz", &agent.FlowLogReadRequest{Key: "a.log.gz"}},
		{"show security-group/web --lab l", &agent.ShowRequest{Lab: "l", Object: "security-group/web"}},
		{"exec web-1 ping -c 1", &agent.ExecRequest{Instance: "web-1", Argv: []string{"ping", "-c", "1"}}},
		{"exec --lab l web-1 -- nc -- x", &agent.ExecRequest{Lab: "l", Instance: "web-1", Argv: []string{"nc", "--", "x"}}},
		{"down", &agent.DownRequest{}},
		{"down l", &agent.DownRequest{Lab: "l"}},
	} {
		r.run(strings.Fields(c.line)...)
		if got := r.host.s.asked[len(r.host.s.asked)-1]; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: asked %+v, want %+v", c.line, got, c.want)
		}
	}
}

func TestExecJoinsAnInstanceOfTheHost(t *testing.T) {
	r := newRig(t).withAgent()
	r.want(t, r.run("exec", "netns-1", "--", "ip", "addr"), 3)
	if got := r.out.String(); got != "joined netns-1 for [\"ip\" \"addr\"]\n" {
		t.Errorf("stdout %q", got)
	}
}

func TestExitCodeFlag(t *testing.T) {
	r := newRig(t).withAgent()
	for line, want := range map[string]int{
		"probe web-1 app-1:8080 --exit-code": 0, "probe web-1 db-1:5432": 0, "probe web-1 db-1:5432 --exit-code": 1,
		"explain web-1 db-1:5432": 0, "explain web-1 db-1:5432 --exit-code": 1,
	} {
		if code := r.run(strings.Fields(line)...); code != want {
			t.Errorf("%s: exit code %d, want %d", line, code, want)
		}
	}
}

func TestCompletion(t *testing.T) {
	r := newRig(t).withAgent()
	for line, want := range map[string]string{
		"__complete exec ":           "app-1\t10.0.2.10\nweb-1\t10.0.1.10\n:4\n",
		"__complete probe web-1 ":    "app-1\t10.0.2.10\nweb-1\t10.0.1.10\n:6\n",
		"__complete probe a b ":      ":4\n",
		"__complete authorize ":      "web\n:4\n",
		"__complete down ":           "three-tier\n:4\n",
		"__complete probe a --lab ":  "three-tier\n:4\n",
		"__complete show rtb":        "app-1\t10.0.2.10\nweb-1\t10.0.1.10\nthree-tier\nweb\nrtb-0a\n:4\n",
		"__complete up ":             "yaml\nyml\n:8\n",
		"__complete flows --output ": "aws\ntable\njson\nyaml\ncsv\n:4\n",
		"__complete up x --driver ":  "auto\nnetns\nnetstack\n:4\n",
	} {
		fields := strings.Split(line, " ")
		args := append([]string{fields[0], "--data-dir=" + r.dir}, fields[1:]...)
		r.runUntil(t.Context(), args...)
		if got := r.out.String(); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r.want(t, r.run("completion", shell), 0)
		if !strings.Contains(r.out.String(), "vpclab") {
			t.Errorf("%s: no script", shell)
		}
	}
}

func TestHelpHasTheExitCodes(t *testing.T) {
	r := newRig(t)
	r.want(t, r.run("help"), 0)
	for _, want := range []string{"130  interrupted", "4    no agent can be reached", "vpclab up FILE", "Labs:", "Look:"} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("%q is not in the help:\n%s", want, r.out.String())
		}
	}
}

func TestVersion(t *testing.T) {
	r := newRig(t)
	for form, want := range map[string]string{"table": "vpclab ", "json": `"go": "go1`, "yaml": "platform: ", "csv": "version,commit,go,platform\n"} {
		r.want(t, r.run("version", "-o", form), 0)
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("%s: %q", form, r.out.String())
		}
	}
}

func TestDefaultDataDir(t *testing.T) {
	for _, c := range []struct {
		uid  int
		env  map[string]string
		want string
	}{
		{0, map[string]string{"HOME": "/home/r", "XDG_STATE_HOME": "/x"}, "/var/lib/vpclab"},
		{1000, map[string]string{"HOME": "/home/a"}, "/home/a/.local/state/vpclab"},
		{1000, map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "/state"}, "/state/vpclab"},
		{1000, map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "relative"}, "/home/a/.local/state/vpclab"}, // the XDG specification: relative paths are invalid
		{1000, nil, ""},
	} {
		if got := defaultDataDir(c.uid, func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("uid %d, %v: %q, want %q", c.uid, c.env, got, c.want)
		}
	}
}

func TestNoHomeNoDataDir(t *testing.T) {
	r := newRig(t)
	r.dir = ""
	r.want(t, r.run("status"), 2, "name one with --data-dir")
}

// YAML is the same document as JSON: the same keys, values and types.
func TestYAMLEqualsJSON(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	for _, path := range files {
		if strings.Contains(path, "flowlogs-read") {
			continue // several documents
		}
		var a, b any
		for p, v := range map[string]*any{path: &a, strings.TrimSuffix(path, "yaml") + "json": &b} {
			raw, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			_, text, _ := strings.Cut(string(raw), "--- stdout\n")
			text, _, _ = strings.Cut(text, "--- stderr\n")
			if err := yaml.Unmarshal([]byte(text), v); err != nil {
				t.Errorf("%s: %v", p, err)
			}
		}
		if fmt.Sprintf("%#v", a) != fmt.Sprintf("%#v", b) {
			t.Errorf("%s differs from its JSON:\n%#v\n%#v", path, a, b)
		}
	}
}
