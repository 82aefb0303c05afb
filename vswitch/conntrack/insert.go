package conntrack

import (
	"errors"

	"github.com/vpclab/vpclab/packet"
)

// Reasons for another try, never returned to callers.
var (
	errNoSlot    = errors.New("no free slot at hand")
	errForgotten = errors.New("interface was forgotten")
)

// insertTries bounds how often an insert makes room that others take.
const insertTries = 8

// Insert adds a half with the key, unless there is one: then it returns that, and false. The caller is
// between Enter and Leave of a [Reader] and takes the latter case as a hit: another worker, or an
// earlier packet of the batch, was first.
//
// At a bound, room is made by halves that timed out, then by remembered rejections, then by half-open
// halves of the same interface, then, for a tracked flow, by untracked ones of the same interface. An
// established flow of another interface is never given up. The search is bounded; if it finds none, the
// error says which bound it was.
func (t *Table) Insert(k *packet.Key, hash uint64, in Init, now int64) (h *Half, inserted bool, err error) {
	t.hear(now)
	n := newcomer{Init: in, hash: hash, ms: millis(now), now: now}
	n.words.set(k)
	if err := n.of(t); err != nil {
		return nil, false, err
	}
	s := t.shard(hash)
	fresh := false
	for range insertTries {
		h, inserted, err = t.tryInsert(s, &n, fresh)
		switch err {
		case nil:
			return h, inserted, nil
		case errForgotten:
			if err = n.of(t); err != nil {
				return nil, false, err
			}
		case errNoSlot:
			if fresh = !t.wake(s); fresh && !t.pages.grow() {
				return nil, false, t.refuse(&n, ErrFull)
			}
		default:
			if !t.makeRoom(&n, err) {
				return nil, false, t.refuse(&n, err)
			}
		}
	}
	return nil, false, t.refuse(&n, ErrFull)
}

// newcomer is a half on its way in.
type newcomer struct {
	Init
	words  words
	hash   uint64
	ms     uint32
	now    int64
	iface  *iface
	limits uint16
}

func (n *newcomer) eni() uint32 { return uint32(n.words.ends) }

// of finds what the table knows of the newcomer's interface.
func (n *newcomer) of(t *Table) error {
	n.iface = t.enis.get(n.eni())
	var ok bool
	if n.limits, ok = n.iface.number(n.Timeouts); !ok {
		return ErrTimeouts
	}
	return nil
}

func (t *Table) tryInsert(s *shard, n *newcomer, fresh bool) (*Half, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.search(&n.words, n.hash); h != nil {
		return h, false, nil
	}
	if err := t.reserve(n); err != nil {
		return nil, false, err
	}
	if !s.room(t, n.hash) {
		t.unreserve(n.iface, n.Rejected)
		return nil, false, errNoSlot
	}
	h := s.takeSlot(t, fresh)
	if h == nil {
		t.unreserve(n.iface, n.Rejected)
		return nil, false, errNoSlot
	}
	h.begin(n)
	s.enter(h.local(), n.hash)
	return h, true, nil
}

// begin makes a free slot a half.
func (h *Half) begin(n *newcomer) {
	h.addr, h.ends = n.words.addr, n.words.ends
	h.ident.Store(n.words.id)
	for d := In; d <= Out; d++ {
		c := &h.dir[d]
		c.bytes.Store(0)
		c.packets.Store(0)
		c.last.Store(n.ms)
	}
	h.open(&n.Init, n.limits, n.now)
	h.inc.Add(1)
}

// open is what begin and Reset have in common: all but the key and the counters.
func (h *Half) open(in *Init, limits uint16, now int64) {
	c := h.cold()
	for d := In; d <= Out; d++ {
		h.dir[d].verdict.Store(0)
		h.dir[d].next.Store(0)
		c.rule[d].Store(0)
	}
	if in.TCPFlags&packet.FIN != 0 {
		s := Segment{Flags: in.TCPFlags, Seq: in.TCPSeq, Len: in.TCPLen}
		h.setFinEnd(in.Opener&1, s.end())
	}
	h.born.Store(tenths(now))
	h.state.Store(in.first(h.proto(), limits, millis(now)))
}

// reserve counts the newcomer, or says which bound is reached.
func (t *Table) reserve(n *newcomer) error {
	if n.iface.halves.Add(1) <= 0 {
		n.iface.halves.Store(forgotten)
		return errForgotten
	}
	err := error(nil)
	t.halves.Add(1)
	if n.Rejected {
		n.iface.rejected.Add(1)
		t.rejected.Add(1)
	}
	switch {
	case n.Rejected && (t.rejected.Load() > t.maxRejected || n.iface.rejected.Load() > t.maxENIRejected):
		err = ErrFullRejected
	case n.iface.halves.Load() > t.maxENI:
		err = ErrFullENI
	case t.halves.Load() > t.max:
		err = ErrFull
	}
	if err != nil {
		t.unreserve(n.iface, n.Rejected)
	}
	return err
}

func (t *Table) unreserve(i *iface, rejected bool) {
	t.halves.Add(-1)
	i.halves.Add(-1)
	if rejected {
		t.rejected.Add(-1)
		i.rejected.Add(-1)
	}
}

// refuse counts an insert that found no room.
func (t *Table) refuse(n *newcomer, err error) error {
	n.iface.full.Add(1)
	switch err {
	case ErrFullENI:
		t.fullENI.Add(1)
	case ErrFullRejected:
		t.fullReject.Add(1)
	default:
		t.full.Add(1)
	}
	return err
}

// hear keeps a rough present, for those who have no clock. Few write it, as it is shared by all.
func (t *Table) hear(now int64) {
	const step = 1e8
	if d := now - t.clock.Load(); d >= step || d <= -step {
		t.clock.Store(now)
	}
}

// Reset begins the half anew on the same key, as judged by the caller, who drained it. Verdicts, rules
// and what comes next are forgotten.
func (h *Half) Reset(in Init, now int64) {
	t := h.table()
	t.hear(now)
	n := newcomer{Init: in, words: h.words(), hash: h.hash(&t.seed)}
	if n.of(t) != nil {
		n.limits = uint16(h.state.Load() >> limitsShift) // no number is left for new ones
	}
	s := t.shard(n.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	was := h.Rejected()
	h.open(&n.Init, n.limits, now)
	if !h.live() || was == in.Rejected {
		return
	}
	d := int64(1)
	if was {
		d = -1
	}
	t.rejected.Add(d)
	n.iface.rejected.Add(d)
}
