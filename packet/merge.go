package packet

import "encoding/binary"

// Merging makes one super-frame of wire frames that a network card's receive offload would have
// merged: exactly what the kernel's GRO allows (net/ipv4/tcp_offload.c tcp_gro_receive,
// net/ipv4/udp_offload.c udp_gro_receive_segment, net/ipv4/af_inet.c inet_gro_receive), so that
// splitting it again gives the frames that came.

const (
	maxMerged      = 65535 // bytes of IP in a super-frame
	maxMergedUDP   = 64    // UDP_MAX_SEGMENTS of linux/udp.h before 6.13
	ipv4DF         = 0x4000
	mergeableFlags = ACK | PSH
)

// Run is a super-frame in the making: a first frame, and the payloads that follow it. The zero Run is
// closed. It borrows the first frame and changes its headers in Finish.
type Run struct {
	frame    []byte
	h        *Headers
	first    GSO    // of the first frame
	next     uint32 // TCP: sequence number that comes next
	segSize  int32
	total    int32 // bytes of IP so far
	id       uint16
	fixedID  bool // DF is set and the identification does not count
	segments int32
	open     bool
}

// Segments is how many frames the run holds.
func (r *Run) Segments() int { return int(r.segments) }

// Open tells whether the run takes more frames.
func (r *Run) Open() bool { return r.open }

// Close ends the run; what comes of its flow must come after it.
func (r *Run) Close() { r.open = false }

// Start makes frame, whose parse is h, the first of a new run. The run is open if the frame may have
// followers. The checksum is not looked at yet: most frames stay alone.
func (r *Run) Start(frame []byte, h *Headers, g GSO) {
	*r = Run{frame: frame, h: h, first: g, segments: 1, total: h.End - h.L3, segSize: h.End - h.Payload}
	if !mergeable(frame, h, g) {
		return
	}
	r.open = true
	if h.Kind == IPv4 {
		r.id = binary.BigEndian.Uint16(frame[h.L3+4:])
	}
	if h.Proto == ProtoTCP {
		r.next = h.TCPSeq + uint32(r.segSize)
		r.open = h.TCPFlags&PSH == 0 && r.segSize >= minTCPSegment
	}
}

// mergeable tells whether a frame may be part of a run at all.
func mergeable(frame []byte, h *Headers, g GSO) bool {
	if g.Type != GSONone || h.Frag != NotFragment || h.End-h.Payload <= 0 || int(h.End) > len(frame) {
		return false
	}
	switch h.Kind {
	case IPv4:
		if h.L4-h.L3 != 20 {
			return false
		}
	case IPv6:
		if h.L4-h.L3 != 40 {
			return false
		}
	default:
		return false
	}
	switch h.Proto {
	case ProtoTCP:
		return h.TCPFlags&^mergeableFlags == 0 && h.TCPFlags&ACK != 0
	case ProtoUDP:
		// Without a checksum there is nothing to say that the datagram arrived whole.
		return frame[h.L4+6] != 0 || frame[h.L4+7] != 0
	}
	return false
}

// Take adds a frame to the run and returns its payload, which is borrowed and follows what the run
// holds. ok is false, and the run unchanged, if GRO would not merge it; the caller then closes the run
// if the frame is of the same flow.
func (r *Run) Take(frame []byte, h *Headers, g GSO) (payload []byte, ok bool) {
	if !r.open || !mergeable(frame, h, g) || !r.follows(frame, h) {
		return nil, false
	}
	if r.segments == 1 && !verified(r.frame, r.h, r.first) || !verified(frame, h, g) {
		return nil, false
	}
	size := h.End - h.Payload
	r.segments++
	r.total += size
	r.next += uint32(size)
	r.noteID(frame, h)
	if size < r.segSize || h.TCPFlags&PSH != 0 || h.Proto == ProtoUDP && r.segments == maxMergedUDP {
		r.open = false
	}
	if h.TCPFlags&PSH != 0 {
		r.frame[r.h.L4+13] |= PSH
	}
	return frame[h.Payload:h.End], true
}

