//go:build unix

package agent

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// script is a Backend whose answers a test writes; what it does not write panics.
type script struct {
	Backend
	status  func(context.Context) (*Status, error)
	show    func(context.Context, *ShowRequest) (*ShowResult, error)
	down    func(context.Context, *DownRequest, func(*Progress)) (*DownResult, error)
	apply   func(context.Context, *ApplyRequest, func(*Progress)) (*ApplyResult, error)
	test    func(context.Context, *TestRequest, func(*TestResult) error) (*TestSummary, error)
	flows   func(context.Context, *FlowsRequest, func(*FlowEvent) error) error
	exec    func(context.Context, *ExecRequest, Streams) (int, error)
	explain func(context.Context, *ExplainRequest) (*Explanation, error)
}

func (s *script) Status(ctx context.Context) (*Status, error) { return s.status(ctx) }
func (s *script) Show(ctx context.Context, r *ShowRequest) (*ShowResult, error) {
	return s.show(ctx, r)
}
func (s *script) Down(ctx context.Context, r *DownRequest, p func(*Progress)) (*DownResult, error) {
	return s.down(ctx, r, p)
}
func (s *script) Apply(ctx context.Context, r *ApplyRequest, p func(*Progress)) (*ApplyResult, error) {
	return s.apply(ctx, r, p)
}
func (s *script) Test(ctx context.Context, r *TestRequest, report func(*TestResult) error) (*TestSummary, error) {
	return s.test(ctx, r, report)
}
func (s *script) Flows(ctx context.Context, r *FlowsRequest, emit func(*FlowEvent) error) error {
	return s.flows(ctx, r, emit)
}
func (s *script) Exec(ctx context.Context, r *ExecRequest, io Streams) (int, error) {
	return s.exec(ctx, r, io)
}
func (s *script) Explain(ctx context.Context, r *ExplainRequest) (*Explanation, error) {
	return s.explain(ctx, r)
}

// patience is far beyond what anything here takes; it only keeps a broken test from hanging.
const patience = 20 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// serve runs a server for b on the socket of a new data directory.
func serve(t *testing.T, b Backend) (*Server, *Client) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	lock, err := LockDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := lock.Listen()
	if err != nil {
		t.Fatal(err)
	}
	s := serveOn(t, b, l)
	t.Cleanup(func() {
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, NewClient(dir)
}

func serveOn(t *testing.T, b Backend, l net.Listener) *Server {
	t.Helper()
	s := NewServer(b)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(testContext(t)); err != nil {
			t.Error("shutdown:", err)
		}
		if err := <-done; err != nil {
			t.Error("serve:", err)
		}
	})
	return s
}

// wantCode fails unless err is an *Error of a code.
func wantCode(t *testing.T, err error, code string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v (%T), want an *Error with %s", err, err, code)
	}
	if e.Code != code {
		t.Fatalf("code is %s (%v), want %s", e.Code, e, code)
	}
	return e
}

func waitFor(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("still waiting:", what)
	}
}
