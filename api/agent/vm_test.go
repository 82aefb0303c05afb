//go:build unix

package agent

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// vmScript answers Power and Console.
type vmScript struct {
	script
	power   func(*PowerRequest) (*InstanceRow, error)
	console func(context.Context, *ConsoleRequest, Streams) error
}

func (s *vmScript) Power(_ context.Context, r *PowerRequest) (*InstanceRow, error) { return s.power(r) }
func (s *vmScript) Console(ctx context.Context, r *ConsoleRequest, io Streams) error {
	return s.console(ctx, r, io)
}

func TestPower(t *testing.T) {
	var asked PowerRequest
	b := &vmScript{power: func(r *PowerRequest) (*InstanceRow, error) {
		asked = *r
		return &InstanceRow{Name: r.Instance, State: "stopped", Problem: "it broke"}, nil
	}}
	_, c := serve(t, b)
	want := PowerRequest{Lab: "shop", Instance: "vm-1", Action: PowerStop}
	row, err := c.Power(testContext(t), &want)
	if err != nil || asked != want || row.Name != "vm-1" || row.Problem != "it broke" {
		t.Errorf("asked %+v, got %+v, %v", asked, row, err)
	}
}

// TestConsole types and reads until standard input ends.
func TestConsole(t *testing.T) {
	b := &vmScript{console: func(_ context.Context, r *ConsoleRequest, s Streams) error {
		io.WriteString(s.Stdout, r.Lab+"/"+r.Instance+" login: ")
		typed, err := io.ReadAll(s.Stdin)
		io.WriteString(s.Stdout, strings.ToUpper(string(typed)))
		return err
	}}
	_, c := serve(t, b)
	var out bytes.Buffer
	if err := c.Console(testContext(t), &ConsoleRequest{Lab: "shop", Instance: "vm-1"}, Streams{Stdin: strings.NewReader("root\n"), Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "shop/vm-1 login: ROOT\n" {
		t.Errorf("%q", got)
	}
}

// TestConsoleLeft: the backend learns that the person has left.
func TestConsoleLeft(t *testing.T) {
	began, left := make(chan struct{}), make(chan struct{})
	b := &vmScript{console: func(ctx context.Context, _ *ConsoleRequest, _ Streams) error {
		close(began)
		<-ctx.Done()
		close(left)
		return nil
	}}
	_, c := serve(t, b)
	ctx, cancel := context.WithCancel(testContext(t))
	go func() { <-began; cancel() }()
	in, typing := io.Pipe()
	defer typing.Close()
	if err := c.Console(ctx, &ConsoleRequest{Instance: "vm-1"}, Streams{Stdin: in, Stdout: io.Discard}); err != nil {
		t.Error(err)
	}
	waitFor(t, "the backend is told", left)
}

func TestConsoleErrors(t *testing.T) {
	b := &vmScript{console: func(context.Context, *ConsoleRequest, Streams) error {
		return &Error{Code: CodeUnsupported, Message: "web-1 has no console"}
	}}
	_, c := serve(t, b)
	err := c.Console(testContext(t), &ConsoleRequest{Instance: "web-1"}, Streams{Stdin: strings.NewReader(""), Stdout: io.Discard})
	wantCode(t, err, CodeUnsupported)
	if _, err := call[InstanceRow](testContext(t), c, "console", &ConsoleRequest{Instance: "x"}); err == nil || !strings.Contains(err.Error(), "console needs the header Upgrade") {
		t.Errorf("without an upgrade: %v", err)
	}
}
