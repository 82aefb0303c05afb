package flowlogs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// twin is the aggregator as one map, without bounds on its size: what AWS's text says, as a loop.
type twin struct {
	sealed int64
	since  map[string]int64 // interface: the second it is known from
	flows  map[twinKey]*Flow
}

type twinKey struct {
	window    int64
	id        string
	tuple     packet.Tuple
	direction vpc.Direction
	action    Action
}

func (t *twin) add(id string, f Flow) {
	window := max(f.First/nanos, t.sealed) / 60 * 60
	if f.Tuple.Proto == 1 {
		f.Tuple.SrcPort, f.Tuple.DstPort = 0, 0
	}
	key := twinKey{window, id, f.Tuple, f.Direction, f.Action}
	have := t.flows[key]
	if have == nil {
		t.flows[key] = &f
		return
	}
	have.Packets += f.Packets
	have.Bytes += f.Bytes
	have.First = min(have.First, f.First)
	have.Last = max(have.Last, f.Last)
}

// seal gives one line a record, in any order.
func (t *twin) seal(now int64) (got []string) {
	end := now / nanos / 60 * 60
	quiet := make(map[string]bool)
	for w := t.sealed; w < end; w += 60 {
		for id, since := range t.since {
			if since <= w {
				quiet[fmt.Sprintf("%s %d NODATA", id, w)] = true
			}
		}
	}
	for key, f := range t.flows {
		if key.window < end {
			got = append(got, twinLine(key.id, key.window, f))
			delete(quiet, fmt.Sprintf("%s %d NODATA", key.id, key.window))
			delete(t.flows, key)
		}
	}
	t.sealed = max(t.sealed, end)
	return append(got, slices.Collect(maps.Keys(quiet))...)
}

func twinLine(id string, window int64, f *Flow) string {
	return fmt.Sprintf("%s %d %v %v %v %d %d %d %d", id, window, f.Tuple, f.Direction, f.Action, f.Packets, f.Bytes, f.First, f.Last)
}

func realLines(records []Record) (got []string) {
	for i := range records {
		r := &records[i]
		if r.Status == OK {
			got = append(got, twinLine(r.Interface.ID, r.Window.Start, &r.Flow))
		} else {
			got = append(got, fmt.Sprintf("%s %d %v", r.Interface.ID, r.Window.Start, r.Status))
		}
	}
	return got
}

func randomFlow(r *rand.Rand, now int64) Flow {
	f := *web(0, 0)
	f.Tuple.Proto = []uint8{1, 6, 17}[r.IntN(3)]
	f.Tuple.SrcPort = uint16(r.IntN(3))
	f.Direction = vpc.Direction(r.IntN(2))
	f.Action = Accept + Action(r.IntN(2))
	f.Packets, f.Bytes = 1+r.Uint64N(5), r.Uint64N(1000)
	f.TCPFlags = 0
	f.First = now - r.Int64N(90*nanos)
	f.Last = f.First + r.Int64N(30*nanos)
	return f
}

func TestAgainstTwin(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		a := NewAggregator(Config{Start: at(0)})
		naive := twin{sealed: base, since: map[string]int64{}, flows: map[twinKey]*Flow{}}
		ids := []string{"eni-0", "eni-1", "eni-2"}
		now := at(0)
		for range 300 {
			now += r.Int64N(8 * nanos)
			n := r.IntN(len(ids))
			switch r.IntN(12) {
			case 0:
				got, want := realLines(a.Seal(now)), naive.seal(now)
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d: got\n%q\nwant\n%q", seed, got, want)
				}
			case 1:
				a.SetInterface(uint32(n), testInterface(ids[n], "10.0.1.10"))
				if _, known := naive.since[ids[n]]; !known {
					naive.since[ids[n]] = naive.sealed
				}
			default:
				f := randomFlow(r, now)
				a.Add(uint32(n), &f)
				if _, known := naive.since[ids[n]]; known {
					naive.add(ids[n], f)
				}
			}
		}
	}
}

// TestEveryPacketIsSomewhere adds from many goroutines while windows are sealed and interfaces come
// and go: what went in is in exactly one record or counter.
func TestEveryPacketIsSomewhere(t *testing.T) {
	const workers, each, interfaces = 8, 4000, 5
	a := NewAggregator(Config{Start: at(0), MaxRecords: 300, MaxPerInterface: 90})
	a.SetInterface(0, testInterface("eni-0", "10.0.1.10")) // stays; the others come and go
	var adders, others sync.WaitGroup
	in := make([]Tally, workers)
	for w := range workers {
		adders.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 2))
			for n := range int64(each) {
				f := randomFlow(r, at(0)+n*nanos/10)
				f.Tuple.DstPort = uint16(r.IntN(200))
				in[w].add(&f)
				a.Add(uint32(r.IntN(interfaces)), &f)
			}
		})
	}
	stop := make(chan struct{})
	others.Go(func() {
		r := rand.New(rand.NewPCG(99, 2))
		for {
			select {
			case <-stop:
				return
			default:
			}
			n := 1 + uint32(r.IntN(interfaces-1))
			if r.IntN(3) == 0 {
				a.RemoveInterface(n)
			} else {
				a.SetInterface(n, testInterface(fmt.Sprint("eni-", r.IntN(interfaces)), "10.0.1.10"))
			}
			a.Open(Filter{})
			a.Stats()
		}
	})
	var out, skipped Tally
	sum := func(batch []Record) {
		for i := range batch {
			if batch[i].Status == SkipData {
				skipped.add(&batch[i].Flow)
			} else {
				out.add(&batch[i].Flow)
			}
		}
	}
	others.Go(func() {
		for now := at(0); ; now += nanos {
			select {
			case <-stop:
				return
			default:
				sum(a.Seal(now))
			}
		}
	})
	adders.Wait()
	close(stop)
	others.Wait()
	sum(a.Seal(at(1 << 20)))

	var total Tally
	for _, w := range in {
		total.Packets += w.Packets
		total.Bytes += w.Bytes
	}
	s := a.Stats()
	if skipped.Packets != s.Skipped.Packets || skipped.Bytes != s.Skipped.Bytes {
		t.Errorf("SKIPDATA says %+v, the counter %+v", skipped, s.Skipped)
	}
	got := Tally{Packets: out.Packets + s.Skipped.Packets + s.Unknown.Packets, Bytes: out.Bytes + s.Skipped.Bytes + s.Unknown.Bytes}
	t.Logf("recorded %d, %+v", out.Packets, s)
	if got != total || out.Packets == 0 || s.Open != 0 {
		t.Errorf("in %+v, out %+v (%+v)", total, got, s)
	}
}
