package conntrack_test

import (
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// tracked and established, as an inserted half and the reply make it.
func (w *world) established(k packet.Key) *conntrack.Half {
	w.t.Helper()
	h := w.insert(k, conntrack.Init{Opener: conntrack.Out, Tracked: true})
	h.Track(conntrack.In, 0, w.now)
	return h
}

// TestFull holds who makes room for whom.
func TestFull(t *testing.T) {
	tracked := conntrack.Init{Opener: conntrack.Out, Tracked: true}
	untracked := conntrack.Init{Opener: conntrack.Out}
	rejected := conntrack.Init{Opener: conntrack.In, Rejected: true}
	const size = 40
	victim := key(1, 17, 1000)
	tests := []struct {
		name   string
		victim func(*world) // inserts the victim in a table that is else full of others' established flows
		in     conntrack.Init
		evicts bool
	}{
		{"another's established", func(w *world) { w.established(key(9, 17, 1000)) }, tracked, false},
		{"another's half-open", func(w *world) { w.insert(key(9, 17, 1000), tracked) }, tracked, false},
		{"another's untracked", func(w *world) { w.insert(key(9, 17, 1000), untracked) }, tracked, false},
		{"own established", func(w *world) { w.established(victim) }, tracked, false},
		{"own half-open", func(w *world) { w.insert(victim, tracked) }, tracked, true},
		{"own half-open, for an untracked", func(w *world) { w.insert(victim, tracked) }, untracked, true},
		{"own half-open, for a rejected", func(w *world) { w.insert(victim, tracked) }, rejected, false},
		{"own untracked", func(w *world) { w.insert(victim, untracked).Track(conntrack.In, 0, 0) }, tracked, true},
		{"own untracked, for an untracked", func(w *world) { w.insert(victim, untracked).Track(conntrack.In, 0, 0) }, untracked, false},
		{"another's rejected", func(w *world) { w.insert(key(9, 17, 1000), rejected) }, tracked, true},
		{"another's rejected, for a rejected", func(w *world) { w.insert(key(9, 17, 1000), rejected) }, rejected, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, conntrack.Config{MaxHalves: size})
			for i := range size - 1 {
				w.established(key(5, 17, i))
			}
			test.victim(w)
			if test.evicts {
				w.insert(key(1, 17, 1001), test.in)
				if s := w.Stats(); s.Evicted != 1 || s.Halves != size || s.Full != 0 {
					t.Errorf("%+v", s)
				}
			} else {
				w.refused(key(1, 17, 1001), test.in, conntrack.ErrFull)
				if s := w.Stats(); s.Evicted != 0 || s.Halves != size || s.Full != 1 || w.ENI(1).Full != 1 {
					t.Errorf("%+v", s)
				}
			}
			for i := range size - 1 {
				if w.lookup(key(5, 17, i)) == nil {
					t.Fatal("another's established flow is gone")
				}
			}
		})
	}
}

// TestExpiredFirst holds that what timed out goes before what is half-open.
func TestExpiredFirst(t *testing.T) {
	w := newWorld(t, conntrack.Config{MaxHalves: 30})
	w.established(key(9, 17, 0))
	w.now = int64(31 * time.Second)
	for i := range 29 {
		w.insert(key(1, 17, i), conntrack.Init{Tracked: true})
	}
	w.insert(key(1, 17, 100), conntrack.Init{Tracked: true})
	if w.lookup(key(9, 17, 0)) != nil {
		t.Error("the expired half is still there")
	}
	for i := range 29 {
		if w.lookup(key(1, 17, i)) == nil {
			t.Errorf("half-open half %d is gone", i)
		}
	}
}

func TestPerENI(t *testing.T) {
	w := newWorld(t, conntrack.Config{MaxHalves: 100, MaxPerENI: 10})
	for i := range 10 {
		w.established(key(1, 17, i))
	}
	other := w.insert(key(2, 17, 0), conntrack.Init{Rejected: true})
	w.refused(key(1, 17, 100), conntrack.Init{Tracked: true}, conntrack.ErrFullENI)
	w.insert(key(2, 17, 1), conntrack.Init{Tracked: true})
	if w.Resolve(other.Ref()) == nil {
		t.Error("another interface's half made room, which could not help")
	}
	s := w.Stats()
	if s.FullENI != 1 || s.Full != 0 || w.ENI(1) != (conntrack.ENIStats{Halves: 10, Capacity: 10, Full: 1}) {
		t.Errorf("%+v, %+v", s, w.ENI(1))
	}
	w.now += int64(31 * time.Second)
	w.insert(key(1, 17, 100), conntrack.Init{Tracked: true}) // in the place of one that timed out
	if w.ENI(1).Halves != 10 {
		t.Errorf("%+v", w.ENI(1))
	}
}

