package vswitch

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// Question is a packet that somebody asks about.
type Question struct {
	Interface string     // that it would leave
	Src       netip.Addr // zero: the interface's primary address of Dst's family
	Dst       netip.Addr
	Protocol  uint8  // TCP, UDP, ICMP (also for IPv6), or another
	SrcPort   uint16 // 0: 49152, or the ICMP identifier
	DstPort   uint16
}

// Explanation is the pipeline's own account of a packet and of the answer to it.
type Explanation struct {
	Tuple   packet.Tuple
	Forward Trace
	Return  *Trace // nil if the packet would not arrive
}

// Explain runs a question through the stages that traffic runs through, with the trace on and over a
// scratch flow table: nothing is sent, counted, kept or recorded. The packet opens a new connection.
func (s *Switch) Explain(q Question) (*Explanation, error) {
	snap := s.snap.Load()
	from := snap.byID[q.Interface]
	if from == nil {
		return nil, fmt.Errorf("network interface %s is not in revision %d", q.Interface, snap.Revision)
	}
	if err := q.complete(from); err != nil {
		return nil, err
	}
	table := conntrack.New(conntrack.Config{MaxHalves: 64, Shards: 1, MaxRejectedShare: 1})
	defer table.Close()
	x := &Explanation{}
	x.Tuple = x.Forward.run(s, snap, table, from, q.frame(from))
	if to := x.Forward.delivered; to != nil {
		x.Return = &Trace{}
		x.Return.run(s, snap, table, to, q.answer(x.Tuple, to))
	}
	return x, nil
}

// run takes one frame through the stages.
func (t *Trace) run(s *Switch, snap *Snapshot, table *conntrack.Table, from *eni, frame []byte) packet.Tuple {
	w := newWorker(s, table, &link{id: from.id, num: from.num, mtu: MaxFrame}, 0)
	defer w.reader.Close()
	w.trace, w.cur, w.src, w.now = t, snap, from, s.clock.Mono()
	w.reader.Enter()
	var b Batch
	b.Commit(copy(b.Next(), frame), packet.GSO{})
	w.stages(&b)
	w.reader.Leave()
	b.Release()
	p := &w.passages[0]
	t.finish(p)
	return p.h.Tuple()
}

// complete fills in what was left open.
func (q *Question) complete(from *eni) error {
	if !q.Dst.IsValid() {
		return errors.New("no destination address")
	}
	v4 := q.Dst.Is4()
	if !q.Src.IsValid() {
		for _, a := range from.addrs {
			if a.Is4() == v4 {
				q.Src = a.Netip()
				break
			}
		}
	}
	if !q.Src.IsValid() || q.Src.Is4() != v4 {
		return fmt.Errorf("network interface %s has no address of the family of %s", from.id, q.Dst)
	}
	if q.SrcPort == 0 {
		q.SrcPort = 49152
	}
	if q.Protocol == packet.ProtoICMP && !v4 {
		q.Protocol = packet.ProtoICMPv6
	}
	return nil
}

// frame is the packet as the instance would send it: to the neighbour, or to the router.
func (q *Question) frame(from *eni) []byte {
	p := packet.Plain{
		SrcMAC: from.mac, DstMAC: from.nextHopMAC(packet.AddrFrom(q.Dst)), Src: packet.AddrFrom(q.Src), Dst: packet.AddrFrom(q.Dst), Proto: q.Protocol,
		SrcPort: q.SrcPort, DstPort: q.DstPort, TCPFlags: packet.SYN,
	}
	return p.Append(nil)
}

// answer is what the other end would send back.
func (q *Question) answer(t packet.Tuple, from *eni) []byte {
	p := packet.Plain{
		SrcMAC: from.mac, DstMAC: from.nextHopMAC(t.Src), Src: packet.AddrFrom(q.Dst), Dst: packet.AddrFrom(q.Src), Proto: q.Protocol,
		SrcPort: q.DstPort, DstPort: q.SrcPort, TCPFlags: packet.SYN | packet.ACK, Reply: true,
	}
	if q.Protocol == packet.ProtoICMP || q.Protocol == packet.ProtoICMPv6 {
		p.SrcPort = q.SrcPort // the identifier
	}
	return p.Append(nil)
}

// nextHopMAC is what the instance's own address resolution would give.
func (e *eni) nextHopMAC(dst packet.Addr) packet.MAC {
	if n := e.neighbor(dst); n != nil {
		return n.mac
	}
	return RouterMAC
}

func hostPrefix(a packet.Addr) netip.Prefix {
	ip := a.Netip()
	return netip.PrefixFrom(ip, ip.BitLen())
}
