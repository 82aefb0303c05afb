package flowlogs

import (
	"cmp"
	"slices"
	"sync"
)

// recent is a ring of the records sealed last.
type recent struct {
	limit int

	mu      sync.RWMutex
	records []Record // grows up to limit
	next    int      // where the next goes once the ring is full: the oldest
}

func (r *recent) add(batch []Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if over := len(batch) - r.limit; over > 0 {
		batch = batch[over:]
	}
	if room := r.limit - len(r.records); room > 0 {
		n := min(room, len(batch))
		r.records = append(r.records, batch[:n]...)
		batch = batch[n:]
	}
	for len(batch) > 0 {
		n := copy(r.records[r.next:], batch)
		batch = batch[n:]
		r.next = (r.next + n) % r.limit
	}
}

func (r *recent) find(f *Filter) (found []Record) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, part := range [][]Record{r.records[r.next:], r.records[:r.next]} {
		for i := range part {
			if f.Match(&part[i]) {
				found = append(found, part[i])
			}
		}
	}
	return found
}

// Recent gives the sealed records that are still kept and that f takes, oldest first.
func (a *Aggregator) Recent(f Filter) []Record {
	return f.limit(a.recent.find(&f))
}

// Open gives the records of the windows not yet sealed, as they would be if they were sealed with
// what was added so far; in the order of Seal, without NODATA.
func (a *Aggregator) Open(f Filter) []Record {
	var found []Record
	for _, s := range a.sources() {
		found = s.find(found, &f, a.config.Timestamps)
	}
	slices.SortStableFunc(found, func(x, y Record) int {
		if c := cmp.Compare(x.Window.Start, y.Window.Start); c != 0 {
			return c
		}
		return cmp.Compare(x.Interface.ID, y.Interface.ID)
	})
	return f.limit(found)
}

func (a *Aggregator) sources() []*source {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := make([]*source, 0, len(a.byID))
	for _, s := range a.byID {
		all = append(all, s)
	}
	return all
}

func (s *source) find(dst []Record, f *Filter, t Timestamps) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.matchInterface(s.meta) {
		return dst
	}
	for _, w := range s.open {
		from := len(dst)
		dst = w.records(dst, s.meta, t)
		taken := slices.DeleteFunc(dst[from:], func(r Record) bool { return !f.Match(&r) })
		dst = dst[:from+len(taken)]
	}
	return dst
}
