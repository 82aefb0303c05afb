package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/vpclab/vpclab/instances"
)

// How long a machine has to do what it is told.
const (
	startPatience = 30 * time.Second // QEMU, to answer at all
	quitPatience  = 3 * time.Second  // QEMU, to end
	lastGasp      = time.Second      // QEMU, between closing its sockets and its end
	// DiskPowerdown is how long a guest with a disk has to shut down, and PlainPowerdown one that loses nothing.
	DiskPowerdown  = 10 * time.Second
	PlainPowerdown = time.Second
)

// Driver starts qemu instances.
type Driver struct {
	mu      sync.Mutex
	known   string  // the binary that version is of
	version version // of it
}

var _ instances.Driver = (*Driver)(nil)

// New returns a driver.
func New() *Driver { return &Driver{} }

// Name implements instances.Driver.
func (*Driver) Name() string { return "qemu" }

// machine is what differs between processors.
type machine struct {
	binary, board, console, debian string
}

var machines = map[string]machine{
	"amd64": {"qemu-system-x86_64", "q35", "ttyS0", "qemu-system-x86"},
	"arm64": {"qemu-system-aarch64", "virt", "ttyAMA0", "qemu-system-arm"},
}

// binary finds QEMU for this processor. Red Hat's has its own place.
func binary() (path string, m machine, err error) {
	m, ok := machines[runtime.GOARCH]
	if !ok {
		return "", m, fmt.Errorf("virtual machines are supported on amd64 and arm64, not on %s", runtime.GOARCH)
	}
	for _, name := range []string{m.binary, "/usr/libexec/qemu-kvm"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, m, nil
		}
	}
	return "", m, fmt.Errorf("%s is not installed; on Debian and Ubuntu: apt install %s", m.binary, m.debian)
}

// Available implements instances.Driver.
func (d *Driver) Available() error {
	path, _, err := binary()
	if err != nil {
		return err
	}
	_, err = d.versionOf(path)
	return err
}

// version is QEMU's.
type version struct{ major, minor int }

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

var versionText = regexp.MustCompile(`version (\d+)\.(\d+)`)

// versionOf asks a binary once.
func (d *Driver) versionOf(path string) (version, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == path {
		return d.version, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	m := versionText.FindSubmatch(out)
	if err != nil || m == nil {
		return version{}, fmt.Errorf("%s --version: %v: %s", path, err, lastLines(out))
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	d.known, d.version = path, version{major, minor}
	return d.version, nil
}

// kvmUsable says whether this process may use the processor's own virtualisation. That it works is another matter.
func kvmUsable() bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// Start implements instances.Driver. What is wrong with the machine itself is an *instances.Fault.
func (d *Driver) Start(ctx context.Context, s instances.Spec) (instances.Instance, error) {
	label := s.Name
	if label == "" {
		label = s.ID
	}
	if s.MTU <= 0 {
		s.MTU = instances.DefaultMTU
	}
	in := &instance{spec: s, label: label}
	if err := d.start(ctx, in); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

func (d *Driver) start(ctx context.Context, in *instance) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	vm, err := check(in.spec)
	if err != nil {
		return &instances.Fault{Err: err}
	}
	path, m, err := binary()
	if err != nil {
		return &instances.Fault{Err: err}
	}
	v, err := d.versionOf(path)
	if err != nil {
		return &instances.Fault{Err: err}
	}
	in.vm = vm
	in.vm.Netdev = netdevFor(vm.Netdev, v)
	if in.vm.Netdev == netSocket && !v.atLeast(7, 2) {
		return instances.Faultf("netdev: socket needs QEMU 7.2 or newer, and this is %s; use netdev: tcp", v)
	}
	if in.files, err = newFiles(in.spec); err != nil {
		return err
	}
	if in.port, err = in.openPort(); err != nil {
		return err
	}
	return in.boot(ctx, path, m)
}

// netdevFor chooses where the lab does not: QEMU's stream backend came with 7.2.
func netdevFor(asked string, v version) string {
	switch {
	case asked != "":
		return asked
	case v.atLeast(7, 2):
		return netSocket
	}
	return netTCP
}
