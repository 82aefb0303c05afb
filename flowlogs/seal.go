package flowlogs

import (
	"cmp"
	"slices"
)

// Seal closes the windows that ended by now (Unix nanoseconds) and gives their records, in a fixed
// order: by window, by interface id, then by first packet. An interface without a flow in a window
// has a NODATA record for it. The records also go to Recent and to subscribers; the slice is shared
// with nobody else. A clock that went back seals nothing.
//
// Every packet given to Add is in exactly one record or counter, whenever Seal runs.
func (a *Aggregator) Seal(now int64) []Record {
	a.sealing.Lock()
	defer a.sealing.Unlock()
	boundary, empty, sources := a.advance(seconds(now))
	var batch []Record
	for _, s := range sources {
		batch = a.sealSource(batch, s, boundary, empty)
	}
	byWindow := func(x, y Record) int { return cmp.Compare(x.Window.Start, y.Window.Start) }
	if !slices.IsSortedFunc(batch, byWindow) { // mostly there is one window
		slices.SortStableFunc(batch, byWindow)
	}
	a.reap()
	a.counters.Lock()
	a.counters.Sealed += uint64(len(batch))
	a.counters.Unlock()
	a.recent.add(batch)
	a.subscribers.sealed(a, batch)
	return batch
}

// Due tells whether a window has ended by now (Unix nanoseconds) that Seal has not closed. Whoever
// counts elsewhere first hands over what it has, then seals.
func (a *Aggregator) Due(now int64) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.config.Bounds(seconds(now)).Start > a.floor
}

// Finish closes the open window too, as if it had ended: for the end of a run. What Add brings
// afterwards goes to the window after it.
func (a *Aggregator) Finish(now int64) []Record {
	return a.Seal(a.config.Bounds(seconds(now)).End * nanos)
}

// advance moves the floor up. It gives the windows in between, and the sources there are.
func (a *Aggregator) advance(second int64) (boundary int64, ended []Window, sources []*source) {
	boundary = a.config.Bounds(second).Start
	a.mu.Lock()
	defer a.mu.Unlock()
	if boundary <= a.floor {
		return boundary, nil, nil
	}
	if a.floor != unset {
		ended = a.ended(boundary)
	}
	a.floor = boundary
	sources = make([]*source, 0, len(a.byID))
	for _, s := range a.byID {
		sources = append(sources, s)
	}
	slices.SortFunc(sources, func(x, y *source) int { return cmp.Compare(x.id(), y.id()) })
	return boundary, ended, sources
}

// ended gives the windows between the floor and the boundary, the newest MaxEmptyWindows of them.
func (a *Aggregator) ended(boundary int64) (ended []Window) {
	for at := boundary; at > a.floor; {
		w := a.config.Bounds(at - 1)
		if w.Start >= at {
			break // bounds that break their contract must not hang the agent
		}
		if len(ended) < a.config.MaxEmptyWindows {
			ended = append(ended, w)
		} else {
			a.counters.Lock()
			a.counters.EmptyWindows++
			a.counters.Unlock()
		}
		at = w.Start
	}
	slices.Reverse(ended)
	return ended
}

// sealSource appends the records of the windows of s that ended.
func (a *Aggregator) sealSource(dst []Record, s *source, boundary int64, ended []Window) []Record {
	closed, meta := s.seal(boundary)
	for _, w := range closed {
		for len(ended) > 0 && ended[0].Start < w.Start {
			dst = append(dst, noData(meta, ended[0]))
			ended = ended[1:]
		}
		if len(ended) > 0 && ended[0].Start == w.Start {
			ended = ended[1:]
		}
		dst = w.records(dst, meta, a.config.Timestamps)
		a.open.Add(-int64(len(w.index)))
	}
	for _, w := range ended {
		dst = append(dst, noData(meta, w))
	}
	return dst
}

func noData(meta *Interface, w Window) Record {
	return Record{Interface: meta, Status: NoData, Window: w, Start: w.Start, End: w.End}
}

// seal takes the windows that ended out of s. From here on a flow goes to a later one.
func (s *source) seal(boundary int64) (closed []*window, meta *Interface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.open) && s.open[n].End <= boundary {
		s.count -= len(s.open[n].index)
		n++
	}
	closed = slices.Clone(s.open[:n])
	s.open = slices.Delete(s.open, 0, n)
	s.floor = max(s.floor, boundary)
	s.dead = s.removed && len(s.open) == 0
	return closed, s.meta
}

func (s *source) id() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.ID
}

// reap forgets the interfaces whose last window is sealed.
func (a *Aggregator) reap() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retired = slices.DeleteFunc(a.retired, func(eni uint32) bool {
		b := a.byNumber[eni]
		if b.source == nil || b.live {
			return true // the number was given to an interface again
		}
		dead := b.isDead()
		if dead || b.refs > 0 {
			delete(a.byNumber, eni)
		}
		return dead || b.refs > 0
	})
	for id, s := range a.byID {
		if s.refs == 0 && s.isDead() {
			delete(a.byID, id)
		}
	}
}

func (s *source) isDead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}
