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
	"strings"
	"syscall"
)

// Listen opens the agent's socket, mode 0600: in the locked data directory, or, where its path would be too long or the file
// system has no sockets, in a runtime directory of this user, with a note in the data directory. A socket that is there
// already was left behind by an agent that is gone. Close of the listener leaves the file; Close of the Lock removes it.
func (l *Lock) Listen() (net.Listener, error) {
	path := SocketPath(l.dir)
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, &Error{Code: CodeInternal, Where: path, Message: "is in the way of the agent's socket and is not a socket", Fix: "move it away"}
	}
	if err := l.removeSocket(); err != nil {
		return nil, dirError(l.dir, "cannot remove a stale socket from", err)
	}
	ln, why := l.listenAt(path)
	if why == nil {
		return ln, nil
	}
	var failed []string
	for _, dir := range runtimeDirs(l.dir, os.Geteuid(), os.Getenv, os.TempDir()) {
		ln, err := l.listenIn(dir)
		if err == nil {
			return ln, nil
		}
		failed = append(failed, dir+": "+reason(err))
	}
	return nil, nowhere(l.dir, why, failed)
}

// listenIn opens the socket in a runtime directory and leaves the note.
func (l *Lock) listenIn(dir string) (net.Listener, error) {
	path := filepath.Join(dir, socketName)
	if err := fits(path); err != nil {
		return nil, err
	}
	if err := openRuntimeDir(dir); err != nil {
		return nil, err
	}
	os.Remove(path) // of an agent of this data directory, which we hold now
	ln, err := l.listenAt(path)
	if err == nil {
		if err = writeNote(l.dir, path); err != nil {
			ln.Close()
			os.Remove(path)
		}
	}
	if err != nil {
		os.Remove(dir)
		return nil, err
	}
	return ln, nil
}

// listenAt opens the socket at a path, in a directory that is closed to others.
func (l *Lock) listenAt(path string) (net.Listener, error) {
	if err := fits(path); err != nil {
		return nil, err
	}
	ln, err := l.listen("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("no socket can be made there: %s", reason(err))
	}
	ln.SetUnlinkOnClose(false)
	// The directory is closed to others already, so nobody can connect before this.
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		os.Remove(path)
		return nil, err
	}
	return ln, nil
}

// dial connects to the agent of a data directory. Its errors say why nobody answers and what to do about it.
func dial(ctx context.Context, dir string) (net.Conn, error) {
	path, err := socketOf(dir)
	if err != nil {
		return nil, unreachable(dir, path, err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, unreachable(dir, path, err)
	}
	return conn, nil
}

func unreachable(dir, path string, err error) error {
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
	if gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED); gone && pid == 0 && rootsAgent(dir, os.Geteuid(), unixSockets) {
		e.Message = "no agent of yours is running, but root's agent is running (" + RootDataDir + ")"
		e.Fix = "use root's with sudo; or " + start
	}
	return e
}

// unixSockets lists the sockets of this machine. Systems other than Linux have no such list.
const unixSockets = "/proc/net/unix"

// rootsAgent says whether root's agent runs where root's data directory is meant neither by name nor by who asks. Only
// root can look into that directory, so the kernel's list of sockets is asked.
func rootsAgent(dir string, uid int, list string) bool {
	if uid == 0 || dir == RootDataDir {
		return false
	}
	raw, err := os.ReadFile(list)
	return err == nil && strings.Contains(string(raw), " "+SocketPath(RootDataDir)+"\n")
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
