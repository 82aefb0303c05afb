package conntrack_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// world is a table with one reader that is always within a batch, as most tests have it.
type world struct {
	*conntrack.Table
	t      *testing.T
	reader *conntrack.Reader
	now    int64
	freed  []packet.Key // what OnFree was called for
}

func newWorld(t *testing.T, cfg conntrack.Config) *world {
	w := &world{t: t}
	if cfg.OnFree == nil {
		cfg.OnFree = func(h *conntrack.Half) { w.freed = append(w.freed, h.Key()) }
	}
	w.Table = conntrack.New(cfg)
	w.reader = w.NewReader()
	w.reader.Enter()
	t.Cleanup(func() { w.reader.Close(); w.Close() })
	return w
}

// batch ends the batch and begins the next.
func (w *world) batch() {
	w.reader.Leave()
	w.reader.Enter()
}

func (w *world) lookup(k packet.Key) *conntrack.Half { return w.Lookup(&k, w.Hash(&k)) }

func (w *world) insert(k packet.Key, in conntrack.Init) *conntrack.Half {
	w.t.Helper()
	h, ok, err := w.Insert(&k, w.Hash(&k), in, w.now)
	if !ok || err != nil {
		w.t.Fatalf("insert of %v: %v, %v", k, ok, err)
	}
	return h
}

func (w *world) refused(k packet.Key, in conntrack.Init, want error) {
	w.t.Helper()
	if h, ok, err := w.Insert(&k, w.Hash(&k), in, w.now); h != nil || ok || !errors.Is(err, want) {
		w.t.Fatalf("insert of %v: %v, %v, %v; want error %v", k, h, ok, err, want)
	}
}

// sweep passes time and sweeps the whole table.
func (w *world) sweep(d time.Duration) int {
	w.now += int64(d)
	return w.Sweep(w.now, 1<<30)
}

func key(eni uint32, proto uint8, n int) packet.Key {
	k := flowKey(n)
	k.ENI, k.Proto = eni, proto
	return k
}

func TestInsertLookupRemove(t *testing.T) {
	w := newWorld(t, conntrack.Config{})
	base := packet.Key{ENI: 7, Inside: packet.Addr{1, 15: 2}, Outside: packet.Addr{3, 15: 4}, InsidePort: 5, OutsidePort: 6, Proto: 17, Pass: 1}
	keys := []packet.Key{base}
	for i := range 9 { // each differs from the first in one place
		k := base
		switch i {
		case 0:
			k.ENI = 8
		case 1:
			k.Inside[0]++
		case 2:
			k.Inside[15]++
		case 3:
			k.Outside[0]++
		case 4:
			k.Outside[15]++
		case 5:
			k.InsidePort++
		case 6:
			k.OutsidePort++
		case 7:
			k.Proto = 6
		case 8:
			k.Pass++
		}
		keys = append(keys, k)
	}
	for i, k := range keys {
		if w.lookup(k) != nil {
			t.Fatalf("key %d is there before its insert", i)
		}
		h := w.insert(k, conntrack.Init{Opener: conntrack.Out})
		if again, ok, err := w.Insert(&k, w.Hash(&k), conntrack.Init{}, 0); again != h || ok || err != nil {
			t.Fatalf("key %d, second insert: %v %v %v", i, again, ok, err)
		}
	}
	for i, k := range keys {
		h := w.lookup(k)
		if h == nil || h.Key() != k || h.ENI() != k.ENI {
			t.Fatalf("key %d: found %v", i, h)
		}
		if r := h.Ref(); r == 0 || w.Resolve(r) != h {
			t.Fatalf("key %d: reference %x does not lead back", i, r)
		}
	}
	for i, k := range keys {
		h := w.lookup(k)
		r := h.Ref()
		w.Remove(h)
		w.Remove(h)
		if w.lookup(k) != nil || w.Resolve(r) != nil || h.Ref() != 0 {
			t.Fatalf("key %d is there after its removal", i)
		}
		if got := w.Stats().Halves; got != len(keys)-i-1 {
			t.Fatalf("%d halves after %d removals", got, i+1)
		}
	}
	for _, r := range []conntrack.Ref{0, 1, 1 << 32, 0xffffffff, ^conntrack.Ref(0), 1<<32 | 31} {
		if w.Resolve(r) != nil {
			t.Errorf("reference %x resolves", r)
		}
	}
}

