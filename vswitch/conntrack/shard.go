package conntrack

import (
	"sync"
	"sync/atomic"
)

// shard is one of the table's parts: an index and the slots that it leads to. A key's hash says its
// shard. The lock is held for one insert or delete; no other lock is taken under it.
type shard struct {
	// what look-ups read
	dir    atomic.Pointer[directory]
	blocks atomic.Pointer[[]*block]
	moves  atomic.Uint64 // odd while entries move
	_      [40]byte

	mu     sync.Mutex // guards what follows, and all changes of what precedes
	number uint32
	used   atomic.Uint32 // blocks; written under mu
	fresh  uint32        // slots of the last block that were never used
	free   uint32        // free slots, linked through their first word; 0: none
	limbo  []freed       // freed slots that readers may still see, oldest first, from head
	head   int           //
	wait   atomic.Int32  // their number
	_      [64]byte
}

// freed is a slot in limbo.
type freed struct {
	local uint32
	stamp uint64
}

// takeSlot returns a free slot, or nil: then the caller gets more without the lock, and tries again.
// Slots in limbo are worth waking before fresh memory is taken.
func (s *shard) takeSlot(t *Table, fresh bool) *Half {
	if s.free != 0 {
		h := s.slot(s.free)
		s.free = uint32(h.addr[0])
		return h
	}
	if s.fresh == 0 && (!fresh && s.wait.Load() >= blockSlots || !s.addBlock(t)) {
		return nil
	}
	s.fresh--
	last := s.used.Load() - 1
	return s.slot(last<<placeBits | (blockSlots - s.fresh))
}

func (s *shard) addBlock(t *Table) bool {
	n := s.used.Load()
	if n == maxBlocks {
		return false
	}
	p := t.pages.take(&t.epochs)
	if p == nil {
		return false
	}
	b := (*block)(p)
	b.number, b.shard, b.table = n, s.number, t.number
	list := s.blocks.Load()
	if list == nil || int(n) == len(*list) {
		list = s.growBlocks(list)
	}
	(*list)[n] = b // no index entry and no used count leads to it yet
	s.used.Store(n + 1)
	s.fresh = blockSlots
	return true
}

func (s *shard) growBlocks(old *[]*block) *[]*block {
	list := make([]*block, 8)
	if old != nil {
		list = make([]*block, len(*old)*3/2)
		copy(list, *old)
	}
	s.blocks.Store(&list)
	return &list
}

// bury puts a slot that left the index into limbo. It is stamped when nothing leads to it any more.
func (s *shard) bury(t *Table, h *Half) {
	h.inc.Add(1)
	if s.head == len(s.limbo) {
		s.limbo, s.head = s.limbo[:0], 0
	}
	s.limbo = append(s.limbo, freed{h.local(), t.epochs.stamp()})
	s.wait.Add(1)
}

// exhume takes slots with stamps below safe out of limbo.
func (s *shard) exhume(to []*Half, safe uint64) int {
	n := 0
	for n < len(to) && s.head < len(s.limbo) && s.limbo[s.head].stamp < safe {
		to[n] = s.slot(s.limbo[s.head].local)
		s.head++
		n++
	}
	s.wait.Add(int32(-n))
	return n
}

// give puts a slot that nobody sees on the list of free ones.
func (s *shard) give(h *Half) {
	h.addr[0] = uint64(s.free)
	s.free = h.local()
}
