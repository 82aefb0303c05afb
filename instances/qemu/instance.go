package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/stream"
)

// instance is one virtual machine. The fields but those below mu are set before Start returns.
type instance struct {
	spec  instances.Spec
	label string
	vm    instances.VM // with defaults filled in
	argv  []string
	noKVM string // what QEMU said of KVM when it could not use it; ""
	files *files
	port  *stream.Port
	cmd   *exec.Cmd
	qmp   *monitor

	ended chan struct{} // closed when QEMU has
	exit  error         // of QEMU; set before ended is closed

	typing  sync.Mutex // held by who is at the console
	closing sync.Mutex
	closed  bool
}

var (
	_ instances.Instance = (*instance)(nil)
	_ instances.Mortal   = (*instance)(nil)
	_ instances.Opaque   = (*instance)(nil)
	_ instances.Consoled = (*instance)(nil)
)

// boot starts QEMU with KVM where it can be had. A QEMU that fails for KVM's sake, as some do inside another virtual machine,
// is started once more without.
func (in *instance) boot(ctx context.Context, path string, m machine) error {
	kvm := kvmUsable() && !given(in.vm.Args, "accel", "enable-kvm")
	err := in.run(ctx, append([]string{path}, in.arguments(m, kvm)...))
	words := in.files.tail(outputFile)
	if !kvm || !errors.Is(err, errAtOnce) || !strings.Contains(strings.ToLower(words), "kvm") {
		return err
	}
	in.noKVM = words
	if err := os.Truncate(in.files.path(outputFile), 0); err != nil {
		return err
	}
	return in.run(ctx, append([]string{path}, in.arguments(m, false)...))
}

// errAtOnce is a QEMU that ended before it answered.
var errAtOnce = errors.New("QEMU ended at once")

// run starts QEMU and waits until it answers.
func (in *instance) run(ctx context.Context, argv []string) error {
	out, err := os.OpenFile(in.files.path(outputFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, in.vm.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the agent, which ends it in order
	if err := cmd.Start(); err != nil {
		return &instances.Fault{Err: err}
	}
	in.cmd, in.argv, in.ended = cmd, argv, make(chan struct{})
	go func(ended chan struct{}) {
		in.exit = cmd.Wait()
		close(ended)
	}(in.ended)
	started, err := startTime(cmd.Process.Pid)
	if err != nil && !in.endsWithin(lastGasp) {
		return fmt.Errorf("the start time of QEMU: %w", err)
	}
	if err := in.files.record(cmd.Process.Pid, started); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, errSlow)
	defer cancel()
	return in.await(ctx)
}

// await waits for QEMU's monitor and its network.
func (in *instance) await(ctx context.Context) error {
	gone, cancel := context.WithCancel(ctx)
	defer cancel()
	go func(ended chan struct{}) {
		select {
		case <-ended:
			cancel()
		case <-gone.Done():
		}
	}(in.ended)
	m, err := openMonitor(gone, in.files.path(qmpSock))
	if err == nil {
		in.qmp = m
		err = in.port.WaitConnected(gone)
	}
	if err == nil {
		return nil
	}
	if gone.Err() == nil {
		in.endsWithin(lastGasp) // its sockets close before it has ended
	}
	switch cause := context.Cause(ctx); {
	case in.hasEnded():
		return instances.Faultf("%w (%s): %s", errAtOnce, in.exitWord(), in.lastWords())
	case errors.Is(cause, errSlow):
		return instances.Faultf("%w: %s", cause, in.lastWords())
	case cause != nil:
		return cause
	}
	return err
}

var errSlow = fmt.Errorf("QEMU does not answer in %v", startPatience)

func (in *instance) hasEnded() bool {
	select {
	case <-in.ended:
		return true
	default:
		return false
	}
}

// exitWord says how QEMU ended: "exit status 1", "signal: killed".
func (in *instance) exitWord() string {
	if in.exit == nil {
		return "exit status 0"
	}
	return in.exit.Error()
}

func (in *instance) lastWords() string {
	if s := in.files.tail(outputFile); s != "" {
		return s
	}
	return "it said nothing"
}

// Port implements instances.Instance.
func (in *instance) Port() vswitch.Port { return in.port }

// SetHosts implements instances.Instance: a guest's files are its own.
func (in *instance) SetHosts([]instances.Host) error { return nil }

// Ended implements instances.Mortal.
func (in *instance) Ended() <-chan struct{} { return in.ended }

// Why implements instances.Mortal. A guest that powered itself off is no problem.
func (in *instance) Why() string {
	if !in.hasEnded() || in.exit == nil && in.qmp.shutdown() == "guest-shutdown" {
		return ""
	}
	why := fmt.Sprintf("QEMU ended (%s)", in.exitWord())
	if s := in.files.tail(outputFile); s != "" {
		return why + ": " + s
	}
	var exit *exec.ExitError
	if errors.As(in.exit, &exit) && !exit.Exited() {
		return why // by a signal: what the guest said has nothing to do with it
	}
	if s := in.files.tail(consoleLog); s != "" {
		return why + "; last on its console: " + s
	}
	return why
}

// Info implements instances.Instance.
func (in *instance) Info() map[string]string {
	info := map[string]string{
		"driver": "qemu", "device": "virtio-net", "mac": in.spec.MAC.String(), "pid": strconv.Itoa(in.cmd.Process.Pid), "command": quote(in.argv),
		"console": in.files.path(consoleLog), "memory": fmt.Sprintf("%d MiB", in.vm.Memory), "netdev": in.vm.Netdev, "network": "connected",
	}
	switch {
	case in.hasEnded():
		info["network"] = "QEMU has ended"
		delete(info, "pid")
	case !in.port.Connected() && in.vm.Netdev == netTCP:
		info["network"] = "not connected; QEMU connects only when it starts: restart the instance"
	case !in.port.Connected():
		info["network"] = "not connected"
	}
	if in.noKVM != "" {
		info["emulated"] = "QEMU could not use KVM: " + in.noKVM
	}
	for name, n := range in.port.Counters() {
		info[name] = strconv.FormatUint(n, 10)
	}
	return info
}

// Close implements instances.Instance. The guest is asked to power off first, then QEMU is told to quit, then killed.
func (in *instance) Close() error {
	in.closing.Lock()
	defer in.closing.Unlock()
	if in.closed {
		return nil
	}
	if err := in.halt(); err != nil {
		return err // the journal stays, for Cleanup
	}
	in.closed = true
	var errs []error
	if in.qmp != nil {
		in.qmp.close()
	}
	if in.port != nil {
		errs = append(errs, in.port.Close())
	}
	if in.files != nil {
		errs = append(errs, in.files.remove())
	}
	return errors.Join(errs...)
}

// halt ends QEMU, the gentler way first.
func (in *instance) halt() error {
	if in.cmd == nil {
		return nil
	}
	grace := PlainPowerdown
	if in.vm.Disk != "" {
		grace = DiskPowerdown
	}
	if in.qmp != nil {
		if in.qmp.run("system_powerdown") == nil && in.endsWithin(grace) {
			return nil
		}
		if in.qmp.run("quit") == nil && in.endsWithin(quitPatience) {
			return nil
		}
	}
	_ = in.cmd.Process.Kill() // by a handle, not by a number that another may have now
	if !in.endsWithin(killPatience) {
		return fmt.Errorf("QEMU (process %d) does not end", in.cmd.Process.Pid)
	}
	return nil
}

func (in *instance) endsWithin(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-in.ended:
		return true
	case <-t.C:
		return false
	}
}
