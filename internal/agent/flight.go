package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/lab"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
)

// How long real packets are waited for.
const (
	answerTimeout = time.Second            // the answer to a probe
	settleTimeout = 200 * time.Millisecond // the last packets of a connection that ends
	pollEvery     = 2 * time.Millisecond   // the flow table, for a verdict that makes waiting pointless
	rejectGrace   = 20 * time.Millisecond  // after a verdict against it, for what else is on its way
)

// flight is one flow that the agent itself makes from an instance, and what is seen of it.
type flight struct {
	n        *node
	from     *running
	vpcID    string
	tuple    packet.Tuple
	src, dst netip.AddrPort
	toENI    string // "" if nobody has the destination
	conn     net.Conn
	timeout  time.Duration
}

// ephemeral is the last source port or ICMP identifier that a flight took; so the tuple is known before
// the first packet. The range is Linux's (net.ipv4.ip_local_port_range).
var ephemeral atomic.Uint32

func nextPort() uint16 { return uint16(32768 + ephemeral.Add(1)%28232) }

// newFlight prepares a flow; nothing is sent yet. proto is TCP, UDP or ICMP (also for IPv6).
func (n *node) newFlight(from *running, port uint16, dst netip.AddrPort, proto uint8) (*flight, error) {
	if err := sealed(from); err != nil {
		return nil, err
	}
	view := n.store.View()
	ni, ok := view.NetworkInterface(from.eni)
	if !ok {
		return nil, fmt.Errorf("network interface %s is gone", from.eni)
	}
	f := &flight{n: n, from: from, vpcID: ni.VPCID, dst: dst, timeout: answerTimeout}
	own := ni.Addresses
	if dst.Addr().Is6() {
		own = ni.Addresses6
	}
	if len(own) == 0 {
		return nil, fmt.Errorf("instance has no address of the family of %s", dst.Addr())
	}
	if port == 0 {
		port = nextPort()
	}
	f.src = netip.AddrPortFrom(own[0], port)
	f.tuple = packet.Tuple{Src: packet.AddrFrom(own[0]), Dst: packet.AddrFrom(dst.Addr()), SrcPort: port, DstPort: dst.Port(), Proto: proto}
	if proto == packet.ProtoICMP {
		f.tuple.DstPort = packet.ICMPEchoRequest << 8
		if dst.Addr().Is6() {
			f.tuple.Proto, f.tuple.DstPort = packet.ProtoICMPv6, packet.ICMPv6EchoRequest<<8
		}
	}
	if to, ok := view.NetworkInterfaceByAddr(ni.VPCID, dst.Addr()); ok {
		f.toENI = to.ID
	}
	return f, nil
}

// sighting is what came of an act of a flight.
type sighting struct {
	outcome lab.Outcome
	detail  string
	rtt     time.Duration
	records []flowlogs.Record // counts of this act alone
}

// watch runs act and sees what comes of it. It ends act early when a verdict makes waiting pointless.
func (f *flight) watch(ctx context.Context, act func(context.Context) (time.Duration, error)) (*sighting, error) {
	f.n.sw.DrainRecords()
	sub := f.n.records.Subscribe(flowlogs.Subscribe{Live: true, Filter: f.filter()})
	defer sub.Close()
	bounded, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	rejected := make(chan struct{})
	go func() {
		defer close(rejected)
		f.awaitReject(bounded, cancel)
	}()
	rtt, err := act(bounded)
	cancel()
	<-rejected
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s := &sighting{rtt: rtt}
	f.classify(s, err)
	f.settle(ctx)
	f.n.sw.DrainRecords()
	s.records = taken(sub)
	return s, nil
}

// awaitReject cancels when some interface rejects the flow.
func (f *flight) awaitReject(ctx context.Context, cancel func()) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if f.rejected() {
			select {
			case <-ctx.Done():
			case <-time.After(rejectGrace):
			}
			cancel()
			return
		}
	}
}

// rejected tells whether a verdict on the flow is against it.
func (f *flight) rejected() bool {
	for _, v := range f.verdicts() {
		if v.Reason.Rejected() {
			return true
		}
	}
	return false
}

// verdict is one interface's word on one direction of a flight.
type verdict struct {
	vswitch.DirectionState
	eni     string
	dir     vpc.Direction
	tracked bool // the half's connection is
	opener  vpc.Direction
}

// verdicts lists what the interfaces say, in the order in which a packet and its answer meet them.
func (f *flight) verdicts() []verdict {
	out := make([]verdict, 0, 4)
	add := func(h vswitch.HalfState, d vpc.Direction) {
		s := h.In
		if d == vpc.Egress {
			s = h.Out
		}
		if s.Known {
			out = append(out, verdict{s, h.Interface, d, h.Tracked, h.Opener})
		}
	}
	near, haveNear := f.n.sw.Half(f.from.eni, f.tuple, vpc.Egress)
	if haveNear {
		add(near, vpc.Egress)
	}
	if far, ok := f.n.sw.Half(f.toENI, f.tuple, vpc.Ingress); ok {
		add(far, vpc.Ingress)
		add(far, vpc.Egress)
	}
	if haveNear {
		add(near, vpc.Ingress)
	}
	return out
}

