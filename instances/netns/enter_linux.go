package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances/netns/helper"
	"github.com/vpclab/vpclab/instances/netns/sandbox"
)

// childReady says that main calls ChildMain.
var childReady bool

// ChildMain must be the first thing that main (or TestMain) of a program does that starts instances: in a
// child that Exec started it enters the instance, becomes the program and does not return; in a helper process and in the
// first process of a sandbox it is all of main; in any other process it returns at once.
func ChildMain() {
	childReady = true
	switch {
	case len(os.Args) == 0:
		return
	case os.Args[0] == helper.Arg0:
		closeOnExec()
		helper.Serve(handlers())
	case os.Args[0] == sandbox.Arg0:
		closeOnExec()
		sandbox.Main()
	case len(os.Args) != 1 || os.Args[0] != childArg0:
		return
	}
	closeOnExec()
	status := os.NewFile(childStatus, "status")
	var task childTask
	err := json.Unmarshal([]byte(os.Getenv(childEnv)), &task)
	if err == nil {
		os.Unsetenv(childEnv)
		err = ExecIn(task.Info, task.Argv, os.Environ())
	}
	failure := childFailure{Text: err.Error()}
	var program *programError
	if errors.As(err, &program) {
		failure.Code = program.code
	}
	json.NewEncoder(status).Encode(failure)
	os.Exit(max(failure.Code, 1))
}

// closeOnExec keeps descriptors from programs that this process becomes or starts: all but standard input, output and
// error, also those that the agent itself was started with.
func closeOnExec() {
	const first = 3
	if unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	var limit unix.Rlimit // a kernel before 5.11
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		limit.Cur = 1024
	}
	for fd := first; fd < int(min(limit.Cur, 1<<16)); fd++ {
		unix.CloseOnExec(fd)
	}
}

// programError is a failure of the program itself, with the exit code that shells give it.
type programError struct {
	code int
	err  error
}

func (e *programError) Error() string { return e.err.Error() }
func (e *programError) Unwrap() error { return e.err }

// ExitCode is what a shell would exit with.
func (e *programError) ExitCode() int { return e.code }

// ExecIn makes the calling process the program argv, found by PATH, inside the instance. It returns only
// when it fails; the process is then good for nothing but to say so and exit.
func ExecIn(i EnterInfo, argv, env []string) error {
	if len(argv) == 0 {
		return errors.New("no program given")
	}
	runtime.LockOSThread()
	if err := Enter(i); err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	switch {
	case errors.Is(err, os.ErrPermission):
		return &programError{126, err}
	case err != nil:
		return &programError{127, err}
	}
	return &programError{126, fmt.Errorf("exec %s: %w", path, syscall.Exec(path, argv, env))}
}

// Enter moves the calling thread into the instance: its network namespace, and a mount and a UTS
// namespace of its own, where the instance's files stand in for the host's. The goroutine must be
// locked to the thread; after an error the thread is in neither world and must not be used on.
func Enter(i EnterInfo) error {
	fd, err := unix.Open(i.Netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", i.Netns, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace %s: %w", i.Netns, err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	// Mounts of the host still arrive, so that an unmount there is not held up; none of ours go back.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, f := range []struct{ from, to string }{{i.Hosts, "/etc/hosts"}, {i.ResolvConf, "/etc/resolv.conf"}, {i.Nsswitch, "/etc/nsswitch.conf"}} {
		if err := cover(f.from, f.to); err != nil {
			return err
		}
	}
	showDevices()
	if i.Hostname != "" {
		if err := unix.Sethostname([]byte(i.Hostname)); err != nil {
			return fmt.Errorf("set host name %q: %w", i.Hostname, err)
		}
	}
	return nil
}

// cover shows the file from where to is. A file that the host has not is left out.
func cover(from, to string) error {
	if from == "" {
		return nil
	}
	if _, err := os.Stat(to); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s as %s: %w", from, to, err)
	}
	return nil
}

// showDevices mounts a /sys that shows the namespace's devices. Programs do without where that is not allowed.
func showDevices() {
	_ = unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}
