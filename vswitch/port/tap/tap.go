package tap

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/vpclab/vpclab/vswitch"
)

// DevicePath is the device through which Linux makes TAPs.
const DevicePath = "/dev/net/tun"

// Config describes a TAP device to make.
type Config struct {
	// Device is the interface's name, at most 15 bytes. It must not exist yet.
	Device string

	// Label is what Port.Name returns; "" means Device.
	Label string

	// MTU is the largest IP packet; 0 means 1500. The device's own MTU is set by whoever configures the kernel's end.
	MTU int

	// Queues is the number of queues; 0 means 1. More than one makes the device multi-queue.
	Queues int

	// NoOffload asks the kernel for finished wire frames only, and offers the switch none.
	NoOffload bool

	// PlainWrites keeps from io_uring where there is one.
	PlainWrites bool
}

// Stats counts frames that the port itself lost. What Write did not take is counted by its caller.
type Stats struct {
	BadHeader uint64 // read with a virtio-net header that makes no sense, or shorter than an Ethernet header
	Refused   uint64 // taken by Write, but found invalid by the kernel (EINVAL)
	Congested uint64 // taken by Write as one of a batch, but the kernel had no room, or the device was down
}

type counters struct{ badHeader, refused, congested atomic.Uint64 }

// Stats returns the counters.
func (p *Port) Stats() Stats {
	return Stats{BadHeader: p.lost.badHeader.Load(), Refused: p.lost.refused.Load(), Congested: p.lost.congested.Load()}
}

var _ vswitch.Port = (*Port)(nil)

// Errors of Open, to be told apart with errors.Is. Each error's text says what would be right.
var (
	ErrNameInUse   = errors.New("name in use")
	ErrBadName     = errors.New("bad device name")
	ErrPermission  = errors.New("no permission")
	ErrNoTUNDevice = errors.New("no TUN device")
)

// MaxName is the longest name of a network interface, in bytes (linux/if.h, IFNAMSIZ less the NUL).
const MaxName = 15

// checkName holds the rules of the kernel's dev_valid_name, and refuses '%', which TUNSETIFF would
// take for a template.
func checkName(name string) error {
	bad := ""
	switch {
	case name == "":
		bad = "is empty"
	case len(name) > MaxName:
		bad = fmt.Sprintf("has %d bytes", len(name))
	case name == "." || name == "..":
		bad = "is a path"
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c == '/' || c == ':' || c == '%' || c == 0x7f {
			bad = fmt.Sprintf("contains %q", c)
		}
	}
	if bad == "" {
		return nil
	}
	return fmt.Errorf("%w: %q %s; use 1 to %d letters, digits, '-', '_' or '.'", ErrBadName, name, bad, MaxName)
}

func (cfg Config) withDefaults() Config {
	if cfg.Label == "" {
		cfg.Label = cfg.Device
	}
	if cfg.MTU <= 0 {
		cfg.MTU = 1500
	}
	if cfg.Queues <= 0 {
		cfg.Queues = 1
	}
	return cfg
}

// Name implements vswitch.Port.
func (p *Port) Name() string { return p.cfg.Label }

// Device is the name of the network interface.
func (p *Port) Device() string { return p.device }

// MTU implements vswitch.Port.
func (p *Port) MTU() int { return p.cfg.MTU }

// Offload implements vswitch.Port.
func (p *Port) Offload() vswitch.Offload { return p.offload }