func TestInit(t *testing.T) {
	w := newWorld(t, conntrack.Config{})
	w.now = -5 * int64(time.Hour) // clocks start anywhere
	h := w.insert(key(1, packet.ProtoUDP, 1), conntrack.Init{Opener: conntrack.Out, Tracked: true})
	if h.Opener() != conntrack.Out || !h.Tracked() || h.Rejected() || h.PickedUp() || h.State() != conntrack.UDPRequest {
		t.Errorf("accepted: %v %v %v %v %v", h.Opener(), h.Tracked(), h.Rejected(), h.PickedUp(), h.State())
	}
	if v := h.Verdict(conntrack.In); v != (conntrack.Verdict{}) {
		t.Errorf("verdict of a new half: %+v", v)
	}
	h.SetTracked(false)
	if h.Tracked() || h.Opener() != conntrack.Out {
		t.Error("SetTracked(false)")
	}
	h.SetTracked(true)
	if !h.Tracked() {
		t.Error("SetTracked(true)")
	}
	h = w.insert(key(1, packet.ProtoTCP, 2), conntrack.Init{Opener: conntrack.In, Rejected: true, TCPFlags: packet.SYN})
	if h.Opener() != conntrack.In || h.Tracked() || !h.Rejected() || w.Stats().Rejected != 1 {
		t.Errorf("rejected: %v %v %v, %+v", h.Opener(), h.Tracked(), h.Rejected(), w.Stats())
	}
	if got := h.Age(w.now + int64(90*time.Minute)); got != 90*time.Minute {
		t.Errorf("age %v", got)
	}
	if got := h.LastSeen(w.now + int64(time.Hour)); got != w.now {
		t.Errorf("last seen %d, want %d", got, w.now)
	}
}

func TestVerdict(t *testing.T) {
	w := newWorld(t, conntrack.Config{})
	h := w.insert(key(1, 17, 1), conntrack.Init{})
	in := conntrack.Verdict{Known: true, Accept: true, Tracked: true, Reason: 255, PolicyGen: conntrack.GenMask, PathGen: 1}
	out := conntrack.Verdict{Known: true, Reason: 3, PolicyGen: 1<<23 + 5, PathGen: conntrack.GenMask}
	h.SetVerdict(conntrack.In, in)
	h.SetVerdict(conntrack.Out, out)
	h.SetRule(conntrack.In, 11)
	h.SetRule(conntrack.Out, 12)
	other := w.insert(key(2, 17, 1), conntrack.Init{})
	h.SetNext(conntrack.Out, other.Ref())
	if h.Verdict(conntrack.In) != in || h.Verdict(conntrack.Out) != out {
		t.Errorf("verdicts %+v, %+v", h.Verdict(conntrack.In), h.Verdict(conntrack.Out))
	}
	if h.Rule(conntrack.In) != 11 || h.Rule(conntrack.Out) != 12 {
		t.Errorf("rules %d, %d", h.Rule(conntrack.In), h.Rule(conntrack.Out))
	}
	if h.Next(conntrack.In) != 0 || w.Resolve(h.Next(conntrack.Out)) != other {
		t.Errorf("next %x, %x", h.Next(conntrack.In), h.Next(conntrack.Out))
	}
	h.SetVerdict(conntrack.In, conntrack.Verdict{Known: true, PolicyGen: conntrack.GenMask + 7})
	if got := h.Verdict(conntrack.In).PolicyGen; got != 6 {
		t.Errorf("generations wrap: %d", got)
	}
	for _, v := range []conntrack.Verdict{{}, {Known: true}, {Accept: true}, {Tracked: true}, {Reason: 1}, {PolicyGen: 1}, {PathGen: 1}} {
		if h.SetVerdict(conntrack.In, v); h.Verdict(conntrack.In) != v {
			t.Errorf("stored %+v, read %+v", v, h.Verdict(conntrack.In))
		}
	}
}

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

// TestSeed holds that keys meet in different order in each table: nobody can make them collide.
func TestSeed(t *testing.T) {
	a, b := conntrack.New(conntrack.Config{}), conntrack.New(conntrack.Config{})
	c, d := conntrack.New(conntrack.Config{Seed: 5}), conntrack.New(conntrack.Config{Seed: 5})
	k := flowKey(1)
	if a.Hash(&k) == b.Hash(&k) {
		t.Error("two tables with random seeds agree")
	}
	if c.Hash(&k) != d.Hash(&k) {
		t.Error("two tables with one seed differ")
	}
	for _, x := range []*conntrack.Table{a, b, c, d} {
		x.Close()
	}
}

func TestNames(t *testing.T) {
	if got := fmt.Sprint(conntrack.SynSent, conntrack.PickedUp, conntrack.Rejected, conntrack.State(99)); got != "SYN_SENT ESTABLISHED REJECTED NONE" {
		t.Error(got)
	}
	if got := fmt.Sprint(conntrack.Pass, conntrack.Closed, conntrack.Reopen, conntrack.Expired, conntrack.Outcome(9)); got != "pass closed reopen expired unknown" {
		t.Error(got)
	}
}
