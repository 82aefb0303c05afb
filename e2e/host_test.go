//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vpclab/vpclab/api/agent"
)

const (
	patience = 30 * time.Second // for anything that is expected to happen
	running  = "running; Ctrl-C to stop"
	three    = "examples/three-tier/lab.yaml"
)

// raceOptions take out the second that each process with the race detector would sleep at its end.
const raceOptions = "GORACE=atexit_sleep_ms=0"

// host is a data directory, and who works with it.
type host struct {
	t   testing.TB
	dir string
	as  *syscall.Credential // nil: who runs the tests
	env []string
	via []string // a command line that runs the one after it, in a world of its own
}

// newHost makes a data directory. At the end nothing that ran in it may be left.
func newHost(t testing.TB) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "vl-") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // last, and in any case
	h := &host{t: t, dir: dir, env: append(os.Environ(), raceOptions)}
	t.Cleanup(func() {
		h.asOwner()
		if r := h.run("down"); r.code != 0 {
			t.Errorf("%v", r)
		}
		if left := h.footprint(); len(left) > 0 {
			t.Errorf("left behind at the end of the test:\n%s", strings.Join(left, "\n"))
		}
	})
	return h
}

// asOwner makes commands run as whoever has the data directory now, since agents take no directory of somebody else.
func (h *host) asOwner() {
	info, err := os.Stat(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && s.Uid != 0 && h.via == nil {
		h.as = &syscall.Credential{Uid: s.Uid, Gid: s.Gid}
	}
}

// result is what came of a command.
type result struct {
	args     []string
	code     int
	out, err string
}

func (r result) String() string {
	return "vpclab " + strings.Join(r.args, " ") + ": exit code " + itoa(r.code) + "\nstdout:\n" + r.out + "stderr:\n" + r.err
}

// run runs a command to its end.
func (h *host) run(args ...string) result {
	h.t.Helper()
	return h.feed("", args...)
}

// feed is run with a standard input.
func (h *host) feed(stdin string, args ...string) result {
	h.t.Helper()
	p := h.start(strings.NewReader(stdin), args...)
	p.quiet = true
	code := p.wait(4 * patience)
	return result{args, code, p.out.String(), p.err.String()}
}

// must runs a command that has to succeed, and gives its output.
func (h *host) must(args ...string) string {
	h.t.Helper()
	r := h.run(args...)
	if r.code != 0 {
		h.t.Fatalf("%v", r)
	}
	return r.out
}

// fails runs a command that has to end with a code and words on standard error.
func (h *host) fails(code int, words string, args ...string) {
	h.t.Helper()
	r := h.run(args...)
	if r.code != code || !strings.Contains(r.err, words) {
		h.t.Errorf("want exit code %d and %q on standard error\n%v", code, words, r)
	}
}

// json runs a command that has to succeed with -o json and reads what it printed into v.
func (h *host) json(v any, args ...string) {
	h.t.Helper()
	out := h.must(append([]string{"-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		h.t.Fatalf("vpclab %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// up brings a lab up in the foreground and returns when it stays.
func (h *host) up(file string, args ...string) *process {
	h.t.Helper()
	p := h.start(nil, append([]string{"up", file}, args...)...)
	p.await(&p.err, running)
	return p
}

// lab writes a lab file beside the data directory's other files.
func (h *host) lab(text string) string {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "lab.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *host) command(args ...string) *exec.Cmd {
	line := append(append(append([]string{}, h.via...), program, "--data-dir", h.dir), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir, cmd.Env = home, h.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.as}
	return cmd
}

// start runs a command; at the end of the test it is interrupted if it still runs.
func (h *host) start(stdin io.Reader, args ...string) *process {
	h.t.Helper()
	cmd := h.command(args...)
	p := &process{t: h.t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &p.out, &p.err
	p.begin()
	return p
}

// piped is start with a standard input that stays open, and what to write there.
func (h *host) piped(args ...string) (*process, *os.File) {
	h.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	p := h.start(r, args...)
	r.Close()
	h.t.Cleanup(func() { w.Close() })
	return p, w
}

// process is a command that runs.
type process struct {
	t        testing.TB
	cmd      *exec.Cmd
	out, err tape
	ended    chan struct{}
	code     int
	quiet    bool // what it printed is told by who ran it
}

func (p *process) begin() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		err := p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			p.code = -2
		}
		close(p.ended)
	}()
	p.t.Cleanup(p.finish)
}

// finish ends the process, if need be, and looks for what no run may print.
func (p *process) finish() {
	select {
	case <-p.ended:
	default:
		p.signal(syscall.SIGINT)
		select {
		case <-p.ended:
		case <-time.After(patience):
			p.t.Errorf("%v does not end after SIGINT", p.cmd.Args)
			p.cmd.Process.Kill()
			<-p.ended
		}
	}
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "goroutine "} {
		if all := p.err.String(); strings.Contains(all, bad) {
			p.t.Errorf("%v printed:\n%s", p.cmd.Args, all)
			return
		}
	}
	if p.t.Failed() && !p.quiet {
		p.t.Logf("%v\nstdout:\n%sstderr:\n%s", p.cmd.Args, clip(p.out.String()), clip(p.err.String()))
	}
}

func clip(s string) string {
	if len(s) > 8000 {
		return s[:8000] + "...\n"
	}
	return s
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal %v: %v", s, err)
	}
}

// wait waits for the end and gives the exit code: -1 if a signal ended it.
func (p *process) wait(d time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(d):
		p.t.Fatalf("%v still runs after %v\nstdout:\n%sstderr:\n%s", p.cmd.Args, d, clip(p.out.String()), clip(p.err.String()))
		return 0
	}
}

// await waits until words are on one of the tapes.
func (p *process) await(on *tape, words string) {
	p.t.Helper()
	p.awaitWithin(patience, on, words)
}

func (p *process) awaitWithin(d time.Duration, on *tape, words string) {
	p.t.Helper()
	end := time.After(d)
	for !strings.Contains(on.String(), words) {
		select {
		case <-p.ended:
			if !strings.Contains(on.String(), words) {
				p.t.Fatalf("%v ended with %d, before %q\nstdout:\n%sstderr:\n%s", p.cmd.Args, p.code, words, p.out.String(), p.err.String())
			}
		case <-end:
			p.t.Fatalf("%v: no %q in %v\nstdout:\n%sstderr:\n%s", p.cmd.Args, words, d, p.out.String(), p.err.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stop ends a lab that is up in the foreground, as Ctrl-C does.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGINT)
	if code := p.wait(patience); code != 0 {
		p.t.Errorf("%v: exit code %d after SIGINT\nstderr:\n%s", p.cmd.Args, code, p.err.String())
	}
}

// tape keeps what a process writes.
type tape struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tape) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *tape) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// instance shows one instance.
func (h *host) instance(name string) *agent.InstanceDetail {
	h.t.Helper()
	var s agent.ShowResult
	h.json(&s, "show", "instance/"+name)
	if s.Instance == nil {
		h.t.Fatalf("show instance/%s gave a %s", name, s.Kind)
	}
	return s.Instance
}
