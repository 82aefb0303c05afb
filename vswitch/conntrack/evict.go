package conntrack

import "sync/atomic"

// The search for a half to give up goes round the table's pages, from where the interface's last one
// ended, and looks at a bounded number: in a table that one interface has filled, most pages have what
// it needs; where they have not, several newcomers together go round.
const (
	evictBudget = 512
	evictPrefer = 64  // so many are looked at for one that timed out, before another is taken
	barrenFor   = 1e9 // nanoseconds
)

// worth says why a half may be given up; the lower, the sooner.
type worth uint8

const (
	isExpired worth = iota + 1
	isRejected
	isHalfOpen
	isUntracked
	isAny
)

func (v worth) holds(h *Half, ms uint32) bool {
	w := h.state.Load()
	switch v {
	case isExpired:
		return expired(w, ms)
	case isRejected:
		return stateOf(w) == Rejected
	case isHalfOpen:
		return halfOpen(w)
	case isUntracked:
		return w&trackedBit == 0
	}
	return true
}

// search is what a newcomer looks for.
type search struct {
	*newcomer
	sameENI  bool // only halves of its own interface make room
	rejected bool // only remembered rejections do
}

func (t *Table) searchFor(n *newcomer, bound error) search {
	q := search{newcomer: n, sameENI: bound == ErrFullENI, rejected: bound == ErrFullRejected}
	if q.rejected {
		q.sameENI = n.iface.rejected.Load() >= t.maxENIRejected
	}
	return q
}

// worth says whether the newcomer may take the half's place; 0: no.
func (q *search) worth(h *Half) worth {
	w, same := h.state.Load(), h.ENI() == q.eni()
	rejected := stateOf(w) == Rejected
	switch {
	case q.sameENI && !same, q.rejected && !rejected:
		return 0
	case expired(w, q.ms):
		return isExpired
	case q.Rejected: // a remembered rejection only saves time: it takes nobody's place
		return 0
	case rejected:
		return isRejected
	case same && halfOpen(w):
		return isHalfOpen
	case same && q.Tracked && w&trackedBit == 0:
		return isUntracked
	}
	return 0
}

// on looks at a page's halves for one that is worth more than what was found so far.
func (q *search) on(b *block, best *Half, why worth) (*Half, worth, int) {
	live := 0
	for p := range b.hot {
		h := &b.hot[p]
		if !h.live() {
			continue
		}
		live++
		if v := q.worth(h); v != 0 && v < why {
			best, why = h, v
		}
	}
	return best, why, live
}

// makeRoom gives up a half for the newcomer. It returns false if it found none.
func (t *Table) makeRoom(n *newcomer, bound error) bool {
	q, i, budget := t.searchFor(n, bound), n.iface, evictBudget
	if n.Rejected || n.now < i.barren.Load() {
		budget = evictPrefer
	}
	best, why := (*Half)(nil), isAny
	blocks, looked, pages := t.blockCount(), 0, 0
	for ; looked < budget && pages < blocks; pages++ {
		b := i.hand.next(t)
		if b == nil {
			break
		}
		var live int
		best, why, live = q.on(b, best, why)
		if looked += live + 1; why == isExpired || best != nil && looked >= evictPrefer {
			break
		}
	}
	if best == nil {
		if i.vain.Add(int64(pages)) >= int64(blocks) {
			i.vain.Store(0)
			i.barren.Store(n.now + barrenFor)
		}
		return false
	}
	i.vain.Store(0)
	if t.remove(best, why, n.ms) {
		t.evicted.Add(1)
	}
	return true
}

// cursor goes round the pages of slots. Several may move it at once.
type cursor struct{ at atomic.Uint64 }

// next returns the next page of slots, or nil if there is none.
func (c *cursor) next(t *Table) *block {
	at := c.at.Load()
	s, b := int(at>>32), uint32(at)
	for range len(t.shards) + 1 {
		if sh := &t.shards[s]; b < sh.used.Load() {
			c.at.Store(uint64(s)<<32 | uint64(b+1))
			return (*sh.blocks.Load())[b]
		}
		s, b = (s+1)%len(t.shards), 0
	}
	return nil
}

func (t *Table) blockCount() (n int) {
	for i := range t.shards {
		n += int(t.shards[i].used.Load())
	}
	return n
}
