package helper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// Handler answers one kind of request. It owns the files that came with it; those it returns are closed when they
// have been sent. It returns soon after ctx has ended.
type Handler func(ctx context.Context, body []byte, files []*os.File) (out any, back []*os.File, err error)

// Handle makes a Handler of a function with a typed request.
func Handle[In any](fn func(ctx context.Context, in *In, files []*os.File) (any, []*os.File, error)) Handler {
	return func(ctx context.Context, body []byte, files []*os.File) (any, []*os.File, error) {
		in := new(In)
		if err := json.Unmarshal(body, in); err != nil {
			CloseAll(files)
			return nil, nil, err
		}
		return fn(ctx, in, files)
	}
}

// maxAtOnce bounds the requests under way; programs that run are requests, too.
const maxAtOnce = 4096

// Serve is the helper's main. It answers until the process that started it is gone, and does not return. All
// descriptors but the first three must be close-on-exec.
func Serve(handlers map[string]Handler) {
	w, err := newWire(os.NewFile(wireFD, "agent"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	hello := &message{}
	if err := settle(); err != nil {
		hello.Error = asError(err)
	}
	if w.send(hello) != nil || hello.Error != nil {
		os.Exit(1)
	}
	s := &server{wire: w, handlers: handlers, cancels: map[uint64]context.CancelFunc{}}
	s.receive()
	os.Exit(0) // and with the namespace's init all that is in it
}

// settle makes the namespaces fit to be lived in: mounts of the host still arrive, none go back; /proc shows the
// processes of this PID namespace; nothing but the other process's end ends this one.
func settle() error {
	if unix.Getpid() != 1 {
		return errors.New("a helper process is started by the agent, not by hand")
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE) // not Ignore: programs would inherit that
	go func() {
		for range signals {
		}
	}()
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount a /proc: %w; in a container, show it all of /proc (docker: --security-opt systempaths=unconfined)", err)
	}
	children.start()
	return nil
}

type server struct {
	wire     *wire
	handlers map[string]Handler

	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc // of requests under way
}

func (s *server) receive() {
	for {
		m, files, err := s.wire.receive()
		if err != nil {
			return
		}
		if m.Cancel {
			CloseAll(files)
			s.cancel(m.ID)
			continue
		}
		ctx, err := s.begin(m)
		if err != nil {
			CloseAll(files)
			s.reply(m.ID, nil, nil, err)
			continue
		}
		go func() {
			out, back, err := s.handlers[m.Op](ctx, m.Body, files)
			s.cancel(m.ID)
			s.reply(m.ID, out, back, err)
		}()
	}
}

func (s *server) begin(m *message) (context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handlers[m.Op] == nil {
		return nil, fmt.Errorf("there is no request %q", m.Op)
	}
	if len(s.cancels) >= maxAtOnce {
		return nil, fmt.Errorf("%d requests at once: %w", len(s.cancels), unix.EAGAIN)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancels[m.ID] = cancel
	return ctx, nil
}

func (s *server) cancel(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.cancels[id]; cancel != nil {
		cancel()
		delete(s.cancels, id)
	}
}

// reply sends an answer. If that fails the other process is gone, which receive notices, or the answer itself cannot be sent.
func (s *server) reply(id uint64, out any, files []*os.File, err error) {
	defer CloseAll(files)
	m := &message{ID: id}
	if err == nil && out != nil {
		m.Body, err = json.Marshal(out)
	}
	if err == nil {
		if err = s.wire.send(m, files...); err == nil {
			return
		}
	}
	_ = s.wire.send(&message{ID: id, Error: asError(err)})
}
