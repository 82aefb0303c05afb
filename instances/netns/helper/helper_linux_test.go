package helper

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Args[0] == Arg0 {
		Serve(testHandlers())
	}
	os.Exit(m.Run())
}

type word struct{ Text string }

// testHandlers are what the helpers of these tests can do.
func testHandlers() map[string]Handler {
	return map[string]Handler{
		"echo": Handle(func(_ context.Context, in *word, files []*os.File) (any, []*os.File, error) { return in, files, nil }),
		"fail": Handle(func(_ context.Context, in *word, files []*os.File) (any, []*os.File, error) {
			CloseAll(files)
			return nil, nil, fmt.Errorf("it %s: %w", in.Text, &os.PathError{Op: "open", Path: "x", Err: unix.ENOTDIR})
		}),
		"wait": Handle(func(ctx context.Context, _ *word, files []*os.File) (any, []*os.File, error) {
			CloseAll(files)
			<-ctx.Done()
			return word{"told to stop"}, nil, nil
		}),
		"big": Handle(func(context.Context, *word, []*os.File) (any, []*os.File, error) {
			return word{strings.Repeat("x", MaxMessage)}, nil, nil
		}),
		"die": Handle(func(context.Context, *word, []*os.File) (any, []*os.File, error) { panic("as asked for") }),
		"who": Handle(func(context.Context, *word, []*os.File) (any, []*os.File, error) {
			return word{fmt.Sprint(os.Getpid(), os.Geteuid())}, nil, nil
		}),
		"spawn": Handle(spawnTest),
		"orphans": Handle(func(context.Context, *word, []*os.File) (any, []*os.File, error) {
			dir, err := os.ReadDir("/proc")
			n := 0
			for _, e := range dir {
				if e.Name()[0] >= '1' && e.Name()[0] <= '9' {
					n++
				}
			}
			return word{fmt.Sprint(n)}, nil, err
		}),
	}
}

// spawnTest runs a shell command and gives its end, as wait(2) does.
func spawnTest(ctx context.Context, in *word, files []*os.File) (any, []*os.File, error) {
	defer CloseAll(files)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	c, err := Spawn("/bin/sh", []string{"sh", "-c", in.Text}, &syscall.ProcAttr{Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return nil, nil, err
	}
	select {
	case <-c.Ended():
	case <-ctx.Done():
		c.Signal(syscall.SIGTERM, true)
		<-c.Ended()
		c.Signal(syscall.SIGKILL, true) // nobody gets it
	}
	return word{fmt.Sprint(uint32(c.Status()))}, nil, nil
}

func start(t testing.TB) *Helper {
	t.Helper()
	goroutines := runtime.NumGoroutine()
	h, err := Start(t.Context(), "test")
	if err != nil && os.Geteuid() != 0 {
		t.Skipf("needs root, or user namespaces: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		if err := syscall.Kill(h.PID(), 0); err == nil {
			t.Error("the process is still there")
		}
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
	})
	return h
}

func call(t testing.TB, h *Helper, op, text string, files ...*os.File) (string, []*os.File) {
	t.Helper()
	var out word
	back, err := h.Call(t.Context(), op, word{text}, &out, files...)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return out.Text, back
}

func TestCall(t *testing.T) {
	h := start(t)
	if got, _ := call(t, h, "who", ""); got != "1 0" {
		t.Errorf("the helper is %s in its namespaces, want process 1 of user 0", got)
	}
	if got, back := call(t, h, "echo", "hello"); got != "hello" || len(back) != 0 {
		t.Errorf("%q, %v", got, back)
	}
	_, err := h.Call(t.Context(), "fail", word{"failed"}, nil)
	if !errors.Is(err, unix.ENOTDIR) || err.Error() != "it failed: open x: not a directory" {
		t.Errorf("%v", err)
	}
	if _, err := h.Call(t.Context(), "nonsense", nil, nil); err == nil || !strings.Contains(err.Error(), `no request "nonsense"`) {
		t.Errorf("%v", err)
	}
	if _, err := h.Call(t.Context(), "echo", 7, nil); err == nil || !strings.Contains(err.Error(), "json") {
		t.Errorf("%v", err)
	}
	call(t, h, "echo", "and it goes on")
}

