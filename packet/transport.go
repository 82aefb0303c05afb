package packet

import "encoding/binary"

const (
	tcpLen  = 20
	udpLen  = 8
	icmpLen = 8
)

// parseTransport reads the header at L4, with Kind, Proto, Frag and End known.
func (h *Headers) parseTransport(frame []byte) Malformed {
	h.Payload = h.L4
	if h.Frag == LaterFragment {
		if h.Proto == ProtoTCP && h.FragOffset < tcpLen {
			return TinyFragment // it would overwrite ports or flags of the first (RFC 3128)
		}
		return NotMalformed
	}
	b := frame[h.L4:h.End]
	switch h.Proto {
	case ProtoTCP:
		return h.parseTCP(b)
	case ProtoUDP:
		return h.parseUDP(b)
	case ProtoICMP:
		if h.Kind == IPv4 {
			return h.parseICMP(b)
		}
	case ProtoICMPv6:
		if h.Kind == IPv6 {
			return h.parseICMP(b)
		}
	}
	return NotMalformed
}

// short is why a transport header is not all there.
func (h *Headers) short(whole Malformed) Malformed {
	if h.Frag == FirstFragment {
		return TinyFragment
	}
	return whole
}

func (h *Headers) parseTCP(b []byte) Malformed {
	if len(b) < tcpLen {
		return h.short(BadTCP)
	}
	head := int(b[12]>>4) * 4
	if head < tcpLen {
		return BadTCP
	}
	if head > len(b) {
		return h.short(BadTCP)
	}
	h.SrcPort = binary.BigEndian.Uint16(b)
	h.DstPort = binary.BigEndian.Uint16(b[2:])
	h.TCPSeq = binary.BigEndian.Uint32(b[4:])
	h.TCPAck = binary.BigEndian.Uint32(b[8:])
	h.TCPFlags = b[13]
	h.TCPWindow = binary.BigEndian.Uint16(b[14:])
	h.Payload = h.L4 + int32(head)
	return NotMalformed
}

func (h *Headers) parseUDP(b []byte) Malformed {
	if len(b) < udpLen {
		return h.short(BadUDP)
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size < udpLen || size > len(b) && h.Frag == NotFragment {
		return BadUDP
	}
	h.SrcPort = binary.BigEndian.Uint16(b)
	h.DstPort = binary.BigEndian.Uint16(b[2:])
	h.Payload = h.L4 + udpLen
	return NotMalformed
}

func (h *Headers) parseICMP(b []byte) Malformed {
	if len(b) < icmpLen {
		return h.short(BadICMP)
	}
	h.ICMPType, h.ICMPCode = b[0], b[1]
	h.SrcPort, h.DstPort = icmpPorts(h.Proto, b)
	h.Payload = h.L4 + icmpLen
	h.ICMPError = isICMPError(h.Proto, h.ICMPType)
	if h.Proto == ProtoICMPv6 && h.ICMPType >= ICMPv6RouterSolicitation && h.ICMPType <= ICMPv6Redirect {
		return h.parseND(b)
	}
	return NotMalformed
}

// icmpPorts gives the ICMP message b, of at least 8 bytes, the ports that Tuple describes. Only code 0
// is an echo (RFC 792, 4443), so that a verdict on echoes never holds for another code.
func icmpPorts(proto uint8, b []byte) (src, dst uint16) {
	request, reply := uint8(ICMPEchoRequest), uint8(ICMPEchoReply)
	if proto == ProtoICMPv6 {
		request, reply = ICMPv6EchoRequest, ICMPv6EchoReply
	}
	typ, code := b[0], b[1]
	id := binary.BigEndian.Uint16(b[4:])
	switch {
	case typ == request && code == 0:
		return id, uint16(request) << 8
	case typ == reply && code == 0:
		return uint16(request) << 8, id
	}
	return 0, uint16(typ)<<8 | uint16(code)
}

// ndLen is the least length of each neighbour discovery message, from type 133 on.
var ndLen = [...]int{8, 16, 24, 24, 40}

// parseND checks what RFC 4861 has a receiver check, checksum apart: hop limit 255 (nobody forwarded
// it), code 0, length, options; and RFC 6980: no fragments. b is the message.
func (h *Headers) parseND(b []byte) Malformed {
	least := ndLen[h.ICMPType-ICMPv6RouterSolicitation]
	if h.TTL != 255 || h.ICMPCode != 0 || h.Frag != NotFragment || len(b) < least {
		return BadND
	}
	for opts := b[least:]; len(opts) > 0; {
		if len(opts) < 2 || opts[1] == 0 || int(opts[1])*8 > len(opts) {
			return BadND
		}
		opts = opts[int(opts[1])*8:]
	}
	if h.ICMPType == ICMPv6NeighborSolicitation || h.ICMPType == ICMPv6NeighborAdvert {
		h.NDTarget = Addr(b[8:24])
		if h.NDTarget.IsMulticast() {
			return BadND
		}
	}
	return NotMalformed
}
