package packet_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

var routerMAC = packet.MAC{0x02, 0xee, 0, 0, 0, 1}

func parse(t testing.TB, frame []byte) *packet.Headers {
	t.Helper()
	h := new(packet.Headers)
	if h.Parse(frame); h.Kind == packet.Unknown {
		t.Fatalf("%s: % x", h.Why, frame)
	}
	return h
}

func TestSetMACs(t *testing.T) {
	frame := tcp4.Bytes()
	packet.SetMACs(frame, packet.Broadcast, routerMAC)
	h := parse(t, frame)
	if h.DstMAC != packet.Broadcast || h.SrcMAC != routerMAC {
		t.Errorf("to %s from %s", h.DstMAC, h.SrcMAC)
	}
	if !bytes.Equal(frame[12:], tcp4.Bytes()[12:]) {
		t.Error("more than the addresses was changed")
	}
}

func TestARP(t *testing.T) {
	sender, target := packet.AddrFrom(a4), packet.AddrFrom(b4)
	request := packet.ARPRequest(nil, srcMAC, sender, target)
	if want := (packettest.ARP{Sender: a4, Target: b4}).Bytes(); !bytes.Equal(request, want) {
		t.Errorf("request\n got % x\nwant % x", request, want)
	}
	reply := packet.ARPReply(nil, parse(t, request), routerMAC)
	want := packettest.ARP{Op: 2, DstMAC: srcMAC, SenderMAC: routerMAC, TargetMAC: srcMAC, Sender: b4, Target: a4}.Bytes()
	if !bytes.Equal(reply, want) {
		t.Errorf("reply\n got % x\nwant % x", reply, want)
	}
}

