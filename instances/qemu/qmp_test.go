package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}` + "\r\n"

// fakeQEMU answers at a monitor's socket: what answer gives for each line, "" for the end.
func fakeQEMU(t *testing.T, hello string, answer func(line string) string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qmp.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, hello)
		for lines := bufio.NewScanner(c); lines.Scan(); {
			a := answer(lines.Text())
			if a == "" {
				return
			}
			fmt.Fprint(c, a)
		}
	}()
	return path
}

func open(t *testing.T, path string) (*monitor, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	m, err := openMonitor(ctx, path)
	if err == nil {
		t.Cleanup(m.close)
	}
	return m, err
}

func TestMonitor(t *testing.T) {
	lines := make(chan string, 10)
	path := fakeQEMU(t, greeting, func(line string) string {
		lines <- line
		switch {
		case strings.Contains(line, "system_powerdown"):
			return `{"event": "POWERDOWN", "timestamp": {"seconds": 1}}` + "\n" + `{"return": {}}` + "\n" +
				`{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}` + "\n"
		case strings.Contains(line, "fly"):
			return `{"error": {"class": "CommandNotFound", "desc": "The command fly has not been found"}}` + "\n"
		case strings.Contains(line, "quit"):
			return ""
		}
		return `{"return": {}}` + "\n"
	})
	m, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.run("fly"); err == nil || !strings.Contains(err.Error(), "QEMU: fly: The command fly has not been found (CommandNotFound)") {
		t.Error(err)
	}
	if err := m.run("system_powerdown"); err != nil {
		t.Error(err)
	}
	for range 500 {
		if m.shutdown() != "" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if r := m.shutdown(); r != "guest-shutdown" {
		t.Errorf("reason %q", r)
	}
	if err := m.run("quit"); err != nil {
		t.Errorf("that QEMU ends is its answer to quit: %v", err)
	}
	if err := m.run("stop"); !errors.Is(err, net.ErrClosed) && err == nil {
		t.Errorf("after the end: %v", err)
	}
	if first := <-lines; first != `{"execute":"qmp_capabilities"}` {
		t.Errorf("the first command is %s", first)
	}
}

func TestMonitorRefuses(t *testing.T) {
	for name, hello := range map[string]string{
		"not QMP": `{"hello": 1}` + "\n", "not JSON": "SSH-2.0-OpenSSH\r\n", "a list": "[1,2]\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := open(t, fakeQEMU(t, hello, func(string) string { return "" })); err == nil || !strings.Contains(err.Error(), "QEMU's monitor") {
				t.Error(err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := openMonitor(ctx, filepath.Join(t.TempDir(), "none")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody there: %v", err)
	}
}
