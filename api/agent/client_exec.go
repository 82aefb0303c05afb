package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// interruptGrace is how long an interrupted program has to say its last words.
const interruptGrace = 2 * time.Second

// Exec runs a built-in program on an instance and gives its exit status. When ctx ends the program is interrupted; its
// last output still comes, for at most two seconds. Reading s.Stdin may outlive the call by one Read, since a
// Read cannot be taken back.
func (c *Client) Exec(ctx context.Context, r *ExecRequest, s Streams) (int, error) {
	return c.upgraded(ctx, "exec", r, s)
}

// upgraded sends a request whose connection then carries streams; see Exec.
func (c *Client) upgraded(ctx context.Context, name string, req any, s Streams) (int, error) {
	// Not ctx: it would cut the connection, and with it the program's last words.
	connCtx, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	stopDial := context.AfterFunc(ctx, hangUp)
	resp, err := c.send(connCtx, name, req, http.StatusSwitchingProtocols, "Connection", "Upgrade", "Upgrade", execProtocol)
	stopDial()
	if err != nil {
		return exitInternal, err
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		return exitInternal, &Error{Code: CodeInternal, Message: "the connection cannot be written to after its upgrade"}
	}
	defer conn.Close()
	out := &frameWriter{w: conn}
	stop := context.AfterFunc(ctx, func() {
		out.write(frameInterrupt, nil)
		time.AfterFunc(interruptGrace, func() { conn.Close() })
	})
	defer stop()
	win := newWindow(stdinWindow)
	defer win.close()
	if s.Stdin != nil {
		go sendStdin(out, s.Stdin, win)
	} else {
		out.write(frameStdinEOF, nil)
	}
	exit, err := receive(conn, s, win)
	if err != nil {
		return exitInternal, c.broken(ctx, err)
	}
	return exit, nil
}

// receive copies the program's output until it exits.
func receive(conn io.Reader, s Streams, win *window) (int, error) {
	var buf []byte
	for {
		kind, payload, err := readFrame(conn, &buf)
		if err != nil {
			return 0, err
		}
		switch kind {
		case frameStdout:
			_, err = s.Stdout.Write(payload)
		case frameStderr:
			_, err = s.Stderr.Write(payload)
		case frameWindow:
			var n uint32
			n, err = frameUint(payload)
			win.add(int(n))
		case frameExit:
			n, err := frameUint(payload)
			return int(int32(n)), err
		case frameError:
			e := new(Error)
			if err := json.Unmarshal(payload, e); err != nil {
				return 0, err
			}
			return 0, e
		default:
			err = errors.New("unexpected frame")
		}
		if err != nil {
			return 0, err
		}
	}
}

// sendStdin copies standard input as far as the window allows.
func sendStdin(out *frameWriter, stdin io.Reader, win *window) {
	buf := make([]byte, 32<<10)
	for {
		n, err := stdin.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			k := win.take(len(p))
			if k == 0 || out.write(frameStdin, p[:k]) != nil {
				return
			}
			p = p[k:]
		}
		if err != nil {
			out.write(frameStdinEOF, nil)
			return
		}
	}
}

// window counts how many bytes may still be sent.
type window struct {
	mu     sync.Mutex
	ready  sync.Cond
	free   int
	closed bool
}

func newWindow(n int) *window {
	w := &window{free: n}
	w.ready.L = &w.mu
	return w
}

// take waits for room and takes at most n bytes of it; 0 means that the window is closed.
func (w *window) take(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.free == 0 && !w.closed {
		w.ready.Wait()
	}
	if w.closed {
		return 0
	}
	n = min(n, w.free)
	w.free -= n
	return n
}

func (w *window) add(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free += n
	w.ready.Broadcast()
}

func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.ready.Broadcast()
}
