package conntrack_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// TestStress has workers do what the pipeline does while halves are swept, drained and removed: each
// packet counted is drained once, and whoever finds a half finds its own. Run it under -race.
func TestStress(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   conntrack.Config
		flows int
	}{
		{"growing", conntrack.Config{MaxHalves: 100_000}, 20_000},
		{"full", conntrack.Config{MaxHalves: 500, Shards: 1}, 2000},
	} {
		t.Run(test.name, func(t *testing.T) { stress(t, test.cfg, test.flows) })
	}
}

type stressed struct {
	*conntrack.Table
	clock            atomic.Int64
	counted, drained atomic.Uint64
	flows            int
}

func stress(t *testing.T, cfg conntrack.Config, flows int) {
	s := &stressed{flows: flows}
	cfg.OnFree = s.drain
	s.Table = conntrack.New(cfg)
	var workers, others sync.WaitGroup
	for g := range 4 {
		workers.Go(func() { s.work(t, rand.New(rand.NewPCG(uint64(g), 2))) })
	}
	done := make(chan struct{})
	for _, f := range []func(){
		func() { s.Sweep(s.clock.Add(1e9), 512) },
		func() { s.Walk(func(h *conntrack.Half) bool { s.drain(h); return true }) },
		func() { s.RemoveENI(2) },
	} {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					f()
				}
			}
		})
	}
	workers.Wait()
	close(done)
	others.Wait()
	n := 0
	s.Walk(func(*conntrack.Half) bool { n++; return true })
	if st := s.Stats(); st.Halves != n || st.Limbo != 0 {
		t.Errorf("walk met %d halves; %+v", n, st)
	}
	s.Close()
	if s.counted.Load() != s.drained.Load() {
		t.Errorf("counted %d, drained %d", s.counted.Load(), s.drained.Load())
	}
}

func (s *stressed) drain(h *conntrack.Half) {
	for d := conntrack.In; d <= conntrack.Out; d++ {
		s.drained.Add(h.Drain(d).Packets)
	}
}

func (s *stressed) work(t *testing.T, r *rand.Rand) {
	reader := s.NewReader()
	defer reader.Close()
	for range 500 {
		reader.Enter()
		now := s.clock.Load()
		for range 32 {
			n := r.IntN(s.flows)
			k := key(uint32(n%3), []uint8{packet.ProtoTCP, packet.ProtoUDP}[n&1], n)
			s.packet(t, r, &k, now)
		}
		reader.Leave()
	}
}

func (s *stressed) packet(t *testing.T, r *rand.Rand, k *packet.Key, now int64) {
	d := conntrack.Dir(r.IntN(2))
	flags := []uint8{packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.RST}[r.IntN(5)]
	in := conntrack.Init{Opener: d, Tracked: true, Rejected: r.IntN(8) == 0, TCPFlags: flags}
	h := s.Lookup(k, s.Hash(k))
	if h == nil {
		var err error
		if h, _, err = s.Insert(k, s.Hash(k), in, now); err != nil {
			return
		}
		h.SetRule(d, k.ENI+1)
	}
	if h.Key() != *k {
		t.Errorf("looked for %v, found %v", *k, h.Key())
	}
	switch h.TrackSegment(d, conntrack.Segment{Flags: flags}, now) {
	case conntrack.Reopen, conntrack.Expired:
		s.drain(h)
		h.Reset(in, now)
	}
	if rule := h.Rule(d); rule != 0 && rule != k.ENI+1 {
		t.Errorf("%v has the rule %d of another half", *k, rule)
	}
	h.SetNext(d, h.Ref())
	if n := s.Resolve(h.Next(1 - d)); n != nil && n.Key() != *k {
		t.Errorf("the reference of %v leads to %v", *k, n.Key())
	}
	h.Count(d, 2, 100, flags, now)
	s.counted.Add(2)
	if r.IntN(64) == 0 {
		s.Remove(h)
	}
}

// TestMissIsExact holds that a half that is there is always found, while entries of its segment move
// and segments split around it.
func TestMissIsExact(t *testing.T) {
	tab := conntrack.New(conntrack.Config{MaxHalves: 50_000, Shards: 1})
	defer tab.Close()
	const steady, moving = 300, 3000
	fill(t, tab, 0, steady)
	var others sync.WaitGroup
	done := make(chan struct{})
	others.Go(func() {
		defer close(done)
		r := tab.NewReader()
		defer r.Close()
		for range 15 {
			for _, remove := range []bool{false, true} {
				for i := steady; i < steady+moving; i++ {
					r.Enter()
					k := flowKey(i)
					if h := tab.Lookup(&k, tab.Hash(&k)); remove {
						tab.Remove(h)
					} else if _, _, err := tab.Insert(&k, tab.Hash(&k), conntrack.Init{Tracked: true}, 0); err != nil {
						t.Error(err)
					}
					r.Leave()
				}
			}
		}
	})
	r := tab.NewReader()
	defer r.Close()
	for i := 0; ; i++ {
		select {
		case <-done:
			others.Wait()
			return
		default:
		}
		r.Enter()
		k := flowKey(i % steady)
		var batch [1]*conntrack.Half
		tab.LookupBatch([]packet.Key{k}, []uint64{tab.Hash(&k)}, batch[:])
		if tab.Lookup(&k, tab.Hash(&k)) == nil || batch[0] == nil {
			t.Fatalf("flow %d was missed", i%steady)
		}
		r.Leave()
	}
}
