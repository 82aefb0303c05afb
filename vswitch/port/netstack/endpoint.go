package netstack

import (
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// endpoint is the stack's end of the link. Unlike gVisor's channel.Endpoint its outbound queue makes
// the sender wait where it is full: a stack that loses its own frames loses throughput by retransmission.
//
// That cannot deadlock with the inbound queue, whose only goroutine may itself wait here to send an
// answer: the switch drains the outbound queue without ever waiting for the inbound one.
type endpoint struct {
	out  chan *stack.PacketBuffer // from the stack; holds one reference each
	in   chan *stack.PacketBuffer // to the stack; holds one reference each
	done chan struct{}            // closed once
	once sync.Once
	wg   sync.WaitGroup // the deliverer

	mu      sync.RWMutex
	started bool
	disp    stack.NetworkDispatcher // nil while detached
	mtu     uint32
	addr    tcpip.LinkAddress
	onClose func()
}

var _ stack.LinkEndpoint = (*endpoint)(nil)

func newEndpoint(p *Port) *endpoint {
	return &endpoint{
		out:  make(chan *stack.PacketBuffer, p.cfg.Depth),
		in:   make(chan *stack.PacketBuffer, p.cfg.Depth),
		done: make(chan struct{}),
		mtu:  uint32(p.cfg.MTU),
		addr: tcpip.LinkAddress(p.cfg.MAC[:]),
	}
}

// WritePackets implements stack.LinkWriter. It waits while the queue is full.
func (e *endpoint) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	n := 0
	for _, pkt := range pkts.AsSlice() {
		pkt.IncRef()
		select {
		case e.out <- pkt:
			n++
		case <-e.done:
			pkt.DecRef()
			return n, &tcpip.ErrClosedForSend{}
		}
	}
	return n, nil
}

// deliver hands what the switch wrote to the stack, one frame after the other, until the link is shut.
func (e *endpoint) deliver() {
	defer e.wg.Done()
	for {
		select {
		case <-e.done:
			return
		case pkt := <-e.in:
			e.deliverOne(pkt)
			pkt.DecRef()
		}
	}
}

func (e *endpoint) deliverOne(pkt *stack.PacketBuffer) {
	e.mu.RLock()
	disp := e.disp
	e.mu.RUnlock()
	if disp == nil || !e.ParseHeader(pkt) {
		return
	}
	eth := header.Ethernet(pkt.LinkHeader().Slice())
	switch dst := eth.DestinationAddress(); {
	case dst == header.EthernetBroadcastAddress:
		pkt.PktType = tcpip.PacketBroadcast
	case header.IsMulticastEthernetAddress(dst):
		pkt.PktType = tcpip.PacketMulticast
	default:
		pkt.PktType = tcpip.PacketHost
	}
	disp.DeliverNetworkPacket(eth.Type(), pkt)
}

func (e *endpoint) isShut() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// shut ends the link for good. Frames that still wait are let go.
func (e *endpoint) shut() {
	e.once.Do(func() { close(e.done) })
	drop(e.in)
	drop(e.out)
}

func drop(queue chan *stack.PacketBuffer) {
	for {
		select {
		case pkt := <-queue:
			pkt.DecRef()
		default:
			return
		}
	}
}

// Attach implements stack.LinkEndpoint.
func (e *endpoint) Attach(disp stack.NetworkDispatcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.disp = disp
	if disp != nil && !e.started {
		e.started = true
		e.wg.Add(1)
		go e.deliver()
	}
}

// IsAttached implements stack.LinkEndpoint.
func (e *endpoint) IsAttached() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.disp != nil
}

// Close implements stack.LinkEndpoint: the stack has removed the device.
func (e *endpoint) Close() {
	e.mu.Lock()
	onClose := e.onClose
	e.onClose = nil
	e.mu.Unlock()
	e.shut()
	if onClose != nil {
		onClose()
	}
}

// SetOnCloseAction implements stack.LinkEndpoint.
func (e *endpoint) SetOnCloseAction(fn func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onClose = fn
}

// Wait implements stack.LinkEndpoint: it returns when the deliverer has ended.
func (e *endpoint) Wait() { e.wg.Wait() }

// MTU implements stack.LinkEndpoint: without the Ethernet header.
func (e *endpoint) MTU() uint32 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.mtu
}

// SetMTU implements stack.LinkEndpoint.
func (e *endpoint) SetMTU(mtu uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mtu = mtu
}

// LinkAddress implements stack.LinkEndpoint.
func (e *endpoint) LinkAddress() tcpip.LinkAddress {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.addr
}

// SetLinkAddress implements stack.LinkEndpoint. The port goes on taking only frames to its configured address.
func (e *endpoint) SetLinkAddress(addr tcpip.LinkAddress) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addr = addr
}

// MaxHeaderLength implements stack.LinkEndpoint.
func (e *endpoint) MaxHeaderLength() uint16 { return header.EthernetMinimumSize }

// Capabilities implements stack.LinkEndpoint: neighbours are resolved, and nothing is offloaded.
func (e *endpoint) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityResolutionRequired
}

// ARPHardwareType implements stack.LinkEndpoint.
func (e *endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader implements stack.LinkEndpoint.
func (e *endpoint) AddHeader(pkt *stack.PacketBuffer) {
	header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize)).Encode(&header.EthernetFields{
		SrcAddr: pkt.EgressRoute.LocalLinkAddress,
		DstAddr: pkt.EgressRoute.RemoteLinkAddress,
		Type:    pkt.NetworkProtocolNumber,
	})
}

// ParseHeader implements stack.LinkEndpoint.
func (e *endpoint) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize)
	return ok
}
