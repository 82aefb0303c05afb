package tap

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

const tunPath = "/dev/net/tun"

// Offloads of TUNSETOFFLOAD (linux/if_tun.h): what the kernel may leave undone in frames we read.
const (
	tunCsum   = 0x01
	tunTSO4   = 0x02
	tunTSO6   = 0x04
	tunTSOECN = 0x08
	tunUSO4   = 0x20 // with USO6 since kernel 6.2
	tunUSO6   = 0x40
)

// Port is a TAP device whose queues this process holds. The device lives as long as the port.
type Port struct {
	cfg     Config
	device  string
	offload vswitch.Offload
	vnetLen int // bytes of virtio-net header before each frame; 0 for none
	queues  []*queue
	closed  atomic.Bool
	lost    counters
}

// Open makes a TAP device in the calling thread's network namespace and attaches to it. The port may
// be used from any namespace. The device is down and has no address.
//
// water creates the device and keeps it for the moment in which no queue is attached, because it
// cannot attach with virtio-net headers itself (kernel: Documentation/networking/tuntap.rst).
func Open(cfg Config) (*Port, error) {
	cfg = cfg.withDefaults()
	p := &Port{cfg: cfg}
	if err := p.precheck(); err != nil {
		return nil, fmt.Errorf("tap %q: %w", cfg.Device, err)
	}
	if err := p.create(true); err != nil {
		return nil, fmt.Errorf("tap %q: %w", cfg.Device, explain(err))
	}
	err := p.attach()
	if err != nil {
		p.closeQueues()
		err = fmt.Errorf("tap %q: %w", cfg.Device, explain(err))
		if gone := p.create(false); gone != nil {
			err = errors.Join(err, fmt.Errorf("tap %q stays behind: %w", cfg.Device, gone))
		}
		return nil, err
	}
	return p, nil
}

// precheck finds what would make water fail, since water leaks its descriptor where it fails.
func (p *Port) precheck() error {
	if err := checkName(p.cfg.Device); err != nil {
		return err
	}
	if err := Available(); err != nil {
		return err
	}
	if _, err := net.InterfaceByName(p.cfg.Device); err == nil {
		return explain(unix.EBUSY)
	}
	return nil
}

// Available returns nil if this process may make TAP devices; else an error that says what would be right.
func Available() error {
	f, err := os.OpenFile(tunPath, os.O_RDWR, 0)
	if err != nil {
		return explain(err)
	}
	f.Close()
	if !mayAdminNet() {
		return explain(unix.EPERM)
	}
	return nil
}

func mayAdminNet() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return true // let TUNSETIFF decide
	}
	return data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

// create makes the device persistent, or, when it is there, makes it go away again.
// No process may be forked meanwhile: water does not set close-on-exec, and an inherited
// descriptor would keep the queue attached.
func (p *Port) create(persist bool) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	ifce, err := water.New(water.Config{DeviceType: water.TAP, PlatformSpecificParams: water.PlatformSpecificParams{
		Name: p.cfg.Device, Persist: persist, MultiQueue: p.cfg.Queues > 1,
	}})
	if err != nil {
		return err
	}
	p.device = ifce.Name()
	return ifce.Close()
}

func (p *Port) attach() error {
	for range p.cfg.Queues {
		q, err := p.openQueue()
		if err != nil {
			return err
		}
		p.queues = append(p.queues, q)
	}
	return p.queues[0].control(func(fd int) error {
		if p.vnetLen > 0 {
			p.negotiate(fd)
		}
		return os.NewSyscallError("TUNSETPERSIST", unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0))
	})
}

// openQueue attaches one queue, with virtio-net headers unless the first queue has none either.
func (p *Port) openQueue() (*queue, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: tunPath, Err: err}
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if p.cfg.Queues > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	vnet := len(p.queues) == 0 || p.vnetLen > 0
	if vnet {
		err = setInterface(fd, p.device, flags|unix.IFF_VNET_HDR)
	}
	if !vnet || err == unix.EINVAL { // kernels without IFF_VNET_HDR, and look-alikes of Linux
		vnet = false
		err = setInterface(fd, p.device, flags)
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("TUNSETIFF", err)
	}
	if vnet {
		p.vnetLen = vnetHeaderLen(fd)
	}
	return p.newQueue(fd)
}

func setInterface(fd int, name string, flags uint16) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(flags)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
}

// vnetHeaderLen is what stands before each frame: 10 bytes, or 12 where somebody asked for mergeable buffers.
func vnetHeaderLen(fd int) int {
	if n, err := unix.IoctlGetInt(fd, unix.TUNGETVNETHDRSZ); err == nil && n == packet.VnetMrgLen {
		return n
	}
	return packet.VnetLen
}

// negotiate asks for as much offload as the kernel has. What it lacks stays off: frames then come finished.
func (p *Port) negotiate(fd int) {
	_ = unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 1) // headers are little-endian, on any machine
	if p.cfg.NoOffload {
		_ = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0)
		return
	}
	for _, try := range []struct {
		flags int
		gives vswitch.Offload
	}{
		{tunCsum | tunTSO4 | tunTSO6 | tunTSOECN | tunUSO4 | tunUSO6, vswitch.Offload{Csum: true, TSO4: true, TSO6: true, ECN: true, Gather: true, USO: true}},
		{tunCsum | tunTSO4 | tunTSO6 | tunTSOECN, vswitch.Offload{Csum: true, TSO4: true, TSO6: true, ECN: true, Gather: true}},
		{tunCsum, vswitch.Offload{Csum: true}},
	} {
		if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, try.flags) == nil {
			p.offload = try.gives
			return
		}
	}
}

// Queues implements vswitch.Port.
func (p *Port) Queues() int { return len(p.queues) }

// Close implements vswitch.Port: the device goes away.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	return p.closeQueues()
}

func (p *Port) closeQueues() error {
	var errs []error
	for _, q := range p.queues {
		errs = append(errs, q.file.Close())
	}
	return errors.Join(errs...)
}

// explain adds to an error of the kernel what would be right.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%w: %w; load the module (modprobe tun), or give the container the device (--device %s)", ErrNoTUNDevice, err, tunPath)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: %w; making a TAP needs root or CAP_NET_ADMIN, and write access to %s; instances of kind netstack need neither",
			ErrPermission, strip(err), tunPath)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: a network interface of that name exists; choose another name, or delete the interface if it is a leftover (ip link delete)", ErrNameInUse)
	}
	return err
}

// strip takes the wrapping off that repeats what the message says already.
func strip(err error) error {
	var path *os.PathError
	if errors.As(err, &path) && strings.Contains(path.Path, tunPath) {
		return path.Err
	}
	return err
}
