package sandbox

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// scratch is where the tmpfs that is thrown away is mounted while the new root is made, in this mount namespace only.
const scratch = "/tmp"

// root is a new root directory in the making.
type root struct {
	task         Task
	unprivileged bool      // in a user namespace: root, but not of the host's files
	notes        io.Writer // what is not shown, for who reads the output
	hosts        int       // descriptor of the hosts file; -1 for none
	at           string    // where the new root is
	layers       int       // overlays made so far
	mounts       []mount
	etc          map[string][]byte // files of /etc that are the instance's own
}

// build makes a new root and changes to it. The process must be in mount, PID and UTS namespaces of its own. After an error
// it is good for nothing but to say so.
func build(task Task, notes io.Writer) error {
	r := &root{task: task, notes: notes, hosts: -1, at: scratch + "/root"}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	r.unprivileged = strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295"
	if task.Hosts != "" { // scratch may hide its directory
		if r.hosts, err = unix.Open(task.Hosts, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return &os.PathError{Op: "open", Path: task.Hosts, Err: err}
		}
		defer unix.Close(r.hosts)
	}
	if r.etc, err = r.etcFiles(); err != nil {
		return err
	}
	if r.mounts, err = hostMounts(); err != nil {
		return err
	}
	if err := mountTmpfs(scratch, MaxWritten, 1<<17, 0o755); err != nil {
		return err
	}
	for _, step := range []func() error{r.files, r.showHosts, r.ownDirectories, r.proc, r.devices, r.sys, r.name, r.enter} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// etcFiles are the files of /etc that are the instance's own.
func (r *root) etcFiles() (map[string][]byte, error) {
	etc := map[string][]byte{"hostname": []byte(r.task.Hostname + "\n")}
	if r.hosts >= 0 {
		etc["hosts"] = nil // something to mount on
	}
	for name, from := range map[string]string{"resolv.conf": r.task.ResolvConf, "nsswitch.conf": r.task.Nsswitch} {
		if from == "" {
			continue
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		etc[name] = data
	}
	return etc, nil
}

// showHosts shows the instance's hosts file, which changes when instances come and go.
func (r *root) showHosts() error {
	if r.hosts < 0 {
		return nil
	}
	to := r.at + "/etc/hosts"
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", r.hosts), to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s as /etc/hosts: %w", r.task.Hosts, err)
	}
	return readOnly(to)
}

// readOnly makes a mount read-only, and leaves its other flags, of which some may be locked.
func readOnly(at string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(at, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: at, Err: err}
	}
	flags := uintptr(fs.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME)
	if fs.Flags&unix.ST_RELATIME != 0 {
		flags |= unix.MS_RELATIME
	}
	if err := unix.Mount("", at, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", at, err)
	}
	return nil
}

// name sets the host name.
func (r *root) name() error {
	if r.task.Hostname == "" {
		return nil
	}
	if err := unix.Sethostname([]byte(r.task.Hostname)); err != nil {
		return fmt.Errorf("set host name %q: %w", r.task.Hostname, err)
	}
	return nil
}

// enter changes to the new root, and leaves no way back to the old one.
func (r *root) enter() error {
	if err := os.Chdir(r.at); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // the old root then covers the new one (pivot_root(2), "notes")
		return fmt.Errorf("change to the new root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return os.Chdir("/")
}

func mountTmpfs(at string, size, inodes int, mode os.FileMode) error {
	options := fmt.Sprintf("size=%d,nr_inodes=%d,mode=%o", size, inodes, mode)
	if err := unix.Mount("vpclab", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", at, err)
	}
	return nil
}
