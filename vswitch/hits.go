package vswitch

import "sync"

// Hits is how often a rule opened a flow.
type Hits struct {
	Flows uint64
	Last  int64 // wall time, nanoseconds
}

// hits counts flows by the rule that admitted them. Only misses come here.
type hits struct {
	mu sync.Mutex
	by map[uint32]Hits
}

func (h *hits) count(rule uint32, wall int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.by[rule]
	h.by[rule] = Hits{was.Flows + 1, wall}
}

// RuleHits tells how many flows a rule admitted since the switch was made. id is the rule's.
func (s *Switch) RuleHits(id string) Hits {
	n := s.rules.FindRule(id)
	s.hits.mu.Lock()
	defer s.hits.mu.Unlock()
	return s.hits.by[n]
}