// classify says what err means, with what the switch knows.
func (f *flight) classify(s *sighting, err error) {
	why := instances.ReasonOf(err)
	switch {
	case err == nil:
		s.outcome = lab.Answered
	case f.rejected():
		s.outcome = lab.Rejected
	case why == instances.Refused || why == instances.Reset:
		s.outcome, s.detail = lab.Refused, "refused by the host"
	default:
		f.explainLoss(s, err)
	}
}

// explainLoss tells a packet that the switch could not forward from one that got no answer.
func (f *flight) explainLoss(s *sighting, err error) {
	s.outcome, s.detail = lab.Lost, fmt.Sprintf("no answer in %v", f.timeout)
	if instances.ReasonOf(err) != instances.TimedOut && !errors.Is(err, context.Canceled) {
		s.detail = err.Error()
	}
	x, xerr := f.n.sw.Explain(vswitch.Question{
		Interface: f.from.eni, Dst: f.dst.Addr(), Protocol: f.tuple.Proto, SrcPort: f.tuple.SrcPort, DstPort: f.tuple.DstPort,
	})
	if xerr == nil && x.Forward.Reason.Dropped() {
		s.outcome, s.detail = lab.Dropped, describeDrop(x.Forward.Reason)
	}
}

// settle waits until a connection that ends has ended, so that its last packets are counted.
func (f *flight) settle(ctx context.Context) {
	if f.tuple.Proto != packet.ProtoTCP || f.conn != nil {
		return
	}
	deadline := time.Now().Add(settleTimeout)
	for ctx.Err() == nil && time.Now().Before(deadline) {
		h, ok := f.n.sw.Half(f.from.eni, f.tuple, vpc.Egress)
		if !ok || h.Rejected || h.State == "TIME_WAIT" || h.State == "CLOSE" || h.State == "SYN_SENT" {
			return
		}
		time.Sleep(pollEvery)
	}
}

func (f *flight) filter() flowlogs.Filter {
	host := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
	return flowlogs.Filter{VPCIDs: []string{f.vpcID}, Addresses: []netip.Prefix{host(f.src.Addr())}, Protocols: []uint8{f.tuple.Proto}, FlowsOnly: true}
}

// mine tells whether a record is of this flight, in either orientation. ICMP's records have no ports.
func (f *flight) mine(r *flowlogs.Record) bool {
	t := f.logged()
	return r.Tuple == t || r.Tuple == t.Reverse()
}

// logged is the flight's own way as records have it: those of ICMP have no ports.
func (f *flight) logged() packet.Tuple {
	t := f.tuple
	if t.Proto == packet.ProtoICMP || t.Proto == packet.ProtoICMPv6 {
		t.SrcPort, t.DstPort = 0, 0
	}
	return t
}

// taken empties a subscription.
func taken(sub *flowlogs.Subscription) []flowlogs.Record {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	b, err := sub.Next(done)
	if err != nil {
		return nil
	}
	return b.Records
}

// once is a whole probe: one TCP connection, one datagram or one echo request.
func (f *flight) once(ctx context.Context) (time.Duration, error) {
	net := f.from.Net()
	switch f.tuple.Proto {
	case packet.ProtoTCP:
		return instances.ProbeTCP(ctx, net, f.src, f.dst)
	case packet.ProtoUDP:
		return instances.ProbeUDP(ctx, net, f.src, f.dst, []byte("vpclab probe\n"))
	}
	r, err := net.Ping(ctx, f.src.Addr(), f.dst.Addr(), f.src.Port(), 1, 56)
	return r.RTT, err
}

// open connects and, like every message after it, sends a line and waits for its echo.
func (f *flight) open(ctx context.Context) (time.Duration, error) {
	network := "tcp"
	if f.tuple.Proto == packet.ProtoUDP {
		network = "udp"
	}
	c, err := f.from.Net().Dial(ctx, network, f.src, f.dst)
	if err != nil {
		return 0, err
	}
	f.conn = c
	rtt, err := f.message(ctx)
	if err != nil {
		f.conn = nil
		return 0, errors.Join(err, c.Close())
	}
	return rtt, nil
}

// message sends one line over the open flow and waits for the echo.
func (f *flight) message(ctx context.Context) (time.Duration, error) {
	line := []byte("vpclab says hello\n")
	start := time.Now()
	stop := context.AfterFunc(ctx, func() { f.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := f.conn.SetDeadline(start.Add(f.timeout)); err != nil {
		return 0, err
	}
	if _, err := f.conn.Write(line); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(f.conn, make([]byte, len(line))); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}
