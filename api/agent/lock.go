//go:build unix

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	lockName   = "agent.lock"
	socketName = "agent.sock"
)

// SocketPath is where the agent of a data directory listens, unless there can be no socket: see Lock.Listen.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, socketName) }

// Lock is one agent's hold of a data directory. The kernel lets go of it when the process ends, however it ends; so a
// socket found by the holder of a Lock is always a stale one.
type Lock struct {
	dir    string
	file   *os.File
	listen func(network string, at *net.UnixAddr) (*net.UnixListener, error)
}

// LockDataDir makes the data directory (mode 0700) if it is not there and takes it for this process. A directory that
// another agent holds gives an *Error with CodeInUse that names its process; one that belongs to somebody else, or
// that others may enter, is refused with CodeNoPermission.
func LockDataDir(dir string) (*Lock, error) {
	if err := prepareDataDir(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, dirError(dir, "cannot use", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, inUse(dir, readPID(f))
		}
		return nil, dirError(dir, "cannot lock", err)
	}
	l := &Lock{dir: dir, file: f, listen: net.ListenUnix}
	if err := l.writePID(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		f.Close()
		return nil, dirError(dir, "cannot write to", err)
	}
	return l, nil
}

// Close removes the socket and lets go of the directory. The lock file stays: removing it would let two processes
// hold locks on two files of one name.
func (l *Lock) Close() error {
	return errors.Join(l.removeSocket(), l.writePID(""), l.file.Close())
}

func (l *Lock) writePID(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(text), 0)
	return err
}

// LogPath is where an agent in the background writes its messages.
func LogPath(dataDir string) string { return filepath.Join(dataDir, "agent.log") }

// Holder gives the process that holds the data directory, and 0 if none does. It does not take the lock to find out,
// which could make an agent fail that starts at that moment; so it is for messages, not for decisions.
func Holder(dir string) int {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return 0
	}
	defer f.Close()
	pid := readPID(f)
	if pid == 0 {
		return 0
	}
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) || zombie(pid) {
		return 0
	}
	return pid
}

// zombie says of a process that it has ended and that nobody has asked for its status yet. The first process of many a
// container never does. (proc_pid_stat(5); other systems have no such file.)
func zombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, state, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	return err == nil && strings.HasPrefix(state, "Z")
}

func readPID(f *os.File) int {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0) // a short read is the rule: the file is a few bytes
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

func inUse(dir string, pid int) error {
	who := "another agent"
	if pid != 0 {
		who = fmt.Sprintf("another agent (pid %d)", pid)
	}
	return &Error{Code: CodeInUse, Where: dir, Message: "the data directory is in use by " + who,
		Fix: "talk to that agent, end it with `vpclab down`, or use another directory with --data-dir"}
}

// prepareDataDir makes sure that the directory is ours and that nobody else can reach what is in it.
func prepareDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dirError(dir, "cannot make", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return dirError(dir, "cannot use", err)
	}
	open, err := inspect(dir, info)
	if err != nil || !open {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return dirError(dir, "cannot close to others", err)
	}
	if info, err = os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
		return &Error{Code: CodeNoPermission, Where: dir, Message: fmt.Sprintf("the data directory cannot be closed to others (its mode stays %04o): its file system keeps no permissions", info.Mode().Perm()),
			Fix: "use a directory on a file system of this system's own with --data-dir"}
	}
	return err
}

// inspect refuses a data directory that somebody else owns, or that serves something else and is open to others; it says
// whether it is open and may be closed.
func inspect(dir string, info fs.FileInfo) (open bool, err error) {
	if own := ownerOf(info); own >= 0 && own != os.Geteuid() {
		return false, &Error{Code: CodeNoPermission, Where: dir, Message: fmt.Sprintf("the data directory belongs to uid %d, not to you (uid %d)", own, os.Geteuid()),
			Fix: "use a directory of your own with --data-dir"}
	}
	if info.Mode().Perm()&0o077 == 0 {
		return false, nil
	}
	// Never change the mode of a directory that serves something else: somebody may have typed --data-dir /tmp.
	if !ours(dir) {
		return true, &Error{Code: CodeNoPermission, Where: dir, Message: fmt.Sprintf("the data directory has other files in it and is open to others (mode %04o)", info.Mode().Perm()),
			Fix: "name a directory that is empty or does not exist yet, or close it with `chmod 700 " + dir + "`"}
	}
	return true, nil
}

// ours says whether a directory is empty or has been an agent's before.
func ours(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, lockName)); err == nil {
		return true
	}
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

func dirError(dir, what string, err error) error {
	e := &Error{Code: CodeInternal, Where: dir, Message: what + " the data directory: " + reason(err),
		Fix: "use another directory with --data-dir"}
	if errors.Is(err, fs.ErrPermission) {
		e.Code = CodeNoPermission
		e.Fix = "use a directory of your own with --data-dir"
	}
	return e
}

// reason gives the kernel's words without the path, which stands before them already.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
