package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpclab/vpclab/api/agent"
)

// notice is standard error that calls back when a text has been written to it.
type notice struct {
	text string
	seen func()
	b    strings.Builder
}

func (n *notice) Write(p []byte) (int, error) {
	n.b.Write(p)
	if n.seen != nil && strings.Contains(n.b.String(), n.text) {
		n.seen()
		n.seen = nil
	}
	return len(p), nil
}

// upAndStop runs up until it says that it is running, and interrupts it then.
func (r *rig) upAndStop(args ...string) (code int, stderr string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n := &notice{text: "running; Ctrl-C to stop", seen: cancel}
	r.out.Reset()
	a := &app{in: strings.NewReader(r.in), out: &r.out, err: n, getenv: func(k string) string { return r.env[k] }, uid: 1000,
		now: func() time.Time { return now }, zone: time.UTC, here: r.host}
	code = a.run(ctx, append([]string{"--data-dir=" + r.dir, "up"}, args...))
	return code, n.b.String()
}

const upOutput = `INSTANCE                      VPC   SUBNET   GROUPS   LISTENS                      DRIVER  STATE
app-1[10.0.2.10]              shop  private  app      8080                         netns   running
db-1[10.0.2.20,2001:db8::20]  shop  private  db, ops  5432(postgres), 53/udp(dns)  netns   running
web-1[10.0.1.10]              shop  public   web      80(http)                     netns   running

ok    guest-1[10.0.1.66]  web-1[10.0.1.10]:80   ACCEPT  web ingress: http from anywhere  lab.yaml:10
ok    web-1[10.0.1.10]    db-1[10.0.2.20]:5432  REJECT  db ingress: no rule              lab.yaml:12

2 passed in 1.4 s; rules used: 1 of 3
not used by any test: app ingress: tcp 8080 from web  lab.yaml:11

TIME      AT     DIR      SOURCE                  DESTINATION            ACTION  PKTS  BYTES  FLAGS    RULE
14:01:48  web-1  egress   web-1[10.0.1.10]:40112  app-1[10.0.2.10]:8080  ACCEPT     4    216  SYN FIN  web: all to anywhere
14:01:48  app-1  ingress  web-1[10.0.1.10]:40112  app-1[10.0.2.10]:8080  ACCEPT     4    216  SYN FIN  app: tcp 8080 from web
14:01:48  db-1   ingress  web-1[10.0.1.10]:40112  db-1[10.0.2.20]:5432   REJECT     1     60  SYN      db: no rule
`

const upProgress = `create vpc shop 10.0.0.0/16
[1/3] start instance web-1 netns, 10.0.1.10
running; Ctrl-C to stop
stopping
`

func TestUpInTheForeground(t *testing.T) {
	r := newRig(t)
	code, stderr := r.upAndStop(r.file("lab: three-tier"))
	if code != 0 || r.out.String() != upOutput || stderr != upProgress {
		t.Errorf("exit code %d, stdout\n%s\nstderr\n%s", code, r.out.String(), stderr)
	}
	if agent.Holder(r.dir) != 0 {
		t.Error("the agent is still there")
	}
	if _, err := os.Lstat(agent.SocketPath(r.dir)); err == nil {
		t.Error("the socket is still there")
	}
	last := r.host.s.asked[len(r.host.s.asked)-1].(*agent.FlowsRequest)
	if last.Lab != "three-tier" || !last.Since.Equal(started) {
		t.Errorf("asked for %+v, not for the records since the tests began", last)
	}
}

