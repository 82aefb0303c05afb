package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/netns/helper"
	"github.com/vpclab/vpclab/instances/netns/sandbox"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// What a helper process can be asked for.
const (
	opTry     = "try"     // make a TAP and let it go
	opCreate  = "create"  // make a network namespace
	opPlug    = "plug"    // make and configure its eth0; its queues come back
	opSocket  = "socket"  // make a socket in it, which comes back
	opExec    = "exec"    // run a program in it with the files that come along
	opSignal  = "signal"  // pass a signal to a program that runs
	opSandbox = "sandbox" // run commands in a sandbox in it
	opEnd     = "end"     // kill what runs in it
	opRemove  = "remove"  // let it go
)

type spaceRequest struct {
	Space uint64 `json:"space"`
}

type created struct {
	Space uint64  `json:"space"`
	ID    spaceID `json:"id"`
	FD    int     `json:"fd"` // the helper's descriptor of the namespace
}

type plugRequest struct {
	Space uint64         `json:"space"`
	Spec  instances.Spec `json:"spec"`
}

type plugged struct {
	Device tap.Handover `json:"device"`
	Zone   string       `json:"zone"`
}

type socketRequest struct {
	Space                  uint64 `json:"space"`
	Domain, Kind, Protocol int
}

// execRequest runs this program's child, as Exec does; Env holds its task. The files are standard input, output and
// error, and the status pipe.
type execRequest struct {
	Space uint64   `json:"space"`
	Run   uint64   `json:"run"` // for signals
	Env   []string `json:"env"`
	Dir   string   `json:"dir"`
}

type execEnded struct {
	Status uint32 `json:"status"` // as wait(2) gives it
}

type signalRequest struct {
	Space  uint64         `json:"space"`
	Run    uint64         `json:"run"`
	Signal syscall.Signal `json:"signal"`
}

// sandboxRequest comes with the output file and the status pipe.
type sandboxRequest struct {
	Space uint64       `json:"space"`
	Task  sandbox.Task `json:"task"`
}

// server is the helper's side: the namespaces it has made.
type server struct {
	mu     sync.Mutex
	next   uint64
	spaces map[uint64]*inside
	runs   map[[2]uint64]*helper.Child // by space and run
}

// handlers are the helper's.
func handlers() map[string]helper.Handler {
	s := &server{spaces: map[uint64]*inside{}, runs: map[[2]uint64]*helper.Child{}}
	return map[string]helper.Handler{
		opTry: helper.Handle(s.try), opCreate: helper.Handle(s.create), opPlug: helper.Handle(s.plug), opSocket: helper.Handle(s.socket),
		opExec: helper.Handle(s.exec), opSignal: helper.Handle(s.signal), opSandbox: helper.Handle(s.sandbox), opEnd: helper.Handle(s.end),
		opRemove: helper.Handle(s.remove),
	}
}

func (s *server) space(n uint64) (*inside, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.spaces[n]; in != nil {
		return in, nil
	}
	return nil, errNoSpace
}

func (s *server) try(_ context.Context, _ *struct{}, files []*os.File) (any, []*os.File, error) {
	helper.CloseAll(files)
	port, err := tap.Open(tap.Config{Device: deviceName}) // in the helper's own network namespace
	if err != nil {
		return nil, nil, err
	}
	return nil, nil, port.Close()
}

func (s *server) create(_ context.Context, _ *struct{}, files []*os.File) (any, []*os.File, error) {
	helper.CloseAll(files)
	in := &inside{handle: netns.None()}
	err := onThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if in.handle, err = netns.Get(); err != nil {
			return err
		}
		in.id, err = idOf("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		in.close()
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	s.spaces[s.next] = in
	return created{Space: s.next, ID: in.id, FD: int(in.handle)}, nil, nil
}

func (s *server) plug(_ context.Context, r *plugRequest, files []*os.File) (any, []*os.File, error) {
	helper.CloseAll(files)
	in, err := s.space(r.Space)
	if err != nil {
		return nil, nil, err
	}
	port, zone, err := in.plug(r.Spec)
	if err != nil {
		return nil, nil, err
	}
	defer port.Close()
	h, queues, err := port.HandOver()
	return plugged{Device: h, Zone: zone}, queues, err
}

func (s *server) socket(_ context.Context, r *socketRequest, files []*os.File) (any, []*os.File, error) {
	helper.CloseAll(files)
	in, err := s.space(r.Space)
	if err != nil {
		return nil, nil, err
	}
	f, err := in.socket(r.Domain, r.Kind, r.Protocol)
	if err != nil {
		return nil, nil, err
	}
	return nil, []*os.File{f}, nil
}

// spawn starts this program under another name with files as its descriptors 0, 1, ... They are made to block, as programs
// expect; Fd does not do that for files that came as they are.
func spawn(arg0, dir string, env []string, files []*os.File, attr *syscall.SysProcAttr) (*helper.Child, error) {
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
		if err := unix.SetNonblock(int(fds[i]), false); err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
	}
	return helper.Spawn("/proc/self/exe", []string{arg0}, &syscall.ProcAttr{Dir: dir, Env: env, Files: fds, Sys: attr})
}

