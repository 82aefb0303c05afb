//go:build unix

package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func runExec(t *testing.T, stdin io.Reader, program func(context.Context, *ExecRequest, Streams) (int, error)) (int, string, string, error) {
	t.Helper()
	_, c := serve(t, &script{exec: program})
	var out, errs bytes.Buffer
	code, err := c.Exec(testContext(t), &ExecRequest{Instance: "web-1", Argv: []string{"prog", "arg"}}, Streams{Stdin: stdin, Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String(), err
}

func TestExecCarriesStreamsAndExitCode(t *testing.T) {
	for _, want := range []int{0, 1, 255} {
		code, out, errs, err := runExec(t, strings.NewReader("hello"), func(_ context.Context, r *ExecRequest, s Streams) (int, error) {
			in, err := io.ReadAll(s.Stdin)
			fmt.Fprintf(s.Stdout, "%s %v %s", r.Instance, r.Argv, in)
			fmt.Fprint(s.Stderr, "oops")
			return want, err
		})
		if code != want || err != nil || out != "web-1 [prog arg] hello" || errs != "oops" {
			t.Errorf("%d %v, out %q, err %q", code, err, out, errs)
		}
	}
}

// Standard input is half of a connection: the program goes on writing after it has ended.
func TestExecOutputGoesOnAfterInputEnded(t *testing.T) {
	const size = 3 << 20
	code, out, _, err := runExec(t, nil, func(_ context.Context, _ *ExecRequest, s Streams) (int, error) {
		if _, err := s.Stdin.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("input gives %v, want io.EOF", err)
		}
		_, err := s.Stdout.Write(bytes.Repeat([]byte("x"), size))
		return 0, err
	})
	if code != 0 || err != nil || len(out) != size {
		t.Errorf("%d, %v, %d bytes", code, err, len(out))
	}
}

func TestExecInputIsLargerThanTheWindow(t *testing.T) {
	in := bytes.Repeat([]byte("0123456789abcdef"), 10*stdinWindow/16)
	code, out, _, err := runExec(t, bytes.NewReader(in), func(_ context.Context, _ *ExecRequest, s Streams) (int, error) {
		_, err := io.CopyBuffer(s.Stdout, struct{ io.Reader }{s.Stdin}, make([]byte, 777))
		return 0, err
	})
	if code != 0 || err != nil || out != string(in) {
		t.Errorf("%d, %v, %d bytes of %d", code, err, len(out), len(in))
	}
}

func TestExecErrorIsTyped(t *testing.T) {
	_, _, _, err := runExec(t, nil, func(context.Context, *ExecRequest, Streams) (int, error) {
		return 0, &Error{Code: CodeUnsupported, Message: "there is no vim here", Near: []string{"nc"}}
	})
	if e := wantCode(t, err, CodeUnsupported); len(e.Near) != 1 {
		t.Errorf("got %+v", e)
	}
}

// endless is standard input that always has more.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A program that never reads must not keep the interrupt from getting through, and its last words must come.
func TestExecInterrupt(t *testing.T) {
	_, c := serve(t, &script{exec: func(ctx context.Context, _ *ExecRequest, s Streams) (int, error) {
		fmt.Fprint(s.Stdout, "started ")
		<-ctx.Done()
		fmt.Fprint(s.Stdout, "2 packets sent")
		return 1, nil
	}})
	ctx, cancel := context.WithCancel(testContext(t))
	out := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	var all bytes.Buffer
	code, err := c.Exec(ctx, &ExecRequest{Argv: []string{"ping"}}, Streams{Stdin: endless{}, Stdout: io.MultiWriter(&all, out), Stderr: io.Discard})
	if code != 1 || err != nil || all.String() != "started 2 packets sent" {
		t.Errorf("%d, %v, %q", code, err, all.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestExecEndsTheProgramWhenTheClientGoes(t *testing.T) {
	ended := make(chan struct{})
	_, c := serve(t, &script{exec: func(ctx context.Context, _ *ExecRequest, s Streams) (int, error) {
		defer close(ended)
		<-ctx.Done()
		if _, err := s.Stdin.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("input gives %v, want io.ErrUnexpectedEOF: it was not the client's own end", err)
		}
		return 0, nil
	}})
	conn := upgrade(t, c)
	conn.Close()
	waitFor(t, "the program", ended)
}

func TestExecUnblocksAWriterWhenTheClientGoes(t *testing.T) {
	ended := make(chan struct{})
	_, c := serve(t, &script{exec: func(ctx context.Context, _ *ExecRequest, s Streams) (int, error) {
		defer close(ended)
		for {
			if _, err := s.Stdout.Write(make([]byte, maxFrame)); err != nil {
				return 0, nil
			}
		}
	}})
	conn := upgrade(t, c)
	if _, err := io.ReadFull(conn, make([]byte, 10)); err != nil { // it writes; from now on nobody reads
		t.Fatal(err)
	}
	conn.Close()
	waitFor(t, "the program", ended)
}

// A client that half-closes its connection, or breaks the protocol, and then does not read must not hold the program.
func TestExecUnblocksAWriterWhoseClientNeitherReadsNorGoes(t *testing.T) {
	ended := make(chan struct{})
	_, c := serve(t, &script{exec: func(ctx context.Context, _ *ExecRequest, s Streams) (int, error) {
		defer close(ended)
		for {
			if _, err := s.Stdout.Write(make([]byte, maxFrame)); err != nil {
				return 0, nil
			}
		}
	}})
	conn, err := dial(testContext(t), c.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"instance":"a","argv":["x"]}`
	fmt.Fprintf(conn, "POST /v1/exec HTTP/1.1\r\nHost: agent\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: %d\r\n\r\n%s", execProtocol, len(body), body)
	if _, err := io.ReadFull(conn, make([]byte, 200)); err != nil { // it is upgraded, and the program writes
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the program", ended)
}

// What a client must not send ends the connection and the program, and nothing else.
func TestExecProtocolErrors(t *testing.T) {
	frame := func(kind byte, n uint32, payload string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{kind}, n), payload...)
	}
	flood := []byte{}
	for range stdinWindow/maxFrame + 1 {
		flood = append(flood, frame(frameStdin, maxFrame, strings.Repeat("x", maxFrame))...)
	}
	for name, bytes := range map[string][]byte{
		"unknown frame":      frame(99, 0, ""),
		"frame of the agent": frame(frameStdout, 1, "x"),
		"too long":           frame(frameStdin, maxFrame+1, ""),
		"4 GiB":              frame(frameStdin, 1<<32-1, ""),
		"input after end":    append(frame(frameStdinEOF, 0, ""), frame(frameStdin, 1, "x")...),
		"beyond the window":  flood,
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			s, c := serve(t, &script{exec: func(ctx context.Context, _ *ExecRequest, _ Streams) (int, error) {
				defer close(ended)
				<-ctx.Done()
				return 0, nil
			}})
			conn := upgrade(t, c)
			defer conn.Close()
			conn.Write(bytes) // may fail: the server closes as soon as it has seen enough
			waitFor(t, "the program", ended)
			s.backend.(*script).status = func(context.Context) (*Status, error) { return &Status{}, nil }
			if _, err := c.Status(testContext(t)); err != nil {
				t.Error("the server is no longer well:", err)
			}
		})
	}
}

// upgrade opens an exec connection by hand.
func upgrade(t *testing.T, c *Client) io.ReadWriteCloser {
	t.Helper()
	resp, err := c.send(testContext(t), "exec", &ExecRequest{Argv: []string{"x"}}, http.StatusSwitchingProtocols, "Connection", "Upgrade", "Upgrade", execProtocol)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Body.(io.ReadWriteCloser)
}

// An agent that dies is not a program that ended.
func TestClientTellsADeadAgentFromAnEnd(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":           "",
		"half a head":       "HTTP/1.1 200 OK\r\n",
		"no line":           "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n",
		"half a line":       "HTTP/1.1 200 OK\r\n\r\n{\"item\":{\"lost\":1}}\n{\"it",
		"no last line":      "HTTP/1.1 200 OK\r\n\r\n{\"item\":{\"lost\":1}}\n",
		"upgrade, no frame": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: vpclab-exec/1\r\n\r\n",
		"half a frame":      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: vpclab-exec/1\r\n\r\n\x03\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := deadAgent(t, answer)
			err := c.Flows(testContext(t), &FlowsRequest{}, func(*FlowEvent) error { return nil })
			if strings.Contains(answer, " 101 ") {
				_, err = c.Exec(testContext(t), &ExecRequest{Argv: []string{"x"}}, Streams{Stdout: io.Discard, Stderr: io.Discard})
			}
			if e := wantCode(t, err, CodeBroken); !strings.Contains(e.Message, "went away") {
				t.Errorf("the message is %q", e.Message)
			}
		})
	}
}

// deadAgent answers every connection with the same bytes and closes it.
func deadAgent(t *testing.T, answer string) *Client {
	t.Helper()
	lock, err := LockDataDir(t.TempDir() + "/data")
	if err != nil {
		t.Fatal(err)
	}
	l, err := lock.Listen()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			readRequest(conn)
			io.WriteString(conn, answer)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done; lock.Close() })
	return NewClient(lock.dir)
}

func readRequest(conn net.Conn) {
	var b []byte
	for buf := make([]byte, 1); !bytes.HasSuffix(b, []byte("}")); {
		if _, err := conn.Read(buf); err != nil {
			return
		}
		b = append(b, buf...)
	}
}

func TestFramesComeBackAsTheyWere(t *testing.T) {
	var wire, buf = bytes.Buffer{}, []byte(nil)
	w := &frameWriter{w: &wire}
	long := bytes.Repeat([]byte("y"), maxFrame+10)
	if n, err := w.stream(frameStdout).Write(long); n != len(long) || err != nil {
		t.Fatal(n, err)
	}
	w.writeUint(frameExit, 1<<32-1)
	var got []byte
	for {
		kind, payload, err := readFrame(&wire, &buf)
		if err != nil {
			t.Fatal(err)
		}
		if kind == frameExit {
			n, err := frameUint(payload)
			if n != 1<<32-1 || err != nil {
				t.Error(n, err)
			}
			break
		}
		got = append(got, payload...)
	}
	if !bytes.Equal(got, long) {
		t.Errorf("%d bytes came back of %d", len(got), len(long))
	}
	if _, _, err := readFrame(&wire, &buf); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
	if _, err := frameUint([]byte{1}); err == nil {
		t.Error("a number of one byte was taken")
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 'h', 'i', 1, 0, 0, 0, 0})
	f.Add([]byte{3, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		var again bytes.Buffer
		w := &frameWriter{w: &again}
		var buf []byte
		for {
			kind, payload, err := readFrame(r, &buf)
			if err != nil {
				break
			}
			if len(payload) > maxFrame {
				t.Fatal("a frame longer than allowed")
			}
			w.write(kind, payload)
		}
		if !bytes.HasPrefix(data, again.Bytes()) {
			t.Fatalf("%x was read as %x", data, again.Bytes())
		}
	})
}

func BenchmarkStdout(b *testing.B) {
	for _, size := range []int{64, 4096, maxFrame} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			out := (&frameWriter{w: io.Discard}).stream(frameStdout)
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				out.Write(data)
			}
		})
	}
}
