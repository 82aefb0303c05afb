package packet_test

import (
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

func ext(proto uint8, body ...byte) packettest.Extension {
	return packettest.Extension{Proto: proto, Body: body}
}

func repeat(e packettest.Extension, n int) (list []packettest.Extension) {
	for range n {
		list = append(list, e)
	}
	return list
}

func TestParseExtensions(t *testing.T) {
	hop, dst := ext(packet.ProtoHopByHop), ext(packet.ProtoDstOptions)
	first, later := packettest.FragmentHeader(9, 0, true), packettest.FragmentHeader(9, 64, false)
	for _, c := range []struct {
		name string
		ext  []packettest.Extension
		why  packet.Malformed
		frag packet.Fragment
	}{
		{name: "eight", ext: append([]packettest.Extension{hop}, repeat(dst, 7)...)},
		{name: "nine", ext: append([]packettest.Extension{hop}, repeat(dst, 8)...), why: packet.BadIPv6},
		{name: "hop-by-hop not first", ext: []packettest.Extension{dst, hop}, why: packet.BadIPv6},
		{name: "source route type 0", ext: []packettest.Extension{ext(packet.ProtoRouting, 0, 1)}, why: packet.BadIPv6},
		{name: "used up route type 0", ext: []packettest.Extension{ext(packet.ProtoRouting, 0, 0)}},
		{name: "segment route", ext: []packettest.Extension{ext(packet.ProtoRouting, 4, 1)}},
		{name: "authentication", ext: []packettest.Extension{ext(packet.ProtoAH, make([]byte, 22)...)}},
		{name: "two fragment headers", ext: []packettest.Extension{packettest.FragmentHeader(1, 0, false), packettest.FragmentHeader(2, 0, false)}, why: packet.BadIPv6},
		{name: "first fragment", ext: []packettest.Extension{first, dst}, frag: packet.FirstFragment},
		{name: "later fragment", ext: []packettest.Extension{later}, frag: packet.LaterFragment},
		{name: "later fragment behind hop-by-hop", ext: []packettest.Extension{hop, later}, frag: packet.LaterFragment},
		{name: "later fragment that looks like a chain", ext: []packettest.Extension{later, ext(packet.ProtoHopByHop, 200)}, frag: packet.LaterFragment},
	} {
		u := udp6
		u.Payload = make([]byte, 64)
		u.IP.Extensions = c.ext
		frame := u.Bytes()
		if c.why != packet.NotMalformed {
			checkMalformed(t, c.name, frame, c.why)
			continue
		}
		var h packet.Headers
		h.Parse(frame)
		if h.Kind != packet.IPv6 || h.Frag != c.frag || c.frag != packet.LaterFragment && (h.Proto != 17 || h.DstPort != 53) {
			t.Errorf("%s: %s %+v", c.name, h.Why, h)
		}
	}
}

// The first fragment holds the whole header chain (RFC 7112) and the transport header.
func TestParseTinyFragments6(t *testing.T) {
	frag := func(more bool, offset, cut int, proto uint8, extra ...packettest.Extension) []byte {
		o := packettest.Other{Src: a6, Dst: b6, Proto: proto, Payload: make([]byte, 24)}
		o.Payload[12] = 0x60
		o.IP.Extensions = append([]packettest.Extension{packettest.FragmentHeader(9, offset, more)}, extra...)
		b := o.Bytes()
		b = b[:len(b)-cut]
		b[19] -= byte(cut)
		return b
	}
	long := ext(packet.ProtoDstOptions, make([]byte, 22)...)
	for _, c := range []struct {
		name  string
		frame []byte
		why   packet.Malformed
	}{
		{"TCP whole", frag(true, 0, 0, 6), packet.NotMalformed},
		{"TCP cut", frag(true, 0, 8, 6), packet.TinyFragment},
		{"UDP whole", frag(true, 0, 16, 17), packet.BadUDP}, // its length says 0
		{"ICMPv6 of 8 bytes", frag(true, 0, 16, 58), packet.NotMalformed},
		{"ESP of 8 bytes", frag(true, 0, 16, 50), packet.NotMalformed},
		{"options cut", frag(true, 0, 40, 6, long), packet.TinyFragment},
		{"TCP behind options missing", frag(true, 0, 24, 6, long), packet.TinyFragment},
		{"TCP behind options whole", frag(true, 0, 0, 6, long), packet.NotMalformed},
		{"later TCP at 16", frag(true, 16, 0, 6), packet.TinyFragment},
		{"later TCP at 24", frag(true, 24, 0, 6), packet.NotMalformed},
		{"empty", frag(true, 0, 24, 6), packet.BadFragment},
		{"empty last", frag(false, 64, 24, 6), packet.BadFragment},
		{"odd length", frag(true, 64, 1, 17), packet.BadFragment},
		{"odd length at the last", frag(false, 64, 1, 17), packet.NotMalformed},
		{"to byte 65535", frag(false, 65512, 1, 17), packet.NotMalformed},
		{"past byte 65535", frag(false, 65512, 0, 17), packet.BadFragment},
		{"past byte 65535 with what stands before", fragmentBehind(ext(packet.ProtoHopByHop), 65512, 16), packet.BadFragment},
		{"to byte 65535 with what stands before", fragmentBehind(ext(packet.ProtoHopByHop), 65512, 15), packet.NotMalformed},
	} {
		if c.why != packet.NotMalformed {
			checkMalformed(t, c.name, c.frame, c.why)
			continue
		}
		var h packet.Headers
		if h.Parse(c.frame); h.Kind != packet.IPv6 {
			t.Errorf("%s: %s", c.name, h.Why)
		}
	}
}

func fragmentBehind(before packettest.Extension, offset, size int) []byte {
	o := packettest.Other{Src: a6, Dst: b6, Proto: 17, Payload: make([]byte, size)}
	o.IP.Extensions = []packettest.Extension{before, packettest.FragmentHeader(9, offset, false)}
	return o.Bytes()
}

// An extension header that lies about its length never leads outside the packet.
func TestParseExtensionLengths(t *testing.T) {
	for _, proto := range []uint8{packet.ProtoHopByHop, packet.ProtoRouting, packet.ProtoDstOptions, packet.ProtoAH} {
		frame := udpWith6(ext(proto, make([]byte, 14)...))
		for n := range 256 {
			b := change(frame, 55, byte(n))
			b = append(make([]byte, 0, len(b)), b...)
			var h packet.Headers
			h.Parse(b)
			checkInvariants(t, &h, b)
			if size := 8 * (n + 1); proto != packet.ProtoAH && size > len(b)-54 && h.Why != packet.BadIPv6 {
				t.Errorf("protocol %d of %d bytes in %d: %s", proto, size, len(b)-54, h.Why)
			}
		}
	}
}

// ICMP of the wrong family is just a protocol.
func TestParseForeignICMP(t *testing.T) {
	for _, o := range []packettest.Other{
		{Src: a4, Dst: b4, Proto: packet.ProtoICMPv6, Payload: []byte{128, 0, 0, 0, 0, 1, 0, 1}},
		{Src: a6, Dst: b6, Proto: packet.ProtoICMP, Payload: []byte{8, 0, 0, 0, 0, 1, 0, 1}},
		{Src: a4, Dst: b4, Proto: packet.ProtoHopByHop, Payload: []byte{6}},
	} {
		var h packet.Headers
		h.Parse(o.Bytes())
		if h.Kind == packet.Unknown || h.Proto != o.Proto || h.SrcPort|h.DstPort != 0 || h.ICMPType != 0 || h.Payload != h.L4 {
			t.Errorf("protocol %d: %+v", o.Proto, h)
		}
	}
}

func TestParseICMP(t *testing.T) {
	for _, c := range []struct {
		six       bool
		typ, code uint8
		src, dst  uint16
		isError   bool
	}{
		{typ: 8, code: 1, dst: 0x0801},
		{typ: 0, code: 1, dst: 0x0001},
		{typ: 13, dst: 0x0d00},
		{typ: 3, code: 4, dst: 0x0304, isError: true},
		{typ: 4, dst: 0x0400, isError: true},
		{typ: 5, code: 1, dst: 0x0501, isError: true},
		{typ: 11, dst: 0x0b00, isError: true},
		{typ: 12, dst: 0x0c00, isError: true},
		{typ: 128, dst: 0x8000},
		{six: true, typ: 128, code: 1, dst: 0x8001},
		{six: true, typ: 8, dst: 0x0800},
		{six: true, typ: 0, dst: 0},
		{six: true, typ: 1, code: 4, dst: 0x0104, isError: true},
		{six: true, typ: 2, dst: 0x0200, isError: true},
		{six: true, typ: 3, dst: 0x0300, isError: true},
		{six: true, typ: 4, dst: 0x0400, isError: true},
		{six: true, typ: 5, dst: 0x0500},
		{six: true, typ: 143, dst: 0x8f00},
	} {
		m := packettest.ICMP{Src: a4, Dst: b4, Type: c.typ, Code: c.code, ID: 77}
		if c.six {
			m.Src, m.Dst = a6, b6
		}
		var h packet.Headers
		h.Parse(m.Bytes())
		if h.SrcPort != c.src || h.DstPort != c.dst || h.ICMPError != c.isError || h.ICMPType != c.typ || h.ICMPCode != c.code {
			t.Errorf("%+v: %+v", c, h)
		}
	}
}

func TestParseNeighbourDiscovery(t *testing.T) {
	target := packet.AddrFrom(b6)
	body := func(extra ...byte) []byte { return append(append([]byte{}, target[:]...), extra...) }
	option := []byte{1, 1, 2, 0, 0, 0, 0, 1}
	for _, c := range []struct {
		name string
		m    packettest.ICMP
		bad  bool
	}{
		{name: "bare solicitation", m: packettest.ICMP{Type: 135, Payload: body()}},
		{name: "bare advertisement", m: packettest.ICMP{Type: 136, Payload: body()}},
		{name: "options", m: packettest.ICMP{Type: 135, Payload: body(append(option, 14, 1, 0, 0, 0, 0, 0, 0)...)}},
		{name: "router solicitation", m: packettest.ICMP{Type: 133}},
		{name: "router advertisement", m: packettest.ICMP{Type: 134, Payload: make([]byte, 8)}},
		{name: "redirect", m: packettest.ICMP{Type: 137, Payload: make([]byte, 32)}},
		{name: "hop limit", m: packettest.ICMP{Type: 135, Payload: body(), IP: packettest.IP{TTL: 254}}, bad: true},
		{name: "router solicitation's hop limit", m: packettest.ICMP{Type: 133, IP: packettest.IP{TTL: 64}}, bad: true},
		{name: "code", m: packettest.ICMP{Type: 135, Code: 1, Payload: body()}, bad: true},
		{name: "short target", m: packettest.ICMP{Type: 136, Payload: body()[:15]}, bad: true},
		{name: "short router advertisement", m: packettest.ICMP{Type: 134, Payload: make([]byte, 7)}, bad: true},
		{name: "short redirect", m: packettest.ICMP{Type: 137, Payload: make([]byte, 31)}, bad: true},
		{name: "option of length 0", m: packettest.ICMP{Type: 135, Payload: body(1, 0, 2, 0, 0, 0, 0, 1)}, bad: true},
		{name: "option past the end", m: packettest.ICMP{Type: 135, Payload: body(1, 2, 2, 0, 0, 0, 0, 1)}, bad: true},
		{name: "a byte of an option", m: packettest.ICMP{Type: 135, Payload: body(1)}, bad: true},
		{name: "half an option", m: packettest.ICMP{Type: 135, Payload: body(1, 1, 2, 0)}, bad: true},
		{name: "multicast target", m: packettest.ICMP{Type: 135, Payload: append([]byte{0xff, 2}, body()[2:]...)}, bad: true},
		{name: "fragment", bad: true, m: packettest.ICMP{Type: 135, Payload: body(),
			IP: packettest.IP{TTL: 255, Extensions: []packettest.Extension{packettest.FragmentHeader(1, 0, true)}}}},
	} {
		c.m.Src, c.m.Dst = a6, b6
		if c.bad {
			checkMalformed(t, c.name, c.m.Bytes(), packet.BadND)
			continue
		}
		var h packet.Headers
		h.Parse(c.m.Bytes())
		if h.Kind != packet.IPv6 || h.ICMPType != c.m.Type {
			t.Errorf("%s: %s", c.name, h.Why)
		}
		if want := c.m.Type == 135 || c.m.Type == 136; want != (h.NDTarget == target) {
			t.Errorf("%s: target %s", c.name, h.NDTarget)
		}
	}
}
