package packet_test

import (
	"bytes"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

func TestValid(t *testing.T) {
	big := func(f func(*packet.GSO)) packet.GSO {
		g := packet.GSO{Type: packet.GSOTCP4, NeedsCsum: true, HdrLen: 54, SegSize: 8, CsumStart: 34, CsumOffset: 16}
		if f != nil {
			f(&g)
		}
		return g
	}
	csum := func(start, offset uint16) packet.GSO {
		return packet.GSO{NeedsCsum: true, CsumStart: start, CsumOffset: offset}
	}
	uso := packet.GSO{Type: packet.GSOUDP, NeedsCsum: true, SegSize: 1, CsumStart: 34, CsumOffset: 6}
	routed := tcp6
	routed.IP.Extensions = []packettest.Extension{{Proto: packet.ProtoRouting, Body: []byte{4, 1}}}
	routed.Payload = make([]byte, 100)
	for _, c := range []struct {
		name  string
		frame []byte
		gso   packet.GSO
		want  bool
	}{
		{"wire frame", tcp4.Bytes(), packet.GSO{}, true},
		{"wire frame, verified", tcp4.Bytes(), packet.GSO{DataValid: true}, true},
		{"ARP", frameOf(t, "arp"), packet.GSO{}, true},
		{"TCP4", tcp4.Bytes(), big(nil), true},
		{"TCP4 with a lying header length", tcp4.Bytes(), big(func(g *packet.GSO) { g.HdrLen = 9 }), true},
		{"TCP4 without checksum", tcp4.Bytes(), packet.GSO{Type: packet.GSOTCP4, SegSize: 8}, true},
		{"segments of 7 bytes", tcp4.Bytes(), big(func(g *packet.GSO) { g.SegSize = 7 }), false},
		{"segments of 0 bytes", tcp4.Bytes(), big(func(g *packet.GSO) { g.SegSize = 0 }), false},
		{"TCP4 on TCP6", tcp6.Bytes(), packet.GSO{Type: packet.GSOTCP4, SegSize: 8}, false},
		{"TCP6 on TCP4", tcp4.Bytes(), packet.GSO{Type: packet.GSOTCP6, SegSize: 8}, false},
		{"TCP4 on UDP", udp4.Bytes(), packet.GSO{Type: packet.GSOTCP4, SegSize: 8}, false},
		{"USO on TCP", tcp4.Bytes(), packet.GSO{Type: packet.GSOUDP, SegSize: 8}, false},
		{"USO", udp4.Bytes(), uso, true},
		{"USO of IPv6", udp6.Bytes(), packet.GSO{Type: packet.GSOUDP, SegSize: 3}, true},
		{"USO of 128 segments", usoOf(128), uso, true},
		{"USO of 129 segments", usoOf(129), uso, false},
		{"super-frame without payload", tcp6.Bytes(), packet.GSO{Type: packet.GSOTCP6, SegSize: 100}, false},
		{"super-frame that is a fragment", frameOf(t, "first fragment4"), packet.GSO{Type: packet.GSOUDP, SegSize: 8}, false},
		{"super-frame with a source route", routed.Bytes(), packet.GSO{Type: packet.GSOTCP6, SegSize: 8}, false},
		{"unknown type", tcp4.Bytes(), packet.GSO{Type: 9, SegSize: 8}, false},
		{"super-frame of another checksum", tcp4.Bytes(), big(func(g *packet.GSO) { g.CsumStart, g.CsumOffset = 54, 6 }), false},
		{"checksum of TCP", tcp4.Bytes(), csum(34, 16), true},
		{"checksum of UDP", udp6.Bytes(), csum(54, 6), true},
		{"checksum over the port of TCP", tcp4.Bytes(), csum(34, 2), false},
		{"checksum over the address", tcp4.Bytes(), csum(30, 0), false},
		{"checksum over the MAC", tcp4.Bytes(), csum(0, 0), false},
		{"checksum over UDP's length", udp4.Bytes(), csum(34, 4), false},
		{"checksum from the middle of TCP", tcp4.Bytes(), csum(36, 14), false},
		{"checksum over ICMP's type", frameOf(t, "echo4"), csum(34, 0), false},
		{"checksum of ICMP", frameOf(t, "echo4"), csum(34, 2), false},
		{"checksum in a tunnel", tcp4.Bytes(), csum(54, 6), true},
		{"checksum in GRE", frameOf(t, "gre4"), csum(34, 6), true},
		{"checksum half outside", tcp4.Bytes(), csum(54, 15), false},
		{"checksum at the very end", tcp4.Bytes(), csum(54, 14), true},
		{"checksum in the padding", packettest.Pad(udp4.Bytes()), csum(47, 0), false},
		{"checksum that overflows", tcp4.Bytes(), csum(65535, 65535), false},
		{"checksum of ARP", frameOf(t, "arp"), csum(34, 0), false},
		{"checksum of a first fragment", frameOf(t, "first fragment4"), csum(34, 6), false},
		{"checksum of a later fragment", frameOf(t, "later fragment4"), csum(34, 6), false},
		{"checksum of an unknown frame", tcp4.Bytes()[:30], csum(34, 16), false},
	} {
		var h packet.Headers
		h.Parse(c.frame)
		if got := c.gso.Valid(&h); got != c.want {
			t.Errorf("%s: %t for %+v", c.name, got, h)
		}
	}
}

// usoOf is a datagram of n bytes.
func usoOf(n int) []byte {
	u := udp4
	u.Payload = make([]byte, n)
	return u.Bytes()
}

func TestCompleteChecksum(t *testing.T) {
	odd := tcp4
	odd.Payload = ramp(1447)
	for _, s := range []sample{
		{"tcp4", tcp4.Bytes()}, {"tcp6", tcp6.Bytes()}, {"udp4", udp4.Bytes()}, {"udp6", udp6.Bytes()}, {"odd", odd.Bytes()},
		{"ip options", frameOf(t, "ip options")},
	} {
		frame, g := packettest.Offload(s.frame, 0)
		if packettest.Check(frame) == nil {
			t.Fatalf("%s: nothing is missing", s.name)
		}
		if !packet.CompleteChecksum(frame, g) || !bytes.Equal(frame, s.frame) {
			t.Errorf("%s:\n got % x\nwant % x", s.name, frame, s.frame)
		}
		if g.NeedsCsum = false; !packet.CompleteChecksum(frame, g) || !bytes.Equal(frame, s.frame) {
			t.Errorf("%s: a complete frame was changed", s.name)
		}
	}
}

// A UDP checksum that comes out as 0 is sent as 0xffff, for 0 means none.
func TestCompleteChecksumZero(t *testing.T) {
	u := udp4
	u.Payload = []byte{0, 0}
	frame := u.Bytes()
	c := uint16(frame[40])<<8 | uint16(frame[41])
	u.Payload = []byte{byte(c >> 8), byte(c)} // adding what is missing makes the sum 0xffff
	frame, g := packettest.Offload(u.Bytes(), 0)
	if !packet.CompleteChecksum(frame, g) || frame[40] != 0xff || frame[41] != 0xff {
		t.Errorf("checksum % x, want ff ff", frame[40:42])
	}
	if err := packettest.Check(frame); err != nil {
		t.Error(err)
	}
}

func TestCompleteChecksumBounds(t *testing.T) {
	frame := tcp4.Bytes()
	for _, g := range []packet.GSO{
		{NeedsCsum: true},
		{NeedsCsum: true, CsumStart: 13, CsumOffset: 20},
		{NeedsCsum: true, CsumStart: 34, CsumOffset: uint16(len(frame) - 34 - 1)},
		{NeedsCsum: true, CsumStart: uint16(len(frame)), CsumOffset: 0},
		{NeedsCsum: true, CsumStart: 65535, CsumOffset: 65535},
	} {
		b := bytes.Clone(frame)
		if packet.CompleteChecksum(b, g) || !bytes.Equal(b, frame) {
			t.Errorf("%+v was completed", g)
		}
	}
	if last := uint16(len(frame) - 2); !packet.CompleteChecksum(frame, packet.GSO{NeedsCsum: true, CsumStart: last}) {
		t.Error("the last two bytes were refused")
	}
	if packet.CompleteChecksum(nil, packet.GSO{NeedsCsum: true, CsumStart: 34, CsumOffset: 16}) {
		t.Error("nothing was completed")
	}
}
