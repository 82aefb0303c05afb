package packet_test

import (
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

func embedded(frame []byte) (packet.Tuple, bool) {
	var h packet.Headers
	h.Parse(frame)
	return h.Embedded(frame)
}

// A router's error names the flow as its sender wrote it, however little is quoted.
func TestEmbedded(t *testing.T) {
	router4, router6 := ip("10.0.2.1"), ip("fe80:ec2::1")
	for _, s := range samples() {
		var h packet.Headers
		h.Parse(s.frame)
		if h.Kind == packet.ARP {
			continue
		}
		src, typ := router4, uint8(packet.ICMPUnreachable)
		if h.Kind == packet.IPv6 {
			src, typ = router6, packet.ICMPv6Unreachable
		}
		want := h.Tuple()
		ok := !h.ICMPError && h.Frag != packet.LaterFragment
		if !ok {
			want = packet.Tuple{}
		}
		least := int(h.L4-h.L3) + 8 // RFC 792: the header and 64 bits
		for _, quote := range []int{least, least + 5, 1500} {
			got, gotOK := embedded(packettest.ICMPError(src, typ, 3, s.frame, quote).Bytes())
			if got != want || gotOK != ok {
				t.Errorf("%s, %d bytes quoted: %+v %t, want %+v %t", s.name, quote, got, gotOK, want, ok)
			}
		}
	}
}

func TestEmbeddedRefuses(t *testing.T) {
	t4, t6 := tcp4.Bytes(), tcp6.Bytes()
	mapped := func(at int) []byte {
		quoted := change(t6, at, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff)
		return packettest.ICMP{Src: b6, Dst: a6, Type: 1, Payload: quoted[14:]}.Bytes()
	}
	for name, frame := range map[string][]byte{
		"a packet in TCP":         tcp(func(p *packettest.TCP) { p.Payload = udp4.Bytes()[14:] }),
		"a packet in an echo":     packettest.ICMP{Src: a4, Dst: b4, Type: 8, Payload: udp4.Bytes()[14:]}.Bytes(),
		"echo":                    packettest.Ping(a4, b4, 1, 1).Bytes(),
		"nothing quoted":          packettest.ICMPError(b4, 3, 3, t4, 0).Bytes(),
		"19 bytes quoted":         packettest.ICMPError(b4, 3, 3, t4, 19).Bytes(),
		"header only":             packettest.ICMPError(b4, 3, 3, t4, 20).Bytes(),
		"7 bytes of TCP":          packettest.ICMPError(b4, 3, 3, t4, 27).Bytes(),
		"7 bytes of ICMP":         packettest.ICMPError(b4, 3, 3, packettest.Ping(a4, b4, 1, 1).Bytes(), 27).Bytes(),
		"options cut":             packettest.ICMPError(b4, 3, 3, frameOf(t, "ip options"), 22).Bytes(),
		"header of 16 bytes":      packettest.ICMPError(b4, 3, 3, change(t4, 14, 0x44), 100).Bytes(),
		"39 bytes quoted of IPv6": packettest.ICMPError(b6, 1, 3, t6, 39).Bytes(),
		"extension cut":           packettest.ICMPError(b6, 1, 3, frameOf(t, "hop-by-hop"), 47).Bytes(),
		"mapped source":           mapped(22),
		"mapped destination":      mapped(38),
		"IPv6 quoted in IPv4":     packettest.ICMP{Src: b4, Dst: a4, Type: 3, Payload: t6[14:]}.Bytes(),
		"IPv4 quoted in IPv6":     packettest.ICMP{Src: b6, Dst: a6, Type: 1, Payload: t4[14:]}.Bytes(),
	} {
		if got, ok := embedded(frame); ok || got != (packet.Tuple{}) {
			t.Errorf("%s: %+v %t", name, got, ok)
		}
	}
}

// Padding behind an error is not part of the quote, and a shorter frame than was parsed does no harm.
func TestEmbeddedBounds(t *testing.T) {
	short := packettest.ICMPError(b4, 3, 3, tcp4.Bytes(), 20).Bytes()
	if got, ok := embedded(append(short, make([]byte, 50)...)); ok {
		t.Errorf("padding was read as ports: %+v", got)
	}
	whole := packettest.ICMPError(b4, 3, 3, tcp4.Bytes(), 100).Bytes()
	var h packet.Headers
	h.Parse(whole)
	for n := range whole {
		if _, ok := h.Embedded(whole[:n]); ok {
			t.Errorf("found in %d of %d bytes", n, len(whole))
		}
	}
}
