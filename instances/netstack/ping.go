package netstack

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/vpclab/vpclab/instances"
)

// Ping implements instances.Network with a raw endpoint, the only kind that is shown ICMP errors.
func (n *network) Ping(ctx context.Context, src, dst netip.Addr, id, seq uint16, payload int) (instances.PingReply, error) {
	dst = dst.Unmap()
	trans := header.ICMPv4ProtocolNumber
	if dst.Is6() {
		trans = header.ICMPv6ProtocolNumber
	}
	fail := func(op string, err tcpip.Error) (instances.PingReply, error) {
		return instances.PingReply{}, &net.OpError{Op: op, Net: "icmp", Addr: &net.IPAddr{IP: dst.AsSlice()}, Err: errnoOf(err)}
	}
	var wq waiter.Queue
	ep, terr := n.stack.NewRawEndpoint(trans, protocolOf(dst), &wq, true)
	if terr != nil {
		return fail("socket", terr)
	}
	defer ep.Close()
	ep.SocketOptions().SetReceiveTTL(true)
	ep.SocketOptions().SetReceiveHopLimit(true)
	if src.IsValid() {
		if terr := ep.Bind(full(netip.AddrPortFrom(src, 0))); terr != nil {
			return fail("bind", terr)
		}
	}
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)

	echo := instances.Echo{Dst: dst, ID: id, Seq: seq, Payload: payload}
	to := full(netip.AddrPortFrom(dst, 0))
	if !dst.IsLoopback() {
		to.NIC = ethernetNIC // else gVisor takes our own IPv4 addresses to lo, which gives no echo for them
	}
	start := time.Now()
	if _, terr := ep.Write(bytes.NewReader(echo.Marshal()), tcpip.WriteOptions{To: &to}); terr != nil {
		return fail("write", terr)
	}
	return awaitEcho(ctx, ep, ready, echo, start)
}

// awaitEcho reads ICMP messages until one answers the request.
func awaitEcho(ctx context.Context, ep tcpip.Endpoint, ready <-chan struct{}, echo instances.Echo, start time.Time) (instances.PingReply, error) {
	for {
		var buf bytes.Buffer
		res, terr := ep.Read(&buf, tcpip.ReadOptions{NeedRemoteAddr: true})
		if _, ok := terr.(*tcpip.ErrWouldBlock); ok {
			select {
			case <-ctx.Done():
				return instances.PingReply{}, ctx.Err()
			case <-ready:
			}
			continue
		}
		if terr != nil {
			return instances.PingReply{}, errnoOf(terr)
		}
		from, _ := netip.AddrFromSlice(res.RemoteAddr.Addr.AsSlice())
		msg := buf.Bytes()
		ttl := uint8(res.ControlMessages.HopLimit)
		if echo.Dst.Is4() { // with its IP header
			if len(msg) < header.IPv4MinimumSize {
				continue
			}
			ttl = header.IPv4(msg).TTL()
			msg = msg[min(int(header.IPv4(msg).HeaderLength()), len(msg)):]
		}
		if matched, err := echo.Match(from, msg); matched {
			return instances.PingReply{From: from, RTT: time.Since(start), TTL: ttl, Size: len(msg)}, err
		}
	}
}
