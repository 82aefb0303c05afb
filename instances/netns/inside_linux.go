package netns

import (
	"fmt"
	"os"
	"sync"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// inside is a network namespace that threads of this process can enter.
type inside struct {
	id spaceID

	mu     sync.RWMutex
	handle netns.NsHandle
}

// do runs fn inside the namespace. Goroutines that fn starts are outside of it.
func (s *inside) do(fn func() error) error {
	return onThread(func() error {
		s.mu.RLock()
		if !s.handle.IsOpen() {
			s.mu.RUnlock()
			return errClosed
		}
		err := netns.Set(s.handle)
		s.mu.RUnlock()
		if err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return fn()
	})
}

// close lets go of the namespace; false if that was done before.
func (s *inside) close() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.handle.IsOpen() {
		return false
	}
	_ = s.handle.Close()
	return true
}

// file gives a descriptor of the namespace, which is the caller's.
func (s *inside) file() (*os.File, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.handle.IsOpen() {
		return nil, errClosed
	}
	fd, err := unix.FcntlInt(uintptr(s.handle), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "network namespace"), nil
}

// tapConfig is what eth0 is opened with.
func tapConfig(s instances.Spec) tap.Config {
	label := s.Name
	if label == "" {
		label = s.ID
	}
	return tap.Config{Device: deviceName, Label: label, MTU: s.MTU}
}

// plug makes eth0 and configures it. zone is its number.
func (s *inside) plug(spec instances.Spec) (port *tap.Port, zone string, err error) {
	err = s.do(func() (err error) {
		if port, err = tap.Open(tapConfig(spec)); err != nil {
			return err
		}
		if zone, err = configure(spec); err != nil {
			port.Close()
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return port, zone, nil
}

// socket makes a socket that belongs to the namespace; it does not block.
func (s *inside) socket(domain, kind, protocol int) (f *os.File, err error) {
	err = s.do(func() error {
		fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		f = os.NewFile(uintptr(fd), "socket")
		return nil
	})
	return f, err
}
