package vswitch

import (
	"reflect"
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// TestRecordsOfVerdicts is the table of which records a verdict causes, for the rows without network ACLs.
func TestRecordsOfVerdicts(t *testing.T) {
	const allOut = "all to anywhere"
	for _, test := range []struct {
		name    string
		rules   []string // of app
		revoked [2]string
		reply   bool
		want    []string
	}{
		{"inbound allowed, reply allowed", []string{"tcp 8080 from web"}, [2]string{}, true, []string{
			"web-1 egress ACCEPT 6 40000 8080 1 40", "app-1 ingress ACCEPT 6 40000 8080 1 40",
			"app-1 egress ACCEPT 6 8080 40000 1 40", "web-1 ingress ACCEPT 6 8080 40000 1 40"}},
		{"inbound allowed, no egress rule for the reply", []string{"tcp 8080 from web"}, [2]string{"app", allOut}, true, []string{
			"web-1 egress ACCEPT 6 40000 8080 1 40", "app-1 ingress ACCEPT 6 40000 8080 1 40",
			"app-1 egress ACCEPT 6 8080 40000 1 40", "web-1 ingress ACCEPT 6 8080 40000 1 40"}},
		{"inbound denied at the other end", []string{"tcp 8081 from web"}, [2]string{}, false, []string{
			"web-1 egress ACCEPT 6 40000 8080 1 40", "app-1 ingress REJECT 6 40000 8080 1 40"}},
		{"outbound denied", []string{"tcp 8080 from web"}, [2]string{"web", allOut}, false, []string{
			"web-1 egress REJECT 6 40000 8080 1 40"}},
		{"both denied: the sender's end decides", nil, [2]string{"web", allOut}, false, []string{
			"web-1 egress REJECT 6 40000 8080 1 40"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, web, app := pair(t, test.rules...)
			if test.revoked[0] != "" {
				w.revoke(test.revoked[0], test.revoked[1])
			}
			if frame := web.tcp(app, 40000, 8080, syn); test.reply {
				web.passes(app, frame)
				app.passes(web, app.tcp(web, 8080, 40000, synAck))
			} else {
				web.rejected(ReasonNoRule, frame)
			}
			w.wantLog(test.want...)
			w.balanced()
		})
	}
}

// TestUnionOfGroups is SG-01: two groups that each permit half do not permit the combination.
func TestUnionOfGroups(t *testing.T) {
	w := newWorld(t)
	w.group("client")
	w.group("one", "tcp 80 from 10.0.1.10/32")
	w.group("two", "tcp 443 from 10.0.1.11/32")
	a, n := w.instance("client-1", "a", "10.0.1.10", "client"), w.instance("client-2", "a", "10.0.1.11", "client")
	s := w.instance("server-1", "b", "10.0.2.10", "one", "two")
	a.passes(s, a.tcp(s, 1000, 80, syn))
	n.passes(s, n.tcp(s, 1000, 443, syn))
	a.rejected(ReasonNoRule, a.tcp(s, 1000, 443, syn))
	n.rejected(ReasonNoRule, n.tcp(s, 1000, 80, syn))
	a.rejected(ReasonNoRule, a.tcp6(s, 1000, 80, syn)) // IPv4 rules admit no IPv6
}

// opened is a TCP connection from web:40000 to app:8080 after its handshake.
func opened(t *testing.T) (w *world, web, app *stubPort) {
	t.Helper()
	w, web, app = pair(t, "tcp 8080 from web")
	web.passes(app, web.seg(app, 40000, 8080, packet.SYN, 100, 0, 0))
	app.passes(web, app.seg(web, 8080, 40000, packet.SYN|packet.ACK, 500, 101, 0))
	web.passes(app, web.seg(app, 40000, 8080, packet.ACK, 101, 501, 0))
	for _, p := range []*stubPort{web, app} {
		if h := p.theHalf(); h.State != "ESTABLISHED" || !h.Tracked || h.Rejected {
			t.Fatalf("%s: %+v", p.name, h)
		}
	}
	return w, web, app
}

// theHalf is the only half that p's interface has.
func (p *stubPort) theHalf() HalfState {
	p.w.t.Helper()
	var found []HalfState
	p.w.sw.Halves(func(h HalfState) bool {
		if h.Interface == p.eni {
			found = append(found, h)
		}
		return true
	})
	if len(found) != 1 {
		p.w.t.Fatalf("%s has %d halves, want 1: %+v", p.name, len(found), found)
	}
	return found[0]
}

// closed is an opened connection that was closed in order.
func closed(t *testing.T) (w *world, web, app *stubPort) {
	t.Helper()
	w, web, app = opened(t)
	web.passes(app, web.seg(app, 40000, 8080, packet.FIN|packet.ACK, 101, 501, 0))
	app.passes(web, app.seg(web, 8080, 40000, packet.ACK, 501, 102, 100)) // half-closed: the other side may go on
	app.passes(web, app.seg(web, 8080, 40000, packet.FIN|packet.ACK, 601, 102, 0))
	web.passes(app, web.seg(app, 40000, 8080, packet.ACK, 102, 602, 0))
	return w, web, app
}

func TestAfterClose(t *testing.T) {
	w, web, app := closed(t)
	for _, p := range []*stubPort{web, app} {
		if h := p.theHalf(); h.State != "TIME_WAIT" {
			t.Errorf("%s: %+v", p.name, h)
		}
	}
	web.passes(app, web.seg(app, 40000, 8080, packet.ACK, 102, 602, 0)) // the last ACK again
	before := len(w.log())
	late := web.seg(app, 40000, 8080, packet.ACK|packet.PSH, 102, 602, 10)
	web.rejected(ReasonAfterClose, late)
	web.rejected(ReasonAfterClose, late)
	app.rejected(ReasonAfterClose, app.seg(web, 8080, 40000, packet.ACK|packet.PSH, 602, 102, 10))
	log := w.log()
	if len(log) != before+2 {
		t.Errorf("%d records more, want one REJECT at each sender: %q", len(log)-before, log)
	}
	rs := w.records()
	if n, bytes := total(rs, web.eni, vpc.Egress, 2); n != 2 || bytes != 100 {
		t.Errorf("web-1 egress REJECT: %d packets, %d bytes", n, bytes)
	}
	if n, _ := total(rs, app.eni, vpc.Egress, 2); n != 1 {
		t.Errorf("app-1 egress REJECT: %d packets", n)
	}
	if n, _ := total(rs, app.eni, vpc.Ingress, 2); n != 0 {
		t.Errorf("app-1 ingress REJECT: %d packets, but they never got there", n)
	}
	w.balanced()
}

// TestReopen: a SYN on a closed connection is judged as new.
func TestReopen(t *testing.T) {
	w, web, app := closed(t)
	web.passes(app, web.seg(app, 40000, 8080, packet.SYN, 9000, 0, 0))
	if h := app.theHalf(); h.State != "SYN_SENT" || h.Opener != vpc.Ingress {
		t.Errorf("app-1: %+v", h)
	}
	app.passes(web, app.seg(web, 8080, 40000, packet.SYN|packet.ACK, 700, 9001, 0))
	w.balanced()

	w, web, app = closed(t)
	w.revoke("app", "tcp 8080 from web") // the old connection outlives it, the new one does not
	web.rejected(ReasonNoRule, web.seg(app, 40000, 8080, packet.SYN, 9000, 0, 0))
	web.rejected(ReasonNoRule, web.seg(app, 40000, 8080, packet.SYN, 9000, 0, 0))
	if h := app.theHalf(); !h.Rejected {
		t.Errorf("app-1: %+v", h)
	}
	accepted, _ := total(w.records(), app.eni, vpc.Ingress, 1)
	rejected, _ := total(w.records(), app.eni, vpc.Ingress, 2)
	if accepted != 4 || rejected != 2 {
		t.Errorf("app-1 ingress: %d accepted, %d rejected; want the 4 of the old connection, and 2", accepted, rejected)
	}
	w.balanced()
}

func TestReset(t *testing.T) {
	w, web, app := opened(t)
	app.passes(web, app.seg(web, 8080, 40000, packet.RST|packet.ACK, 501, 101, 0))
	if h := web.theHalf(); h.State != "CLOSE" {
		t.Errorf("web-1: %+v", h)
	}
	app.passes(web, app.seg(web, 8080, 40000, packet.RST, 501, 0, 0))
	web.rejected(ReasonAfterClose, web.seg(app, 40000, 8080, packet.ACK|packet.PSH, 101, 501, 10))
	web.passes(app, web.seg(app, 40000, 8080, packet.SYN, 9000, 0, 0))
	w.balanced()
}

// TestIdleConnection: after the idle timeout packets are judged as new ones are.
func TestIdleConnection(t *testing.T) {
	w, web, app := opened(t)
	w.clock.Advance(431999 * time.Second)
	app.passes(web, app.seg(web, 8080, 40000, packet.ACK, 501, 101, 10))
	w.revoke("app", "tcp 8080 from web")
	w.clock.Advance(431999 * time.Second)
	web.passes(app, web.seg(app, 40000, 8080, packet.ACK, 101, 511, 10))
	w.clock.Advance(432001 * time.Second)
	web.rejected(ReasonNoRule, web.seg(app, 40000, 8080, packet.ACK, 111, 511, 10))
	w.balanced()
}

// TestInterfaceTimeouts: an interface's own idle timeouts hold at that interface.
func TestInterfaceTimeouts(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	w.modify("app-1", func(in *vpc.ModifyNetworkInterfaceInput) {
		in.Tracking = &vpc.ConnectionTracking{UDP: 45 * time.Second}
	})
	web.passes(app, web.udp(app, 5000, 53, "q"))
	if h := app.theHalf(); h.ExpiresIn < 44*time.Second || h.ExpiresIn > 46*time.Second {
		t.Errorf("app-1 expires in %v", h.ExpiresIn)
	}
	if h := web.theHalf(); h.ExpiresIn > 31*time.Second {
		t.Errorf("web-1 expires in %v", h.ExpiresIn)
	}
}

// TestBatchesDoNotMatter: frames get the same verdicts and records in one batch as one by one.
func TestBatchesDoNotMatter(t *testing.T) {
	type result struct {
		delivered int
		reasons   map[string]uint64
		log       []string
	}
	run := func(batched bool, prepare func(web, app *stubPort) [][]byte) (r result) {
		w, web, app := pair(t, "tcp 8080 from web", "udp 53 from web", "ping from web")
		frames := prepare(web, app)
		r.reasons = w.during(func() {
			if batched {
				web.send(frames...)
				return
			}
			for _, f := range frames {
				web.send(f)
			}
		})
		r.delivered, r.log = len(app.take()), w.log()
		w.balanced()
		return r
	}
	for name, frames := range map[string]func(web, app *stubPort) [][]byte{
		"handshake and data": func(web, app *stubPort) [][]byte {
			return [][]byte{web.tcp(app, 1, 8080, syn), web.tcp(app, 1, 8080, ack), web.tcp(app, 1, 8080, ack|packet.PSH)}
		},
		"reset, then data": func(web, app *stubPort) [][]byte {
			return [][]byte{web.tcp(app, 1, 8080, syn), web.tcp(app, 1, 8080, packet.RST), web.seg(app, 1, 8080, ack, 1, 1, 9)}
		},
		"reset, then a new connection": func(web, app *stubPort) [][]byte {
			return [][]byte{web.tcp(app, 1, 8080, syn), web.tcp(app, 1, 8080, packet.RST), web.tcp(app, 1, 8080, syn)}
		},
		"reset of an old connection, then one that its rule no longer admits": func(web, app *stubPort) [][]byte {
			web.passes(app, web.tcp(app, 1, 8080, syn))
			web.w.revoke("app", "tcp 8080 from web")
			return [][]byte{web.seg(app, 1, 8080, ack, 1, 1, 5), web.tcp(app, 1, 8080, packet.RST), web.tcp(app, 1, 8080, syn)}
		},
		"only rejects": func(web, app *stubPort) [][]byte {
			return [][]byte{web.tcp(app, 1, 81, syn), web.tcp(app, 1, 81, syn), web.udp(app, 1, 54, "x"), web.udp(app, 1, 54, "x")}
		},
		"mixed": func(web, app *stubPort) [][]byte {
			return [][]byte{web.udp(app, 1, 53, "x"), web.ping(app, 1, 1), web.udp(app, 1, 54, "x"), web.ping(app, 1, 2), web.udp(app, 1, 53, "yy")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			one, all := run(false, frames), run(true, frames)
			if !reflect.DeepEqual(one, all) {
				t.Errorf("one by one: %+v\n   in a batch: %+v", one, all)
			}
		})
	}
}
