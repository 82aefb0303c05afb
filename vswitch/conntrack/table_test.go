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

// TestLookupBatch compares it with Lookup, hits and misses mixed, at sizes about its group's.
func TestLookupBatch(t *testing.T) {
	w := newWorld(t, conntrack.Config{MaxHalves: 20_000})
	for i := 0; i < 5000; i += 2 {
		w.insert(flowKey(i), conntrack.Init{})
	}
	next := 0
	for _, n := range []int{0, 1, 2, 31, 32, 33, 64, 100} {
		keys, hashes, halves := make([]packet.Key, n), make([]uint64, n), make([]*conntrack.Half, n)
		for i := range keys {
			keys[i] = flowKey(next)
			hashes[i] = w.Hash(&keys[i])
			halves[i] = w.lookup(flowKey(0)) // whatever was there before
			next += 7
		}
		w.LookupBatch(keys, hashes, halves)
		for i, k := range keys {
			if halves[i] != w.lookup(k) {
				t.Errorf("%d of %d: found %v", i, n, halves[i])
			}
		}
	}
	empty := newWorld(t, conntrack.Config{})
	halves := make([]*conntrack.Half, 1)
	if empty.LookupBatch([]packet.Key{flowKey(0)}, []uint64{0}, halves); halves[0] != nil {
		t.Error("found in an empty table")
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
