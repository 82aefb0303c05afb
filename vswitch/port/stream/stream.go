package stream

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// DefaultDepth is how many bytes wait for a peer that is slow: as much as a thousand frames of 1,000 bytes.
const DefaultDepth = 1 << 20

// Config describes a link.
type Config struct {
	Name    string // shown in counters and messages
	MTU     int    // largest IP packet; 0 means 9001
	Network string // "unix" or "tcp"
	Address string // path, or loopback address and port; a listener's port may be 0
	Connect bool   // the agent connects, again and again until the peer is there; else it listens
	Depth   int    // bytes that wait while the peer does not read, headers included; 0 means DefaultDepth
}

// Stats counts what happened to connections and frames since Open. What Write did not take is counted by its caller.
type Stats struct {
	Connections uint64 // made so far
	Replaced    uint64 // of these, ended because the peer connected anew
	BadLength   uint64 // ended because the peer announced a frame of 0 bytes or of more than vswitch.MaxFrame
	Cut         uint64 // ended inside a frame
	Refused     uint64 // frames taken by Write, but unfinished, shorter than an Ethernet header, or larger than the MTU
}

// Counters gives those of Stats that tell of a fault, by name and without zeros.
func (s Stats) Counters() map[string]uint64 {
	out := map[string]uint64{}
	for name, n := range map[string]uint64{"stream_bad_length": s.BadLength, "stream_cut": s.Cut, "stream_refused": s.Refused} {
		if n != 0 {
			out[name] = n
		}
	}
	return out
}

// Port is the switch's end of a link whose other end speaks QEMU's framing. All methods but Read are safe for concurrent
// use.
type Port struct {
	cfg    Config
	listen net.Listener // nil where the agent connects
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // the goroutine that makes connections, and the writers

	mu      sync.Mutex
	changed sync.Cond // cur or closed did
	cur     *conn     // nil while nobody is connected
	closed  bool

	connections, replaced, badLength, cut, refused atomic.Uint64
}

var _ vswitch.Port = (*Port)(nil)

// Open makes a link. A listener's socket is there when it returns; a peer need not be.
func Open(cfg Config) (*Port, error) {
	if cfg.MTU <= 0 {
		cfg.MTU = 9001
	}
	if cfg.Depth <= 0 {
		cfg.Depth = DefaultDepth
	}
	p := &Port{cfg: cfg}
	p.changed.L = &p.mu
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if err := p.start(); err != nil {
		p.cancel()
		return nil, fmt.Errorf("stream %s: %w", cfg.Name, err)
	}
	return p, nil
}

func (p *Port) start() error {
	if err := checkAddress(p.cfg); err != nil {
		return err
	}
	if p.cfg.Connect {
		p.wg.Go(p.dial)
		return nil
	}
	l, err := listen(p.cfg)
	if err != nil {
		return err
	}
	p.listen = l
	p.wg.Go(p.accept)
	return nil
}

// Name implements vswitch.Port.
func (p *Port) Name() string { return p.cfg.Name }

// MTU implements vswitch.Port.
func (p *Port) MTU() int { return p.cfg.MTU }

// Offload implements vswitch.Port: the framing carries no virtio-net header, so the peer gets finished wire frames.
func (p *Port) Offload() vswitch.Offload { return vswitch.Offload{} }

// Queues implements vswitch.Port.
func (p *Port) Queues() int { return 1 }

// Addr is the peer's way here where the agent listens, with the port that was chosen; else nil.
func (p *Port) Addr() net.Addr {
	if p.listen == nil {
		return nil
	}
	return p.listen.Addr()
}

// Connected says whether a peer is there.
func (p *Port) Connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cur != nil
}

// WaitConnected waits until a peer is there, ctx ends, or the port is closed (net.ErrClosed).
func (p *Port) WaitConnected(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock() // so that the waiter is either before its check or asleep
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.cur == nil && !p.closed && ctx.Err() == nil {
		p.changed.Wait()
	}
	switch {
	case p.closed:
		return net.ErrClosed
	case p.cur == nil:
		return ctx.Err()
	}
	return nil
}

// Read implements vswitch.Port. Frames that were read whole before a connection ended are handed over.
func (p *Port) Read(_ int, b *vswitch.Batch) error {
	for {
		c := p.current(b)
		if c == nil {
			b.Release()
			return net.ErrClosed
		}
		err := c.in.read(b)
		if err == nil {
			return nil
		}
		p.lost(c, err)
	}
}

// current waits for a connection; nil means that the port is closed. No slab is held meanwhile.
func (p *Port) current(b *vswitch.Batch) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur == nil {
		b.Release()
	}
	for p.cur == nil && !p.closed {
		p.changed.Wait()
	}
	if p.closed {
		return nil
	}
	return p.cur
}

// Write implements vswitch.Port: frames wait in the connection's own queue until the peer takes them. A full queue takes no
// more, nor does a port without a peer; a frame that the link cannot carry is taken and counted in Stats.
func (p *Port) Write(_ int, frames []*vswitch.Frame) int {
	p.mu.Lock()
	c := p.cur
	p.mu.Unlock()
	if c == nil {
		return 0
	}
	return c.out.put(p, frames)
}

func (p *Port) carries(f *vswitch.Frame) bool {
	if f.GSO.Type == packet.GSONone && !f.GSO.NeedsCsum && len(f.Buf) >= packet.EthernetLen && len(f.Buf) <= packet.EthernetLen+p.cfg.MTU {
		return true
	}
	p.refused.Add(1)
	return false
}

// Close implements vswitch.Port: the socket, the connection and its queue are gone when it returns.
func (p *Port) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	c := p.cur
	p.cur = nil
	p.changed.Broadcast()
	p.mu.Unlock()
	p.cancel()
	if c != nil {
		c.close()
	}
	var err error
	if p.listen != nil {
		err = p.listen.Close()
	}
	p.wg.Wait()
	return err
}

// Stats returns the counters.
func (p *Port) Stats() Stats {
	return Stats{
		Connections: p.connections.Load(), Replaced: p.replaced.Load(), BadLength: p.badLength.Load(), Cut: p.cut.Load(), Refused: p.refused.Load(),
	}
}

// Counters gives the faults that Stats counts, by name.
func (p *Port) Counters() map[string]uint64 { return p.Stats().Counters() }
