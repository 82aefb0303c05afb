package conntrack

import (
	"testing"
	"time"
	"unsafe"

	"github.com/vpclab/vpclab/packet"
)

func TestLayout(t *testing.T) {
	if n := unsafe.Sizeof(Half{}); n != 128 {
		t.Errorf("a slot has %d bytes", n)
	}
	if n := unsafe.Offsetof(Half{}.dir); n != 64 {
		t.Errorf("the key and the state end at %d, not at a cache line", n)
	}
	for _, a := range []Allocator{Heap, Mmap} {
		mem, err := a.Alloc(chunkSize)
		if err != nil || len(mem) != chunkSize || uintptr(unsafe.Pointer(&mem[0]))%pageSize != 0 {
			t.Errorf("%T: %d bytes at %p, %v", a, len(mem), &mem[0], err)
		}
		a.Free(mem)
	}
}

// TestSlotNumbers holds that a slot's address, number and reference lead to each other.
func TestSlotNumbers(t *testing.T) {
	tab := New(Config{Shards: 2, Allocator: Mmap})
	defer tab.Close()
	seen := map[uint32]bool{}
	s := &tab.shards[1]
	for range 200 {
		h := s.takeSlot(tab, true)
		if h == nil {
			if !tab.pages.grow() {
				t.Fatal("no memory")
			}
			continue
		}
		n := h.local()
		if n == 0 || seen[n] || s.slot(n) != h || s.slot(n|0xfff<<localBits) != h {
			t.Fatalf("slot %d", n)
		}
		seen[n] = true
		h.inc.Store(1)
		if tab.Resolve(h.Ref()) != h || h.table() != tab {
			t.Fatalf("slot %d: reference %x", n, h.Ref())
		}
		h.inc.Store(0)
	}
}

func TestInterfaceForgotten(t *testing.T) {
	tab := New(Config{})
	defer tab.Close()
	k := packet.Key{ENI: 7}
	h, _, _ := tab.Insert(&k, tab.Hash(&k), Init{}, 0)
	kept := tab.enis.find(7)
	if tab.enis.forget(7); tab.enis.find(7) != kept {
		t.Error("an interface with a half was forgotten")
	}
	tab.Remove(h)
	if tab.RemoveENI(7); tab.enis.find(7) != nil {
		t.Error("an interface without halves is kept")
	}
	// An insert that still holds the old record looks it up again.
	n := newcomer{iface: kept, ms: 1}
	if n.words.set(&k); tab.reserve(&n) != errForgotten || tab.halves.Load() != 0 {
		t.Errorf("the old record was used; %d halves", tab.halves.Load())
	}
	if _, ok, err := tab.Insert(&k, tab.Hash(&k), Init{}, 0); !ok || err != nil || tab.ENI(7).Halves != 1 {
		t.Errorf("%v, %v, %+v", ok, err, tab.ENI(7))
	}
}

func TestClock(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, base := range []int64{0, 1, -1, 1 << 62, -1 << 62, 49 * 24 * int64(time.Hour), 1418530010 * int64(time.Second)} {
		for _, away := range []time.Duration{0, time.Second, -time.Second, 24 * 24 * time.Hour, -24 * 24 * time.Hour} {
			then := base + int64(away)
			if got := nanos(millis(then), base); got > then || then-got >= ms || then%ms == 0 && got != then {
				t.Errorf("%d from %d: %d", then, base, got)
			}
		}
		if got := since(millis(base+5*ms), millis(base)); got != 5 {
			t.Errorf("5 ms after %d: %d", base, got)
		}
		if got := since(millis(base), millis(base+5*ms)); got != 0 {
			t.Errorf("before %d: %d", base, got)
		}
	}
}

// TestEpochs holds when a stamp is safe.
func TestEpochs(t *testing.T) {
	tab := New(Config{})
	defer tab.Close()
	e := &tab.epochs
	a, b := tab.NewReader(), tab.NewReader()
	a.Enter()
	s1 := e.stamp()
	if e.advance() > s1 {
		t.Error("safe while a reader of that epoch runs")
	}
	b.Enter()
	s2 := e.stamp()
	a.Leave()
	if got := e.advance(); got <= s1 || got > s2 {
		t.Errorf("safe below %d; stamps %d (only b runs, which began later) and %d", got, s1, s2)
	}
	a.Enter()
	b.Leave()
	if e.advance() <= s2 {
		t.Error("not safe, though every reader has begun anew since")
	}
	if got := e.advance(); got > e.stamp() {
		t.Errorf("safe below %d in epoch %d", got, e.stamp())
	}
	s3 := e.stamp()
	a.Close()
	if e.advance() <= s3 {
		t.Error("not safe, though no reader runs")
	}
	if got := e.advance(); got > e.stamp() {
		t.Errorf("without readers: safe below %d in epoch %d", got, e.stamp())
	}
	if got := len(e.list()); got != 2 { // b and the table's own
		t.Errorf("%d readers", got)
	}
}

// TestTimeoutSetsFull holds that the process may not have more different sets than slots can name.
func TestTimeoutSetsFull(t *testing.T) {
	s := &limitSets{numbers: map[limits]uint16{}}
	s.list.Store(&[]limits{})
	for i := range maxLimits {
		if n, ok := s.number(limits{0: uint32(i)}); !ok || int(n) != i {
			t.Fatalf("set %d has number %d, %v", i, n, ok)
		}
	}
	if _, ok := s.number(limits{1: 1}); ok {
		t.Error("one more was taken")
	}
	if n, ok := s.number(limits{0: 77}); !ok || n != 77 {
		t.Errorf("set 77 has number %d, %v", n, ok)
	}
}

func TestManyShards(t *testing.T) {
	for _, test := range []struct{ halves, shards, want int }{
		{0, 0, 16}, {1000, 3, 4}, {8_000_000, 0, 16}, {100_000_000, 0, 256}, {1000, 1 << 20, 4096},
	} {
		tab := New(Config{MaxHalves: test.halves, Shards: test.shards})
		if len(tab.shards) != test.want {
			t.Errorf("%d halves, %d shards asked for: %d", test.halves, test.shards, len(tab.shards))
		}
		tab.Close()
	}
}

// TestGiveBack is a drain that comes second: what it took of a packet being counted is drained later.
func TestGiveBack(t *testing.T) {
	tab := New(Config{})
	defer tab.Close()
	k := packet.Key{ENI: 1}
	h, _, err := tab.Insert(&k, tab.Hash(&k), Init{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &h.dir[In]
	h.Count(In, 1, 100, packet.SYN, 0)
	h.giveBack(c, c.bytes.Swap(0))
	h.giveBack(c, 0)
	h.Count(In, 1, 11, packet.FIN, 0)
	if got := h.Drain(In); got.Packets != 2 || got.Bytes != 111 || got.TCPFlags != packet.SYN|packet.FIN {
		t.Errorf("%+v", got)
	}
}
