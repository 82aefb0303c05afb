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
	"testing"
)

// longDir gives a data directory whose path has n bytes, and makes all but the last part of it.
func longDir(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for len(dir)+1 < n {
		dir = filepath.Join(dir, strings.Repeat("d", min(60, n-len(dir)-1)))
	}
	if len(dir) != n {
		t.Fatalf("%d bytes, want %d", len(dir), n)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shortTemp points the runtime directories to a place of the test's own.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "vl-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return dir
}

// talk fails unless the client of a data directory is answered.
func talk(t *testing.T, dir string, ln net.Listener) {
	t.Helper()
	serveOn(t, &script{status: func(context.Context) (*Status, error) { return &Status{Agent: AgentInfo{PID: 7}}, nil }}, ln)
	s, err := NewClient(dir).Status(testContext(t))
	if err != nil || s.Agent.PID != 7 {
		t.Errorf("the client has %+v, %v", s, err)
	}
}

// TestSocketMovesFromALongPath: around the longest path that fits, and at the length that the issue names.
func TestSocketMovesFromALongPath(t *testing.T) {
	run := shortTemp(t)
	for _, n := range []int{maxSocketPath - 1 - len(socketName), maxSocketPath - len(socketName), 150, 240} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := longDir(t, n)
			place, err := TrySocket(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(dir); err == nil {
				t.Error("TrySocket made the data directory")
			}
			l, err := LockDataDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := l.Listen()
			if err != nil {
				t.Fatal(err)
			}
			where := ln.Addr().String()
			if place.Socket != where {
				t.Errorf("TrySocket says %s, and it is %s", place.Socket, where)
			}
			moved := n+1+len(socketName) > maxSocketPath
			if moved != strings.HasPrefix(where, run+"/vpclab-") || moved != strings.Contains(place.Moved, "bytes") {
				t.Errorf("the socket is %s; moved: %q", where, place.Moved)
			}
			for path, want := range map[string]fs.FileMode{where: fs.ModeSocket | 0o600, filepath.Dir(where): fs.ModeDir | 0o700} {
				if info, err := os.Lstat(path); err != nil || info.Mode() != want {
					t.Errorf("%s: %v, %v; want mode %v", path, info, err, want)
				}
			}
			talk(t, dir, ln)
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if left, _ := os.ReadDir(run); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if _, err := os.Lstat(filepath.Join(dir, noteName)); err == nil {
				t.Error("the note is left behind")
			}
			_, err = NewClient(dir).Status(testContext(t))
			wantCode(t, err, CodeUnreachable)
		})
	}
}

// TestSocketMovesFromAFileSystemWithoutSockets: the first bind fails as such file systems let it fail.
func TestSocketMovesFromAFileSystemWithoutSockets(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		run := shortTemp(t)
		dir := filepath.Join(t.TempDir(), "data")
		l, err := LockDataDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		l.listen = func(network string, at *net.UnixAddr) (*net.UnixListener, error) {
			if strings.HasPrefix(at.Name, dir) {
				return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", errno)}
			}
			return net.ListenUnix(network, at)
		}
		ln, err := l.Listen()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(ln.Addr().String(), run) {
			t.Errorf("%v: the socket is %s", errno, ln.Addr())
		}
		talk(t, dir, ln)
		l.Close()
	}
}

// TestNoPlaceForASocket: all that was tried is told, and what to do.
func TestNoPlaceForASocket(t *testing.T) {
	shortTemp(t)
	dir := filepath.Join(t.TempDir(), "data")
	l, err := LockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.listen = func(string, *net.UnixAddr) (*net.UnixListener, error) { return nil, syscall.EPERM }
	_, err = l.Listen()
	e := wantCode(t, err, CodeUnsupported)
	for _, want := range []string{"operation not permitted", os.Getenv("XDG_RUNTIME_DIR"), "/run/user/"} {
		if !strings.Contains(e.Message, want) {
			t.Errorf("%q is not in %q", want, e.Message)
		}
	}
	if !strings.Contains(e.Fix, "--data-dir") || e.Where != SocketPath(dir) {
		t.Errorf("got %+v", e)
	}
}

