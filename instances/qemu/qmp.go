package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// monitor speaks QMP with one QEMU. It is safe for concurrent use.
type monitor struct {
	conn    net.Conn
	replies chan qmpMessage // closed when the connection ends

	running sync.Mutex // one command at a time
	mu      sync.Mutex
	reason  string // of the last SHUTDOWN event
}

// qmpMessage is what QEMU sends: a greeting, a reply or an event.
type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"`
	} `json:"data"`
}

const (
	qmpPatience = 5 * time.Second
	qmpPoll     = 10 * time.Millisecond // while QEMU starts
)

// openMonitor connects as soon as QEMU is there, and readies it for commands.
func openMonitor(ctx context.Context, path string) (*monitor, error) {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return newMonitor(ctx, conn)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(qmpPoll):
		}
	}
}

func newMonitor(ctx context.Context, conn net.Conn) (*monitor, error) {
	m := &monitor{conn: conn, replies: make(chan qmpMessage, 1)}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	dec := json.NewDecoder(conn)
	var hello qmpMessage
	err := dec.Decode(&hello)
	if err == nil && hello.Greeting == nil {
		err = errors.New("it does not greet as QMP does")
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("QEMU's monitor: %w", err)
	}
	go m.receive(dec)
	if err := m.run("qmp_capabilities"); err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

// receive sorts what comes until the connection ends. Events must be read, or QEMU would keep them.
func (m *monitor) receive(dec *json.Decoder) {
	defer close(m.replies)
	for {
		var msg qmpMessage
		if dec.Decode(&msg) != nil {
			return
		}
		switch {
		case msg.Event == "SHUTDOWN":
			m.mu.Lock()
			m.reason = msg.Data.Reason
			m.mu.Unlock()
		case msg.Return != nil || msg.Error != nil:
			select {
			case m.replies <- msg:
			default: // nobody asked
			}
		}
	}
}

// run runs a command without arguments. QEMU may end instead of answering quit: that is its answer.
func (m *monitor) run(command string) error {
	m.running.Lock()
	defer m.running.Unlock()
	select {
	case _, open := <-m.replies: // one that came too late for its command
		if !open {
			return net.ErrClosed
		}
	default:
	}
	if err := m.conn.SetWriteDeadline(time.Now().Add(qmpPatience)); err != nil {
		return err
	}
	if err := json.NewEncoder(m.conn).Encode(map[string]string{"execute": command}); err != nil {
		return err
	}
	select {
	case msg, open := <-m.replies:
		switch {
		case !open && command != "quit":
			return net.ErrClosed
		case msg.Error != nil:
			return fmt.Errorf("QEMU: %s: %s (%s)", command, msg.Error.Desc, msg.Error.Class)
		}
		return nil
	case <-time.After(qmpPatience):
		return fmt.Errorf("QEMU: no answer to %s in %v", command, qmpPatience)
	}
}

// shutdown is why the machine stopped, in QEMU's word (ShutdownCause in qapi/run-state.json); "" if it said nothing.
func (m *monitor) shutdown() string {
	if m == nil {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reason
}

func (m *monitor) close() { m.conn.Close() }
