package vswitch

import (
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
)

// TestAnnounce: an interface that gets another MAC tells its neighbours, nobody else, and is reached by the new one only.
func TestAnnounce(t *testing.T) {
	w, web, app := pair(t, "all from anywhere", "all from anywhere-v6")
	near := w.instance("near", "a", "10.0.1.99", "default")
	for _, p := range []*stubPort{web, app, near} {
		p.take()
	}
	old, mac := web.mac, "52:54:00:00:00:09"
	w.modify("web-1", func(in *vpc.ModifyNetworkInterfaceInput) { in.MAC = &mac })
	if out := web.take(); len(out) != 0 {
		t.Errorf("%d frames to itself", len(out))
	}
	if out := app.take(); len(out) != 0 {
		t.Errorf("%d frames to another subnet", len(out))
	}
	out := near.take()
	if len(out) != 2 {
		t.Fatalf("%d frames to the neighbour, want an ARP request and an advertisement", len(out))
	}
	want, _ := packet.ParseMAC(mac)
	for _, f := range out {
		var h packet.Headers
		h.Parse(f)
		switch {
		case h.SrcMAC != want:
			t.Errorf("from %v", h.SrcMAC)
		case h.Kind == packet.ARP && (h.Src != h.Dst || h.ARPSenderMAC != want || h.Src.Netip() != addr("10.0.1.10")):
			t.Errorf("ARP %+v", h)
		case h.Kind == packet.IPv6 && (h.ICMPType != 136 || h.Dst != packet.AllNodes || h.NDTarget != h.Src):
			t.Errorf("neighbour discovery %+v", h)
		}
	}
	w.groups("near", "default")
	w.silent() // a change that leaves the MAC alone
	to := packettest.UDP{Src: near.end(false, 1), Dst: web.end(false, 53), SrcMAC: near.mac}
	to.DstMAC = old
	near.expect(ReasonUnknownMAC, to.Bytes())
	to.DstMAC = want
	near.expect(ReasonNoRule, to.Bytes())
}