// follows compares what must be the same, and what must be next.
func (r *Run) follows(frame []byte, h *Headers) bool {
	f := r.h
	size := h.End - h.Payload
	if h.Kind != f.Kind || h.Proto != f.Proto || h.L4 != f.L4 || h.Payload != f.Payload || size > r.segSize || r.total+size > maxMerged {
		return false
	}
	if h.Kind == IPv4 && !r.follows4(frame) || h.Kind == IPv6 && !sameIPv6(r.frame[f.L3:], frame[h.L3:]) {
		return false
	}
	if h.Proto == ProtoUDP {
		return true
	}
	return h.TCPSeq == r.next && h.TCPAck == f.TCPAck && h.TCPWindow == f.TCPWindow &&
		string(frame[h.L4+20:h.Payload]) == string(r.frame[f.L4+20:f.Payload])
}

// follows4 compares TOS, TTL and DF, and wants the next identification; with DF, the same does too.
func (r *Run) follows4(frame []byte) bool {
	a, b := r.frame[r.h.L3:], frame[r.h.L3:]
	if a[1] != b[1] || a[8] != b[8] {
		return false
	}
	da, db := binary.BigEndian.Uint16(a[6:])&ipv4DF, binary.BigEndian.Uint16(b[6:])&ipv4DF
	if da != db {
		return false
	}
	id := binary.BigEndian.Uint16(b[4:])
	switch {
	case r.segments == 1:
		return id == r.id+1 || da != 0 && id == r.id
	case r.fixedID:
		return id == r.id
	}
	return id == r.id+1
}

func (r *Run) noteID(frame []byte, h *Headers) {
	if h.Kind != IPv4 {
		return
	}
	id := binary.BigEndian.Uint16(frame[h.L3+4:])
	if r.segments == 2 {
		r.fixedID = id == r.id
	}
	r.id = id
}

// sameIPv6 compares version, traffic class and flow label, and the hop limit.
func sameIPv6(a, b []byte) bool {
	return string(a[:4]) == string(b[:4]) && a[7] == b[7]
}

// verified tells whether a frame's transport checksum is known to be right: it is still to be filled in,
// was verified by the sender's kernel, or is verified now.
func verified(frame []byte, h *Headers, g GSO) bool {
	if g.NeedsCsum || g.DataValid {
		return true
	}
	n := uint32(h.End - h.L4)
	return Checksum(frame[h.L4:h.End], PseudoSum(h.Src, h.Dst, h.Proto, n)) == 0
}

// Finish makes the first frame's headers those of the super-frame and returns its metadata. The
// super-frame is the first frame up to its End, and the payloads that Take returned, in order.
// A run of one frame is left as it is.
func (r *Run) Finish() GSO {
	if r.segments <= 1 {
		return r.first
	}
	h, ip := r.h, r.frame[r.h.L3:]
	l4len := uint32(r.total - (h.L4 - h.L3))
	if h.Kind == IPv4 {
		binary.BigEndian.PutUint16(ip[2:], uint16(r.total))
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], Checksum(ip[:20], 0))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(l4len))
	}
	g := GSO{NeedsCsum: true, HdrLen: uint16(h.Payload), SegSize: uint16(r.segSize), CsumStart: uint16(h.L4), CsumOffset: tcpCsumOffset}
	switch {
	case h.Proto == ProtoUDP:
		g.Type, g.CsumOffset = GSOUDP, udpCsumOffset
		binary.BigEndian.PutUint16(r.frame[h.L4+4:], uint16(l4len))
	case h.Kind == IPv4:
		g.Type = GSOTCP4
	default:
		g.Type = GSOTCP6
	}
	// What is to be completed starts from the pseudo-header's sum, not complemented.
	sum := uint16(PseudoSum(h.Src, h.Dst, h.Proto, l4len))
	binary.BigEndian.PutUint16(r.frame[h.L4+int32(g.CsumOffset):], sum)
	return g
}
