package netns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
)

// network implements instances.Network on the kernel's stack in a namespace. A socket belongs to the
// namespace it was made in, so only its making has to happen inside; see belong.
type network struct {
	space space
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
	return onSocket(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
}

func onSocket(c syscall.RawConn, fn func(fd int) error) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = fn(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// belong is what the net package calls before it binds or connects a socket that it has made, here and not in the
// namespace: one like it is made there and takes over its descriptor.
func (n *network) belong(_, _ string, c syscall.RawConn) error {
	return onSocket(c, func(fd int) error {
		var like [3]int
		for i, what := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL} {
			v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, what)
			if err != nil {
				return os.NewSyscallError("getsockopt", err)
			}
			like[i] = v
		}
		made, err := n.space.socket(like[0], like[1], like[2])
		if err != nil {
			return err
		}
		defer made.Close()
		raw, err := made.SyscallConn()
		if err != nil {
			return err
		}
		return onSocket(raw, func(other int) error {
			copyOptions(other, fd, like[0])
			return os.NewSyscallError("dup3", unix.Dup3(other, fd, unix.O_CLOEXEC))
		})
	})
}

// copyOptions gives a socket the options that the net package has set so far.
func copyOptions(to, from, domain int) {
	options := [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_BROADCAST}}
	if domain == unix.AF_INET6 {
		options = append(options, [2]int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY})
	}
	for _, o := range options {
		if v, err := unix.GetsockoptInt(from, o[0], o[1]); err == nil {
			_ = unix.SetsockoptInt(to, o[0], o[1], v)
		}
	}
}

// Dial implements instances.Network.
func (n *network) Dial(ctx context.Context, network string, laddr, raddr netip.AddrPort) (net.Conn, error) {
	if !raddr.Addr().IsValid() {
		return nil, fmt.Errorf("dial %s: invalid address", network)
	}
	d := net.Dialer{KeepAlive: noKeepAlive, Control: n.belong}
	laddr, raddr = n.zoned(laddr), n.zoned(raddr)
	switch {
	case network != "tcp" && network != "udp":
		return nil, net.UnknownNetworkError(network)
	case !laddr.Addr().IsValid() && laddr.Port() == 0:
	case network == "tcp":
		d.LocalAddr, d.Control = &net.TCPAddr{IP: laddr.Addr().AsSlice(), Zone: laddr.Addr().Zone(), Port: int(laddr.Port())}, n.belongAgain
	default:
		d.LocalAddr = &net.UDPAddr{IP: laddr.Addr().AsSlice(), Zone: laddr.Addr().Zone(), Port: int(laddr.Port())}
	}
	return d.DialContext(ctx, familyOf(network, raddr.Addr()), raddr.String())
}

// belongAgain is belong for a local port that may have been used just before.
func (n *network) belongAgain(network, address string, c syscall.RawConn) error {
	if err := n.belong(network, address, c); err != nil {
		return err
	}
	return reuse(network, address, c)
}

// Listen implements instances.Network.
func (n *network) Listen(network string, laddr netip.AddrPort) (net.Listener, error) {
	if network != "tcp" {
		return nil, net.UnknownNetworkError(network)
	}
	lc := net.ListenConfig{KeepAlive: noKeepAlive, Control: n.belong}
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), familyOf(network, laddr.Addr()), listenAddr(n.zoned(laddr)))
}

// ListenPacket implements instances.Network.
func (n *network) ListenPacket(network string, laddr netip.AddrPort) (net.PacketConn, error) {
	if network != "udp" {
		return nil, net.UnknownNetworkError(network)
	}
	lc := net.ListenConfig{Control: n.belong}
	return lc.ListenPacket(context.Background(), familyOf(network, laddr.Addr()), listenAddr(n.zoned(laddr)))
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
	c, err := n.rawICMP(src, dst)
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

// rawICMP opens a raw socket, which the net package itself cannot do in this process without root.
func (n *network) rawICMP(src, dst netip.Addr) (*net.IPConn, error) {
	domain, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if dst.Is6() {
		domain, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	f, err := n.space.socket(domain, unix.SOCK_RAW, protocol)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	err = onSocket(raw, func(fd int) error {
		if dst.Is6() {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1); err != nil {
				return os.NewSyscallError("setsockopt", err)
			}
		}
		if !src.IsValid() {
			return nil
		}
		return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(n.zoned(netip.AddrPortFrom(src, 0)).Addr())))
	})
	if err != nil {
		return nil, err
	}
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	ip, ok := c.(*net.IPConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%T is no raw socket", c)
	}
	return ip, nil
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	zone, _ := strconv.ParseUint(a.Zone(), 10, 32) // always a number here
	return &unix.SockaddrInet6{Addr: a.As16(), ZoneId: uint32(zone)}
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
