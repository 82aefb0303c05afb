package netstack

import (
	"net"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// Config describes a link.
type Config struct {
	Name  string
	MTU   int // largest IP packet; 0 means 9001
	MAC   packet.MAC
	Depth int // frames that wait in each direction; 0 means 1024
}

// Stats counts frames that the port itself lost. What Write did not take is counted by its caller.
type Stats struct {
	Refused  uint64 // taken by Write, but unfinished, shorter than an Ethernet header, or larger than the MTU
	NotForUs uint64 // taken by Write, but to another station's unicast address: network cards ignore such frames
}

// Port is the switch's end of a link whose other end is a gVisor stack. All methods are safe for concurrent use.
type Port struct {
	cfg               Config
	link              *endpoint
	refused, notForUs atomic.Uint64
}

var _ vswitch.Port = (*Port)(nil)

// New returns an open link. Its stack's end is Endpoint.
func New(cfg Config) *Port {
	if cfg.MTU <= 0 {
		cfg.MTU = 9001
	}
	if cfg.Depth <= 0 {
		cfg.Depth = 1024
	}
	p := &Port{cfg: cfg}
	p.link = newEndpoint(p)
	return p
}

// Endpoint is the stack's end of the link: an Ethernet device, on which the stack resolves neighbours.
func (p *Port) Endpoint() stack.LinkEndpoint { return p.link }

// Name implements vswitch.Port.
func (p *Port) Name() string { return p.cfg.Name }

// MTU implements vswitch.Port.
func (p *Port) MTU() int { return p.cfg.MTU }

// Offload implements vswitch.Port: the stack gets finished wire frames.
func (p *Port) Offload() vswitch.Offload { return vswitch.Offload{} }

// Queues implements vswitch.Port.
func (p *Port) Queues() int { return 1 }

// Read implements vswitch.Port: it takes what the stack has sent.
func (p *Port) Read(_ int, b *vswitch.Batch) error {
	for b.Len() == 0 {
		select {
		case <-p.link.done:
			b.Release()
			return net.ErrClosed
		case pkt := <-p.link.out:
			commit(b, pkt)
		}
	}
	for p.takeOne(b) {
	}
	return nil
}

// TryRead adds to b what the stack has sent, without blocking, and returns how many frames that were.
func (p *Port) TryRead(b *vswitch.Batch) int {
	before := b.Len()
	for p.takeOne(b) {
	}
	return b.Len() - before
}

// takeOne moves one frame into b, if there is one and room for it.
func (p *Port) takeOne(b *vswitch.Batch) bool {
	if b.Next() == nil {
		return false
	}
	select {
	case pkt := <-p.link.out:
		commit(b, pkt)
		return true
	default:
		return false
	}
}

// commit copies a packet that the stack has sent into the batch, and drops the reference to it.
func commit(b *vswitch.Batch, pkt *stack.PacketBuffer) {
	defer pkt.DecRef()
	room := b.Next()
	n := 0
	views, skip := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		part := v.AsSlice()
		if skip >= len(part) {
			skip -= len(part)
			continue
		}
		n += copy(room[n:], part[skip:])
		skip = 0
	}
	b.Commit(n, packet.GSO{})
}

// Write implements vswitch.Port: frames wait in the link's own queue until the stack takes them. A
// full queue takes no more; a frame that the link cannot carry is taken and counted in Stats.
func (p *Port) Write(_ int, frames []*vswitch.Frame) int {
	if p.link.isShut() {
		return 0
	}
	for i, f := range frames {
		if !p.deliverable(f) {
			continue
		}
		if len(p.link.in) == cap(p.link.in) || !p.link.enqueue(f.Buf) {
			return i
		}
	}
	return len(frames)
}

func (p *Port) deliverable(f *vswitch.Frame) bool {
	if f.GSO.Type != packet.GSONone || f.GSO.NeedsCsum || len(f.Buf) < header.EthernetMinimumSize || len(f.Buf) > header.EthernetMinimumSize+p.cfg.MTU {
		p.refused.Add(1)
		return false
	}
	if dst := packet.MAC(f.Buf[:6]); dst != p.cfg.MAC && dst[0]&1 == 0 {
		p.notForUs.Add(1)
		return false
	}
	return true
}

// enqueue copies a frame for the stack; false means that there is no room. What comes in while the link is
// being shut is let go with the link.
func (e *endpoint) enqueue(frame []byte) bool {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	select {
	case e.in <- pkt:
		return true
	default:
		pkt.DecRef()
		return false
	}
}

// Close implements vswitch.Port: Read and waiting senders return, the stack's sends fail.
func (p *Port) Close() error {
	p.link.shut()
	return nil
}

// Stats returns the counters.
func (p *Port) Stats() Stats {
	return Stats{Refused: p.refused.Load(), NotForUs: p.notForUs.Load()}
}
