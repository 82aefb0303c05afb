package instances

import (
	"context"
	"net/netip"
	"time"
)

// ProbeTCP connects from laddr (see Network) to raddr and closes at once. The error's reason tells
// Refused (the host answered), TimedOut (nobody did before ctx ended) and Unreachable apart.
func ProbeTCP(ctx context.Context, n Network, laddr, raddr netip.AddrPort) (time.Duration, error) {
	start := time.Now()
	c, err := n.Dial(ctx, "tcp", laddr, raddr)
	if err != nil {
		return 0, err
	}
	rtt := time.Since(start)
	return rtt, c.Close()
}

// ProbeUDP sends one datagram and waits for any answer until ctx ends. Reason Refused means that an
// ICMP port unreachable came back, TimedOut that nothing did.
func ProbeUDP(ctx context.Context, n Network, laddr, raddr netip.AddrPort, payload []byte) (time.Duration, error) {
	c, err := n.Dial(ctx, "udp", laddr, raddr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	start := time.Now()
	if _, err := c.Write(payload); err != nil {
		return 0, err
	}
	var buf [2048]byte
	if _, err := c.Read(buf[:]); err != nil {
		if ctx.Err() != nil && ReasonOf(err) == TimedOut {
			err = ctx.Err()
		}
		return 0, err
	}
	return time.Since(start), nil
}
