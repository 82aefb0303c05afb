package memory

import (
	"net"
	"sync/atomic"

	"github.com/vpclab/vpclab/vswitch"
)

// Config describes a port. The zero value is a usable wire-frame port.
type Config struct {
	Name    string
	MTU     int // 0 means 9001
	Queues  int // 0 means 1
	Depth   int // frames that wait in each direction (inbound: per queue); 0 means 256
	Offload vswitch.Offload

	// Source, when set, is asked for frames before the queue is looked at: it fills b and returns
	// true, or returns false when it has no more for now. It is called by the goroutine of queue q
	// and must not block. Benchmarks run flat out with Repeat.
	Source func(q int, b *vswitch.Batch) bool

	// Sink, when set, takes what the switch writes instead of the outbound queue. It has Write's
	// contract: called concurrently, frames borrowed until it returns, returns how many were taken.
	Sink func(q int, frames []*vswitch.Frame) int
}

// Stats counts frames. Every frame given to the port is in exactly one of them.
type Stats struct {
	Injected    uint64 // taken by Inject, or made by Source
	InjectDrops uint64 // not taken by Inject: queue full or port closed
	Written     uint64 // taken by Write
	WriteDrops  uint64 // not taken by Write: queue full, sink refused, or port closed
}

// Port is a port without a device. All methods are safe for concurrent use, except that Read and
// TryRead of one queue belong to one goroutine, as vswitch.Port says.
type Port struct {
	cfg Config
	in  []*ring // towards the switch, one a queue
	out *ring   // from the switch

	closed                                     atomic.Bool
	injected, injectDrops, written, writeDrops atomic.Uint64
}

var _ vswitch.Port = (*Port)(nil)

// New returns an open port.
func New(cfg Config) *Port {
	cfg.MTU = orDefault(cfg.MTU, 9001)
	cfg.Queues = orDefault(cfg.Queues, 1)
	cfg.Depth = orDefault(cfg.Depth, 256)
	p := &Port{cfg: cfg, out: newRing(cfg.Depth)}
	for range cfg.Queues {
		p.in = append(p.in, newRing(cfg.Depth))
	}
	return p
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}

// Name implements vswitch.Port.
func (p *Port) Name() string { return p.cfg.Name }

// MTU implements vswitch.Port.
func (p *Port) MTU() int { return p.cfg.MTU }

// Offload implements vswitch.Port.
func (p *Port) Offload() vswitch.Offload { return p.cfg.Offload }

// Queues implements vswitch.Port.
func (p *Port) Queues() int { return p.cfg.Queues }

// Read implements vswitch.Port: it waits for injected frames.
func (p *Port) Read(q int, b *vswitch.Batch) error {
	for {
		if p.TryRead(q, b) > 0 {
			return nil
		}
		b.Release()
		if !p.in[q].wait() {
			return net.ErrClosed
		}
	}
}

// TryRead adds to b what is there, up to b's capacity, and returns how many frames that were. It
// never blocks: a test without workers pumps with it.
func (p *Port) TryRead(q int, b *vswitch.Batch) int {
	before := b.Len()
	if p.cfg.Source != nil && !p.closed.Load() && p.cfg.Source(q, b) {
		p.injected.Add(uint64(b.Len() - before))
		return b.Len() - before
	}
	p.in[q].popInto(b)
	return b.Len() - before
}

// Write implements vswitch.Port: frames go to Config.Sink, or wait for Take, Drain or Receive.
func (p *Port) Write(q int, frames []*vswitch.Frame) int {
	taken := 0
	switch {
	case p.closed.Load():
	case p.cfg.Sink != nil:
		taken = p.cfg.Sink(q, frames)
	default:
		taken = p.out.push(frames)
	}
	p.written.Add(uint64(taken))
	p.writeDrops.Add(uint64(len(frames) - taken))
	return taken
}

// Close implements vswitch.Port. Frames that the switch has written can still be taken.
func (p *Port) Close() error {
	p.closed.Store(true)
	for _, r := range p.in {
		r.close()
	}
	p.out.close()
	return nil
}

// Stats returns the counters.
func (p *Port) Stats() Stats {
	return Stats{
		Injected: p.injected.Load(), InjectDrops: p.injectDrops.Load(),
		Written: p.written.Load(), WriteDrops: p.writeDrops.Load(),
	}
}