// The builders append and use the room there is.
func TestBuildersAppend(t *testing.T) {
	arp, ns := parse(t, frameOf(t, "arp")), parse(t, frameOf(t, "ns"))
	buf := make([]byte, 2, 200)
	buf[0], buf[1] = 7, 8
	a, b4, a6, b6 := packet.AddrFrom(a4), packet.AddrFrom(b4), packet.AddrFrom(a6), packet.AddrFrom(b6)
	for name, build := range map[string]func([]byte) []byte{
		"ARPRequest":            func(dst []byte) []byte { return packet.ARPRequest(dst, srcMAC, a, b4) },
		"ARPReply":              func(dst []byte) []byte { return packet.ARPReply(dst, arp, routerMAC) },
		"NeighborSolicitation":  func(dst []byte) []byte { return packet.NeighborSolicitation(dst, srcMAC, a6, b6) },
		"NeighborAdvertisement": func(dst []byte) []byte { return packet.NeighborAdvertisement(dst, ns, routerMAC, true) },
	} {
		out := build(buf)
		if &out[0] != &buf[0] || out[0] != 7 || out[1] != 8 || !bytes.Equal(out[2:], build(nil)) {
			t.Errorf("%s does not append", name)
		}
		if n := testing.AllocsPerRun(100, func() { build(buf) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestEchoReply(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		for _, ttl := range []uint8{1, 63, 64, 255} {
			ping := packettest.Ping(ends[0], ends[1], 0xfffe, 3)
			ping.IP.TTL, ping.IP.ID = ttl, 99
			ping.SrcMAC, ping.DstMAC = srcMAC, routerMAC
			frame := packettest.Pad(ping.Bytes())
			if !packet.EchoReply(frame, parse(t, frame)) {
				t.Fatalf("%s: refused", ends[0])
			}
			pong := packettest.Pong(ping)
			pong.IP.TTL = packet.EchoTTL
			if want := packettest.Pad(pong.Bytes()); !bytes.Equal(frame, want) {
				t.Errorf("TTL %d\n got % x\nwant % x", ttl, frame, want)
			}
			if err := packettest.Check(frame); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestEchoReplyKeepsDamage(t *testing.T) {
	frame := packettest.Ping(a4, b4, 1, 1).Bytes()
	frame[len(frame)-1] ^= 1
	if !packet.EchoReply(frame, parse(t, frame)) || packettest.Check(frame) == nil {
		t.Error("a damaged request got a sound reply")
	}
}

func TestEchoReplyRefuses(t *testing.T) {
	cast := packettest.Ping(a4, b4, 1, 1)
	cast.DstMAC = packet.Broadcast
	from := packettest.Ping(a4, b4, 1, 1)
	from.SrcMAC = packet.Broadcast
	code := packettest.Ping(a4, b4, 1, 1)
	code.Code = 1
	routed := packettest.Ping(a6, b6, 1, 1)
	routed.IP.Extensions = []packettest.Extension{{Proto: packet.ProtoRouting, Body: []byte{4, 1}}}
	for name, frame := range map[string][]byte{
		"reply":               frameOf(t, "pong4"),
		"reply6":              frameOf(t, "pong6"),
		"error":               frameOf(t, "icmp4 error"),
		"TCP":                 frameOf(t, "tcp4"),
		"ARP":                 frameOf(t, "arp"),
		"advertisement":       frameOf(t, "na"),
		"code":                code.Bytes(),
		"broadcast":           cast.Bytes(),
		"from everybody":      from.Bytes(),
		"multicast group":     packettest.Ping(a4, ip("224.0.0.1"), 1, 1).Bytes(),
		"IPv6 group":          packettest.Ping(a6, ip("ff02::1"), 1, 1).Bytes(),
		"multicast source":    packettest.Ping(ip("ff02::1"), b6, 1, 1).Bytes(),
		"source route":        routed.Bytes(),
		"fragment":            packettest.Fragments(packettest.Ping(a4, b4, 1, 1).Bytes(), 16, 0)[0],
		"ICMPv6 type in ICMP": packettest.ICMP{Src: a4, Dst: b4, Type: 128}.Bytes(),
		"ICMP type in ICMPv6": packettest.ICMP{Src: a6, Dst: b6, Type: 8}.Bytes(),
	} {
		before := bytes.Clone(frame)
		if packet.EchoReply(frame, parse(t, frame)) || !bytes.Equal(frame, before) {
			t.Errorf("%s was answered", name)
		}
	}
	frame := packettest.Ping(a4, b4, 1, 1).Bytes()
	if packet.EchoReply(frame[:50], parse(t, frame)) {
		t.Error("a frame shorter than was parsed was answered")
	}
}

func TestEchoReplyDoesNotAllocate(t *testing.T) {
	for _, request := range [][]byte{frameOf(t, "echo4"), frameOf(t, "echo6")} {
		frame, h := bytes.Clone(request), parse(t, request)
		if n := testing.AllocsPerRun(100, func() {
			copy(frame, request)
			packet.EchoReply(frame, h)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func TestNeighborSolicitation(t *testing.T) {
	frame := packet.NeighborSolicitation(nil, srcMAC, packet.AddrFrom(a6), packet.AddrFrom(ip("2600:1f18::ab:cdef")))
	want := packettest.ICMP{
		SrcMAC: srcMAC, DstMAC: packet.MAC{0x33, 0x33, 0xff, 0xab, 0xcd, 0xef}, Src: a6, Dst: ip("ff02::1:ffab:cdef"), Type: 135,
		Payload: append(ip("2600:1f18::ab:cdef").AsSlice(), 1, 1, 2, 0, 0, 0, 0, 1),
	}.Bytes()
	if !bytes.Equal(frame, want) {
		t.Errorf("\n got % x\nwant % x", frame, want)
	}
}

func TestNeighborAdvertisement(t *testing.T) {
	option := []byte{2, 1, 2, 0xee, 0, 0, 0, 1}
	for _, c := range []struct {
		name   string
		from   netip.Addr
		to     netip.Addr
		toMAC  packet.MAC
		router bool
		flags  byte
	}{
		{"solicited", a6, a6, srcMAC, false, 0x60},
		{"router", a6, a6, srcMAC, true, 0xe0},
		{"duplicate address detection", ip("::"), ip("ff02::1"), packet.MAC{0x33, 0x33, 0, 0, 0, 1}, false, 0x20},
	} {
		ns := packet.NeighborSolicitation(nil, srcMAC, packet.AddrFrom(c.from), packet.AddrFrom(b6))
		got := packet.NeighborAdvertisement(nil, parse(t, ns), routerMAC, c.router)
		want := packettest.ICMP{
			SrcMAC: routerMAC, DstMAC: c.toMAC, Src: b6, Dst: c.to, Type: 136, ID: uint16(c.flags) << 8,
			Payload: append(b6.AsSlice(), option...),
		}.Bytes()
		if !bytes.Equal(got, want) {
			t.Errorf("%s\n got % x\nwant % x", c.name, got, want)
		}
		if h := parse(t, got); h.NDTarget != packet.AddrFrom(b6) {
			t.Errorf("%s: target %s", c.name, h.NDTarget)
		}
	}
}

func TestMulticast(t *testing.T) {
	a := packet.SolicitedNode(packet.AddrFrom(ip("fe80::0202:b3ff:fe1e:8329")))
	if a.String() != "ff02::1:ff1e:8329" || packet.MulticastMAC(a).String() != "33:33:ff:1e:83:29" {
		t.Errorf("%s at %s", a, packet.MulticastMAC(a)) // RFC 4291 2.7.1, RFC 2464 7
	}
	if packet.AllNodes.String() != "ff02::1" {
		t.Error(packet.AllNodes)
	}
}

func TestNeighborChecksum(t *testing.T) {
	for _, name := range []string{"ns", "na"} {
		if err := packettest.Check(frameOf(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
