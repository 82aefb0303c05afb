package vswitch

import (
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

const (
	syn    = packet.SYN
	synAck = packet.SYN | packet.ACK
	ack    = packet.ACK
	fin    = packet.FIN | packet.ACK
)

// TestTrackedConnection walks a TCP connection through two subnets: one rule, replies without one, and
// it outlives its rule.
func TestTrackedConnection(t *testing.T) {
	w := newWorld(t)
	w.group("web")
	w.group("app", "tcp 8080 from web")
	web, app := w.instance("web-1", "a", "10.0.1.10", "web"), w.instance("app-1", "b", "10.0.2.10", "app")

	web.send(web.tcp(app, 40000, 8080, syn))
	f := app.delivered(1)[0]
	var h packet.Headers
	h.Parse(f)
	if h.SrcMAC != RouterMAC || h.DstMAC != app.mac || h.TTL != 64 {
		t.Errorf("routed frame has %v > %v ttl %d", h.SrcMAC, h.DstMAC, h.TTL)
	}
	app.send(app.tcp(web, 8080, 40000, synAck))
	web.delivered(1)
	web.send(web.tcp(app, 40000, 8080, ack))
	app.delivered(1)

	w.revoke("app", "tcp 8080 from web")
	web.send(web.tcp(app, 40000, 8080, packet.PSH|ack))
	app.delivered(1)
	app.send(app.tcp(web, 8080, 40000, ack))
	web.delivered(1)
	web.send(web.tcp(app, 40001, 8080, syn))
	app.delivered(0)
	if n := web.reason(ReasonNoRule); n != 1 {
		t.Errorf("%d rejects, want 1", n)
	}
	rs := w.records()
	if len(rs) != 6 {
		t.Errorf("%d records, want 6: two of each end of the connection, two of the rejected one", len(rs))
	}
	for _, r := range rs {
		if r.Action == flowlogs.Reject && (r.Interface.ID != w.names["app-1"] || r.Direction != vpc.Ingress || r.Packets != 1) {
			t.Errorf("reject at %s %v, %d packets", r.Interface.ID, r.Direction, r.Packets)
		}
	}
}

// TestRejectIsCachedAndLifted keeps a rejected flow's verdict until a rule admits it.
func TestRejectIsCachedAndLifted(t *testing.T) {
	w := newWorld(t)
	w.group("web")
	w.group("app")
	web, app := w.instance("web-1", "a", "10.0.1.10", "web"), w.instance("app-1", "b", "10.0.2.10", "app")
	for range 3 {
		web.send(web.udp(app, 5000, 53, "q"))
	}
	app.delivered(0)
	w.authorize("app", "udp 53 from web")
	web.send(web.udp(app, 5000, 53, "q"))
	app.delivered(1)
	app.send(app.udp(web, 53, 5000, "a"))
	web.delivered(1)
	var rejected, accepted uint64
	for _, r := range w.records() {
		if r.Interface.ID == w.names["app-1"] && r.Direction == vpc.Ingress {
			if r.Action == flowlogs.Reject {
				rejected += r.Packets
			} else {
				accepted += r.Packets
			}
		}
	}
	if rejected != 3 || accepted != 1 {
		t.Errorf("app-1 ingress: %d rejected, %d accepted; want 3, 1", rejected, accepted)
	}
}

// TestUntrackedIsCutAtOnce: CT-02 of the reference: a rule for anywhere with all egress makes a flow untracked.
func TestUntrackedIsCutAtOnce(t *testing.T) {
	w := newWorld(t)
	w.group("web")
	w.group("app", "tcp 80 from anywhere")
	web, app := w.instance("web-1", "a", "10.0.1.10", "web"), w.instance("app-1", "b", "10.0.2.10", "app")
	web.send(web.tcp(app, 40000, 80, syn))
	app.delivered(1)
	app.send(app.tcp(web, 80, 40000, synAck))
	web.delivered(1)
	w.revoke("app", "tcp 80 from anywhere")
	web.send(web.tcp(app, 40000, 80, ack))
	app.delivered(0)
}

// TestPingBothFamilies pings across and within subnets.
func TestPingBothFamilies(t *testing.T) {
	w := newWorld(t)
	w.group("g", "ping from anywhere")
	a, b := w.instance("a-1", "a", "10.0.1.10", "g"), w.instance("a-2", "a", "10.0.1.11", "g")
	a.send(a.ping(b, 7, 1))
	b.delivered(1)
	b.send(b.pong(a, 7, 1))
	a.delivered(1)
	w.clock.Advance(time.Second)
	a.send(a.ping(b, 7, 2))
	b.delivered(1)
	if n := w.sw.TableStats().Halves; n != 2 {
		t.Errorf("%d halves, want 2", n)
	}
}
