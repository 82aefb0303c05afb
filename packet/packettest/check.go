package packettest

import (
	"fmt"
	"net/netip"

	"github.com/vpclab/vpclab/packet"
)

// sum is the ones' complement sum of b, two bytes at a time, not complemented.
func sum(b []byte, seed uint32) uint16 {
	s := seed
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i]) << 8
		if i+1 < len(b) {
			s += uint32(b[i+1])
		}
		s = s>>16 + s&0xffff
	}
	return uint16(s>>16 + s&0xffff)
}

// pseudo is the sum of the pseudo-header, written out as the RFCs draw it.
func pseudo(src, dst netip.Addr, proto uint8, length int) uint32 {
	b := append(src.AsSlice(), dst.AsSlice()...)
	b = be32(b, uint32(length))
	b = append(b, 0, 0, 0, proto)
	return uint32(sum(b, 0))
}

// putChecksum fills in the checksum of a TCP, UDP or ICMPv6 segment, which has zeros there.
func putChecksum(segment []byte, at int, src, dst netip.Addr, proto uint8) {
	c := ^sum(segment, pseudo(src, dst, proto, len(segment)))
	if c == 0 && proto == packet.ProtoUDP {
		c = 0xffff
	}
	put16(segment[at:], c)
}

// Offload turns a complete TCP or UDP frame without extension headers into what a sender with checksum
// offload hands over: only the pseudo-header's sum in the checksum field. A segment size above 0 makes it a super-frame.
func Offload(frame []byte, segSize uint16) ([]byte, packet.GSO) {
	b := append([]byte{}, frame...)
	ip := b[packet.EthernetLen:]
	head, proto := transport(ip)
	g := packet.GSO{NeedsCsum: true, CsumStart: uint16(packet.EthernetLen + head), CsumOffset: 16, SegSize: segSize}
	segment := ip[head:]
	data := 8
	switch {
	case proto == packet.ProtoTCP:
		data = int(segment[12]>>4) * 4
		g.Type = packet.GSOTCP4
		if ip[0]>>4 == 6 {
			g.Type = packet.GSOTCP6
		}
		g.ECN = segment[13]&packet.CWR != 0 && segSize > 0
	case proto == packet.ProtoUDP:
		g.CsumOffset, g.Type = 6, packet.GSOUDP
	default:
		panic(fmt.Sprintf("packettest: no offload for protocol %d", proto))
	}
	g.HdrLen = g.CsumStart + uint16(data)
	if segSize == 0 {
		g.Type = packet.GSONone
	}
	src, dst := addresses(ip)
	put16(segment[g.CsumOffset:], uint16(pseudo(src, dst, proto, len(segment))))
	return b, g
}

// transport returns where the transport header of an IP packet without extension headers starts.
func transport(ip []byte) (head int, proto uint8) {
	if ip[0]>>4 == 4 {
		return int(ip[0]&15) * 4, ip[9]
	}
	return 40, ip[6]
}

// Check says what is wrong with the lengths and checksums of a complete IP frame without extension
// headers, fragments excluded; nil if nothing.
func Check(frame []byte) error {
	if len(frame) < packet.EthernetLen+20 {
		return fmt.Errorf("%d bytes are no IP frame", len(frame))
	}
	ip := frame[packet.EthernetLen:]
	head, proto := transport(ip)
	total := 0
	switch get16(frame[12:]) {
	case packet.EtherTypeIPv4:
		total = int(get16(ip[2:]))
		if ip[0]>>4 != 4 || head < 20 || head > len(ip) {
			return fmt.Errorf("IPv4 version %d, header of %d bytes", ip[0]>>4, head)
		}
		if s := sum(ip[:head], 0); s != 0xffff {
			return fmt.Errorf("IPv4 header sums to %#04x", s)
		}
	case packet.EtherTypeIPv6:
		if len(ip) < 40 || ip[0]>>4 != 6 {
			return fmt.Errorf("%d bytes with version %d are no IPv6 packet", len(ip), ip[0]>>4)
		}
		total = 40 + int(get16(ip[4:]))
	default:
		return fmt.Errorf("EtherType %#04x", get16(frame[12:]))
	}
	if total > len(ip) || total < head {
		return fmt.Errorf("IP length %d in a frame with %d bytes of IP", total, len(ip))
	}
	return checkSegment(ip[head:total], ip, proto)
}

func checkSegment(segment, ip []byte, proto uint8) error {
	src, dst := addresses(ip)
	seed := pseudo(src, dst, proto, len(segment))
	switch proto {
	case packet.ProtoICMP:
		seed = 0
	case packet.ProtoUDP:
		if n := int(get16(segment[4:])); n != len(segment) {
			return fmt.Errorf("UDP length %d of %d bytes", n, len(segment))
		}
		if get16(segment[6:]) == 0 && src.Is4() {
			return nil
		}
	case packet.ProtoTCP, packet.ProtoICMPv6:
	default:
		return nil
	}
	if s := sum(segment, seed); s != 0xffff {
		return fmt.Errorf("protocol %d sums to %#04x", proto, s)
	}
	return nil
}
