package packet

import "encoding/binary"

// Embedded returns the flow that an ICMP error is about, in the direction of the packet that caused
// it: Src is the sender of that packet, who in an honest error is the receiver of this one. frame is
// what h was parsed from. It reports false if h is no ICMP error, or if the quoted packet is of the
// other family, a later fragment, itself an ICMP error, or too short to hold its ports.
//
// The quoted bytes come from whoever sent the error: nothing in them is verified.
func (h *Headers) Embedded(frame []byte) (Tuple, bool) {
	if !h.ICMPError || int(h.End) > len(frame) {
		return Tuple{}, false
	}
	ip := frame[h.Payload:h.End]
	if h.Kind == IPv4 {
		return embedded4(ip)
	}
	return embedded6(ip)
}

func embedded4(ip []byte) (t Tuple, ok bool) {
	if len(ip) < ipv4Len || ip[0]>>4 != 4 {
		return t, false
	}
	head := int(ip[0]&15) * 4
	if head < ipv4Len || head > len(ip) || binary.BigEndian.Uint16(ip[6:])&offsetMask4 != 0 {
		return t, false
	}
	t.Proto = ip[9]
	t.Src.set4(ip[12:16])
	t.Dst.set4(ip[16:20])
	return t.withPorts(ip[head:], ProtoICMP)
}

func embedded6(ip []byte) (t Tuple, ok bool) {
	if len(ip) < ipv6Len || ip[0]>>4 != 6 {
		return t, false
	}
	c := chain{proto: ip[6]}
	if c.walk(ip[ipv6Len:]) != NotMalformed || c.offset != 0 {
		return t, false
	}
	t = Tuple{Src: Addr(ip[8:24]), Dst: Addr(ip[24:40]), Proto: c.proto}
	if t.Src.Is4() || t.Dst.Is4() {
		return Tuple{}, false
	}
	return t.withPorts(ip[ipv6Len+c.off:], ProtoICMPv6)
}

// withPorts adds the ports from the first bytes of the quoted transport header: at least 8 are quoted
// (RFC 792). icmp is the ICMP of the packet's family.
func (t Tuple) withPorts(b []byte, icmp uint8) (Tuple, bool) {
	switch t.Proto {
	case ProtoTCP, ProtoUDP:
		if len(b) < 8 {
			return Tuple{}, false
		}
		t.SrcPort = binary.BigEndian.Uint16(b)
		t.DstPort = binary.BigEndian.Uint16(b[2:])
	case icmp:
		if len(b) < icmpLen || isICMPError(icmp, b[0]) {
			return Tuple{}, false // no errors about errors (RFC 1122 section 3.2.2)
		}
		t.SrcPort, t.DstPort = icmpPorts(icmp, b)
	}
	return t, true
}

// isICMPError reports whether typ is an error of the ICMP proto.
func isICMPError(proto, typ uint8) bool {
	if proto == ProtoICMPv6 {
		return typ >= ICMPv6Unreachable && typ <= ICMPv6ParameterProblem
	}
	switch typ {
	case ICMPUnreachable, ICMPSourceQuench, ICMPRedirect, ICMPTimeExceeded, ICMPParameterProblem:
		return true
	}
	return false
}
