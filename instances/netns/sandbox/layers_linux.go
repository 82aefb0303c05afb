package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// files shows the host's files in the new root. As root that is one overlay for each of the host's mounts. In a user
// namespace a directory in which the host has mounted something cannot be a lower directory (the kernel would have to
// uncover what is below): there it is made anew, and its entries are shown one by one.
func (r *root) files() error {
	if err := os.Mkdir(r.at, 0o755); err != nil {
		return err
	}
	if r.unprivileged {
		if err := r.bind(r.at, r.at); err != nil { // what one changes to must be a mount
			return err
		}
		return r.show("/")
	}
	for _, at := range layers(r.mounts) {
		if err := r.overlay(at); err != nil && at == "/" {
			return r.explain(err)
		} else if err != nil {
			r.note(at, err)
		}
	}
	return nil
}

func (r *root) note(path string, err error) {
	fmt.Fprintf(r.notes, "vpclab: %s is not shown here: %v\n", path, err)
}

// needed are directories without which no program runs.
var needed = []string{"/usr", "/bin", "/lib", "/etc"}

// show shows a path of the host, as far as this user may see it.
func (r *root) show(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		r.note(path, err)
		return nil
	}
	switch kind := info.Mode().Type(); {
	case own(path):
		return nil
	case kind == os.ModeSymlink:
		return r.copyLink(path)
	case kind.IsRegular():
		return r.copyFile(path, info)
	case !kind.IsDir():
		return nil
	}
	if err := os.MkdirAll(filepath.Join(r.at, path), 0o755); err != nil {
		return err
	}
	switch {
	case !readable(path): // is shown empty
		return nil
	case covered(r.mounts, path):
		return r.entries(path, info)
	}
	err = r.overlay(path)
	if err != nil && slices.Contains(needed, path) {
		return r.explain(err)
	}
	if err != nil {
		r.note(path, err)
	}
	return nil
}

func (r *root) entries(path string, info os.FileInfo) error {
	list, err := os.ReadDir(path)
	if err != nil {
		r.note(path, err)
	}
	for _, e := range list {
		if err := r.show(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	if path == "/etc" {
		if err := r.writeEtc(r.at + "/etc"); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(r.at, path), info.Mode().Perm())
}

func (r *root) copyLink(path string) error {
	to, err := os.Readlink(path)
	if err != nil {
		r.note(path, err)
		return nil
	}
	return os.Symlink(to, filepath.Join(r.at, path))
}

// maxCopied is the size of the largest file that is copied; a larger one is shown itself, read-only.
const maxCopied = 256 << 10

func (r *root) copyFile(path string, info os.FileInfo) error {
	to := filepath.Join(r.at, path)
	if info.Size() > maxCopied {
		if err := os.WriteFile(to, nil, 0o644); err != nil {
			return err
		}
		return errors.Join(r.bind(path, to), readOnly(to))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil // not for this user, as outside
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}

// overlay shows a directory with what is written to it kept apart.
func (r *root) overlay(at string) error {
	to := filepath.Join(r.at, at)
	if info, err := os.Lstat(to); err != nil {
		return err
	} else if !info.IsDir() {
		return nil // a file that is mounted on a file: the one below is shown
	}
	if r.layers++; r.layers > maxLayers {
		return fmt.Errorf("more than %d overlays are needed", maxLayers)
	}
	layer := fmt.Sprintf("%s/layer%d", scratch, r.layers)
	upper, work := layer+"/upper", layer+"/work"
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o700)); err != nil {
		return err
	}
	if err := r.prepare(upper, at); err != nil {
		return err
	}
	kind := r.task.Overlay
	if kind == "" {
		kind = "overlay"
	}
	err := unix.Mount("vpclab", to, kind, unix.MS_NODEV, overlayOptions(at, upper, work, r.unprivileged))
	return os.NewSyscallError("mount "+kind, err)
}

// writable are directories that a sandbox without root gets an upper half of, so that it can make and delete files in
// them although the host's belong to a user it does not know. The top of each overlay is so anyway.
var writable = []string{"/usr/local/bin", "/var/cache", "/var/lib", "/var/log", "/var/spool"}

// prepare fills the upper half of an overlay with what is the instance's own.
func (r *root) prepare(upper, at string) error {
	if r.unprivileged {
		for _, dir := range writable {
			if below, ok := within(dir, at); ok && readable(dir) {
				if err := os.MkdirAll(filepath.Join(upper, below), 0o755); err != nil {
					return err
				}
			}
		}
	} else if err := likeLower(upper, at); err != nil {
		return err
	}
	if at != "/" && at != "/etc" {
		return nil
	}
	below, _ := within("/etc", at)
	etc := filepath.Join(upper, below)
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return err
	}
	if !r.unprivileged {
		if err := likeLower(etc, "/etc"); err != nil {
			return err
		}
	}
	return r.writeEtc(etc)
}

// writeEtc writes the instance's own files in place of the host's.
func (r *root) writeEtc(dir string) error {
	for name, content := range r.etc {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// within gives path relative to dir, if it is dir or below it.
func within(path, dir string) (string, bool) {
	rel, err := filepath.Rel(dir, path)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// readable says whether dir is a directory whose content this process may list, so that it can be merged.
func readable(dir string) bool {
	info, err := os.Lstat(dir)
	return err == nil && info.IsDir() && unix.Access(dir, unix.R_OK|unix.X_OK) == nil
}

// likeLower gives the upper half of a layer the owner and the mode of the lower one, since a merged directory shows the upper's.
func likeLower(upper, lower string) error {
	var st unix.Stat_t
	if err := unix.Stat(lower, &st); err != nil {
		return &os.PathError{Op: "stat", Path: lower, Err: err}
	}
	return errors.Join(unix.Chown(upper, int(st.Uid), int(st.Gid)), unix.Chmod(upper, st.Mode&0o7777))
}

// explain says why there can be no overlay.
func (r *root) explain(err error) error {
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("an overlay root cannot be had: this kernel has no overlayfs (%w); load it (modprobe overlay)", err)
	case errors.Is(err, unix.EPERM) && r.unprivileged:
		return fmt.Errorf("an overlay root cannot be had: %w; without root that needs Linux 5.11 or newer, and a container must allow it", err)
	}
	return fmt.Errorf("an overlay root cannot be had: %w", err)
}
