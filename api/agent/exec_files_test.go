//go:build unix

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// pipes are three files of which the program's ends go along.
func pipes(t *testing.T) (far [3]*os.File, in *os.File, out, errs *os.File) {
	t.Helper()
	var near [3]*os.File
	for i := range far {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		far[i], near[i] = w, r
		if i == 0 {
			far[i], near[i] = r, w
		}
		t.Cleanup(func() { r.Close(); w.Close() })
	}
	return far, near[0], near[1], near[2]
}

func TestExecFiles(t *testing.T) {
	for _, want := range []int{0, 1, 255} {
		_, c := serve(t, &script{exec: func(_ context.Context, r *ExecRequest, s Streams) (int, error) {
			for _, f := range []any{s.Stdin, s.Stdout, s.Stderr} {
				if _, ok := f.(*os.File); !ok {
					return 0, fmt.Errorf("%T is no file", f)
				}
			}
			in, err := io.ReadAll(s.Stdin)
			fmt.Fprintf(s.Stdout, "%v %v %s %s", r.Argv, r.Env, r.Dir, in)
			fmt.Fprint(s.Stderr, "oops")
			return want, err
		}})
		far, in, out, errs := pipes(t)
		io.WriteString(in, "hello")
		in.Close()
		r := &ExecRequest{Instance: "web-1", Argv: []string{"prog"}, Env: []string{"A=1"}, Dir: "/x"}
		code, err := c.ExecFiles(testContext(t), r, far, nil)
		far[1].Close()
		far[2].Close()
		said, _ := io.ReadAll(out)
		oops, _ := io.ReadAll(errs)
		if code != want || err != nil || string(said) != "[prog] [A=1] /x hello" || string(oops) != "oops" || r.Files {
			t.Errorf("%d, %v, %q, %q", code, err, said, oops)
		}
	}
}

func TestExecFilesSignals(t *testing.T) {
	ready := make(chan struct{})
	_, c := serve(t, &script{exec: func(ctx context.Context, _ *ExecRequest, s Streams) (int, error) {
		close(ready)
		first, second := <-s.Signals, <-s.Signals
		return int(first)*100 + int(second), ctx.Err()
	}})
	far, _, _, _ := pipes(t)
	signals := make(chan os.Signal, 2)
	go func() {
		<-ready
		signals <- syscall.SIGINT
		signals <- syscall.SIGTERM
	}()
	if code, err := c.ExecFiles(testContext(t), &ExecRequest{Argv: []string{"x"}}, far, signals); code != 215 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
}

func TestExecFilesEnds(t *testing.T) {
	ended := make(chan struct{})
	program := func(ctx context.Context, _ *ExecRequest, _ Streams) (int, error) {
		defer close(ended)
		<-ctx.Done()
		return 0, ctx.Err()
	}
	_, c := serve(t, &script{exec: program})
	far, _, _, _ := pipes(t)
	ctx, cancel := context.WithCancel(testContext(t))
	go cancel()
	if _, err := c.ExecFiles(ctx, &ExecRequest{Argv: []string{"x"}}, far, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	select {
	case <-ended:
	default: // it may not have been started at all
	}
}

func TestExecFilesError(t *testing.T) {
	_, c := serve(t, &script{exec: func(context.Context, *ExecRequest, Streams) (int, error) {
		return 0, &Error{Code: CodeUnsupported, Message: "not here"}
	}})
	far, _, _, _ := pipes(t)
	_, err := c.ExecFiles(testContext(t), &ExecRequest{Argv: []string{"x"}}, far, nil)
	wantCode(t, err, CodeUnsupported)
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := c.ExecFiles(testContext(t), &ExecRequest{Argv: []string{"x"}}, [3]*os.File{closed, closed, closed}, nil); err == nil {
		t.Error("closed files were passed")
	}
	_, err = c.ExecFiles(testContext(t), &ExecRequest{}, far, nil)
	wantCode(t, err, CodeBadRequest)
	dead := deadAgent(t, "")
	_, err = dead.ExecFiles(testContext(t), &ExecRequest{Argv: []string{"x"}}, far, nil)
	wantCode(t, err, CodeBroken)
}

// TestExecFilesProtocolErrors: what comes in place of files, or after them, ends the program and nothing else.
func TestExecFilesProtocolErrors(t *testing.T) {
	fd := int(os.Stdin.Fd())
	for name, test := range map[string]struct {
		fds   []int
		after []byte
		runs  bool
	}{
		"no files":      {nil, nil, false},
		"two files":     {[]int{fd, fd}, nil, false},
		"four files":    {[]int{fd, fd, fd, fd}, nil, false},
		"unknown frame": {[]int{fd, fd, fd}, []byte{99, 0, 0, 0, 0}, true},
		"input":         {[]int{fd, fd, fd}, []byte{frameStdin, 0, 0, 0, 1, 'x'}, true},
		"no signal":     {[]int{fd, fd, fd}, []byte{frameSignal, 0, 0, 0, 4, 0, 0, 0, 0}, true},
		"signal 65":     {[]int{fd, fd, fd}, []byte{frameSignal, 0, 0, 0, 4, 0, 0, 0, 65}, true},
		"half a signal": {[]int{fd, fd, fd}, []byte{frameSignal, 0, 0, 0, 2, 0, 2}, true},
	} {
		t.Run(name, func(t *testing.T) {
			ran := make(chan struct{})
			_, c := serve(t, &script{exec: func(ctx context.Context, _ *ExecRequest, _ Streams) (int, error) {
				defer close(ran)
				<-ctx.Done()
				return 7, nil
			}})
			path, err := socketOf(c.dir)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			body := `{"instance":"a","argv":["x"],"files":true}`
			fmt.Fprintf(conn, "POST /v1/exec HTTP/1.1\r\nHost: agent\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: %d\r\n\r\n%s", execProtocol, len(body), body)
			var head bytes.Buffer
			for one := make([]byte, 1); !strings.HasSuffix(head.String(), "\r\n\r\n"); head.Write(one) {
				if _, err := io.ReadFull(conn, one); err != nil {
					t.Fatal(head.String(), err)
				}
			}
			var oob []byte
			if test.fds != nil {
				oob = syscall.UnixRights(test.fds...)
			}
			if _, _, err := conn.WriteMsgUnix([]byte{0}, oob, nil); err != nil {
				t.Fatal(err)
			}
			conn.Write(test.after)
			if test.runs {
				waitFor(t, "the program", ran)
				return
			}
			var buf []byte
			kind, payload, err := readFrame(conn, &buf)
			if err != nil || kind != frameError || !strings.Contains(string(payload), "3 are expected") {
				t.Errorf("%d, %q, %v", kind, payload, err)
			}
		})
	}
}
