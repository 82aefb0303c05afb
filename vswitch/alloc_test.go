package vswitch

import (
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

// again refills p's batch with the frame and runs it.
func (p *stubPort) again(frame []byte, g packet.GSO, n int) {
	p.batch.Reset()
	for range n {
		p.batch.Commit(copy(p.batch.Next(), frame), g)
	}
	p.link.workers[0].run(&p.batch)
}

// TestHitsDoNotAllocate: neither accepted nor rejected, nor what the switch answers or drops.
func TestHitsDoNotAllocate(t *testing.T) {
	w, web, app := pair(t, "tcp 80 from web", "udp 53 from anywhere", "udp 53 from anywhere-v6", "ping from web")
	near := w.instance("app-2", "a", "10.0.1.11", "app")
	web.discard, app.discard, near.discard = true, true, true
	super, g := packettest.Offload(web.seg(app, 9, 80, ack, 1, 1, 9000), 1400)
	for _, test := range []struct {
		name   string
		frame  []byte
		g      packet.GSO
		reason Reason // of every frame; ReasonNone: delivered
	}{
		{"tcp4", web.tcp(app, 1, 80, ack), packet.GSO{}, ReasonNone},
		{"tcp6", web.tcp6(app, 1, 80, ack), packet.GSO{}, ReasonNone},
		{"udp4", web.udp(app, 1, 53, "x"), packet.GSO{}, ReasonNone},
		{"udp6", web.udp6(app, 1, 53, "x"), packet.GSO{}, ReasonNone},
		{"icmp4", web.ping(app, 1, 1), packet.GSO{}, ReasonNone},
		{"neighbour", web.udp(near, 1, 53, "x"), packet.GSO{}, ReasonNone},
		{"split", super, g, ReasonNone},
		{"rejected tcp4", web.tcp(app, 1, 81, syn), packet.GSO{}, ReasonNoRule},
		{"rejected tcp6", web.tcp6(app, 1, 81, syn), packet.GSO{}, ReasonNoRule},
		{"rejected udp4", web.udp(app, 1, 54, "x"), packet.GSO{}, ReasonNoRule},
		{"rejected udp6", web.udp6(app, 1, 54, "x"), packet.GSO{}, ReasonNoRule},
		{"rejected icmp4", app.ping(web, 1, 1), packet.GSO{}, ReasonNoRule},
		{"rejected icmp6", web.ping6(app, 1, 1), packet.GSO{}, ReasonNoRule},
		{"arp", packettest.ARP{SenderMAC: web.mac, Sender: web.addr, Target: near.addr}.Bytes(), packet.GSO{}, ReasonARP},
		{"solicitation", packet.NeighborSolicitation(nil, web.mac, packet.AddrFrom(web.addr6), packet.AddrFrom(near.addr6)), packet.GSO{}, ReasonNeighbor},
		{"router", routerPing(web, web.addr, "10.0.1.1"), packet.GSO{}, ReasonRouter},
		{"spoofed", web.udpFrom(app.addr, "10.0.2.10", web.mac, RouterMAC), packet.GSO{}, ReasonSpoofedIP},
		{"truncated", []byte{1, 2, 3}, packet.GSO{}, ReasonTruncated},
	} {
		t.Run(test.name, func(t *testing.T) { w.t = t; w.zeroAllocs(test.frame, test.g, test.reason) })
	}
	w.authorize("app", "icmpv6 128 from web")
	w.authorize("app", "icmp from web")
	t.Run("icmp6", func(t *testing.T) { w.t = t; w.zeroAllocs(web.ping6(app, 2, 1), packet.GSO{}, ReasonNone) })
}

func (w *world) zeroAllocs(frame []byte, g packet.GSO, want Reason) {
	w.t.Helper()
	from := w.ports["web-1"]
	if app := w.ports["app-1"]; parsed(frame).SrcMAC == app.mac {
		from = app
	}
	from.again(frame, g, 1)
	from.again(frame, g, 1)
	before := w.sw.Totals()
	if n := testing.AllocsPerRun(100, func() { from.again(frame, g, 4) }); n != 0 {
		w.t.Errorf("%v allocations a batch", n)
	}
	after := w.sw.Totals()
	for name, n := range after.Reasons {
		if was := before.Reasons[name]; n != was && name != want.String() {
			w.t.Errorf("%d frames were counted as %s", n-was, name)
		}
	}
	if want == ReasonNone && after.Packets-before.Packets != after.SentPackets-before.SentPackets {
		w.t.Errorf("%d packets, %d delivered", after.Packets-before.Packets, after.SentPackets-before.SentPackets)
	}
	if want != ReasonNone && after.Reasons[want.String()]-before.Reasons[want.String()] != after.Frames-before.Frames {
		w.t.Errorf("not all frames were counted as %v: %v", want, after.Reasons)
	}
}