func TestRuntimeDirs(t *testing.T) {
	env := func(v string) func(string) string { return func(string) string { return v } }
	for _, c := range []struct {
		name, runtime, temp string
		uid                 int
		want                []string // # stands for the hash
	}{
		{"a session", "/run/user/1000", "/tmp", 1000, []string{"/run/user/1000/vpclab-#", "/tmp/vpclab-1000-#"}},
		{"another place", "/x", "/tmp", 1000, []string{"/x/vpclab-#", "/run/user/1000/vpclab-#", "/tmp/vpclab-1000-#"}},
		{"none", "", "/var/folders/T", 501, []string{"/run/user/501/vpclab-#", "/var/folders/T/vpclab-501-#"}},
		{"relative", "run", "/tmp", 0, []string{"/run/user/0/vpclab-#", "/tmp/vpclab-0-#"}},
	} {
		got := runtimeDirs("/home/a/data", c.uid, env(c.runtime), c.temp)
		hash := got[0][strings.LastIndex(got[0], "-")+1:]
		if len(hash) != 12 || strings.ReplaceAll(strings.Join(got, " "), hash, "#") != strings.Join(c.want, " ") {
			t.Errorf("%s: %q", c.name, got)
		}
		if other := runtimeDirs("/home/a/data2", c.uid, env(c.runtime), c.temp); other[0] == got[0] {
			t.Errorf("%s: two data directories have one runtime directory", c.name)
		}
	}
}

