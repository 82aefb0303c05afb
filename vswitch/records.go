package vswitch

import (
	"sync"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// sweepBudget bounds the slots that one Tick looks at.
const sweepBudget = 1 << 14

// Tick does the switch's housekeeping: connections that timed out leave the table, and windows of the
// flow log that ended are sealed; it returns their records. Call it a few times a second.
func (s *Switch) Tick() []flowlogs.Record {
	s.setOffset()
	s.table.Sweep(s.clock.Mono(), sweepBudget)
	wall := s.clock.Wall()
	if s.records.Due(wall) {
		s.DrainRecords()
		return s.records.Seal(wall)
	}
	return nil
}

// maxClockSlip is how far the wall clock may be from what the last setOffset made of it.
const maxClockSlip = int64(5 * time.Millisecond)

// setOffset notes how far the wall clock is ahead of the monotonic one. It stays the same while the wall clock
// runs evenly, so that records keep the order of their packets.
func (s *Switch) setOffset() {
	o := s.clock.Wall() - s.clock.Mono()
	if slip := o - s.offset.Load(); slip > maxClockSlip || slip < -maxClockSlip {
		s.offset.Store(o)
	}
}

// wall is the time of day at a reading of the monotonic clock.
func (s *Switch) wall(mono int64) int64 { return mono + s.offset.Load() }

// DrainRecords moves what the flow table has counted so far into the flow log's open window.
func (s *Switch) DrainRecords() {
	s.table.Walk(func(h *conntrack.Half) bool {
		s.drain(h)
		return true
	})
}

// turning keeps the counts of a half together with the verdict that they were counted under, while one
// goroutine takes them and another changes it. Counting itself takes no lock.
type turning [64]sync.Mutex

func (t *turning) of(h *conntrack.Half) *sync.Mutex {
	k := h.Key()
	return &t[(k.ENI^uint32(k.InsidePort)^uint32(k.OutsidePort))%uint32(len(t))]
}

// drain moves one half's counts into the flow log.
func (s *Switch) drain(h *conntrack.Half) {
	mu := s.turning.of(h)
	mu.Lock()
	defer mu.Unlock()
	s.drainHalf(h)
}

// drainHalf is drain for who holds the half's lock.
func (s *Switch) drainHalf(h *conntrack.Half) {
	for d := conntrack.In; d <= conntrack.Out; d++ {
		c := h.Drain(d)
		if c.Packets == 0 {
			continue
		}
		f := flow(tuple(h, d), d, Reason(h.Verdict(d).Reason), h.Rule(d))
		f.Packets, f.Bytes, f.TCPFlags = c.Packets, c.Bytes, c.TCPFlags
		f.First, f.Last = s.wall(c.First), s.wall(c.Last)
		s.records.Add(h.ENI(), &f)
	}
}

// tuple is a half's flow as a packet of the direction carries it.
func tuple(h *conntrack.Half, d conntrack.Dir) packet.Tuple {
	k := h.Key()
	if d == conntrack.Out {
		return packet.Tuple{Src: k.Inside, Dst: k.Outside, SrcPort: k.InsidePort, DstPort: k.OutsidePort, Proto: k.Proto}
	}
	return packet.Tuple{Src: k.Outside, Dst: k.Inside, SrcPort: k.OutsidePort, DstPort: k.InsidePort, Proto: k.Proto}
}

// flow starts a record.
func flow(t packet.Tuple, d conntrack.Dir, r Reason, rule uint32) flowlogs.Flow {
	f := flowlogs.Flow{Tuple: t, Direction: direction(d), Action: flowlogs.Accept, Rule: rule, Reason: uint8(r)}
	if r.Rejected() {
		f.Action = flowlogs.Reject
	}
	return f
}
