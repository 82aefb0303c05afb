package conntrack

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/vpclab/vpclab/packet"
)

// TestIndex compares the index with a map while it grows and shrinks, among keys of which many share a
// home.
func TestIndex(t *testing.T) {
	tab := New(Config{MaxHalves: 50_000, Shards: 1})
	defer tab.Close()
	r := rand.New(rand.NewPCG(1, 2))
	reader := tab.NewReader()
	have := map[packet.Key]*Half{}
	var keys []packet.Key
	for step := range 30_000 {
		reader.Enter()
		k := packet.Key{ENI: uint32(r.IntN(6000)), Proto: 17}
		hash := tab.Hash(&k)
		switch h := tab.Lookup(&k, hash); {
		case h != have[k]:
			t.Fatalf("step %d: found %p, want %p", step, h, have[k])
		case h != nil:
			removeAndWatch(t, tab, h, hash)
			delete(have, k)
		default:
			h, _, err := tab.Insert(&k, hash, Init{Tracked: true}, 0)
			if err != nil {
				t.Fatal(err)
			}
			have[k] = h
			keys = append(keys, k)
		}
		if step%1000 == 0 {
			checkIndex(t, tab, have)
		}
		reader.Leave()
	}
	for _, k := range keys {
		if h := tab.Lookup(&k, tab.Hash(&k)); h != have[k] {
			t.Fatalf("%v: found %p, want %p", k, h, have[k])
		}
	}
}

// removeAndWatch holds that readers are told when, and only when, entries move.
func removeAndWatch(t *testing.T, tab *Table, h *Half, hash uint64) {
	t.Helper()
	s := &tab.shards[0]
	g := s.dir.Load().at(hash).segment.Load()
	var before [segmentSlots]uint32
	for i := range g {
		before[i] = g[i].Load()
	}
	moves := s.moves.Load()
	tab.Remove(h)
	want := moves
	for i := range g {
		if e := g[i].Load(); e != 0 && e != before[i] {
			want = moves + 2
		}
	}
	if got := s.moves.Load(); got != want {
		t.Fatalf("moves went from %d to %d, want %d", moves, got, want)
	}
}

// TestMissWhileMoving holds that a look-up that fails while entries move is not believed.
func TestMissWhileMoving(t *testing.T) {
	tab := New(Config{Shards: 1})
	defer tab.Close()
	k := packet.Key{ENI: 1}
	hash := tab.Hash(&k)
	h, _, err := tab.Insert(&k, hash, Init{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &tab.shards[0]
	entry := &s.dir.Load().at(hash).segment.Load()[hash&homeMask]
	for range 20 {
		s.mu.Lock()
		s.moves.Add(1)
		e := entry.Swap(0)
		found := make(chan *Half)
		started := make(chan struct{})
		go func() {
			close(started)
			found <- tab.Lookup(&k, hash)
		}()
		<-started
		for range 100 {
			runtime.Gosched()
		}
		entry.Store(e)
		s.moves.Add(1)
		s.mu.Unlock()
		if <-found != h {
			t.Fatal("missed")
		}
	}
}

// checkIndex holds what the index promises: each half once, reachable from its home, counts right.
func checkIndex(t *testing.T, tab *Table, have map[packet.Key]*Half) {
	t.Helper()
	d, n := tab.shards[0].dir.Load(), 0
	seen := map[*segment]bool{}
	for i := range d.part {
		p := &d.part[i]
		g := p.segment.Load()
		if first := &d.part[uint64(i)&(1<<p.meta.depth-1)]; first.segment.Load() != g || first.meta != p.meta {
			t.Fatalf("part %d differs from part %d", i, uint64(i)&(1<<p.meta.depth-1))
		}
		if seen[g] {
			continue
		}
		seen[g] = true
		used := 0
		for at := range g {
			e := g[at].Load()
			if e == 0 {
				continue
			}
			used++
			h := tab.shards[0].slot(e)
			if have[h.Key()] != h || tab.Hash(ptr(h.Key()))&tagMask != uint64(e>>localBits) {
				t.Fatalf("entry %x leads to %v", e, h.Key())
			}
			for home := int(e >> localBits & homeMask); home != at; home = (home + 1) & homeMask {
				if g[home].Load() == 0 {
					t.Fatalf("entry %x at %d is cut off from its home", e, at)
				}
			}
		}
		if used != p.meta.used || used > segmentFull {
			t.Fatalf("segment has %d entries, counted %d", used, p.meta.used)
		}
		n += used
	}
	if n != len(have) {
		t.Fatalf("index has %d entries, want %d", n, len(have))
	}
}

func ptr[T any](v T) *T { return &v }

// TestHashSpreads holds that keys that differ little go to all shards and homes alike.
func TestHashSpreads(t *testing.T) {
	seed := expand(3)
	const n, shards, homes = 1 << 16, 16, 64
	kinds := map[string]func(i uint64) uint64{
		"outside port": func(i uint64) uint64 { return hash(0, 1, 0, 2, i<<48, 17, &seed) },
		"inside port":  func(i uint64) uint64 { return hash(0, 1, 0, 2, i<<32, 17, &seed) },
		"interface":    func(i uint64) uint64 { return hash(0, 1, 0, 2, i, 17, &seed) },
		"outside IPv4": func(i uint64) uint64 { return hash(0, 1, 0, 2|i<<32, 3, 17, &seed) },
		"inside IPv4":  func(i uint64) uint64 { return hash(0, 1|i<<48, 0, 2, 3, 17, &seed) },
		"outside IPv6": func(i uint64) uint64 { return hash(1, 2, i, 4, 5, 17, &seed) },
		"pass, proto":  func(i uint64) uint64 { return hash(0, 1, 0, 2, 3, i, &seed) },
	}
	for name, f := range kinds {
		var shard [shards]int
		var home [homes]int
		var dir [homes]int
		for i := range uint64(n) {
			h := f(i)
			shard[h>>60]++
			home[h%homes]++
			dir[h>>tagBits%homes]++
		}
		for what, counts := range map[string][]int{"shards": shard[:], "homes": home[:], "directory": dir[:]} {
			want := n / len(counts)
			for _, c := range counts {
				if d := c - want; d*d > 36*want { // six standard deviations
					t.Errorf("%s: %s are uneven: %d, want about %d", name, what, c, want)
				}
			}
		}
	}
}
