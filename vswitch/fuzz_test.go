package vswitch

import (
	"encoding/binary"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

// repairs are what a fuzzed frame may have put right, so that mutation gets past the first checks.
const (
	repairSource = 1 << iota // source MAC and address
	repairRouter             // destination MAC is the router's
	repairNeighbor
	repairChecksum // of the IPv4 header
)

// FuzzPipeline: no bytes and no metadata make the switch panic, deliver anything that is not its sender's
// own, or lose a packet without a name.
func FuzzPipeline(f *testing.F) {
	w, a, n, b := guarded(f)
	n.offload = Offload{Csum: true, TSO4: true, TSO6: true, USO: true, ECN: true}
	n.link.offload = n.offload
	b.link.mtu = 1500
	for _, frame := range kinds(w, a, n, b) {
		f.Add(frame, byte(0), uint8(0), false, uint16(0), uint16(0), uint16(0))
		f.Add(frame, byte(repairSource|repairChecksum), uint8(0), true, uint16(0), uint16(34), uint16(16))
	}
	for _, frame := range packettest.Fragments(a.udp(b, 1, 2, string(make([]byte, 4000))), 1400, 1) {
		f.Add(frame, byte(0), uint8(0), false, uint16(0), uint16(0), uint16(0))
	}
	for _, frame := range [][]byte{
		a.seg(b, 1, 2, packet.ACK, 1, 1, 9000), a.seg(n, 1, 2, packet.ACK|packet.FIN, 1, 1, 9000),
		a.udp(b, 1, 2, string(make([]byte, 5000))), a.udp6(n, 1, 2, string(make([]byte, 5000))),
	} {
		super, g := packettest.Offload(frame, 1400)
		f.Add(super, byte(0), uint8(g.Type), g.NeedsCsum, g.SegSize, g.CsumStart, g.CsumOffset)
	}
	f.Fuzz(func(t *testing.T, data []byte, repair byte, typ uint8, needsCsum bool, segSize, csumStart, csumOffset uint16) {
		if len(data) > MaxFrame {
			return
		}
		w.t = t
		frame := repaired(data, repair, a, n)
		a.sendGSO(frame, packet.GSO{Type: packet.GSOType(typ), NeedsCsum: needsCsum, SegSize: segSize, CsumStart: csumStart, CsumOffset: csumOffset})
		w.balanced()
		for _, out := range append(n.take(), b.take()...) {
			ownFrame(t, out, a)
		}
		for _, out := range a.take() {
			answerFor(t, out, frame, a)
		}
	})
}

func repaired(data []byte, repair byte, a, n *stubPort) []byte {
	f := append([]byte(nil), data...)
	if len(f) < packet.EthernetLen+20 {
		return f
	}
	ip, v4 := f[packet.EthernetLen:], f[12] == 8 && f[13] == 0
	if repair&repairSource != 0 {
		copy(f[6:], a.mac[:])
		if v4 {
			copy(ip[12:], a.addr.AsSlice())
		} else if len(ip) >= 40 {
			copy(ip[8:], a.addr6.AsSlice())
		}
	}
	if repair&repairRouter != 0 {
		copy(f, RouterMAC[:])
	} else if repair&repairNeighbor != 0 {
		copy(f, n.mac[:])
	}
	if head := int(ip[0]&15) * 4; repair&repairChecksum != 0 && v4 && head >= 20 && head <= len(ip) {
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:head], 0))
	}
	return f
}

// ownFrame fails if what another interface got does not show its sender's addresses.
func ownFrame(t *testing.T, out []byte, a *stubPort) {
	t.Helper()
	var h packet.Headers
	h.Parse(out)
	if h.Kind != packet.IPv4 && h.Kind != packet.IPv6 {
		t.Fatalf("delivered: %x: %v", out, h.Why)
	}
	if h.Src != packet.AddrFrom(a.addr) && h.Src != packet.AddrFrom(a.addr6) {
		t.Fatalf("delivered: source address %v", h.Src)
	}
	if h.SrcMAC != a.mac && h.SrcMAC != RouterMAC {
		t.Fatalf("delivered: source MAC %v", h.SrcMAC)
	}
}

// answerFor fails if the sender got back anything but a well-formed answer to what it asked.
func answerFor(t *testing.T, out, in []byte, a *stubPort) {
	t.Helper()
	var h, q packet.Headers
	h.Parse(out)
	q.Parse(in)
	ok := h.Kind == packet.ARP && q.Kind == packet.ARP ||
		h.ICMPType == packet.ICMPv6NeighborAdvert && q.ICMPType == packet.ICMPv6NeighborSolicitation ||
		h.Dst == q.Src && h.Src == q.Dst && h.SrcMAC == RouterMAC
	if !ok || h.DstMAC != a.mac {
		t.Fatalf("answered %x with %x", in, out)
	}
}
