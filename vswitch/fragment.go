package vswitch

import (
	"sync"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

const (
	maxFragments    = 4096             // datagrams whose later fragments may follow, a switch
	fragmentTimeout = 30 * time.Second // linux/net/ipv4/ip_fragment.c, IP_FRAG_TIME
)

// fragmentKey names one fragmented datagram of one interface (RFC 791, RFC 8200).
type fragmentKey struct {
	eni      uint32
	id       uint32
	src, dst packet.Addr
	proto    uint8
}

// fragmentVia is the way that the first fragment was allowed.
type fragmentVia struct {
	dst              uint32
	out, in          conntrack.Ref
	verdict          [2]verdict
	policy           [2]uint32 // generations that the verdicts are of
	srcPort, dstPort uint16
	until            int64
}

// fragments remembers first fragments that were let through: later ones carry no ports and follow
// them. It is bounded, and what is not in it is dropped.
type fragments struct {
	mu   sync.Mutex
	via  map[fragmentKey]fragmentVia
	next int64 // when to look for entries that ran out
}

func newFragments() *fragments { return &fragments{via: map[fragmentKey]fragmentVia{}} }

func keyOfFragment(e *eni, h *packet.Headers) fragmentKey {
	return fragmentKey{eni: e.num, id: h.FragID, src: h.Src, dst: h.Dst, proto: h.Proto}
}

// admit lets the rest of p's datagram through.
func (f *fragments) admit(p *passage, now int64) {
	out, in := &p.legs[conntrack.Out], &p.legs[conntrack.In]
	v := fragmentVia{
		dst: in.eni.num, verdict: [2]verdict{in.verdict, out.verdict}, policy: [2]uint32{in.eni.policy.gen, out.eni.policy.gen},
		srcPort: p.h.SrcPort, dstPort: p.h.DstPort, until: now + int64(fragmentTimeout),
	}
	if out.half != nil {
		v.out = out.half.Ref()
	}
	if in.half != nil {
		v.in = in.half.Ref()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(now)
	if len(f.via) < maxFragments {
		f.via[keyOfFragment(out.eni, &p.h)] = v
	}
}

// find returns the way of p's first fragment.
func (f *fragments) find(k fragmentKey, now int64) (fragmentVia, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.via[k]
	return v, ok && now < v.until
}

// expire removes what ran out; at most once a second, also when the table is full.
func (f *fragments) expire(now int64) {
	if now < f.next {
		return
	}
	f.next = now + int64(time.Second)
	for k, v := range f.via {
		if now >= v.until {
			delete(f.via, k)
		}
	}
}

// followFirst sends a later fragment the way of its first, and counts it on the same halves.
func (w *worker) followFirst(p *passage) {
	dst, reason := w.route(p)
	if reason != ReasonNone {
		p.reason = reason
		return
	}
	v, ok := w.sw.fragments.find(keyOfFragment(w.src, &p.h), w.now)
	if !ok || dst.num != v.dst || !v.stands(conntrack.Out, w.src) || !v.stands(conntrack.In, dst) {
		p.reason = ReasonFragment
		return
	}
	out, in := &p.legs[conntrack.Out], &p.legs[conntrack.In]
	in.eni = dst
	out.verdict, in.verdict = v.verdict[conntrack.Out], v.verdict[conntrack.In]
	out.half, in.half = w.table.Resolve(v.out), w.table.Resolve(v.in)
	p.h.SrcPort, p.h.DstPort = v.srcPort, v.dstPort // for the record
	p.reason = dst.reachable()
}

// stands tells whether the first fragment's verdict at an interface still holds. There are no ports to judge
// anew by: unless its flow is tracked, the rest of a datagram goes with the rules that admitted it.
func (v *fragmentVia) stands(d conntrack.Dir, e *eni) bool {
	return v.policy[d] == e.policy.gen || v.verdict[d].tracked && !e.net.reevaluate
}
