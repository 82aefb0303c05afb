package helper

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// children are the processes of this PID namespace whose parent is its init: those that Spawn started, and orphans.
// os/exec has no place in a helper, since an init waits for whoever ends.
var children = reaper{own: map[int]*Child{}}

type reaper struct {
	// mu is held while a child is started, so that its end is not seen before its number is known, and while one is
	// signalled, so that no other process has got its number.
	mu  sync.Mutex
	own map[int]*Child
}

// Child is a process that Spawn started.
type Child struct {
	PID    int // in the helper's PID namespace
	ended  chan struct{}
	status syscall.WaitStatus
}

// Spawn starts a program of the helper. attr is as for syscall.ForkExec.
func Spawn(path string, argv []string, attr *syscall.ProcAttr) (*Child, error) {
	children.mu.Lock()
	defer children.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, &os.PathError{Op: "start", Path: path, Err: err}
	}
	c := &Child{PID: pid, ended: make(chan struct{})}
	children.own[pid] = c
	return c, nil
}

// Ended is closed when the process has ended.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Status says how it ended; it must have.
func (c *Child) Status() syscall.WaitStatus { return c.status }

// Signal sends a signal to the process or, if group, to the process group that it leads. One that has ended gets none.
func (c *Child) Signal(s syscall.Signal, group bool) {
	children.mu.Lock()
	defer children.mu.Unlock()
	if children.own[c.PID] != c {
		return
	}
	pid := c.PID
	if group {
		pid = -pid
	}
	_ = syscall.Kill(pid, s)
}

// start waits for children from now on.
func (r *reaper) start() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	go func() {
		for range signals {
			for r.reap() {
			}
		}
	}()
}

// reap takes one child that has ended; false if there is none.
func (r *reaper) reap() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if err != nil || pid <= 0 {
		return err == syscall.EINTR
	}
	if c := r.own[pid]; c != nil {
		delete(r.own, pid)
		c.status = status
		close(c.ended)
	}
	return true
}
