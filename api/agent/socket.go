//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// maxSocketPath is what fits into sockaddr_un with its final zero: 108 bytes on Linux, 104 on BSD and darwin.
const maxSocketPath = 103

// Listen opens the agent's socket, mode 0600, in the locked data directory. A socket that is there already was left
// behind by an agent that is gone. Close of the listener leaves the file; Close of the Lock removes it.
func (l *Lock) Listen() (net.Listener, error) {
	path := SocketPath(l.dir)
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, &Error{Code: CodeInternal, Where: path, Message: "is in the way of the agent's socket and is not a socket", Fix: "move it away"}
		}
		if err := os.Remove(path); err != nil {
			return nil, dirError(l.dir, "cannot remove a stale socket from", err)
		}
	}
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, dirError(l.dir, "cannot listen in", err)
	}
	ln.SetUnlinkOnClose(false)
	// The directory is closed to others already, so nobody can connect before this.
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, dirError(l.dir, "cannot close the socket to others in", err)
	}
	return ln, nil
}

// dial connects to the agent of a data directory. Its errors say why nobody answers and what to do about it.
func dial(ctx context.Context, dir string) (net.Conn, error) {
	path := SocketPath(dir)
	short, done, err := shorten(path)
	if err != nil {
		return nil, unreachable(dir, err)
	}
	defer done()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", short)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, unreachable(dir, err)
	}
	return conn, nil
}

// shorten gives a path of the same socket that fits into the kernel's address. done must be called after its use.
func shorten(path string) (short string, done func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, &Error{Code: CodeUnsupported, Where: path, Message: fmt.Sprintf("the socket's path has %d bytes; this system allows %d", len(path), maxSocketPath),
			Fix: "use a shorter --data-dir"}
	}
	// Linux resolves the open directory by its number, whatever its path's length.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}

func unreachable(dir string, err error) error {
	path := SocketPath(dir)
	e := &Error{Code: CodeUnreachable, Where: path}
	start := "start one with `vpclab up FILE`, or name another data directory with --data-dir"
	pid := Holder(dir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Message = "no permission to talk to the agent: " + owner(path)
		e.Fix = "run the command as that user, or use an agent of your own with --data-dir"
	case pid != 0:
		e.Message = fmt.Sprintf("the agent (pid %d) does not answer: %s", pid, reason(err))
		e.Fix = "it may be starting or stopping: try again in a moment"
	case errors.Is(err, fs.ErrNotExist):
		e.Message = "no agent is running: there is no such socket"
		e.Fix = start
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Message = "no agent is running: the one that made this socket is gone"
		e.Fix = start + "; `vpclab down` clears away what the old one left"
	default:
		e.Message = "the agent cannot be reached: " + reason(err)
		e.Fix = start
	}
	return e
}

// owner says whose socket or directory bars the way.
func owner(path string) string {
	for ; path != "/" && path != "."; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			return fmt.Sprintf("%s belongs to uid %d, and you are uid %d", path, st.Uid, os.Geteuid())
		}
	}
	return fmt.Sprintf("you are uid %d", os.Geteuid())
}
