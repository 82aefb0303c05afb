package afpacket

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const ownSpace = "/proc/thread-self/ns/net"

// space is a network namespace that is held open: devices come back in the namespace in which they were taken.
type space struct{ file *os.File }

// currentSpace is that of the calling thread.
func currentSpace() (*space, error) {
	f, err := os.Open(ownSpace)
	if err != nil {
		return nil, fmt.Errorf("own network namespace: %w", err)
	}
	return &space{f}, nil
}

func (s *space) close() { s.file.Close() }

// do runs fn inside the namespace, on a thread of its own that goes back to where it came from, or ends.
func (s *space) do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := currentSpace()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.close()
		if s.is(home) { // needs no capability
			err = fn()
			runtime.UnlockOSThread()
			done <- err
			return
		}
		if err = s.enter(); err == nil {
			err = fn()
		}
		if home.enter() == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

func (s *space) enter() error {
	return os.NewSyscallError("setns", unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET))
}

func (s *space) is(other *space) bool {
	a, errA := s.file.Stat()
	b, errB := other.file.Stat()
	return errA == nil && errB == nil && os.SameFile(a, b)
}
