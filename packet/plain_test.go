package packet

import (
	"fmt"
	"net/netip"
	"testing"
)

// TestPlain parses what Append built and checks every checksum.
func TestPlain(t *testing.T) {
	pairs := [][2]string{{"10.0.0.4", "10.0.1.5"}, {"2001:db8::4", "2001:db8:1::5"}}
	for _, pair := range pairs {
		for _, proto := range []uint8{ProtoTCP, ProtoUDP, ProtoICMP, ProtoICMPv6, 47} {
			t.Run(fmt.Sprint(pair[0], "/", proto), func(t *testing.T) { testPlain(t, pair, proto) })
		}
	}
}

func testPlain(t *testing.T, pair [2]string, proto uint8) {
	p := Plain{
		SrcMAC: MAC{2, 0, 0, 0, 0, 1}, DstMAC: MAC{2, 0, 0, 0, 0, 2}, Proto: proto, SrcPort: 40000, DstPort: 443, TCPFlags: SYN,
		Src: AddrFrom(netip.MustParseAddr(pair[0])), Dst: AddrFrom(netip.MustParseAddr(pair[1])),
	}
	frame := p.Append(nil)
	var h Headers
	h.Parse(frame)
	if h.Kind == Unknown || h.Src != p.Src || h.Dst != p.Dst || h.Proto != proto || int(h.End) != len(frame) {
		t.Fatalf("parsed %+v", h)
	}
	if (proto == ProtoTCP || proto == ProtoUDP) && (h.SrcPort != 40000 || h.DstPort != 443) {
		t.Errorf("ports %d %d", h.SrcPort, h.DstPort)
	}
	seed := PseudoSum(h.Src, h.Dst, proto, uint32(h.End-h.L4))
	if proto == ProtoICMP {
		seed = 0
	}
	if proto != 47 && Checksum(frame[h.L4:h.End], seed) != 0 {
		t.Error("transport checksum is wrong")
	}
	p.Reply = true
	p.SrcPort, p.DstPort = p.DstPort, p.SrcPort
	if proto == ProtoICMP || proto == ProtoICMPv6 {
		p.SrcPort = 40000
	}
	p.Src, p.Dst = p.Dst, p.Src
	var r Headers
	r.Parse(p.Append(nil))
	if r.Tuple() != h.Tuple().Reverse() {
		t.Errorf("reply %v does not mirror %v", r.Tuple(), h.Tuple())
	}
}
