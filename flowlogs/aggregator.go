package flowlogs

import (
	"math"
	"sync"
	"sync/atomic"
)

// Config sets an Aggregator up. The zero value is AWS's on Nitro: aligned windows of 60 seconds.
type Config struct {
	Bounds     Bounds
	Timestamps Timestamps
	// Start is when recording began, in Unix nanoseconds: the first window told is the one it lies
	// in. Zero: the one of the first Seal.
	Start int64
	// MaxRecords bounds the flows kept in open windows, and MaxPerInterface those of one interface,
	// so that no interface can use up all. What goes beyond becomes SKIPDATA.
	// Zero: 1,048,576 and half of MaxRecords.
	MaxRecords, MaxPerInterface int
	// RecentRecords bounds the sealed records kept for Recent. Zero: 65,536; negative: none.
	RecentRecords int
	// MaxEmptyWindows bounds the windows without traffic that one Seal tells of after a gap, such as
	// the sleep of a laptop. Zero: 60.
	MaxEmptyWindows int
}

func (c Config) withDefaults() Config {
	if c.Bounds == nil {
		c.Bounds = Aligned(60)
	}
	if c.MaxRecords <= 0 {
		c.MaxRecords = 1 << 20
	}
	if c.MaxPerInterface <= 0 {
		c.MaxPerInterface = (c.MaxRecords + 1) / 2
	}
	if c.RecentRecords == 0 {
		c.RecentRecords = 1 << 16
	}
	if c.MaxEmptyWindows <= 0 {
		c.MaxEmptyWindows = 60
	}
	return c
}

// Stats are an Aggregator's counters since it was made; Open is a gauge.
type Stats struct {
	Open         int64  // flows in windows not yet sealed
	Sealed       uint64 // records that left through Seal, NODATA and SKIPDATA among them
	Skipped      Tally  // not recorded for want of room; told as SKIPDATA
	Unknown      Tally  // not recorded because the interface is not known, or was removed and sealed
	EmptyWindows uint64 // windows without traffic that were not told of, see Config.MaxEmptyWindows
	Lost         uint64 // records that subscribers were too slow for
}

// Tally counts traffic. Flows counts calls of Add.
type Tally struct{ Flows, Packets, Bytes uint64 }

func (t *Tally) add(f *Flow) {
	t.Flows++
	t.Packets += f.Packets
	t.Bytes += f.Bytes
}

// Aggregator merges flows into one record per interface, tuple, direction, action and window.
// All methods may be called concurrently. Each interface has a short lock of its own.
type Aggregator struct {
	config Config
	open   atomic.Int64

	sealing sync.Mutex // held by Seal as a whole; taken before mu

	mu       sync.RWMutex // guards what follows; taken before a source's
	floor    int64        // second up to which windows are sealed
	byID     map[string]*source
	byNumber map[uint32]binding
	retired  []uint32 // numbers whose binding is no longer live

	counters struct {
		sync.Mutex
		Stats
	}
	recent      recent
	subscribers subscribers
}

// binding says which source a data plane's number stands for. It outlives RemoveInterface, because
// flows still come in, until the interface's last window is sealed.
type binding struct {
	*source
	live bool
}

const unset = math.MinInt64

// NewAggregator makes an Aggregator.
func NewAggregator(c Config) *Aggregator {
	a := &Aggregator{
		config:   c.withDefaults(),
		floor:    unset,
		byID:     make(map[string]*source),
		byNumber: make(map[uint32]binding),
	}
	if c.Start != 0 {
		a.floor = a.config.Bounds(seconds(c.Start)).Start
	}
	a.recent.limit = max(a.config.RecentRecords, 0)
	return a
}

// SetInterface says which interface a number stands for, or that what is known of it changed.
// i must not be changed afterwards. Records of an open window show the latest.
func (a *Aggregator) SetInterface(eni uint32, i *Interface) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.byID[i.ID]
	if s == nil || !s.revive(i) {
		s = &source{meta: i, floor: a.floor}
		a.byID[i.ID] = s
	}
	old := a.byNumber[eni]
	if old.live && old.source == s {
		return
	}
	if old.live {
		old.release()
	}
	s.refs++
	a.byNumber[eni] = binding{s, true}
}

// RemoveInterface says that a number's interface is gone. Flows still to come are recorded until the
// window that is open now is sealed.
func (a *Aggregator) RemoveInterface(eni uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.byNumber[eni]
	if !b.live {
		return
	}
	b.release()
	a.byNumber[eni] = binding{b.source, false}
	a.retired = append(a.retired, eni)
}

// Add counts a flow at an interface, in the window that its first packet lies in, or in the oldest
// that is still open if that one is sealed. f is borrowed and not kept. A flow of no packets is
// nothing. A hit on a flow that has a record in the window does not allocate.
func (a *Aggregator) Add(eni uint32, f *Flow) {
	if f.Packets == 0 {
		return
	}
	flow := *f
	flow.Tuple = recordTuple(f.Tuple)
	flow.TCPFlags = recordFlags(f.Tuple.Proto, f.TCPFlags)
	flow.Last = max(f.First, f.Last)
	var last *source
	for {
		s := a.source(eni)
		if s == nil || s == last {
			a.countUnknown(&flow)
			return
		}
		if s.add(a, &flow) {
			return
		}
		last = s // sealed for good since it was looked up; the number may stand for another by now
	}
}

func (a *Aggregator) source(eni uint32) *source {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.byNumber[eni].source
}

// Stats reads the counters.
func (a *Aggregator) Stats() Stats {
	a.counters.Lock()
	s := a.counters.Stats
	a.counters.Unlock()
	s.Open = a.open.Load()
	return s
}

func (a *Aggregator) countUnknown(f *Flow) {
	a.counters.Lock()
	a.counters.Unknown.add(f)
	a.counters.Unlock()
}

func (a *Aggregator) countSkipped(f *Flow) {
	a.counters.Lock()
	a.counters.Skipped.add(f)
	a.counters.Unlock()
}
