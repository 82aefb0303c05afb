package conntrack_test

import (
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// TestMemory holds the bound of 160 bytes a half, slots and index, at every fill level above 10,000,
// also where segments have just split. BenchmarkMemory prints what the process really grows by.
func TestMemory(t *testing.T) {
	tab := conntrack.New(conntrack.Config{MaxHalves: 1_000_000, Seed: 1})
	defer tab.Close()
	worst, at := 0.0, 0
	for n := 0; n < 120_000; n += 64 {
		fill(t, tab, n, n+64)
		if each := float64(tab.Stats().Bytes) / float64(n+64); n > 10_000 && each > worst {
			worst, at = each, n+64
		}
	}
	t.Logf("at most %.1f bytes a half, at %d halves", worst, at)
	if worst > 159 { // the rest, lists of pages and such, is less than 1 byte
		t.Errorf("%.1f bytes a half at %d halves", worst, at)
	}
}

// TestAllocs holds that nothing on the way of a hit or a miss allocates.
func TestAllocs(t *testing.T) {
	w := newWorld(t, conntrack.Config{MaxHalves: 10_000})
	for i := range 1000 {
		w.insert(key(1, packet.ProtoTCP, i), conntrack.Init{TCPFlags: packet.SYN})
	}
	k, miss := key(1, packet.ProtoTCP, 500), key(2, packet.ProtoTCP, 500)
	next := 1000
	tests := map[string]func(){
		"hit": func() {
			h := w.Lookup(&k, w.Hash(&k))
			w.now += 1e8
			h.TrackSegment(conntrack.Out, conntrack.Segment{Flags: packet.ACK}, w.now)
			h.Count(conntrack.Out, 1, 100, packet.ACK, w.now)
			if h.Verdict(conntrack.Out).Known || h.Rule(conntrack.Out) != 0 || w.Resolve(h.Next(conntrack.Out)) != nil || h.Key() != k {
				t.Error("something is there")
			}
			h.SetVerdict(conntrack.In, conntrack.Verdict{Known: true})
			h.Drain(conntrack.Out)
		},
		"miss": func() {
			if w.Lookup(&miss, w.Hash(&miss)) != nil {
				t.Error("found")
			}
		},
		"reset": func() { w.Lookup(&k, w.Hash(&k)).Reset(conntrack.Init{TCPFlags: packet.SYN}, w.now) },
		"batch": w.batch,
		"look-ups": func() {
			keys, hashes, halves := [2]packet.Key{k, miss}, [2]uint64{w.Hash(&k), w.Hash(&miss)}, [2]*conntrack.Half{}
			if w.LookupBatch(keys[:], hashes[:], halves[:]); halves[0] == nil || halves[1] != nil {
				t.Error(halves)
			}
		},
		"sweep": func() { w.Sweep(w.now, 100) },
		"insert": func() {
			next++
			n := key(1, packet.ProtoTCP, next)
			if _, ok, err := w.Insert(&n, w.Hash(&n), conntrack.Init{TCPFlags: packet.SYN}, w.now); !ok || err != nil {
				t.Error(ok, err)
			}
		},
	}
	for name, f := range tests {
		if got := testing.AllocsPerRun(200, f); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}
