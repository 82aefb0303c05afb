package helper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Arg0 is what a helper process is called; its only other argument is a word for people who list processes.
const Arg0 = "vpclab-helper"

const (
	wireFD        = 3                // the helper's end of the socket
	startPatience = 20 * time.Second // for a new helper to say that it is ready
	callPatience  = 10 * time.Second // for it to answer a request that was withdrawn
)

// Helper is a helper process, seen from the process that started it. Its methods are safe for concurrent use.
type Helper struct {
	wire  *wire
	proc  *os.Process
	said  tail          // what it wrote on standard error
	ended chan struct{} // closed when it has ended and been waited for

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan answer
	closed  bool
	why     error // it ended for
}

type answer struct {
	*message
	files []*os.File
}

// Start starts a helper. word tells it apart in lists of processes. The program's main must call Serve if
// os.Args[0] is Arg0.
func Start(ctx context.Context, word string) (*Helper, error) {
	w, far, err := pair()
	if err != nil {
		return nil, err
	}
	defer far.Close()
	h := &Helper{wire: w, ended: make(chan struct{}), waiting: map[uint64]chan answer{}}
	ready := make(chan answer, 1)
	h.waiting[0] = ready
	started := make(chan error)
	go h.run(word, far, started)
	if err := <-started; err != nil {
		w.conn.Close()
		return nil, Refusal(err)
	}
	go h.receive()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	select {
	case a := <-ready:
		if a.Error == nil {
			return h, nil
		}
		err = Refusal(a.Error)
	case <-h.ended:
		err = h.Why()
	case <-ctx.Done():
		err = fmt.Errorf("the helper process does not start: %w", ctx.Err())
	}
	h.Close()
	return nil, err
}

// run starts the process and waits for its end, in one thread: the signal at the parent's death is about the thread.
func (h *Helper) run(word string, far *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{Arg0, word}
	cmd.Dir = "/"
	cmd.Stderr = &h.said
	cmd.ExtraFiles = []*os.File{far}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
		Setsid:      true, // Ctrl-C at the agent's terminal is for the agent
	}
	cmd.WaitDelay = time.Second
	err := cmd.Start()
	if err == nil {
		h.proc = cmd.Process
	}
	started <- err
	if err != nil {
		return
	}
	err = cmd.Wait()
	if err == nil {
		err = errors.New("it exited")
	}
	h.end(err)
}

func (h *Helper) end(err error) {
	h.wire.conn.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.why = fmt.Errorf("the helper process has ended: %w", err)
	if h.closed {
		h.why = errors.New("the helper process was ended")
	} else if last := h.said.String(); last != "" {
		h.why = fmt.Errorf("%w; it said: %s", h.why, last)
	}
	close(h.ended)
}

// receive hands replies to those who wait for them.
func (h *Helper) receive() {
	for {
		m, files, err := h.wire.receive()
		if err != nil { // it ended, or talks nonsense
			_ = h.proc.Kill()
			return
		}
		h.mu.Lock()
		to := h.waiting[m.ID]
		delete(h.waiting, m.ID)
		h.mu.Unlock()
		if to == nil { // given up
			CloseAll(files)
			continue
		}
		to <- answer{m, files}
	}
}

// PID is the process's number in the caller's PID namespace.
func (h *Helper) PID() int { return h.proc.Pid }

// Ended is closed when the process has ended.
func (h *Helper) Ended() <-chan struct{} { return h.ended }

// Why says why the process ended; nil while it runs.
func (h *Helper) Why() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

// Close ends the process and all that it started, and waits for that.
func (h *Helper) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.wire.conn.Close() // receive kills
	<-h.ended
	return nil
}

// Call asks the helper for op with in, and reads its answer into out (nil: none is expected). files go along and stay
// the caller's; those that come back become the caller's. When ctx ends the helper is told to stop, and its answer is
// still awaited for some seconds.
func (h *Helper) Call(ctx context.Context, op string, in, out any, files ...*os.File) ([]*os.File, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	id, reply, err := h.register()
	if err != nil {
		return nil, err
	}
	if err := h.wire.send(&message{ID: id, Op: op, Body: body}, files...); err != nil {
		h.forget(id, reply)
		if why := h.Why(); why != nil {
			err = why
		}
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	a, err := h.await(ctx, id, reply)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", op, err)
	case a.Error != nil:
		CloseAll(a.files)
		return nil, a.Error
	case out != nil:
		if err := json.Unmarshal(a.Body, out); err != nil {
			CloseAll(a.files)
			return nil, err
		}
	}
	return a.files, nil
}

func (h *Helper) register() (uint64, chan answer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.why != nil {
		return 0, nil, h.why
	}
	h.next++
	reply := make(chan answer, 1)
	h.waiting[h.next] = reply
	return h.next, reply, nil
}

// forget gives a request up. An answer that has come meanwhile is thrown away.
func (h *Helper) forget(id uint64, reply chan answer) {
	h.mu.Lock()
	delete(h.waiting, id)
	h.mu.Unlock()
	select {
	case a := <-reply:
		CloseAll(a.files)
	default:
	}
}

func (h *Helper) await(ctx context.Context, id uint64, reply chan answer) (answer, error) {
	select {
	case a := <-reply:
		return a, nil
	case <-h.ended:
		return h.last(id, reply)
	case <-ctx.Done():
	}
	_ = h.wire.send(&message{ID: id, Cancel: true}) // if it cannot be sent, the end is near
	late := time.NewTimer(callPatience)
	defer late.Stop()
	select {
	case a := <-reply:
		return a, nil
	case <-h.ended:
		return h.last(id, reply)
	case <-late.C:
		h.forget(id, reply)
		return answer{}, ctx.Err()
	}
}

// last gives an answer that came before the end.
func (h *Helper) last(id uint64, reply chan answer) (answer, error) {
	select {
	case a := <-reply:
		return a, nil
	default:
		h.forget(id, reply)
		return answer{}, h.Why()
	}
}

// tail keeps the last that was written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailLen = 2048

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailLen; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
