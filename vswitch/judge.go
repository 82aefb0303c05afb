package vswitch

import (
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/sg"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// judge is stage 5. On a hit at current generations the halves say everything; else the egress groups
// of the source, the route, and the ingress groups of the destination decide, and the halves are written.
func (w *worker) judge(p *passage) {
	if p.reason != ReasonNone {
		return
	}
	if p.h.Frag == packet.LaterFragment {
		w.followFirst(p)
		return
	}
	out := &p.legs[conntrack.Out]
	if out.half == nil && w.opened {
		w.lookAgain(p)
	}
	w.leg(p, out, conntrack.Out)
	if out.reason.Rejected() {
		w.commit(p, out, conntrack.Out)
		p.reason = out.reason
		return
	}
	if p.reason = w.next(p, out); p.reason != ReasonNone {
		return
	}
	in := &p.legs[conntrack.In]
	w.leg(p, in, conntrack.In)
	w.settle(p, out, in)
}

// next finds the destination's leg: by the half's own reference, or by the route.
func (w *worker) next(p *passage, out *leg) Reason {
	in := &p.legs[conntrack.In]
	if out.cached {
		if half := w.table.Resolve(out.half.Next(conntrack.Out)); half != nil {
			if e := w.cur.eni(half.ENI()); e != nil && w.src.reaches(e, &p.h) {
				in.eni, in.half = e, half
				return e.reachable()
			}
		}
	}
	dst, reason := w.route(p)
	if reason != ReasonNone {
		return reason
	}
	in.eni = dst
	if !p.h.ICMPError {
		k := p.h.IngressKey(dst.num)
		in.half = w.table.Lookup(&k, w.table.Hash(&k))
	}
	return dst.reachable()
}

// reachable tells whether anything is plugged in.
func (e *eni) reachable() Reason {
	if e.link == nil {
		return ReasonDetached
	}
	return ReasonNone
}

// settle writes both halves, links them, and says what becomes of the frame.
func (w *worker) settle(p *passage, out, in *leg) {
	linked := out.cached && in.cached
	if r := w.commit(p, out, conntrack.Out); r != ReasonNone {
		p.reason = r
		return
	}
	if r := w.commit(p, in, conntrack.In); r != ReasonNone {
		p.reason = r
		return
	}
	if !linked && out.half != nil && in.half != nil {
		out.half.SetNext(conntrack.Out, in.half.Ref())
		in.half.SetNext(conntrack.Out, out.half.Ref())
	}
	if in.reason.Rejected() {
		p.reason = in.reason
		return
	}
	if p.h.Frag == packet.FirstFragment && w.trace == nil {
		w.sw.fragments.admit(p, w.now)
	}
}

// leg judges a frame at one interface.
func (w *worker) leg(p *passage, l *leg, d conntrack.Dir) {
	l.verdict = w.recall(p, l, d)
	if l.reason == ReasonNone {
		renew := l.renew
		l.verdict = w.decide(p, l, d)
		l.renew = renew
	}
	if w.trace != nil {
		w.trace.leg(w.sw.rules, p, l, d)
	}
}

// recall takes the verdict from the half; its reason is ReasonNone where the half has none that stands.
func (w *worker) recall(p *passage, l *leg, d conntrack.Dir) verdict {
	if l.half == nil {
		return verdict{}
	}
	switch l.half.TrackSegment(d, conntrack.SegmentOf(&p.h), w.now) {
	case conntrack.Closed:
		return verdict{reason: ReasonAfterClose, cached: true}
	case conntrack.Reopen, conntrack.Expired:
		return verdict{renew: true}
	}
	v := l.half.Verdict(d)
	if !v.Known || v.PolicyGen != l.eni.policy.gen || v.PathGen != l.eni.net.gen {
		return verdict{}
	}
	return verdict{reason: Reason(v.Reason), tracked: v.Tracked, cached: true, rule: l.half.Rule(d)}
}

// decide judges anew. What AWS calls a tracked connection keeps its verdict when rules change, and its
// replies need no rule; everything else is up to the rules.
func (w *worker) decide(p *passage, l *leg, d conntrack.Dir) verdict {
	if h := l.half; h != nil && !l.renew && h.Tracked() && !h.Rejected() && (!l.eni.net.reevaluate || w.stands(p, l, d)) {
		if h.Opener() != d {
			return verdict{reason: ReasonReply, tracked: true, rule: h.Rule(1 - d)}
		}
		return verdict{reason: ReasonRule, tracked: true, rule: h.Rule(d)}
	}
	q := query(p, l.eni, d)
	v := l.eni.policy.ask(d, &q)
	if !v.Accept {
		return verdict{reason: ReasonNoRule}
	}
	return verdict{reason: ReasonRule, tracked: v.Tracked && opens(&p.h), rule: v.Rule}
}

// ask judges a packet that leaves the instance or enters it.
func (p *policy) ask(d conntrack.Dir, q *sg.Query) sg.Verdict {
	if d == conntrack.Out {
		return p.Egress(q)
	}
	return p.Ingress(q)
}

// opens tells whether a packet may open a tracked connection. A segment from the middle of one must not: its
// direction's rules admit it, but the other direction's replies would need none, and a connection that was
// cut with its rule would come back with the first segment of the other side.
func opens(h *packet.Headers) bool {
	const handshake = packet.SYN | packet.ACK | packet.FIN | packet.RST
	return h.Proto != packet.ProtoTCP || h.TCPFlags&handshake == packet.SYN
}

// stands tells whether the rules would still open a tracked connection. For a VPC that does not let
// connections outlive their rules.
func (w *worker) stands(p *passage, l *leg, d conntrack.Dir) bool {
	q, opener := query(p, l.eni, d), l.half.Opener()
	if opener != d {
		q = answered(p, q)
	}
	return l.eni.policy.ask(opener, &q).Accept
}

// answered turns the query for a packet into that for the one it answers: its source port is what the rules
// were asked for.
func answered(p *passage, q sg.Query) sg.Query {
	q.Port = p.h.SrcPort
	q.Type, q.Code = uint8(p.h.SrcPort>>8), uint8(p.h.SrcPort)
	return q
}

// answersUntracked tells whether a packet without a half may answer an untracked flow. Such a flow uses no
// allowance, so neither do its answers.
func (w *worker) answersUntracked(p *passage, l *leg, d conntrack.Dir) bool {
	q := answered(p, query(p, l.eni, d))
	v := l.eni.policy.ask(1-d, &q)
	return v.Accept && !v.Tracked
}

// query is what the rules of an interface are asked of a frame.
func query(p *passage, e *eni, d conntrack.Dir) sg.Query {
	q := sg.Query{Remote: p.h.Src, Proto: p.h.Proto, Port: p.h.DstPort, Type: p.h.ICMPType, Code: p.h.ICMPCode}
	if d == conntrack.Out {
		q.Remote = p.h.Dst
	}
	if r := e.net.addrs[q.Remote]; r != nil {
		q.RemoteGroups = r.groups
	}
	return q
}

// commit writes a leg's verdict to its half, making the half where there is none. It returns
// ReasonTableFull where a tracked connection finds no room; what is untracked or rejected goes without a half.
func (w *worker) commit(p *passage, l *leg, d conntrack.Dir) Reason {
	if l.cached || p.h.ICMPError {
		return ReasonNone
	}
	if l.half == nil {
		return w.open(p, l, d)
	}
	h, v, renew := l.half, l.half.Verdict(d), l.renew || w.turns(l, d)
	if !renew && d == h.Opener() && l.tracked != h.Tracked() {
		h.SetTracked(l.tracked)
	}
	if renew || !v.Known || v.Accept != l.reason.Accepted() {
		w.turn(p, l, d, renew)
	} else {
		w.write(l, d)
	}
	return ReasonNone
}

// turn changes a half's verdict for what is counted from now on; what was counted belongs to the old one.
func (w *worker) turn(p *passage, l *leg, d conntrack.Dir, renew bool) {
	mu := w.sw.turning.of(l.half)
	mu.Lock()
	defer mu.Unlock()
	w.sw.drainHalf(l.half)
	if renew {
		l.half.Reset(w.init(p, l, d), w.now)
	}
	w.write(l, d)
}

// turns tells whether a new judgement makes a connection of what was rejected, or the reverse.
func (w *worker) turns(l *leg, d conntrack.Dir) bool {
	if l.half.Rejected() {
		return l.reason.Accepted()
	}
	return d == l.half.Opener() && l.reason.Rejected()
}

// open inserts a half.
func (w *worker) open(p *passage, l *leg, d conntrack.Dir) Reason {
	k := p.h.EgressKey(l.eni.num)
	if d == conntrack.In {
		k = p.h.IngressKey(l.eni.num)
	}
	h, inserted, err := w.table.Insert(&k, w.table.Hash(&k), w.init(p, l, d), w.now)
	if err != nil {
		if l.tracked && l.reason.Accepted() && !w.answersUntracked(p, l, d) {
			return ReasonTableFull
		}
		return ReasonNone
	}
	l.half, w.opened = h, true
	if inserted && l.reason == ReasonRule && w.trace == nil {
		w.sw.hits.count(l.rule, w.sw.wall(w.now))
	}
	if !inserted { // an earlier frame of this batch, or another worker's
		h.TrackSegment(d, conntrack.SegmentOf(&p.h), w.now)
	}
	w.write(l, d)
	return ReasonNone
}

func (w *worker) init(p *passage, l *leg, d conntrack.Dir) conntrack.Init {
	s := conntrack.SegmentOf(&p.h)
	return conntrack.Init{
		Opener: d, Tracked: l.tracked, Rejected: l.reason.Rejected(),
		Timeouts: l.eni.timeouts, TCPFlags: s.Flags, TCPSeq: s.Seq, TCPLen: s.Len,
	}
}

func (w *worker) write(l *leg, d conntrack.Dir) {
	l.half.SetRule(d, l.rule)
	l.half.SetVerdict(d, conntrack.Verdict{
		Known: true, Accept: l.reason.Accepted(), Tracked: l.tracked, Reason: uint8(l.reason),
		PolicyGen: l.eni.policy.gen, PathGen: l.eni.net.gen,
	})
}
