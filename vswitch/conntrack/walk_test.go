package conntrack_test

import (
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// TestReuse holds that nothing of a half is left in the one that has its slot next.
func TestReuse(t *testing.T) {
	w := newWorld(t, conntrack.Config{Shards: 1})
	k := key(1, packet.ProtoTCP, 1)
	h := w.insert(k, conntrack.Init{Opener: conntrack.Out, Tracked: true, TCPFlags: packet.FIN, TCPSeq: 99})
	for d := conntrack.In; d <= conntrack.Out; d++ {
		h.SetVerdict(d, conntrack.Verdict{Known: true, Accept: true, Reason: 9, PolicyGen: 9, PathGen: 9})
		h.SetRule(d, 9)
		h.SetNext(d, h.Ref())
		h.Count(d, 9, 9, packet.SYN, 9)
	}
	old := h.Ref()
	w.Remove(h)
	if w.Reclaim() != 0 || len(w.freed) != 0 {
		t.Fatal("a slot was given back while a reader may see it")
	}
	w.batch()
	if w.Reclaim() != 1 || len(w.freed) != 1 || w.freed[0] != k {
		t.Fatalf("freed %v", w.freed)
	}
	k2 := key(2, packet.ProtoUDP, 2)
	h2 := w.insert(k2, conntrack.Init{Opener: conntrack.In})
	if h2 != h {
		t.Fatal("the free slot was not used")
	}
	if w.Resolve(old) != nil || h2.Ref() == old || h2.Key() != k2 {
		t.Error("an old reference leads to the new half")
	}
	if h2.Tracked() || h2.Opener() != conntrack.In || h2.PickedUp() || h2.State() != conntrack.UDPRequest {
		t.Errorf("state %v, tracked %v", h2.State(), h2.Tracked())
	}
	for d := conntrack.In; d <= conntrack.Out; d++ {
		if h2.Verdict(d) != (conntrack.Verdict{}) || h2.Rule(d) != 0 || h2.Next(d) != 0 || h2.Drain(d) != (conntrack.Counters{}) {
			t.Errorf("direction %d: %+v, rule %d, next %x", d, h2.Verdict(d), h2.Rule(d), h2.Next(d))
		}
	}
}

func TestReset(t *testing.T) {
	w := newWorld(t, conntrack.Config{})
	h := w.insert(key(1, packet.ProtoTCP, 1), conntrack.Init{Opener: conntrack.Out, TCPFlags: packet.SYN, Tracked: true})
	h.SetVerdict(conntrack.Out, conntrack.Verdict{Known: true, Accept: true})
	h.SetRule(conntrack.Out, 5)
	r := h.Ref()
	w.now = int64(time.Minute)
	h.Reset(conntrack.Init{Opener: conntrack.In, Rejected: true}, w.now)
	if h.Ref() != r || !h.Rejected() || h.Opener() != conntrack.In || h.Tracked() || h.Verdict(conntrack.Out).Known || h.Rule(conntrack.Out) != 0 || h.Age(w.now) != 0 {
		t.Errorf("after a reset to rejected: %v, verdict %+v", h.State(), h.Verdict(conntrack.Out))
	}
	if s := w.Stats(); s.Halves != 1 || s.Rejected != 1 || w.ENI(1).Rejected != 1 {
		t.Errorf("%+v, %+v", s, w.ENI(1))
	}
	h.Reset(conntrack.Init{Opener: conntrack.Out, TCPFlags: packet.SYN}, w.now)
	if h.State() != conntrack.SynSent || w.Stats().Rejected != 0 || w.ENI(1).Rejected != 0 {
		t.Errorf("after a reset to accepted: %v, %+v", h.State(), w.Stats())
	}
	w.Remove(h)
	h.Reset(conntrack.Init{Rejected: true}, w.now) // came too late
	if s := w.Stats(); s.Halves != 0 || s.Rejected != 0 {
		t.Errorf("after a reset of a removed half: %+v", s)
	}
}

func TestWalkAndRemoveENI(t *testing.T) {
	w := newWorld(t, conntrack.Config{MaxHalves: 10_000})
	const each = 500
	for i := range 3 * each {
		w.insert(key(uint32(i%3), 17, i), conntrack.Init{})
	}
	w.batch()
	walk := func() (n [3]int) {
		w.Walk(func(h *conntrack.Half) bool { n[h.ENI()]++; return true })
		return n
	}
	if got := walk(); got != [3]int{each, each, each} {
		t.Fatalf("walk met %v", got)
	}
	n := 0
	w.Walk(func(*conntrack.Half) bool { n++; return n < 10 })
	if n != 10 {
		t.Errorf("walk went on after it was told to stop: %d", n)
	}
	w.RemoveENI(1)
	w.RemoveENI(99)
	if got := walk(); got != [3]int{each, 0, each} || w.ENI(1).Halves != 0 || w.ENI(0).Halves != each {
		t.Errorf("after RemoveENI: %v, %+v", got, w.ENI(1))
	}
	w.insert(key(1, 17, 1), conntrack.Init{}) // its number may come again
	if w.ENI(1).Halves != 1 {
		t.Errorf("after another insert: %+v", w.ENI(1))
	}
	w.batch()
	w.Walk(func(*conntrack.Half) bool { return false })
	if len(w.freed) != each {
		t.Errorf("OnFree was called for %d halves, want %d", len(w.freed), each)
	}
}

func TestCloseFreesAll(t *testing.T) {
	freed := map[packet.Key]int{}
	for _, a := range []conntrack.Allocator{conntrack.Heap, conntrack.Mmap} {
		clear(freed)
		tab := conntrack.New(conntrack.Config{Allocator: a, OnFree: func(h *conntrack.Half) { freed[h.Key()]++ }})
		fill(t, tab, 0, 1000)
		r := tab.NewReader()
		r.Enter()
		for i := range 100 {
			k := flowKey(i)
			tab.Remove(tab.Lookup(&k, tab.Hash(&k)))
		}
		r.Close()
		r.Close()
		tab.Close()
		tab.Close()
		if len(freed) != 1000 {
			t.Errorf("OnFree was called for %d halves of 1000", len(freed))
		}
		for k, n := range freed {
			if n != 1 {
				t.Errorf("OnFree was called %d times for %v", n, k)
			}
		}
	}
}
