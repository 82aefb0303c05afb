package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// maxPath is what fits into sockaddr_un with its final zero: 108 bytes on Linux, 104 on darwin.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

func checkAddress(cfg Config) error {
	switch cfg.Network {
	case "unix":
		return CheckPath(cfg.Address)
	case "tcp":
		at, err := netip.ParseAddrPort(cfg.Address)
		if err != nil {
			return fmt.Errorf("address %q: want ADDRESS:PORT, such as 127.0.0.1:5555", cfg.Address)
		}
		if !at.Addr().IsLoopback() {
			return fmt.Errorf("address %s: frames are neither encrypted nor is the peer known, so only a loopback address is allowed, such as 127.0.0.1", at)
		}
		return nil
	}
	return fmt.Errorf("network %q: want unix or tcp", cfg.Network)
}

// CheckPath says whether a unix socket can have this path.
func CheckPath(path string) error {
	switch {
	case path == "":
		return errors.New("the socket has no path")
	case len(path) > maxPath:
		return fmt.Errorf("the socket's path has %d bytes and %d are the most: %s; use a shorter directory", len(path), maxPath, path)
	}
	return nil
}

// listen opens the socket. That of a unix path is closed to other users and goes with the listener.
func listen(cfg Config) (net.Listener, error) {
	if cfg.Network == "unix" {
		if err := clearStale(cfg.Address); err != nil {
			return nil, err
		}
	}
	lc := net.ListenConfig{Control: closeToOthers}
	l, err := lc.Listen(context.Background(), cfg.Network, cfg.Address)
	if err != nil || cfg.Network != "unix" {
		return l, err
	}
	if err := os.Chmod(cfg.Address, socketMode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

const socketMode = 0o600

// closeToOthers sets the mode before the socket gets its name: Linux keeps it (unix(7)). Elsewhere it fails, and the mode
// is set a moment later.
func closeToOthers(network, _ string, raw syscall.RawConn) error {
	if network != "unix" {
		return nil
	}
	return raw.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), socketMode) })
}

// clearStale removes a socket that nobody listens at any more, and nothing else.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s is in the way of the socket and is none; move it away", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("another process listens at %s", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
