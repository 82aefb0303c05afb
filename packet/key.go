package packet

// Tuple names a flow in the direction of one of its packets.
//
// TCP and UDP have their ports. An ICMP echo request has its identifier as source port and its type
// in the high byte (0x0800, IPv6 0x8000) as destination port, and the reply is the exact mirror, so
// that requests and replies of one ping are one flow (as Linux nf_conntrack_proto_icmp.c does it by
// type and id). Other ICMP messages have source port 0 and type<<8|code as destination port. Other
// protocols and later fragments have zeros.
type Tuple struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
	Proto            uint8
}

// Reverse returns the tuple of the answering direction.
func (t Tuple) Reverse() Tuple {
	return Tuple{Src: t.Dst, Dst: t.Src, SrcPort: t.DstPort, DstPort: t.SrcPort, Proto: t.Proto}
}

// Key names one half: what one network interface knows of a flow. Inside is the end at the interface,
// whatever direction a packet takes. It is 44 bytes without pointers and without hidden padding, so
// that it may be hashed and compared as bytes.
type Key struct {
	ENI             uint32
	Inside, Outside Addr
	InsidePort      uint16
	OutsidePort     uint16
	Proto           uint8
	Pass            uint8 // tells apart several passages of one tuple through one interface
	_               [2]byte
}

// EgressKey is the half of eni for a frame that leaves its instance: inside is the source.
func (h *Headers) EgressKey(eni uint32) Key {
	return Key{ENI: eni, Inside: h.Src, Outside: h.Dst, InsidePort: h.SrcPort, OutsidePort: h.DstPort, Proto: h.Proto}
}

// IngressKey is the half of eni for a frame that enters its instance: inside is the destination.
func (h *Headers) IngressKey(eni uint32) Key {
	return Key{ENI: eni, Inside: h.Dst, Outside: h.Src, InsidePort: h.DstPort, OutsidePort: h.SrcPort, Proto: h.Proto}
}
