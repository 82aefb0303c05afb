package packet

import "encoding/binary"

// Parse reads the headers of frame into h, forgetting what h held. It never fails: a frame that is not
// whole and well-formed is Unknown, and all else but Why and the MAC addresses is then zero. It looks
// at the IPv4 header checksum, which every sender has to complete, but not at transport checksums,
// which are the receiver's business and may be left to offload.
//
// h keeps no reference to frame. Parse does not allocate.
func (h *Headers) Parse(frame []byte) {
	*h = Headers{}
	if len(frame) < EthernetLen {
		h.Why = Truncated
		return
	}
	h.DstMAC = MAC(frame[0:6])
	h.SrcMAC = MAC(frame[6:12])
	h.L3 = EthernetLen
	var why Malformed
	switch binary.BigEndian.Uint16(frame[12:]) {
	case EtherTypeIPv4:
		why = h.parseIPv4(frame)
	case EtherTypeIPv6:
		why = h.parseIPv6(frame)
	case EtherTypeARP:
		why = h.parseARP(frame)
	case EtherTypeVLAN, EtherTypeQinQ:
		why = VLAN
	default:
		why = EtherType
	}
	if why != NotMalformed {
		// Half-read fields must not look like a packet.
		*h = Headers{Why: why, DstMAC: h.DstMAC, SrcMAC: h.SrcMAC}
	}
}

const arpLen = 28

// parseARP reads ARP for IPv4 over Ethernet (RFC 826); any operation passes.
func (h *Headers) parseARP(frame []byte) Malformed {
	b := frame[EthernetLen:]
	if len(b) < arpLen {
		return Truncated
	}
	// Hardware type 1, protocol type IPv4, lengths 6 and 4.
	if binary.BigEndian.Uint32(b) != 1<<16|EtherTypeIPv4 || b[4] != 6 || b[5] != 4 {
		return BadARP
	}
	h.Kind = ARP
	h.L4, h.Payload, h.End = EthernetLen+arpLen, EthernetLen+arpLen, EthernetLen+arpLen
	h.ARPOp = binary.BigEndian.Uint16(b[6:])
	h.ARPSenderMAC = MAC(b[8:14])
	h.Src.set4(b[14:18])
	h.Dst.set4(b[24:28])
	return NotMalformed
}

const (
	ipv4Len      = 20
	maxDatagram  = 65535 // what the 16-bit length of IP can say, so also after reassembly
	moreFlag4    = 0x2000
	offsetMask4  = 0x1fff
	fragmentUnit = 8
)

// parseIPv4 reads an IPv4 header (RFC 791). Options are skipped, not judged.
func (h *Headers) parseIPv4(frame []byte) Malformed {
	ip := frame[EthernetLen:]
	if len(ip) < ipv4Len {
		return Truncated
	}
	total := int(binary.BigEndian.Uint16(ip[2:]))
	head := ipv4Len
	if ip[0] == 4<<4|ipv4Len/4 {
		if !checksum20ok(ip) {
			return BadIPv4
		}
	} else {
		head = int(ip[0]&15) * 4
		if ip[0]>>4 != 4 || head < ipv4Len {
			return BadIPv4
		}
		if head > len(ip) {
			return Truncated
		}
		if Sum(ip[:head], 0) != 0xffff {
			return BadIPv4
		}
	}
	if total < head {
		return BadIPv4
	}
	if total > len(ip) {
		return Truncated
	}
	h.Kind = IPv4
	h.TotalLen = uint32(total)
	h.L4 = int32(EthernetLen + head)
	h.End = int32(EthernetLen + total)
	h.FragID = uint32(binary.BigEndian.Uint16(ip[4:]))
	h.TTL = ip[8]
	h.Proto = ip[9]
	h.Src.set4(ip[12:16])
	h.Dst.set4(ip[16:20])
	if f := binary.BigEndian.Uint16(ip[6:]); f&(moreFlag4|offsetMask4) != 0 {
		h.FragOffset = f & offsetMask4 * fragmentUnit
		h.MoreFragments = f&moreFlag4 != 0
		if why := h.fragment(total-head, head); why != NotMalformed {
			return why
		}
	}
	return h.parseTransport(frame)
}

// checksum20ok verifies the checksum of an IPv4 header without options in three additions.
func checksum20ok(ip []byte) bool {
	_ = ip[19]
	s := uint64(binary.LittleEndian.Uint32(ip)) + uint64(binary.LittleEndian.Uint32(ip[4:])) +
		uint64(binary.LittleEndian.Uint32(ip[8:])) + uint64(binary.LittleEndian.Uint32(ip[12:])) +
		uint64(binary.LittleEndian.Uint32(ip[16:]))
	return fold(s) == 0xffff
}

// fragment classifies and checks a part of size bytes at h.FragOffset; before is what stands between
// the start of the length's count and the fragmentable part: it counts towards the limit of a packet.
func (h *Headers) fragment(size, before int) Malformed {
	h.Frag = LaterFragment
	if h.FragOffset == 0 {
		h.Frag = FirstFragment
	}
	if size == 0 || h.MoreFragments && size%fragmentUnit != 0 || before+int(h.FragOffset)+size > maxDatagram {
		return BadFragment
	}
	return NotMalformed
}
