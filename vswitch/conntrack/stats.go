package conntrack

// Stats are the table's numbers. Counts that go up never go down.
type Stats struct {
	Halves   int // present
	Rejected int // of these, remembered rejections
	Limbo    int // removed, not yet given to Config.OnFree
	Capacity int // Config.MaxHalves
	Bytes    int // memory in pages that were used

	Full         uint64 // inserts refused: at MaxHalves
	FullENI      uint64 // at MaxPerENI
	FullRejected uint64 // at MaxRejectedShare
	Evicted      uint64 // halves that made room for another
	Expired      uint64 // halves that a sweep removed
}

// Len is how many halves there are.
func (t *Table) Len() int { return int(t.halves.Load()) }

// Stats returns the table's numbers, which are not of one moment.
func (t *Table) Stats() Stats {
	s := Stats{
		Halves: int(t.halves.Load()), Rejected: int(t.rejected.Load()), Capacity: int(t.max),
		Bytes: int(t.pages.taken.Load()) * pageSize,
		Full:  t.full.Load(), FullENI: t.fullENI.Load(), FullRejected: t.fullReject.Load(),
		Evicted: t.evicted.Load(), Expired: t.timed.Load(),
	}
	for i := range t.shards {
		s.Limbo += int(t.shards[i].wait.Load())
	}
	return s
}

// ENIStats are the numbers of one network interface.
type ENIStats struct {
	Halves, Rejected int
	Capacity         int    // the least of Config.MaxPerENI and MaxHalves
	Full             uint64 // inserts refused, at whatever bound
}

// ENI returns the numbers of an interface; zeros if it has had no half.
func (t *Table) ENI(eni uint32) ENIStats {
	s := ENIStats{Capacity: int(t.maxENI)}
	if i := t.enis.find(eni); i != nil {
		s.Halves, s.Rejected, s.Full = int(max(i.halves.Load(), 0)), int(i.rejected.Load()), i.full.Load()
	}
	return s
}