func TestRejectedShare(t *testing.T) {
	rejected := conntrack.Init{Opener: conntrack.In, Rejected: true}
	w := newWorld(t, conntrack.Config{MaxHalves: 100, MaxPerENI: 40, MaxRejectedShare: 0.2})
	for i := range 8 {
		w.insert(key(1, 17, i), rejected)
	}
	w.refused(key(1, 17, 8), rejected, conntrack.ErrFullRejected)
	for i := range 12 {
		w.insert(key(uint32(2+i/6), 17, i), rejected)
	}
	w.refused(key(5, 17, 0), rejected, conntrack.ErrFullRejected)
	if s := w.Stats(); s.Rejected != 20 || s.FullRejected != 2 || s.Halves != 20 {
		t.Errorf("%+v", s)
	}
	w.now = int64(11 * time.Second)
	w.insert(key(5, 17, 0), rejected)
	w.insert(key(1, 17, 8), rejected)
	if s := w.Stats(); s.Rejected != 20 || s.Evicted != 2 || w.ENI(1).Rejected > 8 {
		t.Errorf("after they timed out: %+v, %+v", s, w.ENI(1))
	}
}

// TestFlood is a flood of half-open flows through one interface, in batches: the table stays within
// its bounds and its memory, and another's established flows live on.
func TestFlood(t *testing.T) {
	const size = 2000
	w := newWorld(t, conntrack.Config{MaxHalves: size})
	for i := range size / 4 {
		w.established(key(2, 17, i))
	}
	var bytes int
	for i := range 20 * size {
		if i%32 == 0 {
			w.batch()
		}
		w.insert(key(1, 6, i), conntrack.Init{Opener: conntrack.In, Tracked: true, TCPFlags: packet.SYN})
		if i == 10*size {
			bytes = w.Stats().Bytes
		}
	}
	s := w.Stats()
	if s.Halves != size || s.Evicted != 20*size-size*3/4 || s.Full != 0 {
		t.Errorf("%+v", s)
	}
	if s.Bytes > bytes*11/10 {
		t.Errorf("memory grew from %d to %d bytes while the flood went on", bytes, s.Bytes)
	}
	for i := range size / 4 {
		if w.lookup(key(2, 17, i)) == nil {
			t.Fatal("an established flow of another interface is gone")
		}
	}
	w.Reclaim() // a new epoch, in which the next batch begins
	w.batch()
	w.Reclaim()
	if len(w.freed) != int(s.Evicted) {
		t.Errorf("OnFree was called for %d of %d", len(w.freed), s.Evicted)
	}
}

// TestStuckReader holds that memory stays bounded when a reader does not leave its batch.
func TestStuckReader(t *testing.T) {
	w := newWorld(t, conntrack.Config{MaxHalves: 1000, Shards: 1})
	stuck := w.NewReader()
	stuck.Enter()
	refused := 0
	for i := range 50_000 {
		k := key(1, 6, i)
		if _, _, err := w.Insert(&k, w.Hash(&k), conntrack.Init{TCPFlags: packet.SYN}, 0); err != nil {
			refused++
		}
		w.batch()
	}
	if len(w.freed) != 0 || refused == 0 {
		t.Errorf("%d freed, %d refused", len(w.freed), refused)
	}
	if s := w.Stats(); s.Bytes > 1<<20 {
		t.Errorf("%+v", s)
	}
	stuck.Close()
	w.insert(key(1, 6, 1<<20), conntrack.Init{TCPFlags: packet.SYN})
	if len(w.freed) == 0 {
		t.Error("nothing was freed after the reader left")
	}
}

// failing has no memory after the first chunks.
type failing struct{ left int }

func (f *failing) Alloc(n int) ([]byte, error) {
	if f.left--; f.left < 0 {
		return nil, conntrack.ErrFull
	}
	return conntrack.Heap.Alloc(n)
}

func (f *failing) Free([]byte) {}

func TestNoMemory(t *testing.T) {
	w := newWorld(t, conntrack.Config{MaxHalves: 100_000, Allocator: &failing{left: 1}})
	n := 0
	for ; n < 100_000; n++ {
		k := flowKey(n)
		if _, _, err := w.Insert(&k, w.Hash(&k), conntrack.Init{Tracked: true}, 0); err != nil {
			break
		}
	}
	if n < 500 || n > 2000 || w.Stats().Full != 1 || w.Stats().Halves != n || w.ENI(1).Halves != n {
		t.Errorf("%d halves fit, %+v", n, w.Stats())
	}
	for i := range n {
		if w.lookup(flowKey(i)) == nil {
			t.Fatalf("flow %d is gone", i)
		}
	}
}
