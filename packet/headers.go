package packet

// Kind is what a frame carries above Ethernet.
type Kind uint8

// Kinds of frame. Unknown ones are to be dropped; Headers.Why says why.
const (
	Unknown Kind = iota
	ARP
	IPv4
	IPv6
)

var kindNames = [...]string{"unknown", "arp", "ipv4", "ipv6"}

// String is the kind in lower case, as counters and messages show it.
func (k Kind) String() string { return name(kindNames[:], int(k)) }

// Malformed is the reason why a frame is Unknown.
type Malformed uint8

// Reasons. Each is one counter.
const (
	NotMalformed Malformed = iota
	Truncated              // shorter than its headers, or than the length its IP header states
	VLAN                   // 802.1Q or 802.1ad tag: a VPC has no VLANs
	EtherType              // neither ARP, IPv4 nor IPv6
	BadARP                 // not Ethernet and IPv4, RFC 826
	BadIPv4                // version, header length, total length or header checksum, RFC 791
	BadIPv6                // version, extension headers, or an address that never stands on a wire, RFC 8200
	BadTCP                 // data offset below 5 or past the packet, RFC 9293
	BadUDP                 // length below 8 or past the packet, RFC 768
	BadICMP                // shorter than its 8 bytes, RFC 792 and 4443
	BadND                  // neighbour discovery that its receiver must discard, RFC 4861 sections 6.1, 7.1 and 8.1
	BadFragment            // empty, of odd length before the last, or past the 65,535 bytes of a packet
	TinyFragment           // first fragment without the whole transport header, or a later one that would overwrite it, RFC 1858, 3128 and 7112
	malformedCount
)

var malformedNames = [malformedCount]string{
	"none", "truncated", "vlan", "ethertype", "bad-arp", "bad-ipv4", "bad-ipv6",
	"bad-tcp", "bad-udp", "bad-icmp", "bad-nd", "bad-fragment", "tiny-fragment",
}

// String is the reason as counters and messages show it.
func (m Malformed) String() string { return name(malformedNames[:], int(m)) }

// MalformedCount is the number of reasons, NotMalformed included, for arrays of counters.
const MalformedCount = int(malformedCount)

// Fragment says which part of an IP packet a frame carries.
type Fragment uint8

// Only a packet that is NotFragment, or a FirstFragment, has ports.
const (
	NotFragment Fragment = iota
	FirstFragment
	LaterFragment
)

var fragmentNames = [...]string{"none", "first", "later"}

// String is the part in lower case.
func (f Fragment) String() string { return name(fragmentNames[:], int(f)) }

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "invalid"
}

// IP protocol numbers (IANA) that the package knows.
const (
	ProtoHopByHop   = 0
	ProtoICMP       = 1
	ProtoTCP        = 6
	ProtoUDP        = 17
	ProtoRouting    = 43
	ProtoFragment   = 44
	ProtoESP        = 50
	ProtoAH         = 51
	ProtoICMPv6     = 58
	ProtoNoNext     = 59
	ProtoDstOptions = 60
)

// TCP flags as they stand in byte 13 of the TCP header.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// ICMP types that the package knows (RFC 792, 4443, 4861).
const (
	ICMPEchoReply              = 0
	ICMPUnreachable            = 3
	ICMPSourceQuench           = 4
	ICMPRedirect               = 5
	ICMPEchoRequest            = 8
	ICMPTimeExceeded           = 11
	ICMPParameterProblem       = 12
	ICMPv6Unreachable          = 1
	ICMPv6PacketTooBig         = 2
	ICMPv6TimeExceeded         = 3
	ICMPv6ParameterProblem     = 4
	ICMPv6EchoRequest          = 128
	ICMPv6EchoReply            = 129
	ICMPv6RouterSolicitation   = 133
	ICMPv6RouterAdvertisement  = 134
	ICMPv6NeighborSolicitation = 135
	ICMPv6NeighborAdvert       = 136
	ICMPv6Redirect             = 137
)

// ARP operations (RFC 826).
const (
	ARPRequestOp = 1
	ARPReplyOp   = 2
)

// EtherTypes (IEEE 802) that the package knows.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100 // 802.1Q
	EtherTypeQinQ = 0x88a8 // 802.1ad
	EtherTypeIPv6 = 0x86dd
)

// EthernetLen is the length of an Ethernet header without tags.
const EthernetLen = 14

// Headers is what one pass over a frame found out. It holds no pointer into the frame, only offsets,
// so that one value is reused for all frames of a worker. Fields that a kind does not have are zero.
type Headers struct {
	// Offsets from the start of the frame. End is the end of the IP packet: Ethernet padding lies
	// behind it. Payload is what follows the transport header: TCP with its options, UDP, or the
	// first 8 bytes of ICMP; for other protocols and later fragments it equals L4.
	L3, L4, Payload, End int32

	Kind Kind
	Why  Malformed
	Frag Fragment

	Proto     uint8 // final protocol, IPv6 extension headers walked; of a later IPv6 fragment the first header of its fragmentable part
	TCPFlags  uint8
	ICMPType  uint8
	ICMPCode  uint8
	TTL       uint8 // IPv6: hop limit
	ICMPError bool  // an ICMP error, which carries the packet it is about: see Embedded

	MoreFragments bool
	routed        bool // has an IPv6 routing header with segments left: the pseudo-header's destination is not Dst

	SrcPort, DstPort uint16 // see Tuple for ICMP
	TCPWindow        uint16 // as it stands in the header, not scaled
	ARPOp            uint16
	FragOffset       uint16 // in bytes

	DstMAC, SrcMAC MAC
	ARPSenderMAC   MAC

	TotalLen uint32 // bytes of the IP packet: IPv4 total length, IPv6 40 + payload length
	FragID   uint32 // IPv4 identification; IPv6 that of the fragment header, if there is one
	TCPSeq   uint32
	TCPAck   uint32

	Src, Dst Addr // ARP: sender and target protocol address
	NDTarget Addr // of a neighbour solicitation or advertisement
}

// Tuple returns the flow the frame belongs to, as its sender sees it.
func (h *Headers) Tuple() Tuple {
	return Tuple{Src: h.Src, Dst: h.Dst, SrcPort: h.SrcPort, DstPort: h.DstPort, Proto: h.Proto}
}