func TestUpForms(t *testing.T) {
	r := newRig(t)
	if code, stderr := r.upAndStop(r.file("x"), "--records", "aws"); code != 0 || !strings.HasSuffix(r.out.String(), "\n\n2 ACCEPT\n2 ACCEPT\n2 REJECT\n") {
		t.Errorf("exit code %d, stdout\n%s\nstderr\n%s", code, r.out.String(), stderr)
	}
	if code, stderr := r.upAndStop(r.file("x"), "--records", "none"); code != 0 || strings.Contains(r.out.String(), "PKTS") {
		t.Errorf("exit code %d, stdout\n%s\nstderr\n%s", code, r.out.String(), stderr)
	}
	if code, stderr := r.upAndStop(r.file("x"), "--no-tests"); code != 0 || strings.Contains(r.out.String(), "passed") || !strings.Contains(r.out.String(), "INSTANCE") {
		t.Errorf("exit code %d, stdout\n%s\nstderr\n%s", code, r.out.String(), stderr)
	}
	if code, stderr := r.upAndStop(r.file("no tests")); code != 0 || strings.Contains(r.out.String(), "passed") {
		t.Errorf("exit code %d, stdout\n%s\nstderr\n%s", code, r.out.String(), stderr)
	}
	if code, stderr := r.upAndStop(r.file("x"), "-o", "json"); code != 0 || !strings.Contains(r.out.String(), `"summary": {`) || !strings.HasSuffix(r.out.String(), "]\n}\n") {
		t.Errorf("exit code %d, stdout\n%s\nstderr\n%s", code, r.out.String(), stderr)
	}
}

func TestUpExitCodeIsThatOfItsTests(t *testing.T) {
	for want, change := range map[int]func(*agent.TestSummary){1: func(s *agent.TestSummary) { s.Failed = 1 }, 3: func(s *agent.TestSummary) { s.Warnings = 1 }} {
		r := newRig(t)
		r.host.s.sum = change
		if code, stderr := r.upAndStop(r.file("x")); code != want || !strings.Contains(stderr, "running; Ctrl-C") {
			t.Errorf("exit code %d, want %d; stderr\n%s", code, want, stderr)
		}
	}
}

func TestUpThatFailsLeavesNoAgent(t *testing.T) {
	r := newRig(t)
	r.host.s.failures = map[string]error{"apply": &agent.Error{Code: "InvalidSubnet.Conflict", Message: "public overlaps private"}}
	r.want(t, r.run("up", r.file("x")), 1, "public overlaps private (InvalidSubnet.Conflict)")
	if agent.Holder(r.dir) != 0 {
		t.Error("the agent is still there")
	}
}

func TestUpInterruptedBeforeItRuns(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.host.s.testing = func(ctx context.Context) { cancel(); <-ctx.Done() }
	r.want(t, r.runUntil(ctx, "up", r.file("x")), 130)
	if strings.Contains(r.err.String(), "running; Ctrl-C") || agent.Holder(r.dir) != 0 {
		t.Errorf("holder %d, stderr %s", agent.Holder(r.dir), r.err.String())
	}
}

func TestUpWhereTheAgentCannotStart(t *testing.T) {
	r := newRig(t)
	r.host.runs = &agent.Error{Code: agent.CodeNoPermission, Where: "/var/lib/vpclab", Message: "cannot make the data directory: permission denied", Fix: "use a directory of your own with --data-dir"}
	r.want(t, r.run("up", r.file("x")), 1, "permission denied", "--data-dir")
	r.host.runs = errors.New("no memory")
	r.want(t, r.run("test", r.file("x")), 1, "no memory")
}

func TestDataDirectoryInUse(t *testing.T) {
	r := newRig(t)
	lock, err := agent.LockDataDir(r.dir) // an agent that holds the directory and does not answer
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	pid := fmt.Sprintf("in use by another agent (pid %d)", os.Getpid())
	r.want(t, r.run("up", r.file("x")), 1, r.dir, pid, "--data-dir")
	r.want(t, r.run("agent"), 1, pid)
	r.want(t, r.run("status"), 4, fmt.Sprintf("the agent (pid %d) does not answer", os.Getpid()))
	r.host.clean = &agent.Error{Code: agent.CodeInUse, Message: "the data directory is in use"}
	r.want(t, r.run("down"), 4, "does not answer")
}

func TestUpUsesTheAgentThatRuns(t *testing.T) {
	r := newRig(t).withAgent()
	code, stderr := r.upAndStop(r.file("x"))
	if code != 0 || !strings.Contains(stderr, "taking lab three-tier down; the agent, which was running before, goes on") {
		t.Errorf("exit code %d, stderr\n%s", code, stderr)
	}
	if d, ok := r.host.s.asked[len(r.host.s.asked)-1].(*agent.DownRequest); !ok || d.Lab != "three-tier" {
		t.Errorf("asked last for %+v", r.host.s.asked[len(r.host.s.asked)-1])
	}
	if r.host.ran != 1 || agent.Holder(r.dir) == 0 {
		t.Errorf("%d agents were started, holder %d", r.host.ran, agent.Holder(r.dir))
	}
}

