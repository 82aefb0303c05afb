//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// cutConnection takes a process's own end of a connection at a unix socket, writes the beginning of a frame to it, and
// shuts it: what a process that dies in the middle of a frame would do, without dying.
func cutConnection(t testing.TB, pid int, socket string) {
	t.Helper()
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fd, err := unix.PidfdGetfd(process, n, 0)
		if err != nil {
			continue // closed meanwhile
		}
		defer unix.Close(fd)
		name, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		at, ok := name.(*unix.SockaddrUnix)
		listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if !ok || listens != 0 || !strings.HasSuffix(at.Name, socket) {
			continue
		}
		if _, err := unix.Write(fd, []byte{0, 0, 5, 220, 2, 0, 0}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("process %d has no connection at %s", pid, socket)
}
