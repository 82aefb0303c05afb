package packet

import "encoding/binary"

// Segments returns how many wire packets the frame stands for, and the sum of their IP total lengths:
// what the far end's network would see of it, and what flow logs count. A frame that is no super-frame
// is one packet of h.TotalLen. If g is not Valid for h, both are 0, and the frame is to be dropped.
func Segments(h *Headers, g GSO) (n uint32, bytes uint64) {
	if !g.Valid(h) {
		return 0, 0
	}
	if g.Type == GSONone {
		return 1, uint64(h.TotalLen)
	}
	head, size, seg := uint32(h.Payload-h.L3), uint32(h.End-h.Payload), uint32(g.SegSize)
	n = (size + seg - 1) / seg
	return n, uint64(n)*uint64(head) + uint64(size)
}

// SplitLen is the size of scratch for which Split lays all segments of a super-frame side by side.
func SplitLen(h *Headers, g GSO) int {
	n, bytes := Segments(h, g)
	return int(bytes) + int(n)*EthernetLen
}

// Split cuts a super-frame into the frames that its sender's network card would have sent, in order,
// and gives each to emit, complete with lengths, identification, sequence number, flags and checksums
// (as the kernel's inet_gso_segment, tcp_gso_segment and __udp_gso_segment). A frame that is no
// super-frame is emitted as one, with its checksum completed.
//
// frame is only read; h must be its parse. Segments are written into scratch one behind the other,
// from its start again where it is full: a segment belongs to emit until emit returns, or, where
// scratch has SplitLen bytes, to the caller until the next use of scratch. Split does not allocate.
//
// It reports false if g is not Valid for h or scratch too small for one segment, and then has
// emitted nothing; or because emit returned false, which ends it.
func Split(frame []byte, h *Headers, g GSO, scratch []byte, emit func(segment []byte) bool) bool {
	if int(h.End) > len(frame) || !g.Valid(h) {
		return false
	}
	if g.Type == GSONone {
		return emitWhole(frame, g, scratch, emit)
	}
	s := splitter{h: h, frame: frame, head: int(h.Payload), size: int(g.SegSize)}
	if len(scratch) < s.head+min(s.size, int(h.End-h.Payload)) {
		return false
	}
	s.prepare()
	used := 0
	for at := s.head; at < int(h.End); at += s.size {
		n := s.head + min(s.size, int(h.End)-at)
		if used+n > len(scratch) {
			used = 0
		}
		segment := scratch[used : used+n : used+n]
		s.fill(segment, at)
		if !emit(segment) {
			return false
		}
		used += n
	}
	return true
}

func emitWhole(frame []byte, g GSO, scratch []byte, emit func(segment []byte) bool) bool {
	if len(scratch) < len(frame) {
		return false
	}
	segment := scratch[:len(frame):len(frame)]
	copy(segment, frame)
	return CompleteChecksum(segment, g) && emit(segment)
}

// splitter is what stays the same from segment to segment.
type splitter struct {
	h          *Headers
	frame      []byte
	head, size int    // length of all headers; payload bytes of a segment
	ipSum      uint32 // of the IPv4 header without total length, identification and checksum
	pseudo     uint32 // of the pseudo-header without the length
}

func (s *splitter) prepare() {
	h := s.h
	s.pseudo = PseudoSum(h.Src, h.Dst, h.Proto, 0)
	if h.Kind == IPv4 {
		ip := s.frame[h.L3:h.L4]
		s.ipSum = Sum(ip[:2], 0)
		s.ipSum = Sum(ip[6:10], s.ipSum)
		s.ipSum = Sum(ip[12:], s.ipSum)
	}
}

// fill writes the segment whose payload starts at offset at of the super-frame.
func (s *splitter) fill(segment []byte, at int) {
	copy(segment, s.frame[:s.head])
	copy(segment[s.head:], s.frame[at:])
	done := at - s.head
	s.fillIP(segment, done/s.size)
	l4 := segment[s.h.L4:]
	if s.h.Proto == ProtoTCP {
		last := done+len(segment)-s.head == int(s.h.End)-s.head
		s.fillTCP(l4, uint32(done), last)
		return
	}
	binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	s.fillChecksum(l4, udpCsumOffset)
}

func (s *splitter) fillIP(segment []byte, index int) {
	ip := segment[s.h.L3:]
	if s.h.Kind == IPv6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ipv6Len))
		return
	}
	id := uint16(s.h.FragID) + uint16(index)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], id)
	sum := uint64(s.ipSum) + uint64(len(ip)) + uint64(id)
	binary.BigEndian.PutUint16(ip[10:], ^uint16(fold(sum)))
}

// fillTCP moves the sequence number on and leaves FIN and PSH to the last segment, CWR to the first
// (RFC 3168 section 6.1.2: once for one reduction of the window).
func (s *splitter) fillTCP(l4 []byte, done uint32, last bool) {
	binary.BigEndian.PutUint32(l4[4:], s.h.TCPSeq+done)
	if !last {
		l4[13] &^= FIN | PSH
	}
	if done > 0 {
		l4[13] &^= CWR
	}
	s.fillChecksum(l4, tcpCsumOffset)
}

func (s *splitter) fillChecksum(l4 []byte, at int) {
	binary.BigEndian.PutUint16(l4[at:], 0)
	putChecksum(l4[at:], Checksum(l4, s.pseudo+uint32(len(l4))))
}

// putChecksum stores a transport checksum. 0 means "none" to UDP, so its other form is sent (RFC 768);
// for TCP both forms are equal.
func putChecksum(b []byte, c uint16) {
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b, c)
}
