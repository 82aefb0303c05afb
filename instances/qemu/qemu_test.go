package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/drivertest"
)

const patience = 20 * time.Second

// needsQEMU skips a test where there is none. .ci/run installs it and wants no test skipped.
func needsQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(pc.binary); err != nil {
		t.Skipf("needs QEMU: %v", err)
	}
}

// blank is a machine with an empty disk: its firmware finds nothing to boot and waits.
func blank(t *testing.T) instances.Spec {
	t.Helper()
	needsQEMU(t)
	dir, err := os.MkdirTemp("", "vq-") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(filepath.Join(dir, "run")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		os.RemoveAll(dir)
	})
	s := spec()
	s.RunDir = filepath.Join(dir, "run")
	disk := filepath.Join(dir, "empty.raw")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.VM = &instances.VM{Disk: disk, Memory: 32, Args: []string{"-accel", "tcg"}}
	return s
}

// start starts a machine that ends with the test.
func start(t *testing.T, s instances.Spec) *instance {
	t.Helper()
	needsQEMU(t)
	in, err := New().Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	q := in.(*instance)
	t.Cleanup(func() {
		q.vm.Disk = "" // its firmware does not know a power button: do not wait for that
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

func ended(t *testing.T, in *instance) {
	t.Helper()
	select {
	case <-in.Ended():
	case <-time.After(patience):
		t.Fatal("QEMU still runs")
	}
}

func TestLife(t *testing.T) {
	drivertest.CheckLeaks(t)
	s := blank(t)
	in := start(t, s)
	info := in.Info()
	pid, err := strconv.Atoi(info["pid"])
	if err != nil || info["driver"] != "qemu" || info["network"] != "connected" || info["netdev"] != "socket" ||
		!strings.Contains(info["command"], "virtio-net-pci,netdev=net0,mac=02:00:00:00:00:01,host_mtu=9001") {
		t.Errorf("%v, %v", info, err)
	}
	if sid, err := unix.Getsid(pid); sid != pid {
		t.Errorf("QEMU is in session %d, %v: Ctrl-C on the agent's terminal would end it", sid, err)
	}
	if in.Why() != "" {
		t.Errorf("a machine that runs has ended: %s", in.Why())
	}
	if st, err := os.Stat(in.files.dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", st.Mode(), err)
	}
	if _, err := New().Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "exists: the instance runs already") {
		t.Errorf("a second time: %v", err)
	}
	in.vm.Disk = ""
	began := time.Now()
	for range 2 {
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(began); d > PlainPowerdown+quitPatience {
		t.Errorf("it took %v to end", d)
	}
	ended(t, in)
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v", pid, err)
	}
	if _, err := os.Stat(in.files.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

// TestTCP: the other way out, and the framing of QEMU's older backend.
func TestTCP(t *testing.T) {
	s := blank(t)
	s.VM.Netdev = netTCP
	in := start(t, s)
	if info := in.Info(); info["network"] != "connected" || !strings.Contains(info["command"], "-netdev socket,id=net0,connect=127.0.0.1:") {
		t.Errorf("%v", info)
	}
}

// TestKilled: a machine that dies says how, and can be closed and started again.
func TestKilled(t *testing.T) {
	s := blank(t)
	in := start(t, s)
	if err := in.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended(t, in)
	if why := in.Why(); why != "QEMU ended (signal: killed)" {
		t.Errorf("%q", why)
	}
	if info := in.Info(); info["network"] != "QEMU has ended" || info["pid"] != "" {
		t.Errorf("%v", info)
	}
	if err := in.Console(t.Context(), instances.IO{}); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("console: %v", err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, s)
}

// TestFaults: what is wrong with the machine itself is told as such, with QEMU's own words, and nothing stays.
func TestFaults(t *testing.T) {
	needsQEMU(t)
	for name, c := range map[string]struct {
		change func(*instances.Spec)
		want   string
	}{
		"dies at once":   {func(s *instances.Spec) { s.VM.Args = []string{"-fly"} }, "QEMU ended at once (exit status 1): qemu-system"},
		"its own words":  {func(s *instances.Spec) { s.VM.Args = []string{"-fly"} }, "-fly: invalid option"},
		"ends at once":   {func(s *instances.Spec) { s.VM.Args = []string{"-version"} }, "QEMU ended at once (exit status 0): QEMU emulator version"},
		"no image":       {func(s *instances.Spec) { s.VM.Disk = "/nonexistent/x.qcow2" }, "disk /nonexistent/x.qcow2: no such file or directory"},
		"broken image":   {func(s *instances.Spec) { s.VM.DiskFormat = "qcow2" }, "not in qcow2 format"},
		"no such folder": {func(s *instances.Spec) { s.VM.Dir = "/nonexistent" }, "the lab file's folder /nonexistent: no such file or directory"},
		"long path": {func(s *instances.Spec) { s.RunDir = filepath.Join(s.RunDir, strings.Repeat("x", 150)) },
			"use a shorter directory: QEMU's sockets lie in the data directory"},
	} {
		t.Run(name, func(t *testing.T) {
			drivertest.CheckLeaks(t)
			s := blank(t)
			c.change(&s)
			in, err := New().Start(t.Context(), s)
			if err == nil {
				in.Close()
				t.Fatal("it started")
			}
			var fault *instances.Fault
			if !errors.As(err, &fault) || !strings.Contains(fault.Error(), c.want) {
				t.Errorf("%v (%T), want a fault with %q", err, err, c.want)
			}
		})
	}
}

// fakePath puts a program in QEMU's place.
func fakePath(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(dir, pc.binary), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestNoQEMU(t *testing.T) {
	s := blank(t)
	fakePath(t, "")
	err := New().Available()
	if err == nil || !strings.Contains(err.Error(), "is not installed; on Debian and Ubuntu: apt install qemu-system-") {
		t.Error(err)
	}
	var fault *instances.Fault
	if _, serr := New().Start(t.Context(), s); !errors.As(serr, &fault) || fault.Error() != err.Error() {
		t.Error(serr)
	}
}

func TestOtherPrograms(t *testing.T) {
	for name, c := range map[string]struct{ script, netdev, want string }{
		"no version":  {"echo hello", "", "--version: <nil>: hello"},
		"fails":       {"echo boom >&2; exit 3", "", "--version: exit status 3: boom"},
		"old, socket": {"echo QEMU emulator version 6.2.0", netSocket, "netdev: socket needs QEMU 7.2 or newer, and this is 6.2"},
		"old":         {`case "$*" in --version) echo QEMU emulator version 6.2.0;; *) echo "$*"; exit 1;; esac`, "", "-netdev socket,id=net0,connect=127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			s := blank(t)
			s.VM.Netdev = c.netdev
			fakePath(t, c.script)
			var fault *instances.Fault
			if _, err := New().Start(t.Context(), s); !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestKVMFails: a QEMU that fails for KVM's sake is started without it, and says so.
func TestKVMFails(t *testing.T) {
	needsQEMU(t)
	if !kvmUsable() {
		t.Log("no /dev/kvm here: QEMU is started without it at once")
	}
	real, err := exec.LookPath(pc.binary)
	if err != nil {
		t.Fatal(err)
	}
	s := blank(t)
	s.VM.Args = nil
	fakePath(t, `case "$*" in *"-accel kvm"*) echo "failed to set MSR 0x10a: kvm_buf_set_msrs" >&2; kill -ABRT $$;; *) exec `+real+` "$@";; esac`)
	in := start(t, s)
	info := in.Info()
	if strings.Contains(info["command"], "kvm") || info["network"] != "connected" {
		t.Errorf("%v", info)
	}
	if kvmUsable() && info["emulated"] != "QEMU could not use KVM: failed to set MSR 0x10a: kvm_buf_set_msrs" {
		t.Errorf("%q", info["emulated"])
	}
}

// TestCancelledStart: a QEMU that never answers is ended when the start is given up.
func TestCancelledStart(t *testing.T) {
	drivertest.CheckLeaks(t)
	s := blank(t)
	fakePath(t, `case "$*" in --version) echo QEMU emulator version 7.2.0;; *) exec /bin/sleep 600;; esac`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	var fault *instances.Fault
	if _, err := New().Start(ctx, s); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &fault) {
		t.Errorf("%v: who gives up is not the machine", err)
	}
	if d := time.Since(began); d > patience/2 {
		t.Errorf("it took %v", d)
	}
}

// TestCleanup does after an agent that was killed: QEMU is ended and what it made is gone, nothing else.
func TestCleanup(t *testing.T) {
	s := blank(t)
	in := start(t, s)
	other := filepath.Join(s.RunDir, "i-other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := New().Cleanup(s.RunDir); err != nil {
		t.Fatal(err)
	}
	ended(t, in)
	if _, err := os.Stat(in.files.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	if err := os.Remove(other); err != nil {
		t.Errorf("what is not its own: %v", err)
	}
	if err := New().Cleanup(s.RunDir); err != nil {
		t.Errorf("where nothing is: %v", err)
	}
}

// TestCleanupBeforeTheJournal: the agent died before it wrote QEMU's number down.
func TestCleanupBeforeTheJournal(t *testing.T) {
	s := blank(t)
	in := start(t, s)
	if err := in.files.record(0, ""); err != nil {
		t.Fatal(err)
	}
	if err := New().Cleanup(s.RunDir); err != nil {
		t.Fatal(err)
	}
	ended(t, in)
}

// TestCleanupSparesOthers: a process that has got the number since is not QEMU.
func TestCleanupSparesOthers(t *testing.T) {
	sleeper := exec.Command("sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { sleeper.Process.Kill(); sleeper.Wait() }()
	run := filepath.Join(t.TempDir(), "[run]*")
	for name, j := range map[string]journal{
		"another start": {Instance: "i-1", PID: sleeper.Process.Pid, Started: "an-earlier-boot/1234"},
		"no start":      {Instance: "i-1", PID: sleeper.Process.Pid},
		"init":          {Instance: "i-1", PID: 1, Started: "x"},
		"nobody":        {Instance: "i-1", PID: 1 << 29, Started: "x"},
		"negative":      {Instance: "i-1", PID: -1, Started: "x"},
		"none":          {Instance: "i-1"},
	} {
		dir := filepath.Join(run, "i-1")
		data, _ := json.Marshal(j)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, journalFile), data, 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := New().Cleanup(run); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the directory is still there", name)
		}
	}
	if err := sleeper.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other process was ended: %v", err)
	}
	dir := filepath.Join(run, "i-2")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, journalFile), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := New().Cleanup(run); err == nil || !strings.Contains(err.Error(), "i-2: qemu.json") {
		t.Errorf("a broken journal: %v", err)
	}
}

// TestConsole: what is at the console's socket goes both ways, one person at a time.
func TestConsole(t *testing.T) {
	dir, err := os.MkdirTemp("", "vq-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	in := &instance{label: "vm-1", files: &files{dir: dir}, ended: make(chan struct{})}
	l, err := net.Listen("unix", in.files.path(consoleSock))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.WriteString(c, "login: ")
				buf := make([]byte, 5)
				io.ReadFull(c, buf)
				c.Write(bytes.ToUpper(buf))
			}()
		}
	}()
	typing, keys := io.Pipe()
	screen, shown := io.Pipe()
	left := make(chan error, 1)
	go func() { left <- in.Console(t.Context(), instances.IO{Stdin: typing, Stdout: shown}) }()
	see := func(want string) {
		t.Helper()
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(screen, buf); err != nil || string(buf) != want {
			t.Fatalf("%q on the screen, %v; want %q", buf, err, want)
		}
	}
	see("login: ")
	if err := in.Console(t.Context(), instances.IO{}); !errors.Is(err, ErrConsoleBusy) {
		t.Errorf("a second person: %v", err)
	}
	io.WriteString(keys, "root\n")
	see("ROOT\n")
	keys.Close()
	if err := <-left; err != nil {
		t.Errorf("leaving: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { left <- in.Console(ctx, instances.IO{Stdout: shown}) }()
	see("login: ")
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestOpaque: nothing can be opened or run in a machine, and the error says what to do instead.
func TestOpaque(t *testing.T) {
	in := &instance{label: "vm-1"}
	n := in.Net()
	any4 := netip.MustParseAddrPort("10.0.0.1:80")
	for name, call := range map[string]func() error{
		"dial":          func() error { _, err := n.Dial(t.Context(), "tcp", netip.AddrPort{}, any4); return err },
		"listen":        func() error { _, err := n.Listen("tcp", any4); return err },
		"listen packet": func() error { _, err := n.ListenPacket("udp", any4); return err },
		"ping":          func() error { _, err := n.Ping(t.Context(), netip.Addr{}, any4.Addr(), 1, 1, 56); return err },
		"exec":          func() error { _, err := in.Exec(t.Context(), []string{"ls"}, instances.IO{}); return err },
	} {
		if err := call(); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "`vpclab console vm-1`") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := in.SetHosts(nil); err != nil {
		t.Error(err)
	}
}