func TestUpEndsWhenItsAgentIsToldTo(t *testing.T) {
	r := newRig(t)
	r.host.s.stops = true
	other := &rig{t: t, host: r.host, dir: r.dir}
	down := make(chan int, 1)
	n := &notice{text: "running; Ctrl-C to stop", seen: func() { go func() { down <- other.run("down") }() }}
	a := &app{in: strings.NewReader(""), out: &r.out, err: n, getenv: os.Getenv, uid: 1000, now: time.Now, here: r.host}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if code := a.run(ctx, []string{"--data-dir=" + r.dir, "up", r.file("x")}); code != 0 || !strings.Contains(n.b.String(), "the agent has ended") {
		t.Errorf("up: exit code %d, stderr\n%s", code, n.b.String())
	}
	if code := <-down; code != 0 || !strings.Contains(other.out.String(), "down: three-tier") {
		t.Errorf("down: exit code %d, %s%s", code, other.out.String(), other.err.String())
	}
}

func TestDownWithoutAnAgent(t *testing.T) {
	r := newRig(t)
	r.want(t, r.run("down"), 0, "no agent is running; what one may have left behind is cleared away")
	if r.out.String() != "nothing was up\n" {
		t.Errorf("stdout %q", r.out.String())
	}
	r.host.clean = errors.New("cannot remove vpclab-0a: device or resource busy")
	r.want(t, r.run("down"), 1, "device or resource busy")
}

// A real process in the background: up --detach starts it, down ends it.
func TestUpDetached(t *testing.T) {
	t.Setenv("VPCLAB_TEST_MAIN", "1")
	r := newRig(t)
	r.want(t, r.run("up", "--detach", r.file("x")), 0, "running in the background; `vpclab down` ends it")
	if r.out.String() != upOutput {
		t.Errorf("stdout\n%s", r.out.String())
	}
	pid := agent.Holder(r.dir)
	if pid == 0 || pid == os.Getpid() {
		t.Fatalf("the agent's pid is %d", pid)
	}
	if group, err := syscall.Getpgid(pid); group != pid || err != nil { // else Ctrl-C on this terminal would reach it
		t.Errorf("the agent's process group is %d, %v; want its own", group, err)
	}
	r.want(t, r.run("status"), 0)
	r.want(t, r.run("up", "--detach", r.file("x"), "--no-tests"), 0) // uses the one that is there
	if again := agent.Holder(r.dir); again != pid {
		t.Errorf("the agent's pid became %d, was %d", again, pid)
	}
	r.host.s.stops = true
	r.want(t, r.run("down"), 0)
	if agent.Holder(r.dir) != 0 {
		t.Error("the agent is still there after down")
	}
	if info, err := os.Stat(agent.LogPath(r.dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the agent's log:", info, err)
	}
}

func TestUpDetachedThatCannotStart(t *testing.T) {
	t.Setenv("VPCLAB_TEST_MAIN", "1")
	t.Setenv("VPCLAB_TEST_FAIL", "no TUN device and no netstack")
	r := newRig(t)
	r.want(t, r.run("up", "--detach", r.file("x")), 1, "error: no TUN device and no netstack")
	if _, err := os.Stat(agent.SocketPath(r.dir)); err == nil {
		t.Error("there is a socket")
	}
}

func TestStartError(t *testing.T) {
	e := startError([]byte(`{"code":"NoDriver","message":"m"}`), nil, "/d")
	if !reflect.DeepEqual(e, &agent.Error{Code: agent.CodeNoDriver, Message: "m"}) {
		t.Errorf("got %+v", e)
	}
	for answer, ended := range map[string]error{"": errors.New("exit status 2"), "{}": nil, "junk": nil} {
		if e := startError([]byte(answer), ended, "/d").(*agent.Error); !strings.Contains(e.Message, "the agent did not start: ") || !strings.Contains(e.Fix, "/d/agent.log") {
			t.Errorf("%q: %+v", answer, e)
		}
	}
}
