package packet

import "encoding/binary"

const (
	ipv6Len = 40

	// maxExtensions bounds the walk. RFC 8200 section 4.1 knows seven places for extension headers.
	maxExtensions = 8

	offsetMask6 = 0xfff8
	moreFlag6   = 1
)

// parseIPv6 reads an IPv6 header and its extension headers (RFC 8200).
func (h *Headers) parseIPv6(frame []byte) Malformed {
	ip := frame[EthernetLen:]
	if len(ip) < ipv6Len {
		return Truncated
	}
	if ip[0]>>4 != 6 {
		return BadIPv6
	}
	total := ipv6Len + int(binary.BigEndian.Uint16(ip[4:]))
	if total > len(ip) {
		return Truncated
	}
	h.Kind = IPv6
	h.TotalLen = uint32(total)
	h.L4 = EthernetLen + ipv6Len
	h.End = int32(EthernetLen + total)
	h.Proto = ip[6]
	h.TTL = ip[7]
	h.Src = Addr(ip[8:24])
	h.Dst = Addr(ip[24:40])
	if h.Src.Is4() || h.Dst.Is4() {
		// A mapped address never stands on a wire (RFC 4291 section 2.5.5.2) and would pass for IPv4.
		return BadIPv6
	}
	if isExtension(h.Proto) {
		if why := h.parseExtensions(ip[ipv6Len:total]); why != NotMalformed {
			return why
		}
	}
	return h.parseTransport(frame)
}

// parseExtensions walks the extension headers at the start of b, the payload of the IPv6 packet.
func (h *Headers) parseExtensions(b []byte) Malformed {
	c := chain{proto: h.Proto}
	why := c.walk(b)
	h.Proto = c.proto
	h.L4 += int32(c.off)
	h.routed = c.routed
	h.FragID = c.id
	if c.offset == 0 && !c.more {
		return why // no fragment, or an atomic one: a whole packet (RFC 6946)
	}
	h.FragOffset, h.MoreFragments = c.offset, c.more
	if bad := h.fragment(len(b)-c.fragStart, c.fragStart-fragHeaderLen); bad != NotMalformed {
		return bad
	}
	if why != NotMalformed {
		return TinyFragment // RFC 7112: the first fragment holds the whole chain
	}
	return NotMalformed
}

const fragHeaderLen = 8

// chain is the walk over a packet's IPv6 extension headers.
type chain struct {
	proto     uint8 // next header; at the end the final protocol
	more      bool
	routed    bool
	offset    uint16 // of the fragment, in bytes
	id        uint32
	off       int // bytes walked
	fragStart int // where the fragmentable part starts: behind the fragment header; 0 without one
}

func isExtension(proto uint8) bool {
	switch proto {
	case ProtoHopByHop, ProtoRouting, ProtoFragment, ProtoDstOptions, ProtoAH:
		return true
	}
	return false
}

// walk reads headers until the final protocol, or behind the fragment header of a later fragment,
// whose data need not start with a header.
func (c *chain) walk(b []byte) Malformed {
	for n := 0; isExtension(c.proto); n++ {
		if n == maxExtensions || c.proto == ProtoHopByHop && n > 0 {
			return BadIPv6
		}
		rest := b[c.off:]
		if len(rest) < 8 {
			return BadIPv6
		}
		size := 8
		switch c.proto {
		case ProtoFragment:
			if c.fragStart != 0 {
				return BadIPv6 // fragments of fragments
			}
			f := binary.BigEndian.Uint16(rest[2:])
			c.offset, c.more = f&offsetMask6, f&moreFlag6 != 0
			c.id = binary.BigEndian.Uint32(rest[4:])
			c.fragStart = c.off + fragHeaderLen
		case ProtoAH:
			size = (int(rest[1]) + 2) * 4
		case ProtoRouting:
			size = (int(rest[1]) + 1) * 8
			if rest[3] != 0 { // segments left
				if rest[2] == 0 {
					return BadIPv6 // type 0 is abolished, RFC 5095
				}
				c.routed = true
			}
		default:
			size = (int(rest[1]) + 1) * 8
		}
		if size > len(rest) {
			return BadIPv6
		}
		c.proto = rest[0]
		c.off += size
		if c.offset != 0 {
			return NotMalformed
		}
	}
	return NotMalformed
}
