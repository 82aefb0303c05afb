package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/netns/helper"
	"github.com/vpclab/vpclab/instances/netns/sandbox"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// helped is spaces made by helper processes, one a lab: it is started for the lab's first instance and ends with its last.
type helped struct {
	mu    sync.Mutex
	crews map[string]*crew // by lab
}

// worked says that a helper of this process could make a TAP before: it need not be tried again and again.
var worked atomic.Bool

// crew is a helper with those who use it.
type crew struct {
	*helper.Helper
	users int
}

func newHelped() *helped { return &helped{crews: map[string]*crew{}} }

// check starts a helper and has it make a TAP, once.
func (s *helped) check() error {
	if worked.Load() {
		return nil
	}
	if err := tunOpen(); err != nil {
		return err
	}
	if !childReady {
		return errors.New("this program has no helper process: its main does not call netns.ChildMain")
	}
	h, err := helper.Start(context.Background(), "check")
	if err != nil {
		return err
	}
	defer h.Close()
	if _, err := h.Call(context.Background(), opTry, nil, nil); err != nil {
		return err
	}
	worked.Store(true)
	return nil
}

// tunOpen says whether this user may open the TUN device, without which no namespace helps.
func tunOpen() error {
	f, err := os.OpenFile(tap.DevicePath, os.O_RDWR, 0)
	if err == nil {
		return f.Close()
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s is closed to this user: %w; fix: sudo chmod 0666 %s", tap.DevicePath, err, tap.DevicePath)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("there is no TUN device (%s): %w; fix: sudo modprobe tun, or give the container the device (--device %s)", tap.DevicePath, err, tap.DevicePath)
	}
	return fmt.Errorf("%s: %w", tap.DevicePath, err)
}

// join gives the lab's helper; leave must follow.
func (s *helped) join(ctx context.Context, lab, word string) (*crew, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.crews[lab]; c != nil && c.Why() == nil {
		c.users++
		return c, nil
	}
	h, err := helper.Start(ctx, word)
	if err != nil {
		return nil, err
	}
	c := &crew{Helper: h, users: 1}
	s.crews[lab] = c // an earlier one has ended; its users hold it still
	return c, nil
}

func (s *helped) leave(lab string, c *crew) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.users--; c.users > 0 {
		return nil
	}
	if s.crews[lab] == c {
		delete(s.crews, lab)
	}
	return c.Close()
}

func (s *helped) create(ctx context.Context, spec instances.Spec) (space, error) {
	c, err := s.join(ctx, spec.Lab, spec.RunDir)
	if err != nil {
		return nil, err
	}
	far := &far{crew: c, helped: s, lab: spec.Lab}
	if _, err := c.Call(ctx, opCreate, nil, &far.created); err != nil {
		return nil, errors.Join(fmt.Errorf("make a network namespace: %w", err), s.leave(spec.Lab, c))
	}
	return far, nil
}

// far is a namespace that a helper has made.
type far struct {
	*crew
	created
	helped *helped
	lab    string

	mu      sync.Mutex
	removed bool
	runs    uint64
}

func (f *far) identity() spaceID     { return f.ID }
func (f *far) lost() <-chan struct{} { return f.Ended() }
func (f *far) why() error            { return f.Why() }

// path is the helper's descriptor of the namespace, which processes of the same user may open.
func (f *far) path() string { return fmt.Sprintf("/proc/%d/fd/%d", f.PID(), f.FD) }

func (f *far) plug(s instances.Spec) (*tap.Port, string, error) {
	var made plugged
	files, err := f.Call(context.Background(), opPlug, plugRequest{Space: f.Space, Spec: s}, &made)
	if err != nil {
		return nil, "", err
	}
	port, err := tap.Adopt(tapConfig(s), made.Device, files)
	return port, made.Zone, err
}

func (f *far) socket(domain, kind, protocol int) (*os.File, error) {
	files, err := f.Call(context.Background(), opSocket, socketRequest{Space: f.Space, Domain: domain, Kind: kind, Protocol: protocol}, nil)
	switch {
	case err != nil:
		return nil, err
	case len(files) != 1:
		helper.CloseAll(files)
		return nil, fmt.Errorf("%d sockets came for one", len(files))
	}
	return files[0], nil
}

func (f *far) number() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs++
	return f.runs
}

// exec implements space. Standard input and output that are no files are copied by way of pipes.
func (f *far) exec(ctx context.Context, task childTask, stdio instances.IO) (int, error) {
	task.Info.Netns = fmt.Sprintf("/proc/self/fd/%d", childSpace)
	env, err := environ(task, stdio)
	if err != nil {
		return 0, err
	}
	dir := stdio.Dir
	if dir == "" {
		if dir, err = os.Getwd(); err != nil {
			return 0, err
		}
	}
	p, err := plumb(stdio)
	if err != nil {
		return 0, err
	}
	r := execRequest{Space: f.Space, Run: f.number(), Env: env, Dir: dir}
	unhook := passSignals(stdio.Signals, func(s syscall.Signal) {
		_, _ = f.Call(context.Background(), opSignal, signalRequest{Space: f.Space, Run: r.Run, Signal: s}, nil)
	}, true)
	var ended execEnded
	_, err = f.Call(ctx, opExec, r, &ended, p.far...)
	unhook()
	failure := p.finish()
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, err
	case failure != nil:
		return failure.exit(stdio.Stderr)
	}
	return shellCode(syscall.WaitStatus(ended.Status)), nil
}

func (f *far) sandbox(ctx context.Context, task sandbox.Task, output, status *os.File) error {
	_, err := f.Call(ctx, opSandbox, sandboxRequest{Space: f.Space, Task: task}, nil, output, status)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// end implements space. Of a helper that has ended nothing runs any more.
func (f *far) end() error {
	if f.Why() != nil {
		return nil
	}
	_, err := f.Call(context.Background(), opEnd, spaceRequest{Space: f.Space}, nil)
	if f.Why() != nil {
		return nil
	}
	return err
}

func (f *far) remove() error {
	f.mu.Lock()
	done := f.removed
	f.removed = true
	f.mu.Unlock()
	if done {
		return nil
	}
	var err error
	if f.Why() == nil {
		_, err = f.Call(context.Background(), opRemove, spaceRequest{Space: f.Space}, nil)
		if f.Why() != nil {
			err = nil
		}
	}
	return errors.Join(err, f.helped.leave(f.lab, f.crew))
}
