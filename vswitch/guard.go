package vswitch

import (
	"net/netip"

	"github.com/vpclab/vpclab/packet"
)

// guard is stage 3: a frame must be what its interface may send, and what asks the VPC itself is
// answered here. There is no broadcast and no multicast in a VPC.
func (w *worker) guard(p *passage) {
	p.reason = w.admit(p)
	if p.reason == ReasonNone || w.trace == nil {
		return
	}
	w.trace.guard(w.src, p.reason)
}

func (w *worker) admit(p *passage) Reason {
	h := &p.h
	switch {
	case w.src == nil:
		return ReasonDetached
	case h.Kind == packet.Unknown:
		return malformedReason(h.Why)
	case p.reason != ReasonNone:
		return p.reason
	case h.SrcMAC != w.src.mac:
		return ReasonSpoofedMAC
	case h.Kind == packet.ARP:
		return w.answerARP(p)
	case p.wireLen() > w.link.mtu:
		return ReasonOversize
	case h.Kind == packet.IPv6 && isNeighborDiscovery(h):
		return w.answerNeighbor(p)
	case h.DstMAC.IsMulticast():
		return ReasonMulticast
	}
	return w.admitIP(p)
}

// wireLen is the length of the IP packet, or of the largest that a super-frame stands for.
func (p *passage) wireLen() int {
	whole, headers := int(p.h.End-p.h.L3), int(p.h.Payload-p.h.L3)
	if p.frame.GSO.Type == packet.GSONone {
		return whole
	}
	return min(whole, headers+int(p.frame.GSO.SegSize))
}

// admitIP checks addresses: the source/dest check, and traffic for the router.
func (w *worker) admitIP(p *passage) Reason {
	h := &p.h
	switch {
	case h.DstMAC == RouterMAC && w.src.subnet.isRouter(h.Dst):
		return w.answerRouter(p)
	case isLinkLocal(h.Src) || isLinkLocal(h.Dst):
		return ReasonLinkLocal
	case w.src.sourceDestCheck && !w.src.owns(h.Src):
		return ReasonSpoofedIP
	case h.Dst.IsMulticast() || h.Dst == broadcast:
		return ReasonMulticast
	}
	return ReasonNone
}

func isNeighborDiscovery(h *packet.Headers) bool {
	return h.Proto == packet.ProtoICMPv6 && h.ICMPType >= 133 && h.ICMPType <= 137
}

// 255.255.255.255 and 0.0.0.0.
var (
	broadcast    = packet.AddrFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}))
	unspecified4 = packet.AddrFrom(netip.IPv4Unspecified())
)

// isLinkLocal covers 169.254.0.0/16 and fe80::/10.
func isLinkLocal(a packet.Addr) bool {
	if a.Is4() {
		return a[12] == 169 && a[13] == 254
	}
	return a[0] == 0xfe && a[1]&0xc0 == 0x80
}

// answerARP replies for the addresses of the subnet, as AWS's hosts do: never a flood, and nothing for
// an address that nobody has.
func (w *worker) answerARP(p *passage) Reason {
	h, e := &p.h, w.src
	if h.ARPOp != packet.ARPRequestOp {
		return ReasonARPUnanswered
	}
	if h.ARPSenderMAC != e.mac {
		return ReasonSpoofedMAC
	}
	// A probe (RFC 5227) has no sender address yet.
	if h.Src != unspecified4 && !e.owns(h.Src) && e.sourceDestCheck {
		return ReasonSpoofedIP
	}
	mac, ok := w.resolve(h.Dst)
	if !ok {
		return ReasonARPUnanswered
	}
	w.reply(packet.ARPReply(w.replies.next(), h, mac), 0)
	return ReasonARP
}

