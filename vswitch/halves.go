package vswitch

import (
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/sg"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// HalfState is what one network interface knows of a flow, read at one moment.
type HalfState struct {
	Interface         string // network interface id; "" if it is gone
	Inside            packet.Addr
	InsidePort        uint16 // ICMP: see packet.Headers.SrcPort
	Outside           packet.Addr
	OutsidePort       uint16
	Protocol          uint8
	State             string // of TCP: "ESTABLISHED", ...; "" for protocols without
	Opener            vpc.Direction
	Tracked, Rejected bool
	Age, Idle         time.Duration
	ExpiresIn         time.Duration
	In, Out           DirectionState
}

// DirectionState is a half's cached verdict on one direction.
type DirectionState struct {
	Known  bool // some packet went this way
	Reason Reason
	Rule   *sg.RuleInfo // that admits it, or opened the connection that it replies to
}

// Half looks up what an interface knows of a flow. t is the tuple of a packet that leaves the interface
// (Egress) or enters it (Ingress).
func (s *Switch) Half(eniID string, t packet.Tuple, d vpc.Direction) (HalfState, bool) {
	snap := s.snap.Load()
	e := snap.byID[eniID]
	if e == nil {
		return HalfState{}, false
	}
	r := s.table.NewReader()
	defer r.Close()
	r.Enter()
	defer r.Leave()
	k := packet.Key{ENI: e.num, Inside: t.Src, InsidePort: t.SrcPort, Outside: t.Dst, OutsidePort: t.DstPort, Proto: t.Proto}
	if d == vpc.Ingress {
		k = packet.Key{ENI: e.num, Inside: t.Dst, InsidePort: t.DstPort, Outside: t.Src, OutsidePort: t.SrcPort, Proto: t.Proto}
	}
	h := s.table.Lookup(&k, s.table.Hash(&k))
	if h == nil || h.ExpiresIn(s.clock.Mono()) <= 0 {
		return HalfState{}, false
	}
	return s.state(h, e), true
}

// Halves calls yield for every half until it returns false. It may miss halves that come and go meanwhile.
func (s *Switch) Halves(yield func(HalfState) bool) {
	snap := s.snap.Load()
	now := s.clock.Mono()
	s.table.Walk(func(h *conntrack.Half) bool {
		if h.ExpiresIn(now) <= 0 {
			return true
		}
		return yield(s.state(h, snap.eni(h.ENI())))
	})
}

// state reads a half; e is its interface, nil if that is gone.
func (s *Switch) state(h *conntrack.Half, e *eni) HalfState {
	k, now := h.Key(), s.clock.Mono()
	id := ""
	if e != nil {
		id = e.id
	}
	return HalfState{
		Interface: id, Inside: k.Inside, InsidePort: k.InsidePort, Outside: k.Outside, OutsidePort: k.OutsidePort, Protocol: k.Proto,
		State: h.State().String(), Opener: direction(h.Opener()), Tracked: h.Tracked(), Rejected: h.Rejected(),
		Age: h.Age(now), Idle: time.Duration(now - h.LastSeen(now)), ExpiresIn: h.ExpiresIn(now),
		In: s.directionState(h, e, conntrack.In), Out: s.directionState(h, e, conntrack.Out),
	}
}

// directionState reads a verdict. A reject by rules that have changed since says nothing any more.
func (s *Switch) directionState(h *conntrack.Half, e *eni, d conntrack.Dir) DirectionState {
	v := h.Verdict(d)
	stale := e == nil || v.PolicyGen != e.policy.gen || v.PathGen != e.net.gen
	return DirectionState{Known: v.Known && (v.Accept || !stale), Reason: Reason(v.Reason), Rule: s.rules.RuleInfo(h.Rule(d))}
}

// TableStats is the fill of the flow table.
func (s *Switch) TableStats() conntrack.Stats { return s.table.Stats() }
