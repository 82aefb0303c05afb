package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ownDirectories mounts an empty /tmp and /run, and a home for root where the host's cannot be had.
func (r *root) ownDirectories() error {
	for _, d := range []struct {
		at   string
		size int
		mode os.FileMode
	}{{"/tmp", MaxTmp, 0o1777}, {"/run", MaxRun, 0o755}} {
		at, err := r.directory(d.at)
		if err == nil {
			err = mountTmpfs(at, d.size, 1<<14, d.mode)
		}
		if err != nil {
			return err
		}
	}
	if err := os.Mkdir(r.at+"/run/lock", 0o1777); err != nil {
		return err
	}
	if !r.unprivileged {
		return nil
	}
	home, err := r.directory("/root")
	if err != nil {
		return err
	}
	if err := os.Mkdir(scratch+"/home", 0o700); err != nil {
		return err
	}
	return r.bind(scratch+"/home", home) // over what there may be of the host's
}

// directory gives the path of a directory in the new root, which is made if it is not there.
func (r *root) directory(path string) (string, error) {
	at := filepath.Join(r.at, path)
	return at, os.MkdirAll(at, 0o755)
}

func (r *root) bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s as %s: %w", from, to[len(r.at):], err)
	}
	return nil
}

const kernelFS = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// Files of /proc that reach beyond the namespaces: read-only, or not shown at all. proc/sys/net is the network
// namespace's own.
var (
	procReadOnly = []string{"sys", "sysrq-trigger", "irq", "bus", "fs"}
	procHidden   = []string{"kcore", "keys", "kmsg", "timer_list", "sched_debug", "latency_stats"}
)

// proc mounts the PID namespace's own /proc.
func (r *root) proc() error {
	at, err := r.directory("/proc")
	if err != nil {
		return err
	}
	if err := unix.Mount("proc", at, "proc", kernelFS, ""); err != nil {
		return fmt.Errorf("mount a /proc: %w", err)
	}
	for _, name := range procReadOnly {
		path := filepath.Join(at, name)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := errors.Join(r.bind(path, path), readOnly(path)); err != nil {
			return err
		}
	}
	network := at + "/sys/net"
	if err := r.bind(network, network); err != nil {
		return err
	}
	if err := unix.Mount("", network, "", unix.MS_BIND|unix.MS_REMOUNT|kernelFS|unix.MS_RELATIME, ""); err != nil {
		return fmt.Errorf("make /proc/sys/net writable: %w", err)
	}
	for _, name := range procHidden {
		path := filepath.Join(at, name)
		if _, err := os.Lstat(path); err == nil {
			if err := r.bind("/dev/null", path); err != nil {
				return err
			}
		}
	}
	return nil
}

// sys mounts a /sys that shows the network namespace's devices. Programs do without where that is not allowed.
func (r *root) sys() error {
	at, err := r.directory("/sys")
	if err != nil {
		return err
	}
	_ = unix.Mount("sysfs", at, "sysfs", kernelFS|unix.MS_RDONLY, "")
	return nil
}

// devices makes a /dev with what every program may expect.
func (r *root) devices() error {
	at, err := r.directory("/dev")
	if err != nil {
		return err
	}
	if err := unix.Mount("vpclab", at, "tmpfs", unix.MS_NOSUID, "size=65536,nr_inodes=64,mode=755"); err != nil {
		return fmt.Errorf("mount a /dev: %w", err)
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		to := filepath.Join(at, name)
		if err := os.WriteFile(to, nil, 0o644); err != nil {
			return err
		}
		if err := r.bind("/dev/"+name, to); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(to, filepath.Join(at, name)); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Mkdir(at+"/pts", 0o755), os.Mkdir(at+"/shm", 0o1777)); err != nil {
		return err
	}
	if err := unix.Mount("devpts", at+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return fmt.Errorf("mount a /dev/pts: %w", err)
	}
	return mountTmpfs(at+"/shm", MaxShm, 1<<12, 0o1777)
}
