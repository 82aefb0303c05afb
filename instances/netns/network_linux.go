package netns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
)

// network implements instances.Network on the kernel's stack in a namespace. A socket belongs to the
// namespace it was made in, so only its making has to happen inside.
type network struct {
	space *space
	zone  string
}

// Keep-alives are off: each would be a packet in the flow logs that nobody sent.
const noKeepAlive = -1

func familyOf(network string, a netip.Addr) string {
	switch {
	case !a.IsValid():
		return network
	case a.Unmap().Is4():
		return network + "4"
	}
	return network + "6"
}

// zoned gives a link-local address eth0's zone. The number, since Go remembers names without regard to namespaces.
func (n *network) zoned(ap netip.AddrPort) netip.AddrPort {
	a := ap.Addr().Unmap()
	if a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" {
		a = a.WithZone(n.zone)
	}
	return netip.AddrPortFrom(a, ap.Port())
}

// reuse lets a probe use the same local port again while the last connection from it is in TIME-WAIT.
func reuse(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }); cerr != nil {
		return cerr
	}
	return err
}

// Dial implements instances.Network.
func (n *network) Dial(ctx context.Context, network string, laddr, raddr netip.AddrPort) (c net.Conn, err error) {
	if !raddr.Addr().IsValid() {
		return nil, fmt.Errorf("dial %s: invalid address", network)
	}
	d := net.Dialer{KeepAlive: noKeepAlive}
	laddr, raddr = n.zoned(laddr), n.zoned(raddr)
	switch {
	case network != "tcp" && network != "udp":
		return nil, net.UnknownNetworkError(network)
	case !laddr.Addr().IsValid() && laddr.Port() == 0:
	case network == "tcp":
		d.LocalAddr, d.Control = &net.TCPAddr{IP: laddr.Addr().AsSlice(), Zone: laddr.Addr().Zone(), Port: int(laddr.Port())}, reuse
	default:
		d.LocalAddr = &net.UDPAddr{IP: laddr.Addr().AsSlice(), Zone: laddr.Addr().Zone(), Port: int(laddr.Port())}
	}
	err = n.space.do(func() error {
		c, err = d.DialContext(ctx, familyOf(network, raddr.Addr()), raddr.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Listen implements instances.Network.
func (n *network) Listen(network string, laddr netip.AddrPort) (l net.Listener, err error) {
	if network != "tcp" {
		return nil, net.UnknownNetworkError(network)
	}
	lc := net.ListenConfig{KeepAlive: noKeepAlive}
	lc.SetMultipathTCP(false)
	err = n.space.do(func() error {
		l, err = lc.Listen(context.Background(), familyOf(network, laddr.Addr()), listenAddr(n.zoned(laddr)))
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ListenPacket implements instances.Network.
func (n *network) ListenPacket(network string, laddr netip.AddrPort) (c net.PacketConn, err error) {
	if network != "udp" {
		return nil, net.UnknownNetworkError(network)
	}
	err = n.space.do(func() error {
		c, err = new(net.ListenConfig).ListenPacket(context.Background(), familyOf(network, laddr.Addr()), listenAddr(n.zoned(laddr)))
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func listenAddr(ap netip.AddrPort) string {
	if !ap.Addr().IsValid() {
		return fmt.Sprintf(":%d", ap.Port())
	}
	return ap.String()
}

// Ping implements instances.Network with a raw socket, on which the identifier is free to choose.
func (n *network) Ping(ctx context.Context, src, dst netip.Addr, id, seq uint16, payload int) (instances.PingReply, error) {
	dst = n.zoned(netip.AddrPortFrom(dst, 0)).Addr()
	c, err := n.rawICMP(ctx, src, dst)
	if err != nil {
		return instances.PingReply{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	echo := instances.Echo{Dst: dst, ID: id, Seq: seq, Payload: payload}
	start := time.Now()
	if _, err := c.WriteTo(echo.Marshal(), &net.IPAddr{IP: dst.AsSlice(), Zone: dst.Zone()}); err != nil {
		return instances.PingReply{}, err
	}
	reply, err := awaitEcho(c, echo, start)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return reply, err
}

func (n *network) rawICMP(ctx context.Context, src, dst netip.Addr) (c *net.IPConn, err error) {
	network, local := "ip4:1", "0.0.0.0"
	if dst.Is6() {
		network, local = "ip6:58", "::"
	}
	if src.IsValid() {
		local = src.Unmap().String()
	}
	lc := net.ListenConfig{}
	if dst.Is6() {
		lc.Control = receiveHopLimit
	}
	err = n.space.do(func() error {
		pc, err := lc.ListenPacket(ctx, network, local)
		if err == nil {
			c = pc.(*net.IPConn)
		}
		return err
	})
	return c, err
}

func receiveHopLimit(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1) }); cerr != nil {
		return cerr
	}
	return err
}

// awaitEcho reads ICMP messages until one answers the request or the deadline comes.
func awaitEcho(c *net.IPConn, echo instances.Echo, start time.Time) (instances.PingReply, error) {
	buf := make([]byte, 1<<16)
	oob := make([]byte, 128)
	for {
		n, oobn, _, from, err := c.ReadMsgIP(buf, oob)
		if err != nil {
			return instances.PingReply{}, err
		}
		msg, ttl := buf[:n], hopLimit(oob[:oobn])
		if echo.Dst.Is4() { // with its IP header
			if n < 20 {
				continue
			}
			ttl, msg = msg[8], msg[min(int(msg[0]&15)*4, n):]
		}
		addr, _ := netip.AddrFromSlice(from.IP)
		if matched, err := echo.Match(addr, msg); matched {
			return instances.PingReply{From: addr.Unmap(), RTT: time.Since(start), TTL: ttl, Size: len(msg)}, err
		}
	}
}

func hopLimit(oob []byte) uint8 {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range msgs {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) > 0 {
			return m.Data[0]
		}
	}
	return 0
}
