package afpacket

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/vswitch"
)

// Port is the kernel's end of a TAP. It outlives the device: without one it parks.
type Port struct {
	cfg     Config
	mtu     int
	offload vswitch.Offload
	space   *space
	changes *os.File // netlink: told when devices or addresses change
	lost    counters
	reader  reader
	done    chan struct{} // closed by Close
	watched sync.WaitGroup

	now atomic.Pointer[attachment] // nil: no device

	mu      sync.Mutex
	changed chan struct{} // closed when now is set
	last    Event
	closed  bool
}

type counters struct {
	badHeader, truncated, vlan, kernel, refused, tooLarge, device atomic.Uint64
}

// Open takes a device in the calling thread's network namespace, or says why it cannot be. It needs CAP_NET_RAW and
// CAP_NET_ADMIN there. A device that is down is set up. Nothing is changed on a device that is refused.
func Open(cfg Config) (*Port, error) {
	if cfg.Label == "" {
		cfg.Label = cfg.Device
	}
	p := &Port{cfg: cfg, done: make(chan struct{}), changed: make(chan struct{})}
	p.reader.init(p)
	err := p.open()
	if err != nil {
		if p.space != nil {
			p.space.close()
		}
		if p.changes != nil {
			p.changes.Close()
		}
		return nil, fmt.Errorf("device %q: %w", cfg.Device, err)
	}
	p.watched.Go(p.watch)
	return p, nil
}

// open subscribes before it looks, so that no change is missed.
func (p *Port) open() (err error) {
	if p.space, err = currentSpace(); err != nil {
		return err
	}
	if p.changes, err = subscribe(); err != nil {
		return err
	}
	d, err := inspect(p.cfg.Device)
	if err != nil {
		return err
	}
	p.mtu = d.mtu
	if p.cfg.MTU > 0 {
		p.mtu = min(p.mtu, p.cfg.MTU)
	}
	a, gives, err := take(p.cfg.Device, d)
	if err != nil {
		return err
	}
	p.offload = gives
	p.set(a)
	p.last = Event{Device: p.cfg.Device, State: Unplugged, Text: unplugged}
	if a.device.running {
		p.last = Event{Device: p.cfg.Device, State: Attached, Text: "attached"}
	}
	return nil
}

// Available returns nil if this process may open packet sockets; else an error that says what would be right.
func Available() error {
	fd, err := newSocket(shieldMark)
	if err != nil {
		return explain(err)
	}
	unix.Close(fd)
	return nil
}

// set makes a the attachment that frames go to; nil for none. Callers but Open hold mu.
func (p *Port) set(a *attachment) {
	if a != nil {
		a.running.Store(a.device.running)
	}
	p.now.Store(a)
	close(p.changed)
	p.changed = make(chan struct{})
}

// attachment waits for a device; nil once the port is closed.
func (p *Port) attachment() *attachment {
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-p.done:
			return nil
		default:
		}
		if a := p.now.Load(); a != nil {
			return a
		}
		select {
		case <-changed:
		case <-p.done:
			return nil
		}
	}
}

// release lets go of the device and undoes what was changed on it. Callers hold mu.
func (p *Port) release() error {
	a := p.now.Load()
	if a == nil {
		return nil
	}
	p.set(nil)
	close(a.over)
	p.lost.kernel.Add(a.kernelDrops())
	p.lost.device.Add(p.deviceDrops(a))
	err := a.file.Close() // from here on no frame passes
	return errors.Join(err, p.space.do(func() error { return restore(a.device.index) }))
}

// Name implements vswitch.Port.
func (p *Port) Name() string { return p.cfg.Label }

// Device is the name of the network interface.
func (p *Port) Device() string { return p.cfg.Device }

// MTU implements vswitch.Port: the device's when the port was opened, or Config.MTU if that is less.
func (p *Port) MTU() int { return p.mtu }

// Offload implements vswitch.Port: what the kernel takes; it finishes what the program behind the TAP does not take.
func (p *Port) Offload() vswitch.Offload { return p.offload }

// Queues implements vswitch.Port.
func (p *Port) Queues() int { return 1 }

// State is the last event; of a port without any, how it was opened.
func (p *Port) State() Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// Stats returns the counters.
func (p *Port) Stats() Stats {
	s := Stats{
		BadHeader: p.lost.badHeader.Load(), Truncated: p.lost.truncated.Load(), VLAN: p.lost.vlan.Load(),
		Refused: p.lost.refused.Load(), TooLarge: p.lost.tooLarge.Load(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.now.Load(); a != nil {
		p.lost.kernel.Add(a.kernelDrops())
		s.DeviceDrops = p.deviceDrops(a)
	}
	s.KernelDrops = p.lost.kernel.Load()
	s.DeviceDrops += p.lost.device.Load()
	return s
}

// deviceDrops is what the device dropped since it was taken; 0 if it is gone.
func (p *Port) deviceDrops(a *attachment) (n uint64) {
	_ = p.space.do(func() error {
		d, err := inspect(p.cfg.Device)
		if d.index == a.device.index && d.dropped > a.device.dropped {
			n = d.dropped - a.device.dropped
		}
		return err
	})
	return n
}

// Close implements vswitch.Port. The device is left as it was before it was taken, but up.
func (p *Port) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.last = Event{Device: p.cfg.Device, State: Closed, Text: "closed"}
	close(p.done)
	err := p.release()
	p.mu.Unlock()
	err = errors.Join(err, p.changes.Close())
	p.watched.Wait()
	p.space.close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
