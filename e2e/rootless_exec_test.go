//go:build linux

package e2e

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// plainLab is up without root.
func plainLab(t *testing.T) *host {
	h := rootless(t, allAllowed)
	h.must("up", h.open(quietLab), "--detach", "--driver", "netns")
	return h
}

func TestRootlessExec(t *testing.T) {
	h := plainLab(t)
	h.env = append(h.env, "WORD=from outside")
	for _, test := range []struct {
		name, stdin string
		argv        []string
		code        int
		out, err    string
	}{
		{name: "exit code", argv: []string{"sh", "-c", "exit 7"}, code: 7},
		{name: "signal", argv: []string{"sh", "-c", "kill -TERM $$"}, code: 128 + 15},
		{name: "pipes", stdin: "some\ntext\n", argv: []string{"sh", "-c", "cat; echo oops >&2"}, out: "some\ntext\n", err: "oops\n"},
		{name: "much", stdin: strings.Repeat("0123456789abcdef", 1<<16), argv: []string{"wc", "-c"}, out: "1048576\n"},
		{name: "environment and directory", argv: []string{"sh", "-c", "echo $WORD; pwd"}, out: "from outside\n" + home + "\n"},
		{name: "inside", argv: []string{"sh", "-c", "id -u; hostname; ls /sys/class/net; getent hosts guest-1"},
			out: "0\nweb-1\neth0\nlo\n10.0.1.20       guest-1\n"},
		{name: "no leaked descriptors", argv: []string{"ls", "/proc/self/fd"}, out: "0\n1\n2\n3\n"}, // the fourth is ls's own
		{name: "not found", argv: []string{"no-such-program"}, code: 127, err: "no-such-program"},
		{name: "not a program", argv: []string{"/etc/hosts"}, code: 126, err: "permission denied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := h.feed(test.stdin, append([]string{"exec", "web-1", "--"}, test.argv...)...)
			if r.code != test.code || r.out != test.out || !strings.Contains(r.err, test.err) {
				t.Errorf("want %d, %q, %q\n%v", test.code, test.out, test.err, r)
			}
		})
	}
	// The program's own work, and the kernel's stack.
	needsProgram(t, "curl", "curl")
	needsProgram(t, "ping", "iputils-ping")
	h.must("exec", "guest-1", "--", "curl", "-sS", "-m", "10", "http://web-1/")
	if r := h.run("exec", "web-1", "--", "ping", "-c", "1", "-W", "2", "127.0.0.1"); r.code != 0 {
		t.Errorf("%v", r)
	}
}

func TestRootlessExecSignals(t *testing.T) {
	h := plainLab(t)
	p := h.start(nil, "exec", "web-1", "--", "sh", "-c", "trap 'echo got it; exit 3' INT; echo ready; while :; do sleep 0.05; done")
	p.await(&p.out, "ready")
	p.signal(syscall.SIGINT)
	if code := p.wait(patience); code != 3 || !strings.Contains(p.out.String(), "got it") {
		t.Errorf("exit code %d, %q", code, p.out.String())
	}
	// A client that is killed takes the program with it.
	p = h.start(nil, "exec", "web-1", "--", "sh", "-c", "echo ready $$; exec sleep 1004")
	p.await(&p.out, "ready")
	running := func() bool {
		for _, x := range processes(t) {
			if len(x.args) == 2 && x.args[1] == "1004" {
				return true
			}
		}
		return false
	}
	if !running() {
		t.Fatal("the program does not run")
	}
	p.signal(syscall.SIGKILL)
	eventually(t, "the program ends with the client", func() bool { return !running() })
}

// terminal is the near end of a terminal at which a command runs.
type terminal struct {
	*process
	near *os.File
}

// atTerminal starts a command as a shell's foreground job.
func (h *host) atTerminal(args ...string) *terminal {
	h.t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	near := os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		h.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 101})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	far, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	defer far.Close()
	cmd := h.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, far
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	p := &process{t: h.t, cmd: cmd, ended: make(chan struct{})}
	p.begin()
	go io.Copy(&p.out, near)
	h.t.Cleanup(func() { near.Close() })
	return &terminal{p, near}
}

func TestRootlessExecTerminal(t *testing.T) {
	h := plainLab(t)
	p := h.atTerminal("exec", "web-1", "--", "sh", "-c", "tty >/dev/null && echo a terminal; stty size; read -r x; echo \"read $x\"; exit 5")
	p.await(&p.out, "a terminal\r\n33 101\r\n")
	io.WriteString(p.near, "hello\n")
	if code := p.wait(patience); code != 5 || !strings.Contains(p.out.String(), "read hello\r\n") {
		t.Errorf("exit code %d: %q", code, p.out.String())
	}
	// Ctrl-C is for the program, by way of its own terminal; the shell there has job control.
	p = h.atTerminal("exec", "web-1", "--", "sh", "-c", "trap 'echo; echo stopped; exit 9' INT; echo ready; sleep 1005; exit 1")
	p.await(&p.out, "ready")
	io.WriteString(p.near, "\x03")
	if code := p.wait(patience); code != 9 || !strings.Contains(p.out.String(), "stopped") {
		t.Errorf("exit code %d: %q", code, p.out.String())
	}
	p = h.atTerminal("exec", "web-1", "--", "bash", "--norc", "-i")
	for _, line := range []string{"sleep 1006 &\n", "jobs\n", "stty size\n"} {
		io.WriteString(p.near, line)
	}
	p.await(&p.out, "Running                 sleep 1006")
	p.await(&p.out, "33 101")
	if err := p.resize(50, 120); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the size follows", func() bool {
		io.WriteString(p.near, "stty size\n")
		time.Sleep(50 * time.Millisecond)
		return strings.Contains(p.out.String(), "50 120")
	})
	io.WriteString(p.near, "kill %1; exit 4\n")
	if code := p.wait(patience); code != 4 || strings.Contains(p.out.String(), "no job control") {
		t.Errorf("exit code %d: %q", code, p.out.String())
	}
}

func (p *terminal) resize(rows, columns uint16) error {
	raw, err := p.near.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
	if cerr != nil {
		return cerr
	}
	return err
}
