//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// longHost is a host whose data directory's path has n bytes, with a runtime directory of its own.
func longHost(t *testing.T, n int) (h *host, runtime string) {
	t.Helper()
	h = newHost(t)
	h.lengthen(n)
	runtime, err := os.MkdirTemp("/tmp", "vl-run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runtime) })
	h.env = append(h.env, "XDG_RUNTIME_DIR="+runtime)
	return h, runtime
}

// lengthen moves the data directory down until its path has n bytes.
func (h *host) lengthen(n int) {
	h.t.Helper()
	for len(h.dir)+1 < n {
		h.dir = filepath.Join(h.dir, strings.Repeat("d", min(50, n-len(h.dir)-1)))
	}
	if len(h.dir) != n {
		h.t.Fatalf("%d bytes, want %d", len(h.dir), n)
	}
}

// TestLongDataDirectory: a path that no socket can have works like any other, also after kill -9.
func TestLongDataDirectory(t *testing.T) {
	for _, driver := range []string{"netns", "netstack"} {
		t.Run(driver, func(t *testing.T) {
			if driver == "netns" {
				needsRoot(t)
				needsProgram(t, "ping", "iputils-ping")
			}
			h, runtime := longHost(t, 150)
			sockets := func() []string {
				found, _ := filepath.Glob(filepath.Join(runtime, "vpclab-*", "agent.sock"))
				return found
			}
			if r := h.run("doctor"); !strings.Contains(r.out, "its socket goes to "+runtime) {
				t.Errorf("doctor does not say where the socket goes\n%v", r)
			}
			h.must("up", "--detach", three, "--driver", driver)
			if len(sockets()) != 1 {
				t.Fatalf("sockets: %q", sockets())
			}
			h.must("exec", "web-1", "--", "ping", "-c", "1", "10.0.1.1")
			var st agent.Status
			h.json(&st, "status")
			h.must("down")
			if left := sockets(); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			h.must("up", "--detach", "--no-tests", three, "--driver", driver)
			h.json(&st, "status")
			if err := syscall.Kill(st.Agent.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "status says that the agent is gone", func() bool {
				r := h.run("status")
				return r.code == 4 && strings.Contains(r.err, "the one that made this socket is gone")
			})
			h.must("down")
			if left, _ := os.ReadDir(runtime); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestNoPlaceForTheSocket: where none can be, the message says what was tried, and nothing is left.
func TestNoPlaceForTheSocket(t *testing.T) {
	h := newHost(t)
	h.giveUpRoot(false)
	h.lengthen(150)
	h.env = append(h.env, "XDG_RUNTIME_DIR=/proc", "TMPDIR=/proc") // where nobody can make anything
	r := h.run("up", three)
	if r.code != 1 || !strings.Contains(r.err, "its path has 161 bytes") || !strings.Contains(r.err, "use a shorter --data-dir") {
		t.Errorf("%v", r)
	}
	if r := h.run("doctor"); r.code != 3 || !strings.Contains(r.out, "use a shorter --data-dir") {
		t.Errorf("%v", r)
	}
}

// inRoom runs a shell script as root in a mount namespace of its own; $1 is the program. What it mounts is nobody else's.
func inRoom(script string, args ...string) *exec.Cmd {
	cmd := exec.Command("sh", append([]string{"-ec", "mount --make-rprivate /\n" + script, "sh", program}, args...)...)
	cmd.Dir = home
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// asNobody is what inRoom's scripts end with: the program, as a user without privileges whose home is $2.
const asNobody = `exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$2" "$1" `

// TestRootsAgentIsNamed: who finds no agent of their own is told of root's.
func TestRootsAgentIsNamed(t *testing.T) {
	needsRoot(t)
	h := newHost(t)
	h.giveUpRoot(false)
	status := func() result {
		cmd := h.command()
		cmd.Args = []string{program, "status"}
		var out, err strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &err
		cmd.Run()
		return result{cmd.Args, cmd.ProcessState.ExitCode(), out.String(), err.String()}
	}
	if r := status(); r.code != 4 || !strings.Contains(r.err, "no agent is running") {
		t.Fatalf("before: %v", r)
	}
	// Root's agent, with a /var/lib of its own.
	cmd := inRoom(`mount -t tmpfs none /var/lib; exec "$1" up --driver netstack --no-tests "$2"`, three)
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.err
	p.begin()
	p.await(&p.err, running)
	r := status()
	for _, want := range []string{"root's agent is running (/var/lib/vpclab)", "sudo", "--data-dir", "vpclab up FILE"} {
		if r.code != 4 || !strings.Contains(r.err, want) {
			t.Errorf("want exit code 4 and %q\n%v", want, r)
		}
	}
	p.stop()
	if r := status(); strings.Contains(r.err, "root's agent") {
		t.Errorf("after: %v", r)
	}
}

// TestDoctor runs it in rooms that lack one thing each.
func TestDoctor(t *testing.T) {
	needsRoot(t)
	tun := `mount -t tmpfs none /dev/net; mknod -m %s /dev/net/tun c 10 200; ` + asNobody + `doctor -o csv`
	for name, c := range map[string]struct {
		script string
		want   []string // beginnings of lines
	}{
		"root":       {`exec "$1" --data-dir "$2" doctor -o csv`, []string{"driver,netns,works,", "driver,netstack,works,", "check,root,ok,", "check,TUN device,ok,", "check,overlayfs,ok,", "check,data directory,ok,"}},
		"TUN open":   {fmt.Sprintf(tun, "0666"), []string{"driver,netstack,works,", `check,root,note,"uid 65534;`, "check,user namespaces,ok,", "check,TUN device,ok,/dev/net/tun: a TAP was made", "check,overlayfs,ok,"}},
		"TUN closed": {fmt.Sprintf(tun, "0600"), []string{"driver,netns,does not work,", "driver,netstack,works,", "check,TUN device,lacks,/dev/net/tun (mode 0600) cannot be opened: permission denied"}},
		"no TUN":     {`mount -t tmpfs none /dev/net; ` + asNobody + `doctor -o csv`, []string{"driver,netns,does not work,", "check,TUN device,lacks,/dev/net/tun: no such file or directory"}},
		"user namespaces used up": {`exec unshare -Ur sh -ec 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all "$1" --data-dir "$2" doctor -o csv' sh "$1" "$2"`,
			[]string{"driver,netns,does not work,", "driver,netstack,works,", "check,user namespaces,lacks,none can be made: "}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			above, err := os.MkdirTemp("", "vl-home-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(above)
			if err := os.Chown(above, 65534, 65534); err != nil && strings.Contains(c.script, "--reuid") {
				t.Fatal(err)
			}
			before := devices(t)
			cmd := inRoom(c.script, filepath.Join(above, "none"))
			var out, errs strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &errs
			cmd.Run()
			lacks := strings.Contains(out.String(), ",lacks,") || strings.Contains(out.String(), ",does not work,")
			if code := cmd.ProcessState.ExitCode(); code != map[bool]int{false: 0, true: 3}[lacks] {
				t.Errorf("exit code %d", code)
			}
			for _, want := range c.want {
				if !strings.Contains("\n"+out.String(), "\n"+want) {
					t.Errorf("no line begins with %q", want)
				}
			}
			for line := range strings.Lines(out.String()) {
				if f := strings.Split(strings.TrimSpace(line), ","); strings.Contains(line, ",lacks,") && f[len(f)-1] == "" && f[len(f)-2] == "" {
					t.Errorf("no fix: %s", line)
				}
			}
			if left, _ := os.ReadDir(above); len(left) > 0 {
				t.Error("doctor made the data directory")
			}
			h.gone(nil, before)
			if t.Failed() {
				t.Logf("%s%s", out.String(), errs.String())
			}
		})
	}
}
