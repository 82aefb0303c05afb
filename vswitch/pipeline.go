package vswitch

import (
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// passage is one frame's way through the switch. All of a batch go through a stage before any goes
// through the next, so that the cache misses of a stage overlap.
type passage struct {
	frame   *Frame
	packets uint32 // wire packets that the frame stands for
	bytes   uint64 // their IP bytes
	reason  Reason // ReasonNone while the frame is on its way
	h       packet.Headers
	legs    [2]leg // [conntrack.Out] at the source's interface, [conntrack.In] at the destination's
}

// leg is what one interface has to say of a frame.
type leg struct {
	eni  *eni // nil until the frame gets there
	half *conntrack.Half
	verdict
}

// verdict is a judgement at one interface. Its reason is ReasonRule, ReasonReply, ReasonNoRule or ReasonAfterClose.
type verdict struct {
	reason  Reason
	tracked bool
	cached  bool // the half holds it already
	renew   bool // the half's connection is over: a new one begins on its key
	rule    uint32
}

// run takes a batch that was read, stage 1, through the others.
func (w *worker) run(b *Batch) {
	w.enter()
	w.stages(b)
	w.flush()
	w.leave()
}

// stages is a frame's journey. An explanation takes the same.
func (w *worker) stages(b *Batch) {
	ps := w.passages[:b.Len()]
	w.opened = false
	for i := range ps {
		w.parse(&ps[i], b.Frame(i))
	}
	for i := range ps {
		w.guard(&ps[i])
	}
	w.track(ps)
	for i := range ps {
		w.judge(&ps[i])
	}
	for i := range ps {
		w.rewrite(&ps[i])
	}
	for i := range ps {
		w.account(&ps[i])
	}
	for i := range ps {
		w.emit(&ps[i])
	}
}

// parse is stage 2: headers, and how many wire packets a super-frame stands for.
func (w *worker) parse(p *passage, f *Frame) {
	p.frame, p.reason = f, ReasonNone
	p.legs[conntrack.Out] = leg{eni: w.src}
	p.legs[conntrack.In] = leg{}
	p.h.Parse(f.Buf)
	// Nothing that the metadata would have done later may touch what the rules are asked of: a frame that it
	// does not fit is dropped. Whatever it pretends to be, it counts as one.
	if p.packets, p.bytes = packet.Segments(&p.h, f.GSO); p.packets == 0 {
		p.packets, p.reason = 1, ReasonBadGSO
	}
	w.tally.frames++
	w.tally.packets += uint64(p.packets)
	w.tally.bytes += p.bytes
}

// track is stage 4: the source interface's half of each flow, if there is one. In a table that is larger
// than the caches the batch's look-ups wait for memory together.
func (w *worker) track(ps []passage) {
	l, n := &w.lookups, 0
	for i := range ps {
		if p := &ps[i]; p.tracked() {
			l.keys[n] = p.h.EgressKey(w.src.num)
			l.hashes[n] = w.table.Hash(&l.keys[n])
			l.of[n] = p
			n++
		}
	}
	if n < lookupTogether || w.table.Len() < lookupLarge {
		for i := range n {
			l.of[i].legs[conntrack.Out].half = w.table.Lookup(&l.keys[i], l.hashes[i])
		}
		return
	}
	w.table.LookupBatch(l.keys[:n], l.hashes[:n], l.halves[:n])
	for i, h := range l.halves[:n] {
		l.of[i].legs[conntrack.Out].half = h
	}
}

// Measured with conntrack's BenchmarkLookup: one by one is faster while the slots are in the second-level cache.
const (
	lookupTogether = 4
	lookupLarge    = 1 << 14
)

// lookups is a batch's look-ups under way.
type lookups struct {
	keys   [BatchSize]packet.Key
	hashes [BatchSize]uint64
	halves [BatchSize]*conntrack.Half
	of     [BatchSize]*passage
}

// tracked tells whether the frame is part of a flow that the table can know.
func (p *passage) tracked() bool {
	return p.reason == ReasonNone && !p.h.ICMPError && p.h.Frag != packet.LaterFragment
}

// lookAgain looks for a half that an earlier frame of the batch may have made.
func (w *worker) lookAgain(p *passage) {
	if p.tracked() {
		k := p.h.EgressKey(w.src.num)
		p.legs[conntrack.Out].half = w.table.Lookup(&k, w.table.Hash(&k))
	}
}

// rewrite is stage 6: the MACs as the implicit router sets them. The TTL stays: AWS's router does not lower it.
// What lies behind the IP packet was neither judged nor counted, and stays behind.
func (w *worker) rewrite(p *passage) {
	if p.reason != ReasonNone {
		return
	}
	src := w.src.mac
	if p.h.DstMAC == RouterMAC {
		src = RouterMAC
	}
	p.frame.Buf = p.frame.Buf[:p.h.End]
	packet.SetMACs(p.frame.Buf, p.legs[conntrack.In].eni.mac, src)
}

// account is stage 7: what each interface accepted or rejected, on its half of the flow. Frames that
// were dropped are counted by reason only.
func (w *worker) account(p *passage) {
	if p.reason != ReasonNone {
		w.tally.reasons[p.reason] += uint64(p.packets)
		if !p.reason.Rejected() {
			return
		}
	}
	for d := conntrack.In; d <= conntrack.Out; d++ {
		if l := &p.legs[d]; l.eni != nil && l.reason != ReasonNone {
			w.accountLeg(p, l, d)
		}
	}
}

func (w *worker) accountLeg(p *passage, l *leg, d conntrack.Dir) {
	// A half's counts are of its present verdict; a later frame of the batch may have turned that.
	if l.half == nil || l.half.Verdict(d).Accept != l.reason.Accepted() || l.reason == ReasonAfterClose || w.trace != nil {
		w.record(p, l, d)
		return
	}
	l.half.Count(d, p.packets, p.bytes, p.h.TCPFlags, w.now)
}

// record counts a frame that has no half of its own to be counted on.
func (w *worker) record(p *passage, l *leg, d conntrack.Dir) {
	f := flow(p.h.Tuple(), d, l.reason, l.rule)
	f.Packets, f.Bytes, f.TCPFlags = uint64(p.packets), p.bytes, tcpFlags(&p.h)
	f.First = w.sw.wall(w.now)
	f.Last = f.First
	if w.trace != nil {
		w.trace.record(l, &f)
		return
	}
	w.sw.records.Add(l.eni.num, &f)
}

// tcpFlags are the flags as flow logs know them: ACK only where it answers a SYN.
func tcpFlags(h *packet.Headers) uint8 {
	if h.TCPFlags&packet.SYN == 0 {
		return h.TCPFlags &^ packet.ACK
	}
	return h.TCPFlags
}

// direction is AWS's word for a half's direction.
func direction(d conntrack.Dir) vpc.Direction {
	if d == conntrack.Out {
		return vpc.Egress
	}
	return vpc.Ingress
}
