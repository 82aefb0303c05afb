//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("AGENT_TEST_HOLD"); dir != "" {
		hold(dir)
		return
	}
	os.Exit(m.Run())
}

// hold is a process that holds a data directory until its input ends.
func hold(dir string) {
	l, err := LockDataDir(dir)
	if err == nil {
		_, err = l.Listen()
	}
	fmt.Println(err == nil)
	if err == nil {
		os.Stdin.Read(make([]byte, 1))
	}
}

// holder starts a process that holds dir and gives its pid and how to end it.
func holder(t *testing.T, dir string) (*os.Process, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "AGENT_TEST_HOLD="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if n, _ := out.Read(b); string(b[:n]) != "true\n" {
		t.Fatalf("the other process says %q", b[:n])
	}
	kill := func() { cmd.Process.Kill(); cmd.Wait() }
	t.Cleanup(func() { in.Close(); kill() })
	return cmd.Process, kill
}

func TestOneAgentHoldsADataDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	other, kill := holder(t, dir)
	if pid := Holder(dir); pid != other.Pid {
		t.Errorf("Holder is %d, want %d", pid, other.Pid)
	}
	_, err := LockDataDir(dir)
	e := wantCode(t, err, CodeInUse)
	if want := fmt.Sprintf("in use by another agent (pid %d)", other.Pid); !strings.Contains(e.Message, want) || e.Where != dir || e.Fix == "" {
		t.Errorf("got %+v, want a message with %q", e, want)
	}
	kill() // the kernel lets go of the lock, and the socket stays behind
	if pid := Holder(dir); pid != 0 {
		t.Errorf("Holder is %d after the holder was killed", pid)
	}
	if _, err := os.Lstat(SocketPath(dir)); err != nil {
		t.Fatal("the test wants a stale socket:", err)
	}
	l, err := LockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := l.Listen()
	if err != nil {
		t.Fatal("with a stale socket there:", err)
	}
	ln.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if Holder(dir) != 0 {
		t.Error("held after Close")
	}
	if _, err := os.Lstat(SocketPath(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the socket is there after Close:", err)
	}
}

func TestTwoLocksInOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l, err := LockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockDataDir(dir)
	wantCode(t, err, CodeInUse)
	l.Close()
	l, err = LockDataDir(dir)
	if err != nil {
		t.Fatal("after Close:", err)
	}
	l.Close()
}

func TestOnlyTheOwnerMayConnect(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil { // empty, so it may be closed to others
		t.Fatal(err)
	}
	l, err := LockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ln, err := l.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for path, want := range map[string]fs.FileMode{dir: 0o700, SocketPath(dir): 0o600, filepath.Join(dir, lockName): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestDataDirectoriesThatAreRefused(t *testing.T) {
	shared := t.TempDir()
	os.WriteFile(filepath.Join(shared, "thesis.tex"), nil, 0o600)
	os.Chmod(shared, 0o755)
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	for _, c := range []struct{ name, dir, code, want string }{
		{"other files in it", shared, CodeNoPermission, "has other files in it and is open to others (mode 0755)"},
		{"a file", file, CodeInternal, "not a directory"},
		{"below a file", filepath.Join(file, "x"), CodeInternal, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := LockDataDir(c.dir)
			e := wantCode(t, err, c.code)
			if !strings.Contains(e.Message, c.want) || e.Where != c.dir || !strings.Contains(e.Fix, "director") {
				t.Errorf("got %+v, want %q", e, c.want)
			}
		})
	}
	if info, _ := os.Stat(shared); info.Mode().Perm() != 0o755 {
		t.Errorf("the mode of a directory with other files was changed to %v", info.Mode())
	}
}

func TestAFileInTheSocketsPlaceStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l, err := LockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	os.WriteFile(SocketPath(dir), []byte("x"), 0o600)
	_, err = l.Listen()
	if e := wantCode(t, err, CodeInternal); !strings.Contains(e.Error(), "not a socket") {
		t.Error(e)
	}
	if b, _ := os.ReadFile(SocketPath(dir)); string(b) != "x" {
		t.Error("the file was changed")
	}
}

func TestUnreachable(t *testing.T) {
	stale := filepath.Join(t.TempDir(), "stale")
	os.Mkdir(stale, 0o700)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: SocketPath(stale), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	starting := filepath.Join(t.TempDir(), "starting")
	l, err := LockDataDir(starting)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct{ name, dir, want, fix string }{
		{"no directory", filepath.Join(t.TempDir(), "none"), "no agent is running: there is no such socket", "vpclab up FILE"},
		{"empty directory", t.TempDir(), "no agent is running: there is no such socket", "--data-dir"},
		{"stale socket", stale, "the one that made this socket is gone", "vpclab down"},
		{"starting", starting, fmt.Sprintf("the agent (pid %d) does not answer", os.Getpid()), "try again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewClient(c.dir).Status(testContext(t))
			e := wantCode(t, err, CodeUnreachable)
			if !strings.Contains(e.Message, c.want) || !strings.Contains(e.Fix, c.fix) || e.Where != SocketPath(c.dir) {
				t.Errorf("got %+v\nwant %q and %q", e, c.want, c.fix)
			}
		})
	}
}

func TestWaitGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	c := NewClient(dir)
	if err := c.WaitGone(testContext(t)); err != nil {
		t.Error("nobody there:", err)
	}
	l, err := LockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.WaitGone(gone); !errors.Is(err, context.Canceled) {
		t.Error("cancelled:", err)
	}
	done := make(chan error)
	go func() { done <- c.WaitGone(testContext(t)) }()
	l.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
