package vswitch

import (
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
)

// TestUDPTimeouts is CT-05: 30 s while one side has spoken or one answer came, 180 s for a stream.
func TestUDPTimeouts(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	w.revoke("app", "all to anywhere") // replies depend on the flow alone
	query, answer := web.udp(app, 5000, 53, "q"), app.udp(web, 53, 5000, "a")
	web.passes(app, query)
	w.clock.Advance(31 * time.Second)
	app.rejected(ReasonNoRule, answer)

	w, web, app = pair(t, "udp 53 from web")
	w.revoke("app", "all to anywhere")
	for range 2 {
		web.passes(app, query)
		app.passes(web, answer)
	}
	w.clock.Advance(179 * time.Second)
	app.passes(web, answer)
	w.clock.Advance(179 * time.Second)
	web.passes(app, query)
	w.clock.Advance(181 * time.Second)
	app.rejected(ReasonNoRule, answer)
	w.balanced()
}

// TestUDPBothFamilies keeps flows of the same ports apart by address and by family.
func TestUDPBothFamilies(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	other := w.instance("web-2", "a", "10.0.1.11", "web")
	w.revoke("app", "all to anywhere")
	w.revoke("app", "all to anywhere-v6")
	web.passes(app, web.udp6(app, 5000, 53, "q"))
	app.rejected(ReasonNoRule, app.udp(web, 53, 5000, "a"))
	app.rejected(ReasonNoRule, app.udp6(other, 53, 5000, "a"))
	app.rejected(ReasonNoRule, app.udp6(web, 53, 5001, "a"))
	app.rejected(ReasonNoRule, app.udp6(web, 54, 5000, "a"))
	app.passes(web, app.udp6(web, 53, 5000, "a"))
	web.passes(app, web.udp(app, 5000, 53, "q"))
	app.passes(web, app.udp(web, 53, 5000, "a"))
	w.balanced()
}

// TestPingIsTracked is CT-04: the reply passes with egress forbidden, if its identifier is the request's.
func TestPingIsTracked(t *testing.T) {
	w, web, app := pair(t, "ping from anywhere", "ping from anywhere-v6")
	w.revoke("app", "all to anywhere")
	w.revoke("app", "all to anywhere-v6")
	app.rejected(ReasonNoRule, app.pong(web, 7, 1))
	app.rejected(ReasonNoRule, app.pong6(web, 7, 1))
	web.passes(app, web.ping(app, 7, 1))
	web.passes(app, web.ping6(app, 7, 1))
	app.rejected(ReasonNoRule, app.pong(web, 8, 1))
	app.passes(web, app.pong(web, 7, 1))
	app.passes(web, app.pong6(web, 7, 1))
	app.rejected(ReasonNoRule, app.ping(web, 7, 1)) // a request of its own is none of the reply's business
	if h, ok := web.half(web.ping(app, 7, 1), vpc.Egress); !ok || !h.Tracked {
		t.Errorf("ICMP is always tracked: %+v", h)
	}
	w.revoke("app", "ping from anywhere") // and so outlives its rule, even one for anywhere
	web.passes(app, web.ping(app, 7, 2))
	app.passes(web, app.pong(web, 7, 2))
	web.rejected(ReasonNoRule, web.ping(app, 9, 1))
	w.clock.Advance(31 * time.Second)
	web.rejected(ReasonNoRule, web.ping(app, 7, 3))
	w.balanced()
}

// TestAddressPairs is CT-06: other protocols are tracked by their pair of addresses, for 600 s.
func TestAddressPairs(t *testing.T) {
	const gre, esp = 47, 50
	w, web, app := pair(t, "47 from web")
	w.revoke("app", "all to anywhere")
	app.rejected(ReasonNoRule, app.other(web, gre, 8))
	web.passes(app, web.other(app, gre, 8))
	web.passes(app, web.other(app, gre, 100))
	app.passes(web, app.other(web, gre, 30))
	web.rejected(ReasonNoRule, web.other(app, esp, 30))
	app.rejected(ReasonNoRule, app.other(web, esp, 30))
	w.clock.Advance(599 * time.Second)
	app.passes(web, app.other(web, gre, 30))
	w.clock.Advance(601 * time.Second)
	app.rejected(ReasonNoRule, app.other(web, gre, 30))
	w.balanced()
}

