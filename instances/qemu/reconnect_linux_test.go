package qemu

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/vswitch"
)

// TestReconnect: QEMU and the agent find each other again after the socket was cut.
func TestReconnect(t *testing.T) {
	in := start(t, blank(t))
	go func() { // as the switch does
		var b vswitch.Batch
		for in.port.Read(0, &b) == nil {
			b.Reset()
		}
	}()
	for n := uint64(1); n < 4; n++ {
		if got := in.port.Stats().Connections; got != n {
			t.Fatalf("%d connections, want %d", got, n)
		}
		for end := time.Now().Add(patience); !cut(t, in); time.Sleep(time.Millisecond) { // QEMU may not have accepted yet
			if time.Now().After(end) {
				t.Fatal("QEMU has no network connection")
			}
		}
		for end := time.Now().Add(patience); in.port.Stats().Connections == n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no new connection")
			}
		}
	}
	if n := in.Info()["stream_cut"]; n != "3" {
		t.Errorf("%s cuts were counted", n)
	}
}

// cut ends QEMU's end of the network connection inside a frame, as a peer that dies would; false if it has none. It takes QEMU's own descriptor.
func cut(t *testing.T, in *instance) bool {
	t.Helper()
	pidfd, err := unix.PidfdOpen(in.cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", in.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range fds {
		var n int
		fmt.Sscan(e.Name(), &n)
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if err != nil {
			continue // closed meanwhile
		}
		defer unix.Close(fd)
		if name, err := unix.Getsockname(fd); err == nil {
			un, ok := name.(*unix.SockaddrUnix)
			listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
			if ok && strings.HasSuffix(un.Name, "/"+netSock) && listens == 0 {
				unix.Write(fd, []byte{0, 0, 0, 100, 1, 2, 3})
				unix.Shutdown(fd, unix.SHUT_RDWR)
				return true
			}
		}
	}
	return false
}
