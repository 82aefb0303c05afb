package packet_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

func echoPair(src, dst netip.Addr, id uint16) (request, reply []byte) {
	ping := packettest.Ping(src, dst, id, 1)
	return ping.Bytes(), packettest.Pong(ping).Bytes()
}

// frameOf returns the sample of that name.
func frameOf(t testing.TB, name string) []byte {
	t.Helper()
	for _, s := range samples() {
		if s.name == name {
			return s.frame
		}
	}
	t.Fatalf("no sample %q", name)
	return nil
}

func TestParse(t *testing.T) {
	A4, B4, A6, B6 := packet.AddrFrom(a4), packet.AddrFrom(b4), packet.AddrFrom(a6), packet.AddrFrom(b6)
	ip4 := packet.Headers{Kind: packet.IPv4, L3: 14, L4: 34, Src: A4, Dst: B4, TTL: 64}
	ip6 := packet.Headers{Kind: packet.IPv6, L3: 14, L4: 54, Src: A6, Dst: B6, TTL: 64}
	with := func(h packet.Headers, f func(*packet.Headers)) packet.Headers { f(&h); return h }
	udp := func(h packet.Headers) packet.Headers {
		return with(h, func(h *packet.Headers) {
			h.Proto, h.SrcPort, h.DstPort = 17, 5353, 53
			h.Payload, h.End = h.L4+8, h.L4+13
		})
	}
	tcp := with(ip4, func(h *packet.Headers) {
		h.Proto, h.SrcPort, h.DstPort, h.TCPFlags, h.TCPWindow = 6, 40000, 443, packet.PSH|packet.ACK, 501
		h.TCPSeq, h.TCPAck, h.Payload, h.End = 0x01020304, 0x05060708, 54, 70
	})
	icmp := func(h packet.Headers, proto, typ, code uint8, src, dst uint16, data int32) packet.Headers {
		return with(h, func(h *packet.Headers) {
			h.Proto, h.ICMPType, h.ICMPCode, h.SrcPort, h.DstPort = proto, typ, code, src, dst
			h.Payload = h.L4 + 8
			h.End = h.Payload + data
		})
	}
	swap := func(h packet.Headers) packet.Headers { h.Src, h.Dst = h.Dst, h.Src; return h }
	shift := func(n int32, h packet.Headers) packet.Headers {
		h.L4, h.Payload, h.End = h.L4+n, h.Payload+n, h.End+n
		return h
	}
	arp := packet.Headers{Kind: packet.ARP, L3: 14, L4: 42, Payload: 42, End: 42, ARPOp: 1, ARPSenderMAC: srcMAC, Src: A4, Dst: packet.AddrFrom(ip("10.0.1.1")), DstMAC: packet.Broadcast}
	frag := func(h packet.Headers, kind packet.Fragment, id uint32, off uint16, more bool, size int32) packet.Headers {
		h.Frag, h.FragID, h.FragOffset, h.MoreFragments, h.Proto = kind, id, off, more, 17
		h.Payload, h.End = h.L4, h.L4+size
		if kind == packet.FirstFragment {
			h.SrcPort, h.DstPort, h.Payload = 5353, 53, h.L4+8
		}
		return h
	}
	nd := func(typ uint8, dst packet.Addr, mac packet.MAC) packet.Headers {
		return with(icmp(ip6, 58, typ, 0, 0, uint16(typ)<<8, 24), func(h *packet.Headers) {
			h.TTL, h.NDTarget, h.Dst, h.DstMAC = 255, B6, dst, mac
		})
	}
	for name, want := range map[string]packet.Headers{
		"tcp4":            tcp,
		"tcp options":     with(tcp, func(h *packet.Headers) { h.Payload, h.End = 66, 82 }),
		"ip options":      shift(4, tcp),
		"udp4":            udp(ip4),
		"udp6":            udp(ip6),
		"padded":          udp(ip4),
		"hop-by-hop":      shift(8, udp(ip6)),
		"four extensions": shift(8+16+8+24, udp(ip6)),
		"atomic fragment": with(shift(8, udp(ip6)), func(h *packet.Headers) { h.FragID = 9 }),
		"tcp6": with(ip6, func(h *packet.Headers) {
			h.Proto, h.SrcPort, h.DstPort, h.TCPFlags, h.TCPWindow, h.TCPSeq = 6, 40000, 443, packet.SYN, 64240, 7
			h.Payload, h.End = 78, 78
		}),
		"echo4":           icmp(ip4, 1, 8, 0, 77, 0x0800, 26),
		"pong4":           icmp(swap(ip4), 1, 0, 0, 0x0800, 77, 26),
		"echo6":           icmp(ip6, 58, 128, 0, 77, 0x8000, 26),
		"pong6":           icmp(swap(ip6), 58, 129, 0, 0x8000, 77, 26),
		"icmp4 error":     with(icmp(swap(ip4), 1, 3, 3, 0, 0x0303, 28), func(h *packet.Headers) { h.ICMPError = true }),
		"icmp6 error":     with(icmp(swap(ip6), 58, 1, 4, 0, 0x0104, 53), func(h *packet.Headers) { h.ICMPError = true }),
		"arp":             arp,
		"arp reply":       with(swap(arp), func(h *packet.Headers) { h.ARPOp, h.ARPSenderMAC, h.SrcMAC, h.DstMAC = 2, dstMAC, dstMAC, srcMAC }),
		"ns":              nd(135, packet.SolicitedNode(B6), packet.MAC{0x33, 0x33, 0xff, 0, 0, 9}),
		"na":              with(nd(136, A6, srcMAC), func(h *packet.Headers) { h.Src, h.SrcMAC = B6, dstMAC }),
		"first fragment4": frag(ip4, packet.FirstFragment, 0, 0, true, 48),
		"later fragment4": frag(ip4, packet.LaterFragment, 0, 48, true, 48),
		"last fragment4":  frag(ip4, packet.LaterFragment, 0, 96, false, 12),
		"first fragment6": frag(shift(8, ip6), packet.FirstFragment, 0xdeadbeef, 0, true, 48),
		"later fragment6": frag(shift(8, ip6), packet.LaterFragment, 0xdeadbeef, 48, true, 48),
		"gre4":            with(ip4, func(h *packet.Headers) { h.Proto, h.Payload, h.End = 47, 34, 42 }),
		"esp6":            with(ip6, func(h *packet.Headers) { h.Proto, h.Payload, h.End = 50, 54, 78 }),
		"no next header":  with(ip6, func(h *packet.Headers) { h.Proto, h.Payload, h.End = 59, 54, 54 }),
	} {
		if want.SrcMAC.IsZero() {
			want.SrcMAC = srcMAC
		}
		if want.DstMAC.IsZero() {
			want.DstMAC = dstMAC
		}
		if want.Kind != packet.ARP {
			want.TotalLen = uint32(want.End - want.L3)
		}
		var got packet.Headers
		if got.Parse(frameOf(t, name)); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

// Every sample is well-formed, has its expectation in TestParse, and is the same whatever h held.
func TestParseForgets(t *testing.T) {
	var reused packet.Headers
	for _, a := range samples() {
		for _, b := range samples() {
			var fresh packet.Headers
			fresh.Parse(b.frame)
			reused.Parse(a.frame)
			if reused.Parse(b.frame); reused != fresh {
				t.Fatalf("%s after %s: %+v", b.name, a.name, reused)
			}
			if fresh.Kind == packet.Unknown {
				t.Fatalf("%s is %s", b.name, fresh.Why)
			}
		}
	}
}

// fix4 puts the right header checksum into an IPv4 frame without options after f changed it.
func fix4(frame []byte, f func(ip []byte)) []byte {
	b := append([]byte{}, frame...)
	f(b[14:])
	head := min(max(int(b[14]&15)*4, 20), len(b)-14)
	binary.BigEndian.PutUint16(b[24:], 0)
	binary.BigEndian.PutUint16(b[24:], ^naiveSum(b[14:14+head], 0))
	return b
}

// sum16 makes the first 16 bytes of the IPv4 header sum up.
func sum16(frame []byte) []byte {
	binary.BigEndian.PutUint16(frame[24:], 0)
	binary.BigEndian.PutUint16(frame[24:], ^naiveSum(frame[14:30], 0))
	return frame
}

func change(frame []byte, at int, v ...byte) []byte {
	b := append([]byte{}, frame...)
	copy(b[at:], v)
	return b
}

func TestParseMalformed(t *testing.T) {
	t4, u4, t6 := tcp4.Bytes(), udp4.Bytes(), tcp6.Bytes()
	e4, e6 := packettest.Ping(a4, b4, 1, 1).Bytes(), packettest.Ping(a6, b6, 1, 1).Bytes()
	arp := packettest.ARP{Sender: a4, Target: b4}.Bytes()
	short := func(n int) func([]byte) {
		return func(ip []byte) { binary.BigEndian.PutUint16(ip[2:], uint16(n)) }
	}
	for _, c := range []struct {
		name  string
		frame []byte
		why   packet.Malformed
	}{
		{"nothing", nil, packet.Truncated},
		{"13 bytes", t4[:13], packet.Truncated},
		{"bare Ethernet header", t4[:14], packet.Truncated},
		{"VLAN tag", packettest.VLAN(t4, 7), packet.VLAN},
		{"802.1ad tag", packettest.Ethernet(srcMAC, dstMAC, packet.EtherTypeQinQ, t4[14:]), packet.VLAN},
		{"802.3 length", packettest.Ethernet(srcMAC, dstMAC, 0x0026, make([]byte, 38)), packet.EtherType},
		{"LLDP", packettest.Ethernet(srcMAC, dstMAC, 0x88cc, make([]byte, 50)), packet.EtherType},
		{"ARP of 27 bytes", arp[:41], packet.Truncated},
		{"ARP hardware type", change(arp, 15, 6), packet.BadARP},
		{"ARP protocol type", change(arp, 17, 1), packet.BadARP},
		{"ARP hardware length", change(arp, 18, 8), packet.BadARP},
		{"ARP protocol length", change(arp, 19, 16), packet.BadARP},
		{"version 5", fix4(t4, func(ip []byte) { ip[0] = 0x55 }), packet.BadIPv4},
		{"version 6 as IPv4", change(t4, 14, 0x65), packet.BadIPv4},
		{"header of 16 bytes", fix4(t4, func(ip []byte) { ip[0] = 0x44 }), packet.BadIPv4},
		{"header of 16 bytes with its checksum", sum16(change(t4, 14, 0x44)), packet.BadIPv4},
		{"header past the frame", fix4(t4[:54], func(ip []byte) { ip[0] = 0x4f }), packet.Truncated},
		{"header checksum", change(t4, 24, t4[24]^1), packet.BadIPv4},
		{"header checksum with options", change(frameOf(t, "ip options"), 37, 1), packet.BadIPv4},
		{"total length 0", fix4(t4, short(0)), packet.BadIPv4},
		{"total length 19", fix4(t4, short(19)), packet.BadIPv4},
		{"total length below options", fix4(frameOf(t, "ip options"), short(23)), packet.BadIPv4},
		{"total length past the frame", fix4(t4, short(len(t4)-13)), packet.Truncated},
		{"TCP of 19 bytes", fix4(t4, short(39)), packet.BadTCP},
		{"TCP without bytes", fix4(t4, short(20)), packet.BadTCP},
		{"TCP data offset 4", change(t4, 46, 0x40), packet.BadTCP},
		{"TCP data offset past the packet", change(t4, 46, 0xf0), packet.BadTCP},
		{"TCP6 data offset past the packet", change(t6, 66, 0x70), packet.BadTCP},
		{"UDP of 7 bytes", fix4(u4, short(27)), packet.BadUDP},
		{"UDP length 7", change(u4, 38, 0, 7), packet.BadUDP},
		{"UDP length past the packet", change(u4, 38, 0, 14), packet.BadUDP},
		{"ICMP of 7 bytes", fix4(e4, short(27)), packet.BadICMP},
		{"ICMPv6 of 7 bytes", change(e6, 18, 0, 7), packet.BadICMP},
		{"IPv6 of 39 bytes", t6[:53], packet.Truncated},
		{"version 4 as IPv6", change(t6, 14, 0x45), packet.BadIPv6},
		{"payload length past the frame", change(t6, 18, 0, 25), packet.Truncated},
		{"payload length 0", change(t6, 18, 0, 0), packet.BadTCP},
		{"mapped source", change(t6, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 1, 5), packet.BadIPv6},
		{"mapped destination", change(t6, 38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 1, 5), packet.BadIPv6},
	} {
		checkMalformed(t, c.name, c.frame, c.why)
	}
}

// checkMalformed wants a frame Unknown for the reason, and nothing else known of it.
func checkMalformed(t *testing.T, name string, frame []byte, why packet.Malformed) {
	t.Helper()
	var got packet.Headers
	got.Parse(frame)
	want := packet.Headers{Why: why}
	if len(frame) >= 14 {
		want.DstMAC, want.SrcMAC = packet.MAC(frame[0:6]), packet.MAC(frame[6:12])
	}
	if got != want {
		t.Errorf("%s: %s %s, want %s\n%+v", name, got.Kind, got.Why, why, got)
	}
}

func TestParseFragments(t *testing.T) {
	frag := func(proto byte, offset int, more bool, size int) []byte {
		o := packettest.Other{Src: a4, Dst: b4, Proto: proto, Payload: make([]byte, size)}
		return fix4(o.Bytes(), func(ip []byte) {
			field := uint16(offset / 8)
			if more {
				field |= 0x2000
			}
			binary.BigEndian.PutUint16(ip[6:], field)
			if size >= 13 && offset == 0 {
				ip[32] = 0x60 // a TCP header of 24 bytes
			}
		})
	}
	for _, c := range []struct {
		name  string
		frame []byte
		why   packet.Malformed
	}{
		{"first TCP with 16 bytes", frag(6, 0, true, 16), packet.TinyFragment},
		{"first TCP without its options", fix4(tcp4.Bytes()[:54], func(ip []byte) { ip[2], ip[3], ip[6], ip[32] = 0, 40, 0x20, 0x60 }), packet.BadFragment},
		{"first TCP with half its options", frag(6, 0, true, 16+8-8), packet.TinyFragment},
		{"first TCP with its options", frag(6, 0, true, 24), packet.NotMalformed},
		{"later TCP at 8", frag(6, 8, false, 24), packet.TinyFragment},
		{"later TCP at 16", frag(6, 16, true, 24), packet.TinyFragment},
		{"later TCP at 24", frag(6, 24, true, 24), packet.NotMalformed},
		{"later UDP at 8", frag(17, 8, true, 8), packet.NotMalformed},
		{"empty first", frag(17, 0, true, 0), packet.BadFragment},
		{"empty last", frag(17, 80, false, 0), packet.BadFragment},
		{"odd length before the last", frag(17, 80, true, 9), packet.BadFragment},
		{"odd length at the last", frag(17, 80, false, 9), packet.NotMalformed},
		{"to byte 65535", frag(17, 65512, false, 65535-65512-20), packet.NotMalformed},
		{"past byte 65535", frag(17, 65512, false, 65535-65512-20+1), packet.BadFragment},
		{"ping of death", frag(1, 65528, false, 1000), packet.BadFragment},
	} {
		if c.why != packet.NotMalformed {
			checkMalformed(t, c.name, c.frame, c.why)
			continue
		}
		var h packet.Headers
		if h.Parse(c.frame); h.Kind != packet.IPv4 {
			t.Errorf("%s: %s", c.name, h.Why)
		}
	}
}

// A UDP length may reach past the first fragment, since it counts the whole datagram.
func TestParseFirstFragmentUDPLength(t *testing.T) {
	var h packet.Headers
	frame := frameOf(t, "first fragment4")
	if n := binary.BigEndian.Uint16(frame[38:]); n != 108 {
		t.Fatalf("the datagram has %d bytes", n)
	}
	if h.Parse(frame); h.Kind != packet.IPv4 || h.DstPort != 53 {
		t.Errorf("%+v", h)
	}
}

// Cut anywhere, a frame is Truncated: no header is ever guessed from what is left.
func TestParseTruncated(t *testing.T) {
	for _, s := range samples() {
		var whole, h packet.Headers
		whole.Parse(s.frame)
		for n := range int(whole.End) {
			// The copy ends where the slice ends, so that a read behind it panics.
			if h.Parse(append(make([]byte, 0, n), s.frame[:n]...)); h.Kind != packet.Unknown || h.Why != packet.Truncated {
				t.Fatalf("%s cut to %d bytes: %s %s", s.name, n, h.Kind, h.Why)
			}
		}
		for n := int(whole.End); n <= len(s.frame); n++ {
			if h.Parse(s.frame[:n]); h != whole {
				t.Fatalf("%s cut to %d bytes, padding only, is another: %+v", s.name, n, h)
			}
		}
	}
}

// Cut within the packet, with lengths and checksum that fit what is left, nothing past End is used.
func TestParseShortened(t *testing.T) {
	for _, s := range samples() {
		var h packet.Headers
		for n := 20; n < len(s.frame)-14; n++ {
			b := append(make([]byte, 0, 14+n), s.frame[:14+n]...)
			switch {
			case b[12] == 0x08 && b[13] == 0:
				b = fix4(b, func(ip []byte) { binary.BigEndian.PutUint16(ip[2:], uint16(n)) })
			case b[12] == 0x86 && n >= 40:
				binary.BigEndian.PutUint16(b[18:], uint16(n-40))
			}
			h.Parse(b)
			checkInvariants(t, &h, b)
		}
	}
}

func TestParseSuperFrames(t *testing.T) {
	for _, s := range superFrames() {
		var h packet.Headers
		if h.Parse(s.frame); int(h.End) != len(s.frame) || h.Kind == packet.Unknown {
			t.Errorf("%s: %s %s, end %d of %d", s.name, h.Kind, h.Why, h.End, len(s.frame))
		}
	}
	// The largest IPv6 packet is longer than the largest IPv4 packet by its header.
	u := udp6
	u.Payload = make([]byte, 65535-8)
	var h packet.Headers
	if h.Parse(u.Bytes()); h.TotalLen != 40+65535 {
		t.Errorf("%s %s, %d bytes", h.Kind, h.Why, h.TotalLen)
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	var h packet.Headers
	for _, s := range append(samples(), sample{"vlan", packettest.VLAN(tcp4.Bytes(), 1)}, sample{"empty", nil}) {
		if n := testing.AllocsPerRun(100, func() {
			h.Parse(s.frame)
			h.Embedded(s.frame)
			_, _, _ = h.EgressKey(1), h.IngressKey(1), h.Tuple()
		}); n != 0 {
			t.Errorf("%s: %v allocations", s.name, n)
		}
	}
}

// checkInvariants holds for any bytes.
func checkInvariants(t *testing.T, h *packet.Headers, frame []byte) {
	t.Helper()
	if h.Kind == packet.Unknown {
		if *h != (packet.Headers{Why: h.Why, SrcMAC: h.SrcMAC, DstMAC: h.DstMAC}) || h.Why == packet.NotMalformed {
			t.Fatalf("an unknown frame is known: %+v", h)
		}
		return
	}
	if h.Why != packet.NotMalformed || h.L3 != 14 || h.L4 < h.L3+20 || h.Payload < h.L4 || h.End < h.Payload || int(h.End) > len(frame) {
		t.Fatalf("offsets: %+v of %d bytes", h, len(frame))
	}
	if h.Kind != packet.ARP && h.TotalLen != uint32(h.End-h.L3) {
		t.Fatalf("total length: %+v", h)
	}
	if h.Kind != packet.IPv6 && (!h.Src.Is4() || !h.Dst.Is4()) || h.Kind == packet.IPv6 && (h.Src.Is4() || h.Dst.Is4()) {
		t.Fatalf("families: %+v", h)
	}
	if h.Frag == packet.LaterFragment && (h.SrcPort|h.DstPort != 0 || h.Payload != h.L4 || h.FragOffset == 0) {
		t.Fatalf("a later fragment has ports: %+v", h)
	}
	if h.Frag == packet.FirstFragment && (!h.MoreFragments || h.FragOffset != 0) {
		t.Fatalf("first fragment: %+v", h)
	}
	if int(h.FragOffset)+int(h.End-h.L4) > 65535 {
		t.Fatalf("reassembles to too much: %+v", h)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.frame)
	}
	f.Add(packettest.VLAN(tcp4.Bytes(), 1))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var h, again packet.Headers
		if len(frame) > 24 && frame[12] == 0x08 && frame[13] == 0 {
			// Half of the time, get past the header checksum.
			if frame[0]&1 == 0 {
				if head := int(frame[14]&15) * 4; head >= 20 && 14+head <= len(frame) {
					frame = fix4(frame, func([]byte) {})
				}
			}
		}
		before := string(frame)
		h.Parse(frame)
		checkInvariants(t, &h, frame)
		// What lies behind End changes nothing, and neither does what h held.
		again = packet.Headers{SrcPort: 9, NDTarget: packet.Addr{1}, ICMPError: true}
		if again.Parse(frame[:max(int(h.End), min(len(frame), 14))]); h.Kind != packet.Unknown && again != h {
			t.Fatalf("padding matters:\n%+v\n%+v", h, again)
		}
		if tuple, ok := h.Embedded(frame); ok && (!h.ICMPError || tuple.Src.Is4() != h.Src.Is4()) {
			t.Fatalf("embedded %+v in %+v", tuple, h)
		}
		packet.Segments(&h, packet.GSO{Type: packet.GSOTCP4, SegSize: 1})
		if string(frame) != before {
			t.Fatal("the frame was written to")
		}
		if packet.EchoReply(frame, &h) {
			if again.Parse(frame); again.Tuple() != h.Tuple().Reverse() || again.TTL != packet.EchoTTL {
				t.Fatalf("echo reply %+v to %+v", again, h)
			}
		}
	})
}