func (s *server) exec(ctx context.Context, r *execRequest, files []*os.File) (any, []*os.File, error) {
	defer func() { helper.CloseAll(files) }()
	in, err := s.space(r.Space)
	if err != nil {
		return nil, nil, err
	}
	if len(files) != childStatus+1 {
		return nil, nil, fmt.Errorf("%d files came for a program; it needs %d", len(files), childStatus+1)
	}
	network, err := in.file()
	if err != nil {
		return nil, nil, err
	}
	files = append(files, network)
	child, err := startProgram(r, files)
	helper.CloseAll(files)
	files = nil
	if err != nil {
		return nil, nil, err
	}
	key := [2]uint64{r.Space, r.Run}
	s.mu.Lock()
	s.runs[key] = child
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.runs, key)
	}()
	select {
	case <-child.Ended():
	case <-ctx.Done():
		child.Signal(unix.SIGKILL, true)
		<-child.Ended()
	}
	return execEnded{Status: uint32(child.Status())}, nil, nil
}

// startProgram gives the program a session of its own, with a terminal on standard input as its controlling one.
func startProgram(r *execRequest, files []*os.File) (*helper.Child, error) {
	if isTerminal(files[0]) {
		child, err := spawn(childArg0, r.Dir, r.Env, files, &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0})
		if !errors.Is(err, unix.EPERM) { // another session's
			return child, err
		}
	}
	return spawn(childArg0, r.Dir, r.Env, files, &syscall.SysProcAttr{Setsid: true})
}

func (s *server) signal(_ context.Context, r *signalRequest, files []*os.File) (any, []*os.File, error) {
	helper.CloseAll(files)
	s.mu.Lock()
	child := s.runs[[2]uint64{r.Space, r.Run}]
	s.mu.Unlock()
	if child != nil {
		child.Signal(r.Signal, true)
	}
	return nil, nil, nil
}

func (s *server) sandbox(ctx context.Context, r *sandboxRequest, files []*os.File) (any, []*os.File, error) {
	defer func() { helper.CloseAll(files) }()
	in, err := s.space(r.Space)
	if err != nil {
		return nil, nil, err
	}
	if len(files) != 2 {
		return nil, nil, fmt.Errorf("%d files came for a sandbox; it needs 2", len(files))
	}
	task, err := sandbox.TaskFile(r.Task)
	if err != nil {
		return nil, nil, err
	}
	files = append(files, task)
	network, err := in.file()
	if err != nil {
		return nil, nil, err
	}
	files = append(files, network)
	child, err := spawn(sandbox.Arg0, "/", nil, []*os.File{task, files[0], files[0], files[1], network}, sandbox.Attr())
	helper.CloseAll(files)
	files = nil
	if err != nil {
		return nil, nil, err
	}
	select {
	case <-child.Ended():
	case <-ctx.Done():
		child.Signal(unix.SIGKILL, false)
		<-child.Ended()
	}
	return nil, nil, nil
}

func (s *server) end(_ context.Context, r *spaceRequest, files []*os.File) (any, []*os.File, error) {
	helper.CloseAll(files)
	in, err := s.space(r.Space)
	if err != nil {
		return nil, nil, err
	}
	return nil, nil, killAll(in.id)
}

func (s *server) remove(_ context.Context, r *spaceRequest, files []*os.File) (any, []*os.File, error) {
	helper.CloseAll(files)
	in, err := s.space(r.Space)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	delete(s.spaces, r.Space)
	s.mu.Unlock()
	in.close()
	return nil, nil, nil
}
