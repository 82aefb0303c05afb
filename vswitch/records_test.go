package vswitch

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
)

// pass lets time go by in small steps and returns what was sealed.
func (w *world) pass(d time.Duration) (out []flowlogs.Record) {
	for ; d > 0; d -= time.Second {
		w.clock.Advance(min(d, time.Second))
		out = append(out, w.sw.Tick()...)
	}
	return out
}

// TestOneRecordAWindow: a connection that goes on has one record a window, direction and interface, with that
// window's packets only; a window without packets has NODATA.
func TestOneRecordAWindow(t *testing.T) {
	w, web, app := opened(t)
	var all []flowlogs.Record
	for i := range 3 {
		for range i + 1 {
			web.passes(app, web.seg(app, 40000, 8080, packet.ACK, 101, 501, 100))
		}
		all = append(all, w.pass(time.Minute)...)
	}
	all = append(all, w.pass(time.Minute)...)
	want := []uint64{3, 2, 3, 0} // the handshake's two and the first, then two, three, and none
	var got [4]uint64
	nodata := 0
	for _, r := range all {
		window := (r.Window.Start - testStart.Unix()) / 60
		if r.Window.End-r.Window.Start != 60 || r.Window.Start%60 != 0 {
			t.Errorf("window %+v", r.Window)
		}
		if r.Interface.ID == app.eni && r.Direction == vpc.Ingress && r.Status == flowlogs.OK {
			got[window] += r.Packets
		}
		if r.Interface.ID == app.eni && r.Status == flowlogs.NoData {
			nodata++
			if window != 3 {
				t.Errorf("NODATA in window %d", window)
			}
		}
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("window %d: %d packets, want %d", i, got[i], want[i])
		}
	}
	if nodata != 1 {
		t.Errorf("%d NODATA records, want 1", nodata)
	}
}

// TestTCPFlagsInRecords: SYN, SYN-ACK, FIN and RST are or-ed; ACK, PSH, URG, ECE and CWR alone are nothing.
func TestTCPFlagsInRecords(t *testing.T) {
	const psh, rst = packet.PSH, packet.RST
	for _, test := range []struct {
		name  string
		flags []uint8
		want  uint8
	}{
		{"SYN", []uint8{syn}, 2},
		{"SYN with ECN", []uint8{syn | packet.ECE | packet.CWR}, 2},
		{"ACK and PSH", []uint8{ack, ack | psh, ack | packet.URG}, 0},
		{"SYN-ACK", []uint8{synAck}, 18},
		{"SYN, then ACK", []uint8{syn, ack}, 2},
		{"SYN and FIN", []uint8{syn, ack, fin}, 3},
		{"SYN-ACK and FIN", []uint8{synAck, fin}, 19},
		{"SYN, FIN and RST", []uint8{syn, fin, rst}, 7},
		{"RST-ACK", []uint8{rst | ack}, 4},
		{"FIN-ACK-PSH", []uint8{fin | psh}, 1},
	} {
		for _, untracked := range []bool{false, true} { // on halves, and frame by frame
			w, web, app := bounded(t, map[bool]int{false: 100, true: 1}[untracked], "tcp 80 from anywhere")
			if untracked {
				w.authorize("web", "all from anywhere")
			}
			for _, f := range test.flags {
				web.send(web.tcp(app, 1, 80, f))
			}
			for _, r := range w.records() {
				if r.TCPFlags != test.want {
					t.Errorf("%s: %s record has tcp-flags %d, want %d", test.name, r.Direction, r.TCPFlags, test.want)
				}
			}
			if rs := w.records(); len(rs) != 2 {
				t.Errorf("%s: %d records", test.name, len(rs))
			}
		}
	}
}

// TestRejectedFlags: a rejected SYN is recorded with its flag, hit or miss.
func TestRejectedFlags(t *testing.T) {
	w, web, app := pair(t)
	for range 3 {
		web.rejected(ReasonNoRule, web.tcp(app, 1, 80, syn))
	}
	for _, r := range w.records() {
		if r.TCPFlags != 2 || r.Packets != 3 || r.Bytes != 120 {
			t.Errorf("%s %s: flags %d, %d packets, %d bytes", r.Direction, r.Action, r.TCPFlags, r.Packets, r.Bytes)
		}
	}
}

// TestSuperFrameIsCountedByItsSegments, in packets and in bytes on the wire.
func TestSuperFrameIsCountedByItsSegments(t *testing.T) {
	w, a, _, b := guarded(t)
	f, g := packettest.Offload(a.seg(b, 1, 80, ack, 1, 1, 3000), 1000)
	a.sendGSO(f, g)
	w.wantLog("a-1 egress ACCEPT 6 1 80 3 3120", "b-1 ingress ACCEPT 6 1 80 3 3120")
}

// TestWhenPacketsCame: first and last are of the packets, not of the drain.
func TestWhenPacketsCame(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	w.clock.Advance(3 * time.Second)
	web.passes(app, web.udp(app, 1, 53, "q"))
	w.clock.Advance(20 * time.Second)
	web.passes(app, web.udp(app, 1, 53, "q"))
	web.rejected(ReasonNoRule, web.udp(app, 1, 54, "q"))
	w.clock.Advance(20 * time.Second)
	for _, r := range w.records() {
		first, last := (r.First-testStart.UnixNano())/1e6, (r.Last-testStart.UnixNano())/1e6
		wantFirst := int64(3000)
		if r.Tuple.DstPort == 54 {
			wantFirst = 23000
		}
		if first != wantFirst || last != 23000 {
			t.Errorf("%s %d: first %d ms, last %d ms", r.Direction, r.Tuple.DstPort, first, last)
		}
	}
}

