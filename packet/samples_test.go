package packet_test

import (
	"bytes"
	"net/netip"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

var (
	ap = netip.MustParseAddrPort
	ip = netip.MustParseAddr

	srcMAC = packet.MAC{0x02, 0, 0, 0, 0, 0x01}
	dstMAC = packet.MAC{0x02, 0, 0, 0, 0, 0x02}

	a4, b4 = ip("10.0.1.5"), ip("10.0.2.9")
	a6, b6 = ip("2600:1f18::5"), ip("2600:1f18:0:1::9")

	tcp4 = packettest.TCP{Src: ap("10.0.1.5:40000"), Dst: ap("10.0.2.9:443"), Flags: packet.PSH | packet.ACK,
		Seq: 0x01020304, Ack: 0x05060708, Window: 501, Payload: []byte("GET / HTTP/1.1\r\n")}
	tcp6 = packettest.TCP{Src: ap("[2600:1f18::5]:40000"), Dst: ap("[2600:1f18:0:1::9]:443"), Flags: packet.SYN,
		Seq: 7, Window: 64240, Options: []byte{2, 4, 5, 0xb4}}
	udp4 = packettest.UDP{Src: ap("10.0.1.5:5353"), Dst: ap("10.0.2.9:53"), Payload: []byte("query")}
	udp6 = packettest.UDP{Src: ap("[2600:1f18::5]:5353"), Dst: ap("[2600:1f18:0:1::9]:53"), Payload: []byte("query")}
)

type sample struct {
	name  string
	frame []byte
}

func tcp(f func(*packettest.TCP)) []byte {
	t := tcp4
	f(&t)
	return t.Bytes()
}

func udpWith6(ext ...packettest.Extension) []byte {
	u := udp6
	u.IP.Extensions = ext
	return u.Bytes()
}

// samples are well-formed frames of every kind that Parse knows.
func samples() []sample {
	parsed := func(frame []byte) *packet.Headers {
		var h packet.Headers
		h.Parse(frame)
		return &h
	}
	arp := packettest.ARP{Sender: a4, Target: ip("10.0.1.1")}.Bytes()
	ns := packet.NeighborSolicitation(nil, srcMAC, packet.AddrFrom(a6), packet.AddrFrom(b6))
	long4, long6 := udp4, udp6
	long4.Payload, long6.Payload = make([]byte, 100), make([]byte, 100)
	frags4, frags6 := packettest.Fragments(long4.Bytes(), 48, 0), packettest.Fragments(long6.Bytes(), 48, 0xdeadbeef)
	return []sample{
		{"tcp4", tcp4.Bytes()},
		{"tcp6", tcp6.Bytes()},
		{"udp4", udp4.Bytes()},
		{"udp6", udp6.Bytes()},
		{"echo4", packettest.Ping(a4, b4, 77, 1).Bytes()},
		{"echo6", packettest.Ping(a6, b6, 77, 1).Bytes()},
		{"pong4", packettest.Pong(packettest.Ping(a4, b4, 77, 1)).Bytes()},
		{"pong6", packettest.Pong(packettest.Ping(a6, b6, 77, 1)).Bytes()},
		{"icmp4 error", packettest.ICMPError(b4, 3, 3, udp4.Bytes(), 28).Bytes()},
		{"icmp6 error", packettest.ICMPError(b6, 1, 4, udp6.Bytes(), 1232).Bytes()},
		{"arp", arp},
		{"arp reply", packet.ARPReply(nil, parsed(arp), dstMAC)},
		{"ns", ns},
		{"na", packet.NeighborAdvertisement(nil, parsed(ns), dstMAC, true)},
		{"ip options", tcp(func(t *packettest.TCP) { t.IP.Options = []byte{0x94, 4, 0, 0} })},
		{"tcp options", tcp(func(t *packettest.TCP) { t.Options = bytes.Repeat([]byte{1}, 12) })},
		{"padded", packettest.Pad(udp4.Bytes())},
		{"hop-by-hop", udpWith6(packettest.Extension{Proto: packet.ProtoHopByHop, Body: []byte{5, 2, 0, 0, 1, 0}})},
		{"four extensions", udpWith6(
			packettest.Extension{Proto: packet.ProtoHopByHop},
			packettest.Extension{Proto: packet.ProtoDstOptions, Body: make([]byte, 14)},
			packettest.Extension{Proto: packet.ProtoRouting, Body: []byte{4, 0, 0, 0, 0, 0}},
			packettest.Extension{Proto: packet.ProtoAH, Body: make([]byte, 22)})},
		{"atomic fragment", udpWith6(packettest.FragmentHeader(9, 0, false))},
		{"first fragment4", frags4[0]},
		{"later fragment4", frags4[1]},
		{"last fragment4", frags4[2]},
		{"first fragment6", frags6[0]},
		{"later fragment6", frags6[1]},
		{"gre4", packettest.Other{Src: a4, Dst: b4, Proto: 47, Payload: []byte("anything")}.Bytes()},
		{"esp6", packettest.Other{Src: a6, Dst: b6, Proto: packet.ProtoESP, Payload: make([]byte, 24)}.Bytes()},
		{"no next header", packettest.Other{Src: a6, Dst: b6, Proto: packet.ProtoNoNext}.Bytes()},
	}
}

type superFrame struct {
	name  string
	frame []byte
	gso   packet.GSO
}

func ramp(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// superFrames are super-frames of each GSO type, up to the largest.
func superFrames() []superFrame {
	t4, t6, u4, u6 := tcp4, tcp6, udp4, udp6
	t4.IP.ID, t4.Flags = 0xfff0, packet.ACK|packet.PSH|packet.FIN|packet.CWR
	t4.Options, t6.Options = bytes.Repeat([]byte{1}, 12), bytes.Repeat([]byte{1}, 12)
	t6.Flags, t6.Seq = packet.ACK|packet.PSH, 0xffffff00
	t4.Payload, t6.Payload = ramp(65535-52), ramp(65535-32)
	u4.Payload, u6.Payload = ramp(30000), ramp(1472*3)
	make := func(name string, frame []byte, seg uint16) superFrame {
		b, g := packettest.Offload(frame, seg)
		return superFrame{name, b, g}
	}
	return []superFrame{
		make("tcp4", t4.Bytes(), 1448),
		make("tcp6", t6.Bytes(), 1428),
		make("udp4", u4.Bytes(), 1472),
		make("udp6", u6.Bytes(), 1472),
	}
}