// TestRuntimeDirectoriesThatAreRefused: nobody else may be able to listen in the agent's place.
func TestRuntimeDirectoriesThatAreRefused(t *testing.T) {
	base := t.TempDir()
	in := func(parts ...string) string { return filepath.Join(append([]string{base}, parts...)...) }
	open, link, file, loose := in("open"), in("link"), in("file"), in("loose")
	os.Mkdir(open, 0o700)
	os.Chmod(open, 0o755)
	os.Mkdir(in("target"), 0o700)
	os.Symlink(in("target"), link)
	os.WriteFile(file, nil, 0o600)
	os.Mkdir(loose, 0o700)
	os.Chmod(loose, 0o777)
	for _, c := range []struct{ name, dir, want string }{
		{"open to others", open, "open to others (mode 0755)"},
		{"a symbolic link", link, "is not what it should be"},
		{"a file", file, "is not what it should be"},
		{"below a directory that others write", filepath.Join(loose, "x"), "can be written by others (mode 0777)"},
		{"no such parent", in("none", "x"), "no such file"},
	} {
		if err := openRuntimeDir(c.dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	os.Chmod(loose, 0o777|fs.ModeSticky) // as /tmp
	if err := openRuntimeDir(filepath.Join(loose, "x")); err != nil {
		t.Error("in a directory as /tmp:", err)
	}
}

// TestNotesThatAreNotFollowed: a client connects to nothing that the data directory's owner has not made.
func TestNotesThatAreNotFollowed(t *testing.T) {
	listen := func(t *testing.T, dir string) string {
		os.MkdirAll(dir, 0o700)
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(dir, socketName), 0o600)
		t.Cleanup(func() { ln.Close() })
		return filepath.Join(dir, socketName)
	}
	for _, c := range []struct {
		name, want string
		spoil      func(t *testing.T, dir, run string)
	}{
		{"relative path", "does not say where a socket is", func(t *testing.T, dir, run string) { writeNote(dir, "x/agent.sock") }},
		{"not clean", "does not say where a socket is", func(t *testing.T, dir, run string) { writeNote(dir, run+"/a/../agent.sock") }},
		{"another name", "does not say where a socket is", func(t *testing.T, dir, run string) { writeNote(dir, "/run/docker.sock") }},
		{"two lines", "does not say where a socket is", func(t *testing.T, dir, run string) { writeNote(dir, "/x\n"+run+"/agent.sock") }},
		{"empty", "does not say where a socket is", func(t *testing.T, dir, run string) { writeNote(dir, "") }},
		{"a note others can write", "not followed", func(t *testing.T, dir, run string) { os.Chmod(filepath.Join(dir, noteName), 0o666) }},
		{"a link", "levels of symbolic links", func(t *testing.T, dir, run string) {
			os.Rename(filepath.Join(dir, noteName), filepath.Join(dir, "n"))
			os.Symlink("n", filepath.Join(dir, noteName))
		}},
		{"an open directory", "is open to others", func(t *testing.T, dir, run string) { os.Chmod(run, 0o755) }},
		{"an open socket", "is open to others", func(t *testing.T, dir, run string) { os.Chmod(filepath.Join(run, socketName), 0o666) }},
		{"a linked socket", "is not what it should be", func(t *testing.T, dir, run string) {
			os.Rename(filepath.Join(run, socketName), filepath.Join(run, "s"))
			os.Symlink("s", filepath.Join(run, socketName))
		}},
		{"a directory of somebody else", "not to uid 0", func(t *testing.T, dir, run string) {
			if os.Geteuid() != 0 {
				t.Skip("needs root: to give a directory away")
			}
			os.Chown(run, 65534, 65534)
		}},
		{"a socket of somebody else", "not to uid 0", func(t *testing.T, dir, run string) {
			if os.Geteuid() != 0 {
				t.Skip("needs root: to give a socket away")
			}
			os.Chown(filepath.Join(run, socketName), 65534, 65534)
		}},
		{"gone", "no agent is running: the one that made this socket is gone", func(t *testing.T, dir, run string) { os.RemoveAll(run) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, run := filepath.Join(t.TempDir(), "data"), filepath.Join(shortTemp(t), "r")
			os.Mkdir(dir, 0o700)
			path := listen(t, run)
			if err := writeNote(dir, path); err != nil {
				t.Fatal(err)
			}
			if got, err := socketOf(dir); got != path || err != nil {
				t.Fatalf("before it is spoilt: %q, %v", got, err)
			}
			c.spoil(t, dir, run)
			_, err := NewClient(dir).Status(testContext(t))
			if e := wantCode(t, err, CodeUnreachable); !strings.Contains(e.Message, c.want) {
				t.Errorf("got %q, want %q", e.Message, c.want)
			}
		})
	}
}

// TestStaleMovedSocket: what a killed agent left in the runtime directory is taken over, and cleared away.
func TestStaleMovedSocket(t *testing.T) {
	run := shortTemp(t)
	dir := longDir(t, 150)
	_, kill := holder(t, dir)
	kill()
	if left, _ := filepath.Glob(filepath.Join(run, "*", socketName)); len(left) != 1 {
		t.Fatalf("the test wants a stale socket: %v", left)
	}
	_, err := NewClient(dir).Status(testContext(t))
	if e := wantCode(t, err, CodeUnreachable); !strings.Contains(e.Message, "the one that made this socket is gone") {
		t.Error(e)
	}
	for range 2 { // the second finds nothing
		l, err := LockDataDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := l.Listen()
		if err != nil {
			t.Fatal(err)
		}
		talk(t, dir, ln)
		l.Close()
	}
	_, kill = holder(t, dir)
	kill()
	l, err := LockDataDir(dir) // as `down` does
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if left, _ := os.ReadDir(run); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSomebodyElsesRuntimeDirectoryIsNotCleared: a note may be older than what is there now.
func TestSomebodyElsesRuntimeDirectoryIsNotCleared(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to give a directory away")
	}
	run := filepath.Join(shortTemp(t), "r")
	dir := filepath.Join(t.TempDir(), "data")
	l, err := LockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir(run, 0o700)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(run, socketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	os.Chown(run, 65534, 65534)
	writeNote(dir, filepath.Join(run, socketName))
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(run, socketName)); err != nil {
		t.Error("it was removed:", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, noteName)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the stale note is still there")
	}
}

func TestTrySocketRefuses(t *testing.T) {
	shared := t.TempDir()
	os.WriteFile(filepath.Join(shared, "thesis.tex"), nil, 0o600)
	os.Chmod(shared, 0o755)
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	for _, c := range []struct{ dir, want string }{
		{shared, "has other files in it and is open to others"},
		{filepath.Join(file, "x"), "not a directory"},
	} {
		if _, err := TrySocket(c.dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.dir, err, c.want)
		}
	}
	dir := t.TempDir()
	if p, err := TrySocket(filepath.Join(dir, "a", "b")); err != nil || p.Moved != "" || p.Socket != filepath.Join(dir, "a", "b", socketName) {
		t.Errorf("%+v, %v", p, err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRootsAgent(t *testing.T) {
	list := filepath.Join(t.TempDir(), "unix")
	head := "Num       RefCount Protocol Flags    Type St Inode Path\n"
	for text, want := range map[string]bool{
		"0000000000000000: 00000002 00000000 00010000 0001 01 21931 /var/lib/vpclab/agent.sock\n":   true,
		"0000000000000000: 00000002 00000000 00010000 0001 01 21931 /x/var/lib/vpclab/agent.sock\n": false,
		"0000000000000000: 00000002 00000000 00010000 0001 01 21931 /var/lib/vpclab/agent.sock2\n":  false,
		"": false,
	} {
		os.WriteFile(list, []byte(head+text), 0o600)
		if got := rootsAgent("/home/a/.local/state/vpclab", 1000, list); got != want {
			t.Errorf("%q: %v", text, got)
		}
		if rootsAgent("/x", 0, list) || rootsAgent(RootDataDir, 1000, list) {
			t.Error("root itself, or who names root's directory, is told of it")
		}
	}
	if rootsAgent("/x", 1000, filepath.Join(t.TempDir(), "none")) {
		t.Error("without a list")
	}
}
