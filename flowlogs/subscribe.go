package flowlogs

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

// Subscribe is what a follower asks for.
type Subscribe struct {
	Filter Filter // Limit plays no part
	// Buffer bounds the records that wait for the follower. Zero: 8,192. When it is full the oldest
	// are lost, and the next batch says how many.
	Buffer int
	// Live gives each flow as Add brings it, counts of that call alone, instead of sealed records.
	Live bool
}

// Batch is what came since the last.
type Batch struct {
	Records []Record
	Lost    uint64 // records lost before these because the follower was slow
}

// Subscription is one follower's stream. Close it when done.
type Subscription struct {
	Subscribe
	from *Aggregator
	wake chan struct{} // holds one token when there is something to take

	mu      sync.Mutex
	waiting []Record // a ring once it is full
	next    int      // the oldest of a full ring
	lost    uint64
	closed  bool
}

type subscribers struct {
	mu        sync.RWMutex
	all       []*Subscription
	liveCount atomic.Int32
}

// Subscribe starts a stream of the records that come from now on.
func (a *Aggregator) Subscribe(s Subscribe) *Subscription {
	if s.Buffer <= 0 {
		s.Buffer = 8192
	}
	sub := &Subscription{Subscribe: s, from: a, wake: make(chan struct{}, 1)}
	a.subscribers.mu.Lock()
	defer a.subscribers.mu.Unlock()
	a.subscribers.all = append(a.subscribers.all, sub)
	if s.Live {
		a.subscribers.liveCount.Add(1)
	}
	return sub
}

// Next waits for records and takes all there are. It gives the context's error, or io.EOF once the
// subscription is closed. One goroutine calls it.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	for {
		if b, closed := s.take(); closed {
			return Batch{}, io.EOF
		} else if len(b.Records) > 0 {
			return b, nil
		}
		select {
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		case <-s.wake:
		}
	}
}

func (s *Subscription) take() (b Batch, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b = Batch{Records: slices.Concat(s.waiting[s.next:], s.waiting[:s.next]), Lost: s.lost}
	s.waiting, s.next, s.lost = s.waiting[:0], 0, 0
	return b, s.closed
}

// Close ends the stream and wakes Next. It is idempotent.
func (s *Subscription) Close() {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return
	}
	all := &s.from.subscribers
	all.mu.Lock()
	all.all = slices.DeleteFunc(all.all, func(x *Subscription) bool { return x == s })
	all.mu.Unlock()
	if s.Live {
		all.liveCount.Add(-1)
	}
	s.notify()
}

func (s *Subscription) notify() {
	select {
	case s.wake <- struct{}{}:
	default: // a token is there already
	}
}

// put hands records over and gives the number of older ones lost.
func (s *Subscription) put(records ...Record) (lost uint64) {
	s.mu.Lock()
	for i := range records {
		if !s.Filter.Match(&records[i]) {
			continue
		}
		if len(s.waiting) < s.Buffer {
			s.waiting = append(s.waiting, records[i])
			continue
		}
		s.waiting[s.next] = records[i]
		s.next = (s.next + 1) % s.Buffer
		lost++
	}
	s.lost += lost
	ready := len(s.waiting) > 0
	s.mu.Unlock()
	if ready {
		s.notify()
	}
	return lost
}

func (l *subscribers) sealed(a *Aggregator, batch []Record) {
	l.each(a, false, batch...)
}

// live tells followers of one call of Add.
func (l *subscribers) live(a *Aggregator, meta *Interface, w Window, f *Flow) {
	if l.liveCount.Load() > 0 {
		l.each(a, true, newRecord(meta, w, f, a.config.Timestamps))
	}
}

func (l *subscribers) each(a *Aggregator, live bool, records ...Record) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var lost uint64
	for _, s := range l.all {
		if s.Live == live {
			lost += s.put(records...)
		}
	}
	if lost > 0 {
		a.counters.Lock()
		a.counters.Lost += lost
		a.counters.Unlock()
	}
}
