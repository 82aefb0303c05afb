package netns_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/drivertest"
	"github.com/vpclab/vpclab/instances/netns"
)

func TestDriverByHelper(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	drivertest.Run(t, netns.NewBy(netns.ByHelper))
}

// helperOf is the process that holds an instance's namespace.
func helperOf(t *testing.T, in instances.Instance) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.Split(in.Info()["netns"], "/")[2])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestWays(t *testing.T) {
	needsRoot(t)
	for d, want := range map[*netns.Driver][2]string{
		netns.New():                 {"root", "root"},
		netns.NewBy(netns.ByRoot):   {"root", "root"},
		netns.NewBy(netns.ByHelper): {"helper", "helper (without root"},
	} {
		way, err := d.Way()
		text, eerr := d.Explain()
		if string(way) != want[0] || !strings.HasPrefix(text, want[1]) || err != nil || eerr != nil {
			t.Errorf("%q, %v, %q, %v; want %q", way, err, text, eerr, want)
		}
		if err := d.Available(); err != nil {
			t.Error(err)
		}
	}
}

// TestLabsHaveHelpers: instances of a lab share a helper, which ends with the last of them.
func TestLabsHaveHelpers(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	d := netns.NewBy(netns.ByHelper)
	var all []instances.Instance
	for i, lab := range []string{"a", "a", "b"} {
		s := drivertest.Spec(t, "web", byte(10+i), drivertest.A4)
		s.Lab = lab
		all = append(all, drivertest.Start(t, d, s))
	}
	first, second, other := helperOf(t, all[0]), helperOf(t, all[1]), helperOf(t, all[2])
	if first != second || first == other {
		t.Errorf("helpers %d and %d of one lab, %d of the other", first, second, other)
	}
	all[0].Close()
	if syscall.Kill(first, 0) != nil {
		t.Error("the helper ended before its last instance")
	}
	all[1].Close()
	if syscall.Kill(first, 0) == nil {
		t.Error("the helper did not end with its last instance")
	}
	if out, code := sh(t, all[2], "echo still here"); code != 0 || out != "still here\n" {
		t.Errorf("%q", out)
	}
}

// TestHelperKilled: its instances end, say why, and let go of all; programs that run give an error; closing them is no trouble,
// and the next ones have another helper.
func TestHelperKilled(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	d := netns.NewBy(netns.ByHelper)
	p := drivertest.NewPair(t, d)
	ran := make(chan error, 1)
	go func() {
		_, err := p.A.Exec(t.Context(), []string{"sleep", "1000"}, instances.IO{})
		ran <- err
	}()
	pid := helperOf(t, p.A)
	if pid != helperOf(t, p.B) {
		t.Fatal("two helpers")
	}
	awaitProcess(t, "sleep", "1000")
	syscall.Kill(pid, syscall.SIGKILL)
	for _, in := range []instances.Instance{p.A, p.B} {
		m := in.(instances.Mortal)
		select {
		case <-m.Ended():
		case <-time.After(20 * time.Second):
			t.Fatal("its end is not noticed")
		}
		if why := m.Why(); !strings.Contains(why, "the helper process has ended: signal: killed") {
			t.Errorf("%q", why)
		}
		if _, err := in.Exec(t.Context(), []string{"true"}, instances.IO{}); err == nil || !strings.Contains(err.Error(), "helper process has ended") {
			t.Errorf("%v", err)
		}
		if _, err := in.Net().Listen("tcp", netipPort(drivertest.A4, 1000)); err == nil || !strings.Contains(err.Error(), "helper process has ended") {
			t.Errorf("%v", err)
		}
	}
	if err := <-ran; err == nil || !strings.Contains(err.Error(), "helper process has ended") {
		t.Errorf("%v", err)
	}
	if n := openTUNs(); n != 0 {
		t.Errorf("%d TAPs are still held", n)
	}
	in := start(t, d, drivertest.A4) // while the others have not been closed
	for _, in := range []instances.Instance{p.A, p.B} {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
	if out, _ := sh(t, in, "hostname"); out != "web-1\n" || helperOf(t, in) == pid {
		t.Errorf("%q", out)
	}
}

// openTUNs counts this process's descriptors of TAPs.
func openTUNs() (n int) {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.HasSuffix(to, "/tun") { // of a mount namespace that is gone the beginning is missing
			n++
		}
	}
	return n
}

// TestCleanupAfterHelper: files are all that can be left, and Cleanup takes no namespace for theirs.
func TestCleanupAfterHelper(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	other := drivertest.Start(t, netns.New(), drivertest.Spec(t, "other", 7, drivertest.A4))
	name := filepath.Base(other.Info()["netns"])
	var st syscall.Stat_t
	if err := syscall.Stat(other.Info()["netns"], &st); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "i-1")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"netns.json": fmt.Sprintf(`{"instance":"i-1","namespace":%q,"id":{"dev":%d,"ino":%d},"helper":true}`, name, st.Dev, st.Ino), "hosts": "", "run.log": "x"} {
		if err := os.WriteFile(filepath.Join(at, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := netns.New().Cleanup(dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if out, code := sh(t, other, "echo here"); code != 0 || len(leftovers(t)) == 0 {
		t.Errorf("the other's namespace is gone: %q", out)
	}
}

func TestExecSignals(t *testing.T) {
	byEachWay(t, func(t *testing.T, d *netns.Driver) {
		in := start(t, d, drivertest.A4)
		signals := make(chan syscall.Signal, 1)
		var out syncBuffer
		done := make(chan int, 1)
		go func() {
			code, err := in.Exec(t.Context(), []string{"sh", "-c", "trap 'echo got it; exit 6' INT; echo ready; while :; do sleep 0.02; done"}, instances.IO{Stdout: &out, Signals: signals})
			if err != nil {
				t.Error(err)
			}
			done <- code
		}()
		await(t, "ready", out.String)
		signals <- syscall.SIGINT
		if code := <-done; code != 6 || out.String() != "ready\ngot it\n" {
			t.Errorf("exit %d, %q", code, out.String())
		}
	})
}

// TestExecFiles: descriptors go to the program as they are.
func TestExecFiles(t *testing.T) {
	byEachWay(t, func(t *testing.T, d *netns.Driver) {
		in := start(t, d, drivertest.A4)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		code, err := in.Exec(t.Context(), []string{"readlink", "/proc/self/fd/1"}, instances.IO{Stdout: w, Stderr: w})
		w.Close()
		var got bytes.Buffer
		got.ReadFrom(r)
		want, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", r.Fd()))
		if code != 0 || err != nil || got.String() != want+"\n" {
			t.Errorf("%d, %v, %q; want %q", code, err, &got, want)
		}
	})
}

// TestKillAllInHelper: exec runs on the host's files, but a program cannot take the helper down.
func TestKillAllInHelper(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	in := start(t, netns.NewBy(netns.ByHelper), drivertest.A4)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if code, err := in.Exec(ctx, []string{"sh", "-c", "grep -q vpclab-helper /proc/1/cmdline && kill -9 -1; kill -9 1"}, instances.IO{}); err != nil || code != 0 {
		t.Errorf("%d, %v", code, err)
	}
	if out, code := sh(t, in, "echo alive"); out != "alive\n" || code != 0 {
		t.Errorf("%q, %d", out, code)
	}
}
