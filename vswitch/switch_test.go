package vswitch

import (
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

func TestNewNeedsItsParts(t *testing.T) {
	for _, cfg := range []Config{{}, {Clock: NewSystemClock()}, {Records: flowlogs.NewAggregator(flowlogs.Config{})}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

func TestAttachErrors(t *testing.T) {
	w, web, _ := pair(t)
	for id, want := range map[string]string{
		"eni-0": "network interface eni-0 is not in revision", web.eni: "network interface " + web.eni + " is attached to port web-1 already",
	} {
		p := &stubPort{w: w, name: "second", closed: make(chan struct{})}
		if err := w.sw.Attach(id, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", id, err, want)
		}
	}
	if err := w.sw.Detach("eni-0"); err != nil {
		t.Errorf("unplugging what is not there: %v", err)
	}
}

// TestTotalsOutliveThePort: what a port counted is not forgotten when it is unplugged, and its connections are not either.
func TestTotalsOutliveThePort(t *testing.T) {
	w, web, app := opened(t)
	web.rejected(ReasonNoRule, web.tcp(app, 1, 1, syn))
	before := w.sw.Totals()
	if err := w.sw.Detach(web.eni); err != nil {
		t.Fatal(err)
	}
	after := w.sw.Totals()
	if after.Frames != before.Frames || after.Bytes != before.Bytes || after.SentBytes != before.SentBytes || after.Reasons["no_rule"] != 1 {
		t.Errorf("%+v, was %+v", after, before)
	}
	if ps := w.sw.Ports(); len(ps) != 1 || ps[0].Port != "app-1" || ps[0].MTU != 9001 || ps[0].Queues != 1 {
		t.Errorf("ports %+v", ps)
	}
	ni, _ := w.store.View().NetworkInterface(web.eni)
	again := w.plug("web-1", ni)
	again.passes(app, again.seg(app, 40000, 8080, packet.ACK, 101, 501, 5))
}

func TestCloseRecordsWhatIsLeft(t *testing.T) {
	w, web, app := opened(t)
	if err := w.sw.Close(); err != nil {
		t.Fatal(err)
	}
	rs := w.acc.Open(flowlogs.Filter{})
	for _, p := range []*stubPort{web, app} {
		in, _ := total(rs, p.eni, vpc.Ingress, flowlogs.Accept)
		out, _ := total(rs, p.eni, vpc.Egress, flowlogs.Accept)
		if in+out != 3 {
			t.Errorf("%s: %d packets in, %d out recorded, want 3", p.name, in, out)
		}
	}
	if c := w.sw.Totals(); c.Packets != 3 {
		t.Errorf("%d packets", c.Packets)
	}
}

// TestRuleHits counts flows, not packets, and neither rejects nor explanations.
func TestRuleHits(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	g, _ := w.store.View().SecurityGroup(w.names["app"])
	id := ""
	for _, r := range g.Rules {
		if r.Direction == vpc.Ingress {
			id = r.ID
		}
	}
	if h := w.sw.RuleHits(id); h != (Hits{}) {
		t.Errorf("%+v before any flow", h)
	}
	for i := range uint16(3) {
		w.clock.Advance(time.Second)
		web.passes(app, web.udp(app, i, 53, "q"))
		web.passes(app, web.udp(app, i, 53, "q"))
		app.passes(web, app.udp(web, 53, i, "a"))
		web.rejected(ReasonNoRule, web.udp(app, i, 54, "q"))
	}
	w.explain(Question{Interface: web.eni, Dst: app.addr, Protocol: 17, DstPort: 53})
	if h, want := w.sw.RuleHits(id), (Hits{3, testStart.Add(3 * time.Second).UnixNano()}); h != want {
		t.Errorf("%+v, want %+v", h, want)
	}
	if h := w.sw.RuleHits("sgr-none"); h != (Hits{}) {
		t.Errorf("a rule that does not exist: %+v", h)
	}
}

// TestHalfState: what an interface knows of a flow, asked by a packet of either direction.
func TestHalfState(t *testing.T) {
	w, web, app := opened(t)
	w.clock.Advance(10 * time.Second)
	request, reply := web.tcp(app, 40000, 8080, ack), app.tcp(web, 8080, 40000, ack)
	out, ok1 := app.half(reply, vpc.Egress)
	in, ok2 := app.half(request, vpc.Ingress)
	if !ok1 || !ok2 || in != out {
		t.Errorf("%+v, %v by the reply; %+v, %v by the request", out, ok1, in, ok2)
	}
	if in.Opener != vpc.Ingress || in.InsidePort != 8080 || in.Outside != packet.AddrFrom(web.addr) || in.Age != 10*time.Second ||
		in.In.Reason != ReasonRule || in.In.Rule.Words != "tcp 8080 from web" || in.Out.Reason != ReasonReply || in.Out.Rule != in.In.Rule {
		t.Errorf("%+v", in)
	}
	if _, ok := app.half(reply, vpc.Ingress); ok {
		t.Error("a packet of the wrong direction finds it")
	}
	w.clock.Advance(432001 * time.Second)
	if h, ok := app.half(request, vpc.Ingress); ok {
		t.Errorf("one that timed out is shown: %+v", h)
	}
	w.sw.Halves(func(h HalfState) bool { t.Errorf("%+v is listed", h); return true })
}

func TestLost(t *testing.T) {
	c := Counters{Reasons: map[string]uint64{"no_rule": 1, "after_close": 2, "arp_reply": 3, "vlan": 4, "port_full": 5}}
	if lost := c.Lost(); len(lost) != 2 || lost["vlan"] != 4 || lost["port_full"] != 5 || c.Dropped() != 9 {
		t.Errorf("%v, %d", lost, c.Dropped())
	}
}

// TestBatchBounds: a batch has room for 32 frames or three super-frames, and its frames do not overlap.
func TestBatchBounds(t *testing.T) {
	var b Batch
	for _, size := range []int{1, 64, 1514, 9015, MaxFrame} {
		b.Reset()
		for room := b.Next(); room != nil; room = b.Next() {
			if len(room) != MaxFrame || cap(room) != MaxFrame {
				t.Fatalf("room of %d bytes, capacity %d", len(room), cap(room))
			}
			for i := range size {
				room[i] = byte(b.Len())
			}
			b.Commit(size, packet.GSO{SegSize: uint16(b.Len())})
		}
		if n := b.Len(); n < 3 || n > BatchSize || size <= 1514 && n != BatchSize {
			t.Errorf("%d frames of %d bytes", n, size)
		}
		for i := range b.Len() {
			f := b.Frame(i)
			if len(f.Buf) != size || cap(f.Buf) != size || f.Buf[0] != byte(i) || f.Buf[size-1] != byte(i) || f.GSO.SegSize != uint16(i) {
				t.Errorf("frame %d of size %d was overwritten", i, size)
			}
		}
	}
	b.Release()
	if b.Len() != 0 || b.slab != nil {
		t.Error("a released batch keeps its slab")
	}
	b.Release()
}

func TestClocks(t *testing.T) {
	c := NewManualClock(testStart)
	c.Advance(time.Minute)
	if c.Mono() != int64(time.Minute) || c.Wall() != testStart.Add(time.Minute).UnixNano() {
		t.Errorf("%d, %d", c.Mono(), c.Wall())
	}
	s := NewSystemClock()
	first := s.Mono()
	if second := s.Mono(); first < 0 || second < first || time.Since(time.Unix(0, s.Wall())).Abs() > time.Minute {
		t.Errorf("%d, %d, %d", first, second, s.Wall())
	}
}
