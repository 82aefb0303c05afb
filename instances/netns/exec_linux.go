package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
)

const (
	childArg0    = "vpclab-enter"  // what a child of Exec is called until it becomes the program
	childEnv     = "VPCLAB_ENTER"  // holds childTask
	childStatus  = 3               // descriptor on which the child tells why it could not become the program
	childSpace   = 4               // the instance's network namespace, where a helper starts the child
	pipePatience = 5 * time.Second // how long a finished program's descendants may hold its output open
)

// childTask is what Exec tells its child.
type childTask struct {
	Info EnterInfo `json:"info"`
	Argv []string  `json:"argv"`
}

// Exec implements instances.Instance with any program of the host. The program is run by a child of this
// process, or of the helper, that enters the namespace first, because a process of many threads cannot; main must have called
// ChildMain. It dies with this process. A Stdin that is no *os.File is read until it ends, fails, or the program has ended and
// the read under way returns. A Stdin that is a terminal becomes the program's controlling one, if it is nobody's yet.
func (in *instance) Exec(ctx context.Context, argv []string, stdio instances.IO) (int, error) {
	if len(argv) == 0 {
		return 0, errors.New("no program given")
	}
	if !childReady {
		return 0, errors.New("this program cannot run programs in instances: its main does not call netns.ChildMain")
	}
	done, err := in.begin()
	if err != nil {
		return 0, err
	}
	defer done()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return in.space.exec(ctx, childTask{Info: in.enterInfo(), Argv: argv}, stdio)
}

func (s *named) exec(ctx context.Context, task childTask, stdio instances.IO) (int, error) {
	runtime.LockOSThread() // Pdeathsig is about the thread that started the child
	defer runtime.UnlockOSThread()
	cmd, err := command(task, stdio)
	if err != nil {
		return 0, err
	}
	return run(ctx, cmd, stdio)
}

// environ is the program's environment with what the child has to know.
func environ(task childTask, stdio instances.IO) ([]string, error) {
	text, err := json.Marshal(task)
	env := stdio.Env
	if env == nil {
		env = os.Environ()
	}
	return append(env[:len(env):len(env)], childEnv+"="+string(text)), err
}

func command(task childTask, stdio instances.IO) (*exec.Cmd, error) {
	env, err := environ(task, stdio)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{childArg0}
	cmd.Env = env
	cmd.Dir, cmd.Stdout, cmd.Stderr = stdio.Dir, stdio.Stdout, stdio.Stderr
	cmd.WaitDelay = pipePatience
	// A process group of its own, so that all of it can be killed; but a terminal belongs to ours.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: !isTerminal(stdio.Stdin)}
	return cmd, nil
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func run(ctx context.Context, cmd *exec.Cmd, stdio instances.IO) (int, error) {
	feed, err := input(cmd, stdio.Stdin)
	if err != nil {
		return 0, err
	}
	status, statusEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer status.Close()
	cmd.ExtraFiles = []*os.File{statusEnd}
	err = cmd.Start()
	statusEnd.Close()
	if err != nil {
		return 0, err
	}
	go feed()
	stop := context.AfterFunc(ctx, func() { killGroup(cmd) })
	unhook := passSignals(stdio.Signals, func(s syscall.Signal) { _ = unix.Kill(-cmd.Process.Pid, s) }, cmd.SysProcAttr.Setpgid)
	failure := readFailure(status)
	err = cmd.Wait()
	unhook()
	stop()
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case failure != nil:
		return failure.exit(stdio.Stderr)
	}
	return exitCode(cmd, err)
}

// input connects stdin and returns what has to run to feed it.
func input(cmd *exec.Cmd, stdin io.Reader) (feed func(), err error) {
	if f, ok := stdin.(*os.File); ok || stdin == nil {
		if ok {
			cmd.Stdin = f
		}
		return func() {}, nil
	}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return func() {
		io.Copy(pipe, stdin)
		pipe.Close()
	}, nil
}

func killGroup(cmd *exec.Cmd) {
	if cmd.SysProcAttr.Setpgid {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		return
	}
	_ = cmd.Process.Kill()
}

// passSignals calls kill for each signal until it is undone, which waits for a call under way. Where the program is in this
// process's own group, signals reach it anyway.
func passSignals(signals <-chan syscall.Signal, kill func(syscall.Signal), wanted bool) (undo func()) {
	if signals == nil || !wanted {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case s, ok := <-signals:
				if !ok {
					return
				}
				kill(s)
			}
		}
	}()
	return func() { close(end); <-ended }
}

func exitCode(cmd *exec.Cmd, err error) (int, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return 0, err
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		return shellCode(ws), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// shellCode is what a shell says of a program that ended.
func shellCode(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// childFailure is why a child did not become the program.
type childFailure struct {
	Code int    `json:"code"` // 127 not found, 126 cannot be run, 0: the instance could not be entered
	Text string `json:"text"`
}

func readFailure(status io.Reader) *childFailure {
	data, err := io.ReadAll(status)
	if err != nil || len(data) == 0 {
		return nil // became the program: the descriptor was closed
	}
	f := new(childFailure)
	if json.Unmarshal(data, f) != nil {
		f.Text = string(data)
	}
	return f
}

func (f *childFailure) exit(stderr io.Writer) (int, error) {
	if f.Code == 0 {
		return 0, errors.New(f.Text)
	}
	if stderr != nil {
		fmt.Fprintln(stderr, f.Text)
	}
	return f.Code, nil
}
