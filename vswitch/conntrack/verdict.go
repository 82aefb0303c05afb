package conntrack

// Verdict is the pipeline's judgement of one direction, with the generations it holds for.
// The zero Verdict is "not judged yet".
type Verdict struct {
	Known     bool
	Accept    bool
	Tracked   bool   // in AWS's sense
	Reason    uint8  // the pipeline's
	PolicyGen uint32 // 24 bits, see GenMask
	PathGen   uint32 // 24 bits
}

// GenMask is what is kept of a generation. Compare generations under it.
const GenMask = 1<<24 - 1

const (
	verdictKnown = 1 << iota
	verdictAccept
	verdictTracked
	reasonShift = 8
	policyShift = 16
	pathShift   = 40
)

// Verdict returns the judgement of direction d, read in one piece.
func (h *Half) Verdict(d Dir) Verdict {
	w := h.dir[d&1].verdict.Load()
	return Verdict{
		Known: w&verdictKnown != 0, Accept: w&verdictAccept != 0, Tracked: w&verdictTracked != 0,
		Reason: uint8(w >> reasonShift), PolicyGen: uint32(w>>policyShift) & GenMask, PathGen: uint32(w >> pathShift),
	}
}

// SetVerdict stores the judgement of direction d in one piece. Store the rule before it.
func (h *Half) SetVerdict(d Dir, v Verdict) {
	w := uint64(v.Reason)<<reasonShift | uint64(v.PolicyGen&GenMask)<<policyShift | uint64(v.PathGen&GenMask)<<pathShift
	if v.Known {
		w |= verdictKnown
	}
	if v.Accept {
		w |= verdictAccept
	}
	if v.Tracked {
		w |= verdictTracked
	}
	h.dir[d&1].verdict.Store(w)
}

// Rule is the number of the rule that decided direction d, 0 if none did.
func (h *Half) Rule(d Dir) uint32 { return h.cold().rule[d&1].Load() }

// SetRule stores the rule that decided direction d.
func (h *Half) SetRule(d Dir, rule uint32) { h.cold().rule[d&1].Store(rule) }

// Next is the half that a packet of direction d comes to next, 0 if none. Give it to [Table.Resolve].
func (h *Half) Next(d Dir) Ref { return Ref(h.dir[d&1].next.Load()) }

// SetNext stores what comes next in direction d.
func (h *Half) SetNext(d Dir, r Ref) { h.dir[d&1].next.Store(uint64(r)) }
