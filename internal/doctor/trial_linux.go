package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	childArg0    = "vpclab-doctor" // what the child of a trial is called
	childEnv     = "VPCLAB_DOCTOR" // holds the trial
	trialTimeout = 10 * time.Second
)

// childReady says that main calls ChildMain.
var childReady bool

// trials says what namespaces a trial has and what its child does there.
var trials = map[Trial]struct {
	flags uintptr
	do    func() error
}{
	UserNamespace: {unix.CLONE_NEWUSER | unix.CLONE_NEWNET, loopbackUp},
	TAP:           {unix.CLONE_NEWNET, makeTAP},
	UserTAP:       {unix.CLONE_NEWUSER | unix.CLONE_NEWNET, makeTAP},
	Overlay:       {unix.CLONE_NEWNS, mountOverlay},
	UserOverlay:   {unix.CLONE_NEWUSER | unix.CLONE_NEWNS, mountOverlay},
}

// Try implements System. Nothing that a trial makes outlives its child.
func (here) Try(t Trial) error {
	spec, ok := trials[t]
	if !ok || !childReady {
		return fmt.Errorf("%s cannot be tried: main has to call doctor.ChildMain", t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), trialTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{childArg0}
	cmd.Env = []string{childEnv + "=" + string(t)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: spec.flags, Pdeathsig: syscall.SIGKILL}
	if spec.flags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	said, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: not in %v", t, trialTimeout)
	case errors.As(err, &exit):
		return verdictOf(string(said), err)
	}
	return err
}

// verdictOf reads what a child said of its failure: an error number, and what was done.
func verdictOf(said string, ended error) error {
	number, what, _ := strings.Cut(strings.TrimSpace(said), " ")
	n, err := strconv.Atoi(number)
	if err != nil || n <= 0 {
		return fmt.Errorf("the trial ended with %v %s", ended, said)
	}
	return &TrialError{What: what, Errno: syscall.Errno(n)}
}

// ChildMain must be the first thing that main (or TestMain) of a program does that calls Diagnose with Here: in a child
// that Try has started it does the trial and ends the process.
func ChildMain() {
	childReady = true
	if len(os.Args) != 1 || os.Args[0] != childArg0 {
		return
	}
	t, ok := trials[Trial(os.Getenv(childEnv))]
	if !ok {
		os.Exit(2)
	}
	if err := t.do(); err != nil {
		var errno syscall.Errno
		errors.As(err, &errno)
		fmt.Printf("%d %s\n", int(errno), err)
		os.Exit(1)
	}
	os.Exit(0)
}

// loopbackUp needs CAP_NET_ADMIN in the namespace, which AppArmor may take away although it lets the namespace be made.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

func makeTAP() error {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", tunPath, err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("vpclab%d")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return fmt.Errorf("make a TAP: %w", err)
	}
	return nil
}

// mountOverlay lays one over /, with its upper side in memory. All of it goes with the mount namespace. In a user namespace
// it lies over /usr: the mounts below / were made by others, and the kernel lets nobody look behind them.
func mountOverlay() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	base := "/tmp"
	if err := unix.Mount("vpclab-doctor", base, "tmpfs", 0, "mode=0700,size=1m"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			return err
		}
	}
	data := fmt.Sprintf("upperdir=%[1]s/upper,workdir=%[1]s/work", base)
	if os.Getenv(childEnv) == string(UserOverlay) {
		data += ",lowerdir=/usr,userxattr"
	} else {
		data += ",lowerdir=/"
	}
	if err := unix.Mount("overlay", filepath.Join(base, "root"), "overlay", 0, data); err != nil {
		return fmt.Errorf("mount an overlay: %w", err)
	}
	return os.WriteFile(filepath.Join(base, "root", ".vpclab-doctor"), nil, 0o600)
}