func TestFiles(t *testing.T) {
	h := start(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_, back := call(t, h, "echo", "", r, w)
	r.Close()
	w.Close()
	if len(back) != 2 {
		t.Fatalf("%d files came back", len(back))
	}
	if _, err := back[1].WriteString("through it"); err != nil {
		t.Fatal(err)
	}
	back[1].Close()
	got, err := io.ReadAll(back[0])
	back[0].Close()
	if string(got) != "through it" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	many := make([]*os.File, MaxFiles+1)
	for i := range many {
		many[i] = os.Stdin
	}
	if _, err := h.Call(t.Context(), "echo", nil, nil, many...); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("%v", err)
	}
	_, back = call(t, h, "echo", "", many[1:]...)
	if len(back) != MaxFiles {
		t.Errorf("%d of %d files came back", len(back), MaxFiles)
	}
	CloseAll(back)
}

func TestBounds(t *testing.T) {
	h := start(t)
	if _, err := h.Call(t.Context(), "echo", word{strings.Repeat("x", MaxMessage)}, nil); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("request: %v", err)
	}
	if _, err := h.Call(t.Context(), "big", nil, nil); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("reply: %v", err)
	}
	text := strings.Repeat("y", MaxMessage/2)
	if got, _ := call(t, h, "echo", text); got != text {
		t.Errorf("%d bytes came back of %d", len(got), len(text))
	}
}

func TestConcurrentCalls(t *testing.T) {
	h := start(t)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for j := range 20 {
				text := fmt.Sprint(i, j, strings.Repeat("z", 1000*(j%5)))
				var out word
				back, err := h.Call(t.Context(), "echo", word{text}, &out, os.Stdin)
				if err != nil || out.Text != text || len(back) != 1 {
					t.Errorf("%v, %d files", err, len(back))
				}
				CloseAll(back)
			}
		})
	}
	all.Wait()
}

func TestCancel(t *testing.T) {
	h := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	var out word
	if _, err := h.Call(ctx, "wait", nil, &out); err != nil || out.Text != "told to stop" {
		t.Errorf("%q, %v", out.Text, err)
	}
}

func TestSpawn(t *testing.T) {
	h := start(t)
	for text, want := range map[string]syscall.WaitStatus{"exit 3": 3 << 8, "kill -9 $$": 9, "true": 0} {
		if got, _ := call(t, h, "spawn", text); got != fmt.Sprint(uint32(want)) {
			t.Errorf("%s: %s, want %d", text, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	var out word
	if _, err := h.Call(ctx, "spawn", word{"sleep 1000 & exec sleep 1000"}, &out); err != nil || out.Text != fmt.Sprint(uint32(syscall.SIGTERM)) {
		t.Errorf("%q, %v", out.Text, err)
	}
	// Nobody stays a zombie, neither children nor orphans.
	for range 20 {
		call(t, h, "spawn", "(setsid true &) ; true")
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got, _ := call(t, h, "orphans", "")
		if got == "1" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s processes are left", got)
		}
	}
}

func TestEndsByItself(t *testing.T) {
	h := start(t)
	slow := make(chan error, 1)
	go func() {
		_, err := h.Call(t.Context(), "wait", nil, nil)
		slow <- err
	}()
	call(t, h, "echo", "")
	_, err := h.Call(t.Context(), "die", nil, nil)
	for _, err := range []error{err, <-slow} {
		if err == nil || !strings.Contains(err.Error(), "the helper process has ended") || !strings.Contains(err.Error(), "as asked for") {
			t.Errorf("%v", err)
		}
	}
	<-h.Ended()
	if _, err := h.Call(t.Context(), "echo", nil, nil); err == nil || err.Error() != h.Why().Error() {
		t.Errorf("%v", err)
	}
}

func TestKilled(t *testing.T) {
	h := start(t)
	if h.Why() != nil {
		t.Fatal(h.Why())
	}
	go h.Call(t.Context(), "spawn", word{"sleep 1000"}, nil)
	call(t, h, "echo", "")
	syscall.Kill(h.PID(), syscall.SIGKILL)
	select {
	case <-h.Ended():
	case <-time.After(20 * time.Second):
		t.Fatal("its end is not noticed")
	}
	if err := h.Why(); err == nil || err.Error() != "the helper process has ended: signal: killed" {
		t.Errorf("%v", err)
	}
}

// TestSignalsFromOutside: what is meant for the agent at a terminal does not end its helper.
func TestSignalsFromOutside(t *testing.T) {
	h := start(t)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE} {
		syscall.Kill(h.PID(), s)
	}
	for range 20 {
		call(t, h, "echo", "")
	}
}

func TestStartCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if h, err := Start(ctx, "test"); err == nil {
		h.Close() // it may have been faster
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestRefusal(t *testing.T) {
	cause := &os.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: unix.EPERM}
	for _, test := range []struct {
		name    string
		err     error
		sysctls map[string]string
		want    []string
	}{
		{"limit", &os.PathError{Op: "fork/exec", Err: unix.ENOSPC}, map[string]string{"user.max_user_namespaces": "0"}, []string{"switched off", "sysctl user.max_user_namespaces=15000"}},
		{"used up", unix.ENOSPC, map[string]string{"user.max_user_namespaces": "5"}, []string{"no more user namespaces", "is 5"}},
		{"nested too deep", unix.EUSERS, nil, []string{"no more user namespaces"}},
		{"Debian", cause, map[string]string{"kernel.unprivileged_userns_clone": "0"}, []string{"for root only", "kernel.unprivileged_userns_clone=1"}},
		{"Ubuntu", &Error{Text: "make mounts private: permission denied", Errno: unix.EACCES}, map[string]string{"kernel.apparmor_restrict_unprivileged_userns": "1"},
			[]string{"AppArmor", "kernel.apparmor_restrict_unprivileged_userns=0"}},
		{"container", cause, map[string]string{"user.max_user_namespaces": "100", "kernel.apparmor_restrict_unprivileged_userns": "0"}, []string{"seccomp"}},
		{"old kernel", unix.EINVAL, nil, []string{"has no user namespaces"}},
		{"something else", io.ErrUnexpectedEOF, nil, []string{"unexpected EOF"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := refusal(test.err, func(name string) string { return test.sysctls[name] })
			if !errors.Is(got, test.err) {
				t.Errorf("%v hides its cause", got)
			}
			for _, w := range test.want {
				if !strings.Contains(got.Error(), w) {
					t.Errorf("no word of %q: %v", w, got)
				}
			}
		})
	}
}

// raw gives two connected wires, of which the first is written to as it is.
func raw(t testing.TB) (near, far *wire) {
	t.Helper()
	near, f, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	if far, err = newWire(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.conn.Close(); far.conn.Close() })
	return near, far
}

