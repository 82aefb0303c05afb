package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// spaceID tells one network namespace of this boot from all others.
type spaceID struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// named is a network namespace with a name that ip-netns(8) sees, made by this process itself, which must be root.
type named struct {
	inside
	at string // path of the name
}

// createNamed makes a named namespace. The name must be free.
func createNamed(name string) (*named, error) {
	s := &named{at: filepath.Join(namespaceDir, name)}
	s.handle = netns.None()
	err := onThread(func() (err error) {
		s.handle, err = netns.NewNamed(name) // moves the thread into it
		return err
	})
	switch {
	case errors.Is(err, os.ErrExist):
		return nil, fmt.Errorf("namespace %s exists; it belongs to another agent, or is a leftover that 'ip netns delete %s' removes", s.at, name)
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("make namespace %s: %w; run as root, or use instances of kind netstack", s.at, err)
	case err != nil:
		os.Remove(s.at) // made by NewNamed, nothing mounted on it
		return nil, fmt.Errorf("make namespace %s: %w", s.at, err)
	}
	if s.id, err = idOf(s.at); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// onThread runs fn on a thread of its own that may change its namespace. The thread goes back to where it came
// from; where it cannot, it ends with the goroutine instead of being used again.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("own network namespace: %w", err)
			return
		}
		err = fn()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
		done <- err
	}()
	return <-done
}

// remove takes the name away; the namespace itself ends when nobody is in it any more.
func (s *named) remove() error {
	if !s.close() {
		return nil
	}
	return removeName(s.at)
}

// removeName unmounts and deletes a name. Afterwards, or if it was not there, nobody can find the namespace.
func removeName(path string) error {
	if err := unmountAll(path); err != nil {
		return err
	}
	err := unix.Unlink(path)
	if err == unix.EBUSY { // mounted still, where the path does not lead
		err = unlinkCovered(path)
	}
	if err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// unmountAll takes off what is mounted on path, however many times.
func unmountAll(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if err == unix.EINVAL || err == unix.ENOENT { // nothing, or nothing more
			return nil
		}
		if err != nil {
			return &os.PathError{Op: "unmount", Path: path, Err: err}
		}
	}
}

// unlinkCovered deletes a name whose mount is covered: ip-netns(8) binds the names' directory onto itself, with
// all that is mounted in it, so that a second mount of ours hides below. Where a file is not mounted on it can be
// deleted, and the kernel then takes off its mounts everywhere (mount_namespaces(7), "restrictions"): in a mount
// namespace of this thread's own all of them can be uncovered.
func unlinkCovered(path string) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			done <- err
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			done <- err
			return
		}
		done <- uncover(path)
	}()
	return <-done
}

// uncover takes off layers of the directory until the file in it can be deleted.
func uncover(path string) error {
	for {
		if err := unmountAll(path); err != nil {
			return err
		}
		err := unix.Unlink(path)
		if err != unix.EBUSY {
			return err
		}
		if unix.Unmount(filepath.Dir(path), unix.MNT_DETACH) != nil {
			return err
		}
	}
}

// idOf returns the namespace that path names. It fails for a path that is no namespace.
func idOf(path string) (spaceID, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return spaceID{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return spaceID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if fs.Type != unix.NSFS_MAGIC {
		return spaceID{}, fmt.Errorf("%s is no namespace", path)
	}
	return spaceID{Dev: uint64(st.Dev), Ino: st.Ino}, nil
}
