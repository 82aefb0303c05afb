package flowlogs

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// source is one network interface with its windows that are not sealed.
type source struct {
	refs int // live numbers that stand for it; guarded by Aggregator.mu

	mu      sync.Mutex
	meta    *Interface
	removed bool
	dead    bool      // removed and sealed: takes nothing more
	floor   int64     // second up to which its windows are sealed
	count   int       // flows in open
	open    []*window // in order of time; one, or two around a window's end
}

// window holds the flows of one source in one window, and what there was no room for.
type window struct {
	Window
	index   map[flowKey]uint32
	chunks  [][]Flow // of chunkSize; the first grows up to it
	skipped Flow     // Packets, Bytes, First, Last
}

const chunkSize = 1024

// flowKey is what makes a record a record of its own. It holds no pointer.
type flowKey struct {
	tuple     packet.Tuple
	direction vpc.Direction
	action    Action
}

// release takes one number away. A source that no number stands for ends when it is sealed.
func (s *source) release() {
	s.refs--
	s.mu.Lock()
	s.removed = s.refs == 0
	s.mu.Unlock()
}

// revive takes newer metadata and keeps the source from ending; false if it ended already.
func (s *source) revive(i *Interface) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return false
	}
	s.meta, s.removed = i, false
	return true
}

// add counts f; false if the source takes nothing more.
func (s *source) add(a *Aggregator, f *Flow) bool {
	s.mu.Lock()
	if s.dead {
		s.mu.Unlock()
		return false
	}
	w := s.window(seconds(f.First), a.config.Bounds)
	recorded := s.merge(a, w, f)
	meta, in := s.meta, w.Window
	s.mu.Unlock()
	if !recorded {
		a.countSkipped(f)
	}
	a.subscribers.live(a, meta, in, f)
	return true
}

// window gives the open window for a second.
func (s *source) window(second int64, bounds Bounds) *window {
	second = max(second, s.floor)
	for i := len(s.open) - 1; i >= 0; i-- {
		if s.open[i].Contains(second) {
			return s.open[i]
		}
	}
	w := &window{Window: bounds(second), index: make(map[flowKey]uint32)}
	at, _ := slices.BinarySearchFunc(s.open, w, func(x, y *window) int { return cmp.Compare(x.Start, y.Start) })
	s.open = slices.Insert(s.open, at, w)
	return w
}

// merge adds f to its record, or makes one if there is room.
func (s *source) merge(a *Aggregator, w *window, f *Flow) bool {
	key := flowKey{f.Tuple, f.Direction, f.Action}
	if n, ok := w.index[key]; ok {
		w.at(n).merge(f)
		return true
	}
	if !s.reserve(a) {
		w.skip(f)
		return false
	}
	w.index[key] = w.append(f)
	return true
}

func (s *source) reserve(a *Aggregator) bool {
	if s.count >= a.config.MaxPerInterface {
		return false
	}
	if a.open.Add(1) > int64(a.config.MaxRecords) {
		a.open.Add(-1)
		return false
	}
	s.count++
	return true
}

func (w *window) at(n uint32) *Flow { return &w.chunks[n/chunkSize][n%chunkSize] }

// append stores f. Chunks are never copied once the first is full, so that a lock is held shortly.
func (w *window) append(f *Flow) uint32 {
	last := len(w.chunks) - 1
	switch {
	case last < 0:
		w.chunks = append(w.chunks, make([]Flow, 0, 4))
		last++
	case len(w.chunks[last]) == chunkSize:
		w.chunks = append(w.chunks, make([]Flow, 0, chunkSize))
		last++
	}
	w.chunks[last] = append(w.chunks[last], *f)
	return uint32(last*chunkSize + len(w.chunks[last]) - 1)
}

func (w *window) skip(f *Flow) {
	if w.skipped.Packets == 0 {
		w.skipped.First, w.skipped.Last = f.First, f.Last
	}
	w.skipped.count(f)
}

// count adds f's numbers to t.
func (t *Flow) count(f *Flow) {
	t.Packets += f.Packets
	t.Bytes += f.Bytes
	t.First = min(t.First, f.First)
	t.Last = max(t.Last, f.Last)
}

// merge adds f to the same flow's record.
func (t *Flow) merge(f *Flow) {
	if f.Last >= t.Last {
		t.Rule, t.Reason, t.TrafficPath = f.Rule, f.Reason, f.TrafficPath
	}
	t.TCPFlags |= f.TCPFlags
	t.count(f)
}

// records appends the window's records in a fixed order: by first packet, then by tuple.
func (w *window) records(dst []Record, meta *Interface, t Timestamps) []Record {
	flows := make([]*Flow, 0, len(w.index))
	for _, chunk := range w.chunks {
		for i := range chunk {
			flows = append(flows, &chunk[i])
		}
	}
	slices.SortFunc(flows, compareFlows)
	dst = slices.Grow(dst, len(flows)+1)
	for _, f := range flows {
		dst = append(dst, newRecord(meta, w.Window, f, t))
	}
	if w.skipped.Packets > 0 {
		dst = append(dst, Record{Interface: meta, Flow: w.skipped, Status: SkipData,
			Window: w.Window, Start: w.Start, End: w.End})
	}
	return dst
}

func newRecord(meta *Interface, w Window, f *Flow, t Timestamps) Record {
	r := Record{Interface: meta, Flow: *f, Window: w}
	r.Start, r.End = t.stamp(w, f.First, f.Last)
	return r
}

func compareFlows(x, y *Flow) int {
	if c := cmp.Compare(x.First, y.First); c != 0 {
		return c
	}
	return cmp.Or(
		bytes.Compare(x.Tuple.Src[:], y.Tuple.Src[:]),
		bytes.Compare(x.Tuple.Dst[:], y.Tuple.Dst[:]),
		cmp.Compare(x.Tuple.Proto, y.Tuple.Proto),
		cmp.Compare(x.Tuple.SrcPort, y.Tuple.SrcPort),
		cmp.Compare(x.Tuple.DstPort, y.Tuple.DstPort),
		cmp.Compare(x.Direction, y.Direction),
		cmp.Compare(x.Action, y.Action),
	)
}