// ledger is what was sent, by hand.
type ledger map[entry]sum

type entry struct {
	eni    string
	dir    vpc.Direction
	action flowlogs.Action
	tuple  packet.Tuple
	window int64
}

type sum struct{ packets, bytes uint64 }

func (l ledger) add(e entry, bytes uint64) {
	s := l[e]
	l[e] = sum{s.packets + 1, s.bytes + bytes}
}

// TestRecordsAddUp: over many flows, rules that come and go, connections that expire and tuples that are used
// again within a window, every record is exactly what was sent, to the packet and the byte.
func TestRecordsAddUp(t *testing.T) {
	for _, halves := range []int{1000, 6} {
		r := rand.New(rand.NewPCG(7, uint64(halves)))
		w, web, app := bounded(t, halves, "udp 1-20 from web", "tcp 1-20 from anywhere")
		rules := []string{"udp 1-20 from web", "tcp 1-20 from anywhere"}
		present := []bool{true, true}
		want, got := ledger{}, ledger{}
		collect := func(rs []flowlogs.Record) {
			for _, r := range rs {
				if r.Status == flowlogs.OK {
					e := entry{r.Interface.ID, r.Direction, r.Action, r.Tuple, r.Window.Start}
					s := got[e]
					got[e] = sum{s.packets + r.Packets, s.bytes + r.Bytes}
				}
			}
		}
		for range 6000 {
			switch n := r.IntN(100); {
			case n == 0:
				i := r.IntN(2)
				if present[i] = !present[i]; present[i] {
					w.authorize("app", rules[i])
				} else {
					w.revoke("app", rules[i])
				}
			case n < 4:
				collect(w.pass(time.Duration(r.IntN(40)) * time.Second)) // expiry of UDP, of rejections, ends of windows
			default:
				w.one(r, web, app, want)
			}
		}
		collect(w.pass(2 * time.Minute))
		if len(want) != len(got) || len(want) < 200 {
			t.Errorf("%d halves: %d records, want %d", halves, len(got), len(want))
		}
		for e, s := range want {
			if got[e] != s {
				t.Errorf("%d halves: %+v: recorded %+v, sent %+v", halves, e, got[e], s)
			}
		}
		w.balanced()
	}
}

// one sends one random frame and enters what became of it, as the ports and counters show it.
func (w *world) one(r *rand.Rand, web, app *stubPort, l ledger) {
	from, to := web, app
	sport, dport := uint16(100+r.IntN(3)), uint16(1+r.IntN(5))
	if r.IntN(3) == 0 {
		from, to, sport, dport = app, web, dport, sport
	}
	var frame []byte
	if r.IntN(2) == 0 {
		frame = from.udp(to, sport, dport, string(make([]byte, r.IntN(1000))))
	} else {
		frame = from.seg(to, sport, dport, []uint8{syn, synAck, ack, ack, fin, packet.RST}[r.IntN(6)], 1, 1, r.IntN(100))
	}
	h := parsed(frame)
	window := w.clock.Wall() / 1e9 / 60 * 60
	counted := w.during(func() { from.send(frame) })
	delivered := len(to.take()) == 1
	enter := func(p *stubPort, d vpc.Direction, a flowlogs.Action) {
		l.add(entry{p.eni, d, a, h.Tuple(), window}, uint64(h.TotalLen))
	}
	switch rejects := counted["no_rule"] + counted["after_close"]; {
	case delivered:
		enter(from, vpc.Egress, flowlogs.Accept)
		enter(to, vpc.Ingress, flowlogs.Accept)
	case rejects == 1 && from.rejectedAtSource():
		enter(from, vpc.Egress, flowlogs.Reject)
	case rejects == 1:
		enter(from, vpc.Egress, flowlogs.Accept)
		enter(to, vpc.Ingress, flowlogs.Reject)
	case counted["conntrack_allowance_exceeded"] != 1:
		w.t.Fatalf("%v of %v", counted, h.Tuple())
	}
}

// rejectedAtSource tells whether the frame just sent was rejected where it left: the trace of its stages is still there.
func (p *stubPort) rejectedAtSource() bool {
	return p.link.workers[0].passages[0].legs[1].reason.Rejected()
}

// TestDrainWhileVerdictsTurn: counts that are taken while a rule change turns their half's verdict stay with
// the verdict that they were counted under.
func TestDrainWhileVerdictsTurn(t *testing.T) {
	w, web, app := pair(t)
	web.discard, app.discard = true, true
	const rounds = 2000
	var start atomic.Int64 // the round in which to drain: once, about when the verdict turns
	var house sync.WaitGroup
	house.Go(func() {
		for round := range int64(rounds) {
			for start.Load() <= round {
				runtime.Gosched()
			}
			w.sw.DrainRecords()
		}
	})
	frame := web.udp(app, 5000, 53, "q")
	var want [2]uint64
	for round := range rounds {
		if round%2 == 0 {
			w.authorize("app", "udp 53 from anywhere")
		} else {
			w.revoke("app", "udp 53 from anywhere")
		}
		start.Store(int64(round + 1))
		for range rand.IntN(300) { // the walk takes a while to come to the half
			runtime.KeepAlive(w)
		}
		for range 50 {
			web.again(frame, packet.GSO{}, 1)
		}
		want[round%2] += 50
	}
	house.Wait()
	accepted, _ := total(w.records(), app.eni, vpc.Ingress, flowlogs.Accept)
	rejected, _ := total(w.records(), app.eni, vpc.Ingress, flowlogs.Reject)
	if got := [2]uint64{accepted, rejected}; got != want {
		t.Errorf("%v accepted and rejected, want %v", got, want)
	}
}
