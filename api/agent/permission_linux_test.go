package agent

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestNoPermissionToConnect(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
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
	if os.Geteuid() != 0 {
		os.Chmod(SocketPath(dir), 0)
		_, err = dial(testContext(t), dir)
	} else {
		err = asNobody(func() error { _, err := dial(testContext(t), dir); return err })
	}
	e := wantCode(t, err, CodeUnreachable)
	if !strings.Contains(e.Message, "no permission to talk to the agent") || !strings.Contains(e.Message, "belongs to uid") {
		t.Errorf("got %+v", e)
	}
}

func TestNoPermissionToMakeTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "locked")
	os.Mkdir(dir, 0o500)
	lock := func() error { _, err := LockDataDir(filepath.Join(dir, "data")); return err }
	err := lock
	if os.Geteuid() == 0 {
		err = func() error { return asNobody(lock) }
	}
	e := wantCode(t, err(), CodeNoPermission)
	if !strings.Contains(e.Message, "cannot make the data directory: permission denied") || !strings.Contains(e.Fix, "--data-dir") {
		t.Errorf("got %+v", e)
	}
}

// asNobody runs f on a thread whose file access is an ordinary user's, and gives the thread up.
func asNobody(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0); errno != 0 {
			done <- errno
			return
		}
		done <- f()
	}()
	return <-done
}