func TestWireBadInput(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"4 GiB":       {0xff, 0xff, 0xff, 0xff},
		"too long":    binary.BigEndian.AppendUint32(nil, MaxMessage+1),
		"not JSON":    append(binary.BigEndian.AppendUint32(nil, 3), "abc"...),
		"empty":       {0, 0, 0, 0},
		"half length": {0, 0},
		"half":        append(binary.BigEndian.AppendUint32(nil, 100), "{"...),
		"nothing":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			near, far := raw(t)
			near.conn.Write(bytes)
			near.conn.CloseWrite()
			m, files, err := far.receive()
			if err == nil || m != nil || files != nil {
				t.Fatalf("%v, %v, %v", m, files, err)
			}
			if long := strings.Contains(err.Error(), "at most"); long != (name == "4 GiB" || name == "too long") {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte(`....{"id":1,"op":"x","body":{}}`))
	f.Add(append([]byte{0, 0, 0, 20}, `{"id":3,"error":null}`...))
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := raw(t)
		near.conn.Write(data)
		near.conn.CloseWrite()
		for {
			m, files, err := far.receive()
			if err != nil {
				return
			}
			if m == nil || len(files) > 0 {
				t.Fatal(m, files)
			}
		}
	})
}

// TestWireSplitLength: a length that comes byte by byte, with descriptors at the first.
func TestWireSplitLength(t *testing.T) {
	near, far := raw(t)
	text, _ := json.Marshal(message{ID: 7})
	all := append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		near.conn.WriteMsgUnix(all[:1], unix.UnixRights(0), nil)
		for _, b := range all[1:] {
			near.conn.Write([]byte{b})
		}
	}()
	m, files, err := far.receive()
	if err != nil || m.ID != 7 || len(files) != 1 {
		t.Errorf("%v, %v, %v", m, files, err)
	}
	CloseAll(files)
	<-done
}

func TestTail(t *testing.T) {
	var s tail
	for range 100 {
		s.Write(bytes.Repeat([]byte("x"), 100))
	}
	s.Write([]byte("the end\n"))
	if got := s.String(); len(got) != tailLen-1 || !strings.HasSuffix(got, "xthe end") {
		t.Errorf("%d bytes: %.20q", len(got), got)
	}
}

func BenchmarkCall(b *testing.B) {
	h := start(b)
	for _, files := range []int{0, 1} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, back := call(b, h, "echo", "x", []*os.File{os.Stdin}[:files]...)
				CloseAll(back)
			}
		})
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		h, err := Start(context.Background(), "bench")
		if err != nil {
			b.Fatal(err)
		}
		h.Close()
	}
}