// unreachable is the ICMP error with which p answers a frame that it got from to.
func (p *stubPort) unreachable(to *stubPort, about []byte) []byte {
	typ, code := uint8(3), uint8(3)
	src := p.addr
	if about[12] == 0x86 {
		typ, code, src = 1, 4, p.addr6
	}
	e := packettest.ICMPError(src, typ, code, about, 64)
	e.SrcMAC, e.DstMAC = p.mac, p.hop(to.addr)
	return e.Bytes()
}

// TestICMPErrors are judged like any packet, by the rules alone, and open nothing. (AWS: without an ICMP rule
// path MTU discovery is blocked.)
func TestICMPErrors(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	query, query6 := web.udp(app, 5000, 53, "q"), web.udp6(app, 5000, 53, "q")
	web.passes(app, query)
	web.passes(app, query6)
	halves := w.sw.TableStats().Halves
	unreachable, unreachable6 := app.unreachable(web, query), app.unreachable(web, query6)
	app.rejected(ReasonNoRule, unreachable) // web has no ingress rule
	app.rejected(ReasonNoRule, unreachable6)
	w.authorize("web", "icmp 3/3 from app")
	w.authorize("web", "icmpv6 1/4 from app")
	app.passes(web, unreachable)
	app.passes(web, unreachable)
	app.passes(web, unreachable6)
	w.revoke("web", "icmp 3/3 from app")
	app.rejected(ReasonNoRule, unreachable) // no state: the rule's end is the flow's
	w.revoke("app", "all to anywhere")
	app.rejected(ReasonNoRule, unreachable)
	if n := w.sw.TableStats().Halves; n != halves {
		t.Errorf("%d halves, want the %d of the queries", n, halves)
	}
	in, _ := total(w.records(), web.eni, vpc.Ingress, 1)
	inRejected, _ := total(w.records(), web.eni, vpc.Ingress, 2)
	outRejected, _ := total(w.records(), app.eni, vpc.Egress, 2)
	if in != 3 || inRejected != 3 || outRejected != 1 {
		t.Errorf("recorded %d accepted, %d rejected at web-1, %d rejected at app-1; want 3, 3, 1", in, inRejected, outRejected)
	}
	w.balanced()
}

// TestUntrackedConversation is CT-02 in full: after its rule is gone an untracked connection is cut in both
// directions' sense: the server's own segments must not open it again.
func TestUntrackedConversation(t *testing.T) {
	w, web, app := pair(t, "tcp 80 from anywhere")
	web.passes(app, web.seg(app, 40000, 80, packet.SYN, 100, 0, 0))
	app.passes(web, app.seg(web, 80, 40000, packet.SYN|packet.ACK, 500, 101, 0))
	web.passes(app, web.seg(app, 40000, 80, packet.ACK, 101, 501, 0))
	if h := app.theHalf(); h.Tracked {
		t.Errorf("app-1: %+v, want untracked", h)
	}
	if h := web.theHalf(); !h.Tracked {
		t.Errorf("web-1: %+v, want tracked: it has no rule that admits every reply", h)
	}
	w.revoke("app", "tcp 80 from anywhere")
	data := web.seg(app, 40000, 80, packet.ACK|packet.PSH, 101, 501, 10)
	web.rejected(ReasonNoRule, data)
	app.passes(web, app.seg(web, 80, 40000, packet.ACK|packet.PSH, 501, 101, 10)) // its egress rule admits this
	web.rejected(ReasonNoRule, data)
	w.clock.Advance(11 * time.Second)
	app.passes(web, app.seg(web, 80, 40000, packet.ACK|packet.PSH, 501, 101, 10))
	web.rejected(ReasonNoRule, data)
	w.authorize("app", "tcp 80 from anywhere")
	web.passes(app, data)
	w.balanced()
}

// TestTrackedByOneSidedRules is CT-03: the same rule without all of egress makes a connection tracked.
func TestTrackedByOneSidedRules(t *testing.T) {
	w, web, app := pair(t, "tcp 80 from anywhere", "tcp 443 to anywhere")
	w.revoke("app", "all to anywhere")
	web.passes(app, web.tcp(app, 40000, 80, syn))
	app.passes(web, app.tcp(web, 80, 40000, synAck))
	w.revoke("app", "tcp 80 from anywhere")
	web.passes(app, web.tcp(app, 40000, 80, ack))
	app.passes(web, app.tcp(web, 80, 40000, ack))
	w.balanced()
}
