package instances

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Network opens sockets in an instance's own network stack. Networks are "tcp" and "udp"; the
// family is the address's. An invalid netip.AddrPort as local address means any; a zero port means
// any port. Errors are sorted by ReasonOf. It is safe for concurrent use.
type Network interface {
	// Dial connects. A UDP connection reports a port-unreachable message as Refused on a later Read.
	Dial(ctx context.Context, network string, laddr, raddr netip.AddrPort) (net.Conn, error)
	Listen(network string, laddr netip.AddrPort) (net.Listener, error)
	ListenPacket(network string, laddr netip.AddrPort) (net.PacketConn, error)

	// Ping sends one echo request with the identifier, the sequence number and payload zero bytes,
	// and waits for its reply until ctx ends. An invalid src means the stack's choice. An ICMP error
	// that quotes the request is returned as *ICMPError.
	Ping(ctx context.Context, src, dst netip.Addr, id, seq uint16, payload int) (PingReply, error)
}

// PingReply is an echo reply.
type PingReply struct {
	From netip.Addr
	RTT  time.Duration
	TTL  uint8 // or hop limit, as it arrived; 0 where the stack does not tell
	Size int   // bytes of the ICMP message, header included
}
