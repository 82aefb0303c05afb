package netstack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// network implements instances.Network on a gVisor stack.
type network struct {
	stack *stack.Stack

	mu        sync.Mutex
	listeners map[bound]struct{} // the open TCP ones
}

// bound is what a listener holds.
type bound struct {
	proto tcpip.NetworkProtocolNumber
	addr  tcpip.Address // unspecified: all
	port  uint16
}

// full turns an address into gVisor's form. The zero address stays unspecified; a link-local one is eth0's.
func full(ap netip.AddrPort) tcpip.FullAddress {
	a := ap.Addr().Unmap()
	f := tcpip.FullAddress{Port: ap.Port()}
	if a.IsValid() && !a.IsUnspecified() {
		f.Addr = addrOf(a.WithZone(""))
	}
	if a.IsLinkLocalUnicast() && a.Is6() {
		f.NIC = ethernetNIC
	}
	return f
}

func addrError(op, network string, ap netip.AddrPort, err tcpip.Error) error {
	var addr net.Addr = net.TCPAddrFromAddrPort(ap)
	if network == "udp" {
		addr = net.UDPAddrFromAddrPort(ap)
	}
	return &net.OpError{Op: op, Net: network, Addr: addr, Err: errnoOf(err)}
}

// Dial implements instances.Network.
func (n *network) Dial(ctx context.Context, network string, laddr, raddr netip.AddrPort) (net.Conn, error) {
	raddr = netip.AddrPortFrom(raddr.Addr().Unmap(), raddr.Port())
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch {
	case !raddr.Addr().IsValid():
		return nil, fmt.Errorf("dial %s: invalid address", network)
	case network == "tcp":
		return n.dialTCP(ctx, laddr, raddr)
	case network == "udp":
		return n.dialUDP(laddr, raddr)
	}
	return nil, net.UnknownNetworkError(network)
}

func (n *network) dialTCP(ctx context.Context, laddr, raddr netip.AddrPort) (net.Conn, error) {
	var wq waiter.Queue
	ep, terr := n.stack.NewEndpoint(tcp.ProtocolNumber, protocolOf(raddr.Addr()), &wq)
	if terr != nil {
		return nil, addrError("dial", "tcp", raddr, terr)
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	if local := full(laddr); local != (tcpip.FullAddress{}) {
		ep.SocketOptions().SetReuseAddress(true)
		terr = ep.Bind(local)
	}
	if terr == nil {
		terr = ep.Connect(full(raddr))
	}
	if _, ok := terr.(*tcpip.ErrConnectStarted); ok {
		select {
		case <-ctx.Done():
			ep.Abort() // no FIN, no more SYN
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(raddr), Err: ctx.Err()}
		case <-ready:
			terr = ep.LastError()
		}
	}
	if terr != nil {
		ep.Close()
		return nil, addrError("dial", "tcp", raddr, terr)
	}
	return &tcpConn{TCPConn: gonet.NewTCPConn(&wq, ep), ep: ep}, nil
}

func (n *network) dialUDP(laddr, raddr netip.AddrPort) (net.Conn, error) {
	c, ep, err := n.socketUDP(protocolOf(raddr.Addr()))
	if err != nil {
		return nil, err
	}
	var terr tcpip.Error
	if local := full(laddr); local != (tcpip.FullAddress{}) {
		terr = ep.Bind(local)
	}
	if terr == nil {
		terr = ep.Connect(full(raddr))
	}
	if terr != nil {
		ep.Close()
		return nil, addrError("dial", "udp", raddr, terr)
	}
	return c, nil
}

// socketUDP makes a socket of one family only: an IPv6 one takes no IPv4, as Go has it on the kernel.
func (n *network) socketUDP(proto tcpip.NetworkProtocolNumber) (*udpConn, tcpip.Endpoint, error) {
	wq := new(waiter.Queue)
	ep, terr := n.stack.NewEndpoint(udp.ProtocolNumber, proto, wq)
	if terr != nil {
		return nil, nil, errnoOf(terr)
	}
	ep.SocketOptions().SetV6Only(true)
	// gonet's readers wait for data only: wake them when an ICMP error is there to be read. Not from
	// within the notification, which holds the queue's lock.
	entry := waiter.NewFunctionEntry(waiter.EventErr, func(waiter.EventMask) { go wq.Notify(waiter.ReadableEvents) })
	wq.EventRegister(&entry)
	return &udpConn{UDPConn: gonet.NewUDPConn(wq, ep), v6: proto == ipv6.ProtocolNumber}, ep, nil
}

// listenBacklog is Linux's default (net.core.somaxconn).
const listenBacklog = 4096

// Listen implements instances.Network.
func (n *network) Listen(network string, laddr netip.AddrPort) (net.Listener, error) {
	if network != "tcp" {
		return nil, net.UnknownNetworkError(network)
	}
	proto := familyOf(laddr)
	wq := new(waiter.Queue)
	ep, terr := n.stack.NewEndpoint(tcp.ProtocolNumber, proto, wq)
	if terr != nil {
		return nil, errnoOf(terr)
	}
	ep.SocketOptions().SetV6Only(true)
	ep.SocketOptions().SetReuseAddress(true) // connections in TIME-WAIT do not hold the port
	n.mu.Lock()
	defer n.mu.Unlock()
	at := bound{proto, full(laddr).Addr, laddr.Port()}
	if n.listens(at) {
		terr = &tcpip.ErrPortInUse{}
	} else if terr = ep.Bind(full(laddr)); terr == nil {
		terr = ep.Listen(listenBacklog)
	}
	if terr != nil {
		ep.Close()
		return nil, addrError("listen", "tcp", laddr, terr)
	}
	if local, err := ep.GetLocalAddress(); err == nil {
		at.port = local.Port
	}
	return &listener{TCPListener: gonet.NewTCPListener(n.stack, wq, ep), v6: proto == ipv6.ProtocolNumber, done: n.listening(at)}, nil
}

// listens says whether a listener is in the way of at: gVisor, other than Linux, lets a second one with
// SO_REUSEADDR share its port.
func (n *network) listens(at bound) bool {
	for b := range n.listeners {
		if b.port == at.port && b.proto == at.proto && (b.addr == at.addr || b.addr.Unspecified() || at.addr.Unspecified()) {
			return true
		}
	}
	return false
}

// listening notes a listener and returns what forgets it.
func (n *network) listening(at bound) func() {
	if n.listeners == nil {
		n.listeners = map[bound]struct{}{}
	}
	n.listeners[at] = struct{}{}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, at)
	}
}

// ListenPacket implements instances.Network.
func (n *network) ListenPacket(network string, laddr netip.AddrPort) (net.PacketConn, error) {
	if network != "udp" {
		return nil, net.UnknownNetworkError(network)
	}
	c, ep, err := n.socketUDP(familyOf(laddr))
	if err != nil {
		return nil, err
	}
	if terr := ep.Bind(full(laddr)); terr != nil {
		ep.Close()
		return nil, addrError("listen", "udp", laddr, terr)
	}
	return c, nil
}

// familyOf is the address's, IPv4 for an invalid one.
func familyOf(ap netip.AddrPort) tcpip.NetworkProtocolNumber {
	if !ap.Addr().IsValid() {
		return protocolOf(netip.IPv4Unspecified())
	}
	return protocolOf(ap.Addr().Unmap())
}
