//go:build unix

package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// filesPatience is how long a client may take to send its files once it may.
const filesPatience = 10 * time.Second

// ExecFiles is Exec for a target with Files: the program gets standard input, output and error themselves, so that a
// terminal is one and nothing is copied. Descriptors go over the agent's socket (SCM_RIGHTS, unix(7)); frames then carry only
// signals, until signals is closed, and the exit status. When ctx ends the program is killed.
func (c *Client) ExecFiles(ctx context.Context, r *ExecRequest, files [3]*os.File, signals <-chan os.Signal) (int, error) {
	req := *r
	req.Files = true
	var socket *net.UnixConn
	via := *c
	via.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := dial(ctx, c.dir)
		socket, _ = conn.(*net.UnixConn)
		return conn, err
	}}}
	connCtx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	resp, err := via.send(connCtx, "exec", &req, http.StatusSwitchingProtocols, "Connection", "Upgrade", "Upgrade", execProtocol)
	if err != nil {
		return exitInternal, err
	}
	defer resp.Body.Close()
	if socket == nil {
		return exitInternal, &Error{Code: CodeInternal, Message: "the agent's socket cannot carry files"}
	}
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	if err := sendFiles(socket, files); err != nil {
		return exitInternal, c.broken(ctx, err)
	}
	out := &frameWriter{w: socket}
	over := make(chan struct{})
	defer close(over)
	go func() {
		for {
			select {
			case <-over:
				return
			case s, ok := <-signals:
				if !ok {
					return
				}
				if n, ok := s.(syscall.Signal); ok {
					out.writeUint(frameSignal, uint32(n))
				}
			}
		}
	}()
	exit, err := receive(resp.Body, Streams{Stdout: io.Discard, Stderr: io.Discard}, newWindow(0))
	if err != nil {
		return exitInternal, c.broken(ctx, err)
	}
	return exit, nil
}

// sendFiles sends one byte with three descriptors.
func sendFiles(conn *net.UnixConn, files [3]*os.File) error {
	var fds []int
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		copied := -1
		cerr := raw.Control(func(fd uintptr) { copied, err = syscall.Dup(int(fd)) }) // short-lived: a child that inherits it does no harm
		if err = errors.Join(cerr, err); err != nil {
			return err
		}
		defer syscall.Close(copied)
		fds = append(fds, copied)
	}
	_, _, err := conn.WriteMsgUnix([]byte{0}, syscall.UnixRights(fds...), nil)
	return err
}

// receiveFiles reads what sendFiles sent.
func receiveFiles(conn *net.UnixConn) (files []*os.File, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(filesPatience)); err != nil {
		return nil, err
	}
	var one [1]byte
	oob := make([]byte, syscall.CmsgSpace(4*3))
	_, n, _, _, err := conn.ReadMsgUnix(one[:], oob)
	if err != nil {
		return nil, err
	}
	msgs, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		fds, err := syscall.ParseUnixRights(&msgs[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "client"))
		}
	}
	if len(files) != 3 {
		closeFiles(files)
		return nil, fmt.Errorf("%d files came; 3 are expected", len(files))
	}
	return files, conn.SetReadDeadline(time.Time{})
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// fileSession runs a program on an upgraded connection with the client's own files; see session.
func (s *Server) fileSession(conn net.Conn, r *bufio.Reader, req *ExecRequest) {
	out := &frameWriter{w: conn}
	fail := func(err error) {
		raw, _ := json.Marshal(asError(err)) // strings always marshal
		out.write(frameError, raw)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok || r.Buffered() > 0 {
		fail(&Error{Code: CodeBadRequest, Message: "files cannot come over this connection"})
		return
	}
	files, err := receiveFiles(socket)
	if err != nil {
		fail(&Error{Code: CodeBadRequest, Message: "files: " + err.Error()})
		return
	}
	defer closeFiles(files)
	ctx, cancel := context.WithCancel(s.base)
	defer cancel()
	signals := make(chan syscall.Signal, 16)
	var reader sync.WaitGroup
	reader.Go(func() {
		serveSignals(socket, signals)
		cancel()
	})
	exit, err := s.backend.Exec(ctx, req, Streams{Stdin: files[0], Stdout: files[1], Stderr: files[2], Signals: signals})
	if err != nil {
		fail(err)
	} else {
		out.writeUint(frameExit, uint32(exit))
	}
	conn.Close()
	reader.Wait()
}

// serveSignals passes signals on until the connection ends. One too many is dropped: the program does not keep up.
func serveSignals(conn net.Conn, signals chan<- syscall.Signal) {
	var buf []byte
	for {
		kind, payload, err := readFrame(conn, &buf)
		if err != nil || kind != frameSignal {
			return
		}
		n, err := frameUint(payload)
		if err != nil || n == 0 || n > 64 {
			return
		}
		select {
		case signals <- syscall.Signal(n):
		default:
		}
	}
}
