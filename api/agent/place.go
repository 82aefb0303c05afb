//go:build unix

package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// RootDataDir is where root's agent keeps its data if nobody says otherwise.
const RootDataDir = "/var/lib/vpclab"

const (
	// noteName is the file in the data directory that says where the socket is when it is not there: its path, and a line feed.
	noteName = "agent.sock.path"
	// maxSocketPath is what fits into sockaddr_un with its final zero: 108 bytes on Linux, 104 on BSD and darwin.
	maxSocketPath = 103
	maxNote       = 4096
)

// fits says why a path cannot be a socket's, nil if it can.
func fits(path string) error {
	if len(path) <= maxSocketPath {
		return nil
	}
	return fmt.Errorf("its path has %d bytes, and a socket's may have %d", len(path), maxSocketPath)
}

// runtimeDirs gives the directories that a data directory's socket may move to, best first. Their names are made from
// the data directory's path, so that each has its own.
func runtimeDirs(dataDir string, uid int, getenv func(string) string, temp string) []string {
	if abs, err := filepath.Abs(dataDir); err == nil {
		dataDir = abs
	}
	sum := sha256.Sum256([]byte(dataDir))
	name := "vpclab-" + hex.EncodeToString(sum[:6])
	var out []string
	if x := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(x) {
		out = append(out, filepath.Join(x, name))
	}
	if run := filepath.Join("/run/user", strconv.Itoa(uid), name); len(out) == 0 || out[0] != run {
		out = append(out, run)
	}
	// Everybody's directory: the owner's number keeps names apart, and openRuntimeDir looks whose it is.
	return append(out, filepath.Join(temp, "vpclab-"+strconv.Itoa(uid)+strings.TrimPrefix(name, "vpclab")))
}

// openRuntimeDir makes a directory that only this user can enter, or takes one that is so.
func openRuntimeDir(dir string) error {
	if err := safeParent(filepath.Dir(dir), os.Geteuid()); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return errors.New(reason(err))
	}
	return private(dir, fs.ModeDir, os.Geteuid())
}

// safeParent refuses a directory in which somebody else can replace what is ours.
func safeParent(dir string, uid int) error {
	info, err := os.Stat(dir)
	if err != nil {
		return errors.New(reason(err))
	}
	own := ownerOf(info)
	switch {
	case own != uid && own != 0:
		return fmt.Errorf("%s belongs to uid %d", dir, own)
	case info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0:
		return fmt.Errorf("%s can be written by others (mode %04o)", dir, info.Mode().Perm())
	}
	return nil
}

// private refuses a path that is not of a type, not of an owner, or open to others. It does not follow a symbolic link.
func private(path string, typ fs.FileMode, uid int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != typ {
		return fmt.Errorf("%s is not what it should be (%v)", path, info.Mode())
	}
	if own := ownerOf(info); own != uid {
		return fmt.Errorf("%s belongs to uid %d, not to uid %d", path, own, uid)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is open to others (mode %04o)", path, info.Mode().Perm())
	}
	return nil
}

// ownerOf gives the owner of a file, -1 where the system does not tell.
func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// writeNote tells clients where the socket is.
func writeNote(dataDir, socket string) error {
	tmp, err := os.CreateTemp(dataDir, noteName+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(socket + "\n")
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dataDir, noteName))
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// socketOf gives where the agent of a data directory listens, if one runs: in the directory, or where its note says. A
// note is followed only to a socket, in a directory closed to others, that both belong to the data directory's owner:
// the directories of an agent that is gone can be made again by anybody.
func socketOf(dataDir string) (string, error) {
	path, owner, err := readNote(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		if fits(SocketPath(dataDir)) != nil { // an agent would have left a note
			return SocketPath(dataDir), fs.ErrNotExist
		}
		return SocketPath(dataDir), nil
	}
	if err != nil {
		return SocketPath(dataDir), err
	}
	err = private(filepath.Dir(path), fs.ModeDir, owner)
	if err == nil {
		err = private(path, fs.ModeSocket, owner)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return path, syscall.ECONNREFUSED // an agent was there
	}
	return path, err
}

