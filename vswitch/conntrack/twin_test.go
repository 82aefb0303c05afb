package conntrack_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// twin is the flow table as a map: what design section 5 says, without a thought for speed.
type twin struct {
	halves map[packet.Key]*twinHalf
	max    int
}

type twinHalf struct {
	opener    conntrack.Dir
	tracked   bool
	rejected  bool
	last      int64
	verdict   [2]conntrack.Verdict
	rule      [2]uint32
	next      [2]conntrack.Ref
	counted   [2]conntrack.Counters
	exchanges int // turns of speaker, for UDP
	ref       conntrack.Ref
}

func (h *twinHalf) timeout(proto uint8) time.Duration {
	switch {
	case h.rejected:
		return 10 * time.Second
	case proto == packet.ProtoUDP && h.exchanges >= 3:
		return 180 * time.Second
	case proto == packet.ProtoUDP, proto == packet.ProtoICMP:
		return 30 * time.Second
	}
	return 600 * time.Second
}

// pair does everything to table and twin, and compares.
type pair struct {
	*world
	twin    twin
	drained map[packet.Key]conntrack.Counters // by OnFree
}

func newPair(t *testing.T, seed uint64) *pair {
	p := &pair{twin: twin{halves: map[packet.Key]*twinHalf{}, max: 3000}, drained: map[packet.Key]conntrack.Counters{}}
	p.world = newWorld(t, conntrack.Config{MaxHalves: p.twin.max, Shards: 2, MaxRejectedShare: 1, Seed: seed, OnFree: func(h *conntrack.Half) {
		sum := p.drained[h.Key()]
		for d := conntrack.In; d <= conntrack.Out; d++ {
			c := h.Drain(d)
			sum.Packets += c.Packets
			sum.Bytes += c.Bytes
		}
		p.drained[h.Key()] = sum
	}})
	return p
}

// gone moves what the twin counted on a removed half to what OnFree must drain.
func (p *pair) gone(k packet.Key, owed map[packet.Key]conntrack.Counters) {
	sum, h := owed[k], p.twin.halves[k]
	for d := range h.counted {
		sum.Packets += h.counted[d].Packets
		sum.Bytes += h.counted[d].Bytes
	}
	owed[k] = sum
	delete(p.twin.halves, k)
}

func (p *pair) compare(k packet.Key) {
	p.t.Helper()
	h, want := p.lookup(k), p.twin.halves[k]
	if (h == nil) != (want == nil) {
		p.t.Fatalf("%v: found %v, twin has %v", k, h, want)
	}
	if h == nil {
		return
	}
	if h.Key() != k || h.Opener() != want.opener || h.Tracked() != want.tracked || h.Rejected() != want.rejected || h.Ref() != want.ref {
		p.t.Fatalf("%v: opener %v, tracked %v, rejected %v, want %+v", k, h.Opener(), h.Tracked(), h.Rejected(), want)
	}
	for d := conntrack.In; d <= conntrack.Out; d++ {
		if h.Verdict(d) != want.verdict[d] || h.Rule(d) != want.rule[d] || h.Next(d) != want.next[d] {
			p.t.Fatalf("%v: %+v, rule %d, want %+v", k, h.Verdict(d), h.Rule(d), want)
		}
	}
}

// run does steps that next chooses.
func (p *pair) run(steps int, next func(n int) int) {
	protos := []uint8{packet.ProtoUDP, packet.ProtoICMP, 47}
	owed := map[packet.Key]conntrack.Counters{}
	var refs []conntrack.Ref
	for range steps {
		n := next(4000)
		k := key(uint32(n%3), protos[n%2+n%3/2], n)
		d := conntrack.Dir(next(2))
		h, th := p.lookup(k), p.twin.halves[k]
		switch op := next(16); {
		case op < 6:
			p.stepInsert(k, conntrack.Init{Opener: d, Tracked: next(2) == 0, Rejected: next(4) == 0}, &refs)
		case op < 9 && h != nil:
			p.stepPacket(h, th, d, uint32(next(50)))
		case op == 9 && h != nil:
			v := conntrack.Verdict{Known: true, Accept: next(2) == 0, Reason: uint8(next(256)), PolicyGen: uint32(next(1 << 24)), PathGen: uint32(next(1 << 24))}
			h.SetVerdict(d, v)
			h.SetRule(d, uint32(n))
			th.verdict[d], th.rule[d] = v, uint32(n)
			if len(refs) > 0 {
				th.next[d] = refs[next(len(refs))]
				h.SetNext(d, th.next[d])
			}
		case op == 10 && h != nil:
			if c := h.Drain(d); c != th.counted[d] {
				p.t.Fatalf("%v: drained %+v, want %+v", k, c, th.counted[d])
			}
			th.counted[d] = conntrack.Counters{}
		case op == 11 && h != nil:
			p.Remove(h)
			p.gone(k, owed)
		case op == 12:
			p.stepSweep(time.Duration(next(2000))*time.Millisecond, owed)
		case op == 13:
			p.batch()
		case op == 14 && len(refs) > 0:
			r := refs[next(len(refs))]
			if got := p.Resolve(r); got != nil && p.twin.halves[got.Key()].ref != r {
				p.t.Fatalf("reference %x leads to %v, which has %x", r, got.Key(), p.twin.halves[got.Key()].ref)
			}
		case op == 15 && next(50) == 0:
			p.batch()
			p.RemoveENI(1)
			for k := range p.twin.halves {
				if k.ENI == 1 {
					p.gone(k, owed)
				}
			}
		}
		p.compare(k)
	}
	p.finish(owed)
}

