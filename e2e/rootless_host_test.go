//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const nobodyID = 65534

// What a machine may keep from its users.
const (
	allAllowed    = ""
	noTUN         = "no TUN"          // the device is root's
	missingTUN    = "missing TUN"     // there is no such device
	noNamespaces  = "no namespaces"   // user namespaces are refused
	noMountedProc = "no mounted proc" // a container that hides parts of /proc
)

// rootless gives a host on which an unprivileged user works. The TUN device that they may open, or not, is one of a mount
// namespace that each command has of its own. The test itself needs root, to become that user.
func rootless(t testing.TB, refused string) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the tests become another user")
	}
	var h *host
	t.Cleanup(func() { // after the host's own
		eventually(t, "no helper process is left", func() bool { return len(ofHelper(t, h)) == 0 })
	})
	h = newHost(t)
	if err := os.Chown(h.dir, nobodyID, nobodyID); err != nil {
		t.Fatal(err)
	}
	h.via = helperArgs("nobody", refused)
	h.env = append(slices.DeleteFunc(h.env, func(e string) bool { return strings.HasPrefix(e, "HOME=") || strings.HasPrefix(e, "XDG_") }), "HOME=/nonexistent")
	return h
}

// ofHelper lists the processes of a host's helpers, by their first words.
func ofHelper(t testing.TB, h *host) (pids []int) {
	t.Helper()
	for _, p := range processes(t) {
		if len(p.args) > 1 && p.args[0] == "vpclab-helper" && strings.HasPrefix(p.args[1], h.dir+"/") {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// open writes a lab file that everybody may read.
func (h *host) open(text string) string {
	h.t.Helper()
	path := h.lab(text)
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	return path
}

// nobody makes the world of an unprivileged user and becomes the program that is called there.
func nobody(args []string) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := makeTUN(args[0]); err != nil {
		return err
	}
	if args[0] == noNamespaces {
		return inOtherNamespace(args[1:])
	}
	if args[0] == noMountedProc {
		if err := unix.Mount("/dev/null", "/proc/version", "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return become(args[1:])
}

func makeTUN(refused string) error {
	if err := unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("/dev/net: %w", err)
	}
	if refused == missingTUN {
		return nil
	}
	mode := uint32(0o666)
	if refused == noTUN {
		mode = 0o600
	}
	unix.Umask(0)
	if err := unix.Mknod("/dev/net/tun", unix.S_IFCHR|mode, int(unix.Mkdev(10, 200))); err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	unix.Umask(0o022)
	return nil
}

// become drops all privileges and becomes a program.
func become(argv []string) error {
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobodyID), syscall.Setuid(nobodyID)); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", argv[0], syscall.Exec(argv[0], argv, os.Environ()))
}

// inOtherNamespace runs a program in a user namespace whose limit of further ones is 0: the kernel itself refuses then.
// Signals are passed on.
func inOtherNamespace(argv []string) error {
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	words := helperArgs(append([]string{"nobody-refused"}, argv...)...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true, Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	return err
}

func nobodyRefused(argv []string) error {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return err
	}
	return become(argv)
}

// tree lists a process and all its descendants.
func tree(t testing.TB, pid int) []int {
	t.Helper()
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, file := range tasks {
			text, _ := os.ReadFile(file)
			for _, word := range strings.Fields(string(text)) {
				if n, err := strconv.Atoi(word); err == nil {
					all = append(all, n)
				}
			}
		}
	}
	return all
}

// alive lists those of the processes that have not ended.
func alive(pids []int) (left []int) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // the first may have ended before the others
		if _, after, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(after, "Z") || len(threads) > 1 {
			left = append(left, pid)
		}
	}
	return left
}