// readNote reads the note of a data directory, and whose it is.
func readNote(dataDir string) (path string, owner int, err error) {
	name := filepath.Join(dataDir, noteName)
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	dir, err := os.Stat(dataDir)
	if err != nil {
		return "", 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	if owner = ownerOf(dir); !info.Mode().IsRegular() || ownerOf(info) != owner || info.Mode().Perm()&0o022 != 0 {
		return "", 0, fmt.Errorf("%s is not a file that only the owner of its directory can write: it is not followed", name)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return "", 0, err
	}
	path = strings.TrimSuffix(string(raw), "\n")
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || filepath.Base(path) != socketName || strings.ContainsAny(path, "\x00\n") {
		return "", 0, fmt.Errorf("%s does not say where a socket is: it is not followed", name)
	}
	return path, owner, nil
}

// removeSocket removes the directory's socket, wherever it is, with what was made for it. The caller holds the lock,
// so nobody listens there.
func (l *Lock) removeSocket() error {
	if path, err := socketOf(l.dir); path != SocketPath(l.dir) {
		if err == nil || errors.Is(err, syscall.ECONNREFUSED) { // ours
			os.Remove(path)
			os.Remove(filepath.Dir(path))
		}
	}
	if err := os.Remove(filepath.Join(l.dir, noteName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	path := SocketPath(l.dir)
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSocket == 0 {
		return nil
	}
	return os.Remove(path)
}

// Placement says where the agent of a data directory would listen.
type Placement struct {
	Socket string
	Moved  string // why it is not in the data directory; "" if it is
}

// TrySocket finds out where an agent of a data directory would listen, by making a socket there and removing it. The data
// directory need not exist and is not made. An error says why no agent could run with it.
func TrySocket(dataDir string) (Placement, error) {
	if info, err := os.Stat(dataDir); err == nil {
		if _, err := inspect(dataDir, info); err != nil {
			return Placement{}, err
		}
	}
	at, err := existing(dataDir)
	if err != nil {
		return Placement{}, dirError(dataDir, "cannot use", err)
	}
	if err := syscall.Access(at, 2|1); err != nil { // W_OK, X_OK
		return Placement{}, dirError(dataDir, "cannot write to", err)
	}
	why := fits(SocketPath(dataDir))
	if why == nil {
		why = tryListen(at)
	}
	if why == nil {
		return Placement{Socket: SocketPath(dataDir)}, nil
	}
	failed := []string{}
	for _, dir := range runtimeDirs(dataDir, os.Geteuid(), os.Getenv, os.TempDir()) {
		err := tryRuntimeDir(dir)
		if err == nil {
			return Placement{Socket: filepath.Join(dir, socketName), Moved: why.Error()}, nil
		}
		failed = append(failed, dir+": "+err.Error())
	}
	return Placement{}, nowhere(dataDir, why, failed)
}

func tryRuntimeDir(dir string) error {
	if err := fits(filepath.Join(dir, socketName)); err != nil {
		return err
	}
	_, err := os.Lstat(dir)
	if missing := errors.Is(err, fs.ErrNotExist); missing {
		defer os.Remove(dir)
	}
	if err := openRuntimeDir(dir); err != nil {
		return err
	}
	return tryListen(dir)
}

// tryListen makes a socket in a directory and removes it. Its name is no longer than the agent's.
func tryListen(dir string) error {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, fmt.Sprintf(".t%07d", rand.IntN(1e7))), Net: "unix"})
	if err != nil {
		return fmt.Errorf("no socket can be made there: %s", reason(err))
	}
	return ln.Close() // removes it
}

// existing gives the directory itself or the nearest one above it that is there.
func existing(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", syscall.ENOTDIR
		case err == nil:
			return dir, nil
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

func nowhere(dataDir string, why error, failed []string) error {
	return &Error{Code: CodeUnsupported, Where: SocketPath(dataDir),
		Message: fmt.Sprintf("the agent's socket cannot be here: %v; nor in a runtime directory: %s", why, strings.Join(failed, "; ")),
		Fix:     "use a shorter --data-dir on a local file system, or set XDG_RUNTIME_DIR to a directory of your own"}
}
