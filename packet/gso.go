package packet

// GSOType says what kind of super-frame a frame is (linux/virtio_net.h, VIRTIO_NET_HDR_GSO_*).
type GSOType uint8

// Kinds of super-frame.
const (
	GSONone GSOType = iota
	GSOTCP4
	GSOTCP6
	GSOUDP // UDP segmentation offload, VIRTIO_NET_HDR_GSO_UDP_L4
)

// GSO is the metadata that comes with a frame: what its sender left undone. The zero value is a complete wire frame.
// Fields are those of struct virtio_net_hdr; offsets count from the start of the Ethernet frame.
type GSO struct {
	Type                  GSOType
	ECN                   bool // TCP with CWR set, which only the first segment keeps
	NeedsCsum             bool // the transport checksum holds only the pseudo-header's sum
	DataValid             bool // the checksum was verified by the sender's kernel
	HdrLen                uint16
	SegSize               uint16 // payload bytes a segment
	CsumStart, CsumOffset uint16
}

const (
	tcpCsumOffset = 16
	udpCsumOffset = 6

	// minTCPSegment is the least segment of the kernel's own making: TCP_MIN_GSO_SIZE, that is
	// TCP_MIN_SND_MSS less full options (include/net/tcp.h).
	minTCPSegment = 8

	// maxUDPSegments is UDP_MAX_SEGMENTS (include/linux/udp.h).
	maxUDPSegments = 128
)

// Valid reports whether g may stand with the frame that h was parsed from. A sender writes g, so it may lie:
//
//   - A super-frame is of the protocol its type says, a whole packet, with payload, and stands for no
//     absurd number of segments: at least 8 bytes each for TCP, at most 128 for UDP.
//   - A checksum to be completed is the one of the TCP or UDP header, or lies in the payload (of a
//     tunnel in the instance). Any other place would change what has been judged, as a port, when the
//     checksum is filled in.
//
// HdrLen is not looked at and must not be trusted: the kernel sends whatever its linear part was.
func (g GSO) Valid(h *Headers) bool {
	if g.NeedsCsum && !g.validChecksum(h) {
		return false
	}
	if g.Type == GSONone {
		return true
	}
	size := h.End - h.Payload
	if !g.matches(h) || size <= 0 || g.SegSize == 0 {
		return false
	}
	if g.NeedsCsum && int32(g.CsumStart) != h.L4 {
		return false
	}
	if g.Type == GSOUDP {
		return size <= maxUDPSegments*int32(g.SegSize)
	}
	return g.SegSize >= minTCPSegment
}

// matches reports whether h is a whole packet of g's protocol.
func (g GSO) matches(h *Headers) bool {
	if h.Frag != NotFragment || h.routed {
		return false
	}
	switch g.Type {
	case GSOTCP4:
		return h.Kind == IPv4 && h.Proto == ProtoTCP
	case GSOTCP6:
		return h.Kind == IPv6 && h.Proto == ProtoTCP
	case GSOUDP:
		return (h.Kind == IPv4 || h.Kind == IPv6) && h.Proto == ProtoUDP
	}
	return false
}

func (g GSO) validChecksum(h *Headers) bool {
	if h.Kind != IPv4 && h.Kind != IPv6 || h.Frag != NotFragment {
		return false
	}
	start := int32(g.CsumStart)
	if start+int32(g.CsumOffset)+2 > h.End {
		return false
	}
	if start == h.L4 {
		switch h.Proto {
		case ProtoTCP:
			return g.CsumOffset == tcpCsumOffset
		case ProtoUDP:
			return g.CsumOffset == udpCsumOffset
		}
	}
	return start >= h.Payload
}

// CompleteChecksum fills in the checksum that g says is missing, in place; g is then to lose
// NeedsCsum. It reports false, and changes nothing, if the checksum would lie outside the frame.
// Whether it lies in the right place is for GSO.Valid to say, before the frame is judged.
//
// The sum runs to the end of the frame, as the kernel's skb_checksum_help does: Ethernet padding, if
// any, must be zero. A super-frame gets the checksum of the one large packet that it is.
func CompleteChecksum(frame []byte, g GSO) bool {
	if !g.NeedsCsum {
		return true
	}
	start := int(g.CsumStart)
	field := start + int(g.CsumOffset)
	if start < EthernetLen || field+2 > len(frame) {
		return false
	}
	putChecksum(frame[field:], Checksum(frame[start:], 0))
	return true
}
