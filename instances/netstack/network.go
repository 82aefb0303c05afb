package netstack

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// network implements instances.Network on a gVisor stack.
type network struct{ stack *stack.Stack }

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
	return &tcpConn{TCPConn: gonet.NewTCPConn(&wq, ep)}, nil
}

func (n *network) dialUDP(laddr, raddr netip.AddrPort) (net.Conn, error) {
	var local *tcpip.FullAddress
	if f := full(laddr); f != (tcpip.FullAddress{}) {
		local = &f
	}
	remote := full(raddr)
	c, err := gonet.DialUDP(n.stack, local, &remote, protocolOf(raddr.Addr()))
	if err != nil {
		return nil, translate(err)
	}
	return &udpConn{UDPConn: c}, nil
}

// Listen implements instances.Network.
func (n *network) Listen(network string, laddr netip.AddrPort) (net.Listener, error) {
	if network != "tcp" {
		return nil, net.UnknownNetworkError(network)
	}
	l, err := gonet.ListenTCP(n.stack, full(laddr), n.family(laddr))
	if err != nil {
		return nil, translate(err)
	}
	return &listener{TCPListener: l}, nil
}

// ListenPacket implements instances.Network.
func (n *network) ListenPacket(network string, laddr netip.AddrPort) (net.PacketConn, error) {
	if network != "udp" {
		return nil, net.UnknownNetworkError(network)
	}
	local := full(laddr)
	c, err := gonet.DialUDP(n.stack, &local, nil, n.family(laddr))
	if err != nil {
		return nil, translate(err)
	}
	return &udpConn{UDPConn: c}, nil
}

// family is the address's, IPv4 for an invalid one.
func (n *network) family(ap netip.AddrPort) tcpip.NetworkProtocolNumber {
	if !ap.Addr().IsValid() {
		return protocolOf(netip.IPv4Unspecified())
	}
	return protocolOf(ap.Addr().Unmap())
}
