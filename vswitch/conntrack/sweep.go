package conntrack

// remove takes a live half out of the table, if it still is worth that. The caller is within a batch
// of a reader.
func (t *Table) remove(h *Half, why worth, ms uint32) bool {
	hash := h.hash(&t.seed)
	i := t.enis.find(h.ENI())
	s := t.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i == nil || !h.live() || !why.holds(h, ms) {
		return false
	}
	s.leave(h.local(), hash)
	s.bury(t, h)
	t.unreserve(i, h.Rejected())
	return true
}

// Remove takes the half out of the table. The caller is between Enter and Leave of a [Reader]; a half
// that was removed already stays so.
func (t *Table) Remove(h *Half) { t.remove(h, isAny, 0) }

// RemoveENI removes all halves of an interface, looking at every half of the table. Halves inserted
// meanwhile stay.
func (t *Table) RemoveENI(eni uint32) {
	t.house.mu.Lock()
	defer t.house.mu.Unlock()
	t.each(t.house.reader, func(h *Half) bool {
		if h.ENI() == eni {
			t.remove(h, isAny, 0)
		}
		return true
	})
	t.enis.forget(eni)
	t.Reclaim()
}

// Walk calls f for each half, until it returns false. The half is valid during the call. What was
// removed before, and can be, is given to Config.OnFree first, so that a walk that drains misses
// nothing. Halves inserted or removed meanwhile may be met or not.
func (t *Table) Walk(f func(*Half) bool) {
	t.Reclaim()
	r := t.NewReader()
	defer r.Close()
	t.each(r, f)
}

// each is a walk with a reader of the caller's, one batch a page.
func (t *Table) each(r *Reader, f func(*Half) bool) {
	for i := range t.shards {
		s := &t.shards[i]
		for b := uint32(0); b < s.used.Load(); b++ {
			if !t.eachOf(r, (*s.blocks.Load())[b], f) {
				return
			}
		}
	}
}

func (t *Table) eachOf(r *Reader, b *block, f func(*Half) bool) bool {
	r.Enter()
	defer r.Leave()
	for p := range b.hot {
		if h := &b.hot[p]; h.live() && !f(h) {
			return false
		}
	}
	return true
}

// Sweep removes halves that timed out, looking at about budget slots from where the last sweep ended,
// and gives what no reader sees any more to Config.OnFree. It returns how many timed out.
func (t *Table) Sweep(now int64, budget int) (removed int) {
	t.house.mu.Lock()
	defer t.house.mu.Unlock()
	t.hear(now)
	ms := millis(now)
	for blocks := min(t.blockCount(), (budget+blockSlots-1)/blockSlots); blocks > 0; blocks-- {
		b := t.house.hand.next(t)
		if b == nil {
			break
		}
		t.eachOf(t.house.reader, b, func(h *Half) bool {
			if expired(h.state.Load(), ms) && t.remove(h, isExpired, ms) {
				removed++
			}
			return true
		})
	}
	t.timed.Add(uint64(removed))
	t.Reclaim()
	return removed
}

// Reclaim gives removed halves that no reader sees any more to Config.OnFree, and their slots back.
// Sweep and Walk do it, too. It returns their number.
func (t *Table) Reclaim() (n int) {
	for i := range t.shards {
		n += t.reclaim(&t.shards[i], false)
	}
	return n
}

// wake reclaims a few slots of one shard.
func (t *Table) wake(s *shard) bool { return t.reclaim(s, true) > 0 }

func (t *Table) reclaim(s *shard, few bool) (total int) {
	var batch [64]*Half
	safe, advanced := t.epochs.safe.Load(), false
	for s.wait.Load() > 0 {
		s.mu.Lock()
		n := s.exhume(batch[:], safe)
		s.mu.Unlock()
		if n == 0 {
			if advanced {
				break
			}
			safe, advanced = t.epochs.advance(), true
			continue
		}
		t.release(s, batch[:n])
		if total += n; few {
			break
		}
	}
	return total
}

// release drains slots and gives them back.
func (t *Table) release(s *shard, halves []*Half) {
	if t.onFree != nil {
		for _, h := range halves {
			t.onFree(h)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range halves {
		s.give(h)
	}
}

// Close gives every half to Config.OnFree and frees the memory. No reader may be within a batch, no
// method may run or be called any more, and halves and readers kept are void.
func (t *Table) Close() {
	if t.closed.Swap(true) {
		return
	}
	for i := range t.shards {
		t.reclaim(&t.shards[i], false)
	}
	if t.onFree != nil {
		t.each(t.house.reader, func(h *Half) bool { t.onFree(h); return true })
	}
	unregister(t.number)
	t.pages.free()
}