// answerNeighbor replies to neighbour solicitations (RFC 4861); other neighbour discovery goes nowhere.
func (w *worker) answerNeighbor(p *passage) Reason {
	h, e := &p.h, w.src
	if h.ICMPType != packet.ICMPv6NeighborSolicitation {
		return ReasonNDUnanswered
	}
	if h.Src == (packet.Addr{}) { // duplicate address detection: nobody else can have it
		return ReasonNDUnanswered
	}
	if h.Src != e.linkLocal && !e.owns(h.Src) {
		return ReasonSpoofedIP
	}
	mac, ok := w.resolve(h.NDTarget)
	if !ok {
		return ReasonNDUnanswered
	}
	f := packet.NeighborAdvertisement(w.replies.next(), h, mac, mac == RouterMAC)
	w.reply(f, len(f)-packet.EthernetLen)
	return ReasonNeighbor
}

// resolve says which MAC answers for an address in the worker's subnet; never the asking interface's own.
func (w *worker) resolve(a packet.Addr) (packet.MAC, bool) {
	if w.src.subnet.isRouter(a) {
		return RouterMAC, true
	}
	if n := w.src.neighbor(a); n != nil && n != w.src {
		return n.mac, true
	}
	return packet.MAC{}, false
}

// answerRouter replies to an echo request; the router offers nothing else. Like AWS's, it is not
// subject to security groups, and not in the flow logs.
func (w *worker) answerRouter(p *passage) Reason {
	h, e := &p.h, w.src
	if !e.owns(h.Src) && h.Src != e.linkLocal {
		return ReasonSpoofedIP
	}
	if h.Frag != packet.NotFragment || !packet.EchoReply(p.frame.Buf, h) {
		return ReasonRouterAddress
	}
	w.reply(p.frame.Buf[:h.End], int(h.End)-packet.EthernetLen)
	return ReasonRouter
}

// reply sends a frame of the switch's own, with so many bytes of IP, back to where the worker reads from.
func (w *worker) reply(frame []byte, bytes int) {
	if w.trace != nil {
		return
	}
	w.out.add(w.src.link, w.replies.frame(frame), nil, size{1, uint64(bytes)})
}

// replyRoom is the size of the largest reply built afresh: a neighbour advertisement with its option.
const replyRoom = 14 + 40 + 32

// replies holds the frames that the switch itself sends in one batch.
type replies struct {
	n      int
	room   [BatchSize][replyRoom]byte
	frames [BatchSize]Frame
}

func (r *replies) next() []byte { return r.room[r.n][:0] }

func (r *replies) frame(b []byte) *Frame {
	f := &r.frames[r.n]
	*f = Frame{Buf: b}
	r.n++
	return f
}

// route finds the interface that a frame is for: the neighbour whose MAC it carries, or through the
// implicit router what the subnet's route table says.
func (w *worker) route(p *passage) (*eni, Reason) {
	dst, r := w.routeTo(p)
	if w.trace != nil {
		w.trace.route(w.src, dst, p, r)
	}
	return dst, r
}

func (w *worker) routeTo(p *passage) (*eni, Reason) {
	h, e := &p.h, w.src
	if h.DstMAC != RouterMAC {
		dst := e.net.macs[h.DstMAC]
		if dst == nil || dst.subnet != e.subnet || dst == e {
			return nil, ReasonUnknownMAC
		}
		return dst, dst.takes(h.Dst)
	}
	r, ok := e.subnet.routes.Lookup(h.Dst.Netip())
	if !ok {
		return nil, ReasonNoRoute
	}
	if r.dead {
		return nil, ReasonBlackhole
	}
	dst := e.net.addrs[h.Dst]
	if dst == nil || dst == e {
		return nil, ReasonNoDestination
	}
	return dst, ReasonNone
}

// takes is the receiving side of the source/dest check.
func (e *eni) takes(a packet.Addr) Reason {
	if e.sourceDestCheck && !e.owns(a) {
		return ReasonSourceDestCheck
	}
	return ReasonNone
}

// reaches tells whether a frame may go to the interface that its flow's half names. The half does not
// know which next hop the frame names, and not the source/dest check.
func (e *eni) reaches(dst *eni, h *packet.Headers) bool {
	if h.DstMAC == RouterMAC {
		return dst.owns(h.Dst)
	}
	return h.DstMAC == dst.mac && dst.subnet == e.subnet && dst.takes(h.Dst) == ReasonNone
}
