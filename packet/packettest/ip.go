package packettest

import (
	"encoding/binary"
	"net/netip"

	"github.com/vpclab/vpclab/packet"
)

// Ethernet returns a frame with any type and payload. Zero addresses become the defaults.
func Ethernet(src, dst packet.MAC, etherType uint16, payload []byte) []byte {
	if src.IsZero() {
		src = DefaultSrcMAC
	}
	if dst.IsZero() {
		dst = DefaultDstMAC
	}
	b := append(append([]byte{}, dst[:]...), src[:]...)
	return append(be16(b, etherType), payload...)
}

// frame wraps a transport segment into IP and Ethernet.
func frame(srcMAC, dstMAC packet.MAC, src, dst netip.Addr, ip IP, proto uint8, segment []byte) []byte {
	if src.Is4() != dst.Is4() {
		panic("packettest: addresses of two families")
	}
	if ip.TTL == 0 && !ip.NoTTL {
		ip.TTL = 64
	}
	if src.Is4() {
		return Ethernet(srcMAC, dstMAC, packet.EtherTypeIPv4, ipv4(src, dst, ip, proto, segment))
	}
	return Ethernet(srcMAC, dstMAC, packet.EtherTypeIPv6, ipv6(src, dst, ip, proto, segment))
}

func ipv4(src, dst netip.Addr, ip IP, proto uint8, segment []byte) []byte {
	opts := pad(ip.Options, 4)
	if len(opts) > 40 {
		panic("packettest: more than 40 bytes of IPv4 options")
	}
	b := []byte{0x40 | byte(5+len(opts)/4), ip.TOS}
	b = be16(b, uint16(20+len(opts)+len(segment)))
	b = be16(b, ip.ID)
	var frag uint16
	if ip.DontFragment {
		frag = 0x4000
	}
	b = append(be16(b, frag), ip.TTL, proto, 0, 0)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	b = append(b, opts...)
	put16(b[10:], ^sum(b, 0))
	return append(b, segment...)
}

func ipv6(src, dst netip.Addr, ip IP, proto uint8, segment []byte) []byte {
	first, ext := extensions(ip.Extensions, proto)
	b := be32(nil, 6<<28|uint32(ip.TOS)<<20)
	b = append(be16(b, uint16(len(ext)+len(segment))), first, ip.TTL)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	return append(append(b, ext...), segment...)
}

// extensions returns the number of the first header and the bytes of all extension headers.
func extensions(list []Extension, proto uint8) (first uint8, b []byte) {
	for i, e := range list {
		next := proto
		if i+1 < len(list) {
			next = list[i+1].Proto
		}
		h := append([]byte{next, 0}, e.Body...)
		switch e.Proto {
		case packet.ProtoAH: // RFC 4302: length in units of 4 bytes, minus 2
			h = pad(h, 8)
			h[1] = byte(len(h)/4 - 2)
		case packet.ProtoFragment: // RFC 8200: no length, always 8 bytes
			h = pad(h, 8)
		default:
			h = pad(h, 8)
			h[1] = byte(len(h)/8 - 1)
		}
		b = append(b, h...)
	}
	if len(list) == 0 {
		return proto, nil
	}
	return list[0].Proto, b
}

// FragmentHeader is an IPv6 fragment header; offset in bytes, a multiple of 8.
func FragmentHeader(id uint32, offset int, more bool) Extension {
	o := uint16(offset)
	if more {
		o |= 1
	}
	return Extension{Proto: packet.ProtoFragment, Body: be32(be16(nil, o), id)}
}

// Fragments cuts the IP packet of a frame into fragments with at most size bytes of data each, size a
// multiple of 8. IPv6 packets must have no extension headers; id is theirs, IPv4 keeps its own.
func Fragments(whole []byte, size int, id uint32) [][]byte {
	if size <= 0 || size%8 != 0 {
		panic("packettest: fragment size not a multiple of 8")
	}
	ip := whole[packet.EthernetLen:]
	head := 40
	if ip[0]>>4 == 4 {
		head = int(ip[0]&15) * 4
	}
	data := ip[head:]
	var list [][]byte
	for off := 0; off < len(data); off += size {
		part := data[off:min(off+size, len(data))]
		list = append(list, fragment(whole, head, part, off, off+len(part) < len(data), id))
	}
	return list
}

func fragment(whole []byte, head int, part []byte, off int, more bool, id uint32) []byte {
	b := append([]byte{}, whole[:packet.EthernetLen+head]...)
	ip := b[packet.EthernetLen:]
	if ip[0]>>4 == 6 {
		first, ext := extensions([]Extension{FragmentHeader(id, off, more)}, ip[6])
		ip[6] = first
		put16(ip[4:], uint16(len(ext)+len(part)))
		return append(append(b, ext...), part...)
	}
	put16(ip[2:], uint16(head+len(part)))
	field := uint16(off / 8)
	if more {
		field |= 0x2000
	}
	put16(ip[6:], field)
	put16(ip[10:], 0)
	put16(ip[10:], ^sum(ip, 0))
	return append(b, part...)
}

// VLAN puts an 802.1Q tag into a frame.
func VLAN(frame []byte, id uint16) []byte {
	b := append([]byte{}, frame[:12]...)
	b = be16(be16(b, packet.EtherTypeVLAN), id)
	return append(b, frame[12:]...)
}

// Pad fills a frame up to 60 bytes, the least Ethernet carries, with bytes that are not zero, so that
// code that takes padding for data is found out.
func Pad(frame []byte) []byte {
	b := append([]byte{}, frame...)
	for len(b) < 60 {
		b = append(b, 0xa5)
	}
	return b
}

// addresses returns source and destination of an IP packet.
func addresses(ip []byte) (src, dst netip.Addr) {
	if ip[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	}
	return netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
}

// pad returns a copy of b filled with zeros to a multiple of unit.
func pad(b []byte, unit int) []byte {
	c := append([]byte{}, b...)
	for len(c)%unit != 0 {
		c = append(c, 0)
	}
	return c
}

func be16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func be32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func put16(b []byte, v uint16)       { binary.BigEndian.PutUint16(b, v) }
func get16(b []byte) uint16          { return binary.BigEndian.Uint16(b) }
