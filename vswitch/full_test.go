package vswitch

import (
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// bounded is pair with a table of so many halves.
func bounded(t *testing.T, halves int, appRules ...string) (w *world, web, app *stubPort) {
	w = newWorld(t)
	if err := w.sw.Close(); err != nil {
		t.Fatal(err)
	}
	w.acc = flowlogs.NewAggregator(flowlogs.Config{Start: testStart.UnixNano()})
	sw, err := New(Config{Clock: w.clock, Records: w.acc, Table: conntrack.Config{MaxHalves: halves, Shards: 1}})
	if err != nil {
		t.Fatal(err)
	}
	w.sw = sw
	t.Cleanup(func() { sw.Close() })
	w.group("web")
	w.group("app", appRules...)
	return w, w.instance("web-1", "a", "10.0.1.10", "web"), w.instance("app-1", "b", "10.0.2.10", "app")
}

// TestTableFull: a tracked connection that finds no room is dropped as conntrack_allowance_exceeded, and never
// recorded; those that are established go on, and room comes back as they time out.
func TestTableFull(t *testing.T) {
	w, web, app := bounded(t, 8, "udp 53 from web")
	stream := func(sport uint16) {
		for range 2 { // a stream of both sides: nothing to give up
			web.passes(app, web.udp(app, sport, 53, "q"))
			app.passes(web, app.udp(web, 53, sport, "a"))
		}
	}
	for i := range uint16(4) {
		stream(1000 + i)
	}
	for i := range uint16(5) {
		web.expect(ReasonTableFull, web.udp(app, 2000+i, 53, "q"))
	}
	if got := w.sw.Totals().Reasons["conntrack_allowance_exceeded"]; got != 5 {
		t.Errorf("%d packets counted", got)
	}
	rs := w.records()
	for _, r := range rs {
		if r.Tuple.SrcPort >= 2000 {
			t.Errorf("recorded: %+v", r.Flow)
		}
	}
	if len(rs) != 16 {
		t.Errorf("%d records, want 16", len(rs))
	}
	for i := range uint16(4) {
		stream(1000 + i)
	}
	w.clock.Advance(181 * time.Second)
	stream(3000)
	w.balanced()
}

// TestTableFullUntracked: an untracked flow uses no allowance. It passes in both directions, judged frame by
// frame, and every packet is recorded.
func TestTableFullUntracked(t *testing.T) {
	const any4 = "all from anywhere"
	for _, proto := range []string{"tcp", "udp"} {
		t.Run(proto, func(t *testing.T) {
			w, web, app := bounded(t, 8, proto+" 80 from anywhere", "udp 53 from web")
			w.authorize("web", any4) // its replies are admitted by rule: untracked at its end, too
			for i := range uint16(4) {
				for range 2 {
					web.passes(app, web.udp(app, 1000+i, 53, "q"))
					app.passes(web, app.udp(web, 53, 1000+i, "a"))
				}
			}
			// web's own flows are untracked and gave way; fill the rest by app's.
			w.group("peer", "udp 53 from app")
			fill := w.instance("fill-1", "b", "10.0.2.11", "peer")
			for i := range uint16(4) {
				for range 2 {
					app.send(app.udp(fill, 5000+i, 53, "q"))
					if len(fill.take()) == 1 {
						fill.send(fill.udp(app, 53, 5000+i, "a"))
						app.take()
					}
				}
			}
			if s := w.sw.TableStats(); s.Halves != s.Capacity {
				t.Fatalf("%d halves of %d", s.Halves, s.Capacity)
			}
			there, back := web.tcp(app, 40000, 80, syn), app.tcp(web, 80, 40000, synAck)
			if proto == "udp" {
				there, back = web.udp(app, 40000, 80, "there"), app.udp(web, 80, 40000, "back")
			}
			for range 3 {
				web.passes(app, there)
				app.passes(web, back)
			}
			for _, eni := range []string{web.eni, app.eni} {
				for _, d := range []vpc.Direction{vpc.Ingress, vpc.Egress} {
					if n := packetsOf(w.records(), eni, d, 40000); n != 3 {
						t.Errorf("%s %s: %d packets recorded, want 3", eni, d, n)
					}
				}
			}
			app.expect(ReasonTableFull, app.udp(fill, 9999, 53, "q")) // a new tracked one still finds no room
			w.balanced()
		})
	}
}

// packetsOf sums the records of the flows with a port.
func packetsOf(rs []flowlogs.Record, eni string, d vpc.Direction, port uint16) (n uint64) {
	for _, r := range rs {
		if r.Interface.ID == eni && r.Direction == d && (r.Tuple.SrcPort == port || r.Tuple.DstPort == port) {
			n += r.Packets
		}
	}
	return n
}

// TestTableFullRejected: what is rejected needs no room either: it is judged and recorded frame by frame, and
// takes nobody's place.
func TestTableFullRejected(t *testing.T) {
	w, web, app := bounded(t, 8, "udp 53 from web")
	for i := range uint16(4) {
		for range 2 {
			web.passes(app, web.udp(app, 1000+i, 53, "q"))
			app.passes(web, app.udp(web, 53, 1000+i, "a"))
		}
	}
	w.revoke("web", "all to anywhere")
	for i := range uint16(50) {
		web.rejected(ReasonNoRule, web.udp(app, 2000+i, 54, "x"))
		web.rejected(ReasonNoRule, web.udp(app, 2000+i, 54, "x"))
	}
	if n, _ := total(w.records(), web.eni, vpc.Egress, flowlogs.Reject); n != 100 {
		t.Errorf("%d packets recorded as rejected, want 100", n)
	}
	for i := range uint16(4) {
		web.passes(app, web.udp(app, 1000+i, 53, "q"))
	}
	w.balanced()
}

// TestRejectedShare: a scan does not fill the table.
func TestRejectedShare(t *testing.T) {
	w, web, app := bounded(t, 64, "udp 53 from web")
	for i := range uint16(1000) {
		web.rejected(ReasonNoRule, web.udp(app, 1, 100+i, "scan"))
	}
	if s := w.sw.TableStats(); s.Rejected > 16 {
		t.Errorf("%d of %d halves remember rejections", s.Rejected, s.Capacity)
	}
	n, _ := total(w.records(), app.eni, vpc.Ingress, flowlogs.Reject)
	out, _ := total(w.records(), web.eni, vpc.Egress, flowlogs.Accept)
	if n != 1000 || out+w.sw.Totals().Reasons["conntrack_allowance_exceeded"] != 1000 {
		t.Errorf("%d rejected at app-1, %d accepted at web-1; want 1000 each", n, out)
	}
	w.balanced()
}

// TestHalfOpenGivesWay: a flood of an interface's own does not lock it out.
func TestHalfOpenGivesWay(t *testing.T) {
	w, web, app := bounded(t, 8, "tcp 80 from web")
	for i := range uint16(20) {
		web.passes(app, web.tcp(app, 1000+i, 80, syn))
	}
	if n, _ := total(w.records(), web.eni, vpc.Egress, flowlogs.Accept); n != 20 {
		t.Errorf("%d packets recorded, want 20: also of the flows that were given up", n)
	}
	w.balanced()
}
