package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// spaceID tells one network namespace of this boot from all others.
type spaceID struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// space is a named network namespace.
type space struct {
	name, path string
	id         spaceID
	zone       string // number of eth0, for link-local addresses

	mu     sync.RWMutex
	handle netns.NsHandle
}

// createSpace makes a named namespace. The name must be free.
func createSpace(name string) (*space, error) {
	s := &space{name: name, path: filepath.Join(namespaceDir, name), handle: netns.None()}
	err := onThread(func() (err error) {
		s.handle, err = netns.NewNamed(name) // moves the thread into it
		return err
	})
	switch {
	case errors.Is(err, os.ErrExist):
		return nil, fmt.Errorf("namespace %s exists; it belongs to another agent, or is a leftover that 'ip netns delete %s' removes", s.path, name)
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("make namespace %s: %w; run as root, or use instances of kind netstack", s.path, err)
	case err != nil:
		os.Remove(s.path) // made by NewNamed, nothing mounted on it
		return nil, fmt.Errorf("make namespace %s: %w", s.path, err)
	}
	if s.id, err = idOf(s.path); err != nil {
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

// do runs fn inside the namespace. Goroutines that fn starts are outside of it.
func (s *space) do(fn func() error) error {
	return onThread(func() error {
		s.mu.RLock()
		if !s.handle.IsOpen() {
			s.mu.RUnlock()
			return errClosed
		}
		err := netns.Set(s.handle)
		s.mu.RUnlock()
		if err != nil {
			return fmt.Errorf("enter namespace %s: %w", s.path, err)
		}
		return fn()
	})
}

// remove takes the name away; the namespace itself ends when nobody is in it any more.
func (s *space) remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.handle.IsOpen() {
		return nil
	}
	return errors.Join(s.handle.Close(), removeName(s.path))
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

// Available implements instances.Driver by trying what Start needs.
func (*Driver) Available() error {
	err := onThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	if err != nil {
		return fmt.Errorf("make a network namespace: %w; run as root (in a container: with CAP_SYS_ADMIN and CAP_NET_ADMIN), or use instances of kind netstack", err)
	}
	return tap.Available()
}
