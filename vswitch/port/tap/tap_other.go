//go:build !linux

package tap

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"github.com/songgao/water"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// Port is a TAP device of water: finished wire frames, one a read.
type Port struct {
	cfg     Config
	device  string
	offload vswitch.Offload
	ifce    *water.Interface
	buf     []byte
	closed  atomic.Bool
	lost    counters
}

// Open makes or opens a TAP device. The operating system chooses its name; see Device.
func Open(cfg Config) (*Port, error) {
	cfg = cfg.withDefaults()
	if err := checkName(cfg.Device); err != nil {
		return nil, fmt.Errorf("tap %q: %w", cfg.Device, err)
	}
	ifce, err := water.New(water.Config{DeviceType: water.TAP})
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("tap %q: %w: %w; run as administrator, or use instances of kind netstack", cfg.Device, ErrPermission, err)
	case err != nil:
		return nil, fmt.Errorf("tap %q: %w: %w; install a TAP driver, or use instances of kind netstack", cfg.Device, ErrNoTUNDevice, err)
	}
	return &Port{cfg: cfg, device: ifce.Name(), ifce: ifce, buf: make([]byte, vswitch.MaxFrame)}, nil
}

// Available returns nil: whether there is a driver shows when a device is made.
func Available() error { return nil }

// Queues implements vswitch.Port.
func (p *Port) Queues() int { return 1 }

// Read implements vswitch.Port: one frame at a time, which is all that water can do.
func (p *Port) Read(_ int, b *vswitch.Batch) error {
	n, err := p.ifce.Read(p.buf)
	if err != nil {
		if p.closed.Load() {
			return net.ErrClosed
		}
		return fmt.Errorf("tap %q: read: %w", p.device, err)
	}
	if n < 14 {
		p.lost.badHeader.Add(1)
		return nil
	}
	if room := b.Next(); room != nil {
		b.Commit(copy(room, p.buf[:n]), packet.GSO{})
	}
	return nil
}

// Write implements vswitch.Port.
func (p *Port) Write(_ int, frames []*vswitch.Frame) int {
	for i, f := range frames {
		if f.GSO.Type != packet.GSONone || f.GSO.NeedsCsum {
			p.lost.refused.Add(1)
		} else if _, err := p.ifce.Write(f.Buf); err != nil {
			return i
		}
	}
	return len(frames)
}

// Close implements vswitch.Port.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	return p.ifce.Close()
}