func (p *pair) stepInsert(k packet.Key, in conntrack.Init, refs *[]conntrack.Ref) {
	h, ok, err := p.Insert(&k, p.Hash(&k), in, p.now)
	if err != nil {
		p.t.Fatalf("insert: %v; %+v", err, p.Stats())
	}
	if ok != (p.twin.halves[k] == nil) {
		p.t.Fatalf("%v: inserted %v, twin has %v", k, ok, p.twin.halves[k])
	}
	if ok {
		p.twin.halves[k] = &twinHalf{opener: in.Opener, tracked: in.Tracked, rejected: in.Rejected, last: p.now, ref: h.Ref()}
		*refs = append(*refs, h.Ref())
	}
}

func (p *pair) stepPacket(h *conntrack.Half, th *twinHalf, d conntrack.Dir, packets uint32) {
	want := conntrack.Pass
	if p.now-th.last > int64(th.timeout(h.Key().Proto)) {
		want = conntrack.Expired
	}
	if got := h.Track(d, 0, p.now); got != want {
		p.t.Fatalf("%v: %v, want %v", h.Key(), got, want)
	}
	if want == conntrack.Pass {
		th.last = p.now
		if (th.exchanges%2 == 0) == (d != th.opener) {
			th.exchanges++
		}
	}
	if packets == 0 {
		return
	}
	h.Count(d, packets, uint64(packets)*100, 0, p.now)
	c := &th.counted[d]
	if c.Packets == 0 {
		c.First = p.now
	}
	c.Last = p.now
	c.Packets += uint64(packets)
	c.Bytes += uint64(packets) * 100
}

func (p *pair) stepSweep(d time.Duration, owed map[packet.Key]conntrack.Counters) {
	d -= d % (100 * time.Millisecond) // "last seen" is refreshed at each step of time
	want := 0
	for k, h := range p.twin.halves {
		if p.now+int64(d)-h.last > int64(h.timeout(k.Proto)) {
			p.gone(k, owed)
			want++
		}
	}
	p.batch()
	if got := p.sweep(d); got != want {
		p.t.Fatalf("swept %d, want %d", got, want)
	}
}

// finish compares all.
func (p *pair) finish(owed map[packet.Key]conntrack.Counters) {
	n, rejected := 0, 0
	p.Walk(func(h *conntrack.Half) bool {
		n++
		if p.compare(h.Key()); h.Rejected() {
			rejected++
		}
		return true
	})
	if s := p.Stats(); n != len(p.twin.halves) || s.Halves != n || s.Rejected != rejected {
		p.t.Fatalf("walk met %d halves, %d rejected; %+v, twin has %d", n, rejected, s, len(p.twin.halves))
	}
	p.reader.Leave()
	p.Reclaim()
	p.reader.Enter()
	for k, want := range owed {
		if got := p.drained[k]; got.Packets != want.Packets || got.Bytes != want.Bytes {
			p.t.Fatalf("%v: %d packets were drained after removals, want %d", k, got.Packets, want.Packets)
		}
	}
}

func TestTwin(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		newPair(t, seed+1).run(15_000, r.IntN)
	}
}

func FuzzTwin(f *testing.F) {
	f.Add([]byte("the quick brown fox jumps over the lazy dog"))
	f.Add([]byte{0, 0, 0, 0, 9, 0, 0, 0, 12, 255, 255, 0, 0, 11})
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 1<<12)]
		next := func(n int) int {
			v := 0
			for range 2 {
				if len(data) > 0 {
					v, data = v<<8|int(data[0]), data[1:]
				}
			}
			if n > 1<<16 {
				n = 1 << 16
			}
			return v % n
		}
		newPair(t, 1).run(len(data)/5, next)
	})
}
