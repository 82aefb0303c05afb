package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path"
	"sync"
)

// exec upgrades the connection and runs a program on it.
func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	check := func(req *ExecRequest) error {
		if len(req.Argv) == 0 {
			return &Error{Code: CodeBadRequest, Field: "argv", Message: "there is no program to run"}
		}
		return nil
	}
	upgradeTo(s, w, r, check, s.backend.Exec)
}

// upgradeTo reads and checks a request, and makes its connection the streams of what runs.
func upgradeTo[Req any](s *Server, w http.ResponseWriter, r *http.Request, check func(*Req) error, run func(context.Context, *Req, Streams) (int, error)) {
	if r.Header.Get("Upgrade") != execProtocol {
		writeError(w, &Error{Code: CodeBadRequest, Message: path.Base(r.URL.Path) + " needs the header Upgrade: " + execProtocol})
		return
	}
	req, err := decode[Req](w, r)
	if err == nil {
		err = check(req)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	s.upgraded.Add(1) // before the hijack: until then http.Server.Shutdown waits for us
	defer s.upgraded.Done()
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		writeError(w, err)
		return
	}
	defer conn.Close()
	rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + execProtocol + "\r\n\r\n")
	if rw.Flush() != nil {
		return
	}
	if files, ok := any(req).(*ExecRequest); ok && files.Files {
		s.fileSession(conn, rw.Reader, files)
	} else {
		s.session(conn, rw.Reader, func(ctx context.Context, io Streams) (int, error) { return run(ctx, req, io) })
	}
}

// session runs a program on an upgraded connection. Its context does not come from the request, which ended with the
// upgrade, but ends with the server, with the connection, and at an interrupt.
func (s *Server) session(conn net.Conn, r *bufio.Reader, run func(context.Context, Streams) (int, error)) {
	ctx, cancel := context.WithCancel(s.base)
	defer cancel()
	out := &frameWriter{w: conn}
	stdin := newStdin(func(n int) { out.writeUint(frameWindow, uint32(n)) })
	var reader sync.WaitGroup
	reader.Go(func() {
		serveStdin(r, stdin, cancel)
		conn.Close() // the client is gone, or talks nonsense: unblock whoever writes to it
		stdin.close(io.ErrUnexpectedEOF)
		cancel()
	})
	exit, err := run(ctx, Streams{Stdin: stdin, Stdout: out.stream(frameStdout), Stderr: out.stream(frameStderr)})
	if err != nil {
		raw, _ := json.Marshal(asError(err)) // strings always marshal
		out.write(frameError, raw)
	} else {
		out.writeUint(frameExit, uint32(exit))
	}
	conn.Close()
	reader.Wait()
}

// serveStdin feeds the program until the connection ends or its client breaks the protocol. It never waits for the program: what may be outstanding is
// bounded by the window, and a client that sends more breaks the protocol.
func serveStdin(r io.Reader, stdin *stdinBuffer, interrupt func()) {
	var buf []byte
	for {
		kind, payload, err := readFrame(r, &buf)
		if err != nil {
			return
		}
		switch kind {
		case frameStdin:
			err = stdin.feed(payload)
		case frameStdinEOF:
			stdin.close(io.EOF)
		case frameInterrupt:
			interrupt()
		default:
			return
		}
		if err != nil {
			return
		}
	}
}

// stdinBuffer is a program's standard input: fed by frames, read by the program, bounded by the window.
type stdinBuffer struct {
	mu       sync.Mutex
	ready    sync.Cond
	data     []byte
	err      error       // what Read gives when data is empty
	consumed func(n int) // tells the client that it may send n more bytes
}

func newStdin(consumed func(int)) *stdinBuffer {
	b := &stdinBuffer{consumed: consumed}
	b.ready.L = &b.mu
	return b
}

// Read implements io.Reader.
func (b *stdinBuffer) Read(p []byte) (int, error) {
	b.mu.Lock()
	for len(b.data) == 0 && b.err == nil {
		b.ready.Wait()
	}
	if len(b.data) == 0 {
		defer b.mu.Unlock()
		return 0, b.err
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	b.mu.Unlock()
	if n > 0 {
		b.consumed(n)
	}
	return n, nil
}

func (b *stdinBuffer) feed(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return errors.New("input after its end")
	}
	if len(b.data)+len(p) > stdinWindow {
		return errors.New("more input than the window allows")
	}
	b.data = append(b.data, p...)
	b.ready.Signal()
	return nil
}

// close ends the input with err, unless it has ended already.
func (b *stdinBuffer) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.ready.Broadcast()
}
