package conntrack_test

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// flowKey is the i-th of many different keys: UDP flows of one interface, or TCP or IPv6 ones.
func flowKey(i int) packet.Key {
	k := packet.Key{ENI: 1, InsidePort: 53, OutsidePort: uint16(i), Proto: packet.ProtoUDP}
	k.Inside = packet.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 10}
	k.Outside = packet.Addr{10: 0xff, 11: 0xff}
	binary.BigEndian.PutUint32(k.Outside[12:], 0x0a010000+uint32(i>>16))
	return k
}

// fill inserts flows first to last-1, in batches as a worker would.
func fill(tb testing.TB, t *conntrack.Table, first, last int) {
	tb.Helper()
	r := t.NewReader()
	defer r.Close()
	for i := first; i < last; {
		r.Enter()
		for end := min(i+32, last); i < end; i++ {
			k := flowKey(i)
			if _, ok, err := t.Insert(&k, t.Hash(&k), conntrack.Init{Opener: conntrack.Out, Tracked: true}, 0); !ok || err != nil {
				tb.Fatalf("insert of flow %d: %v, %v", i, ok, err)
			}
		}
		r.Leave()
	}
}

func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1000, 100_000, 1_000_000} {
		t := conntrack.New(conntrack.Config{MaxHalves: size, Allocator: conntrack.Mmap})
		fill(b, t, 0, size)
		order := make([]packet.Key, min(1<<16, 1<<bits.Len(uint(size))))
		for i := range order {
			order[i] = flowKey(rand.IntN(size))
		}
		r := t.NewReader()
		name := fmt.Sprintf("flows=%d", size)
		b.Run(name+"/lookup", func(b *testing.B) {
			b.ReportAllocs()
			r.Enter()
			defer r.Leave()
			for i := 0; b.Loop(); i++ {
				k := &order[i&(len(order)-1)]
				if t.Lookup(k, t.Hash(k)) == nil {
					b.Fatal("miss")
				}
			}
		})
		b.Run(name+"/lookup+track+count", func(b *testing.B) {
			b.ReportAllocs()
			r.Enter()
			defer r.Leave()
			for i := 0; b.Loop(); i++ {
				k := &order[i&(len(order)-1)]
				h := t.Lookup(k, t.Hash(k))
				h.TrackSegment(conntrack.Out, conntrack.Segment{}, int64(i)*100)
				h.Count(conntrack.Out, 1, 1400, 0, int64(i)*100)
			}
		})
		b.Run(name+"/batch", func(b *testing.B) { // as above, a batch's look-ups together
			var keys [32]packet.Key
			var hashes [32]uint64
			var halves [32]*conntrack.Half
			b.ReportAllocs()
			r.Enter()
			defer r.Leave()
			for i := 0; b.Loop(); i++ {
				if i%32 != 0 {
					continue
				}
				for j := range keys {
					keys[j] = order[(i+j)&(len(order)-1)]
					hashes[j] = t.Hash(&keys[j])
				}
				t.LookupBatch(keys[:], hashes[:], halves[:])
				for _, h := range halves {
					h.TrackSegment(conntrack.Out, conntrack.Segment{}, int64(i)*100)
					h.Count(conntrack.Out, 1, 1400, 0, int64(i)*100)
				}
			}
		})
		b.Run(name+"/miss", func(b *testing.B) {
			b.ReportAllocs()
			r.Enter()
			defer r.Leave()
			for i := 0; b.Loop(); i++ {
				k := order[i&(len(order)-1)]
				k.ENI = 2
				if t.Lookup(&k, t.Hash(&k)) != nil {
					b.Fatal("hit")
				}
			}
		})
		r.Close()
		t.Close()
	}
}

func BenchmarkHash(b *testing.B) {
	t := conntrack.New(conntrack.Config{})
	defer t.Close()
	k := flowKey(1)
	var sum uint64
	for b.Loop() {
		sum += t.Hash(&k)
	}
	_ = sum
}

func BenchmarkInsertRemove(b *testing.B) {
	for _, size := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprintf("flows=%d", size), func(b *testing.B) {
			t := conntrack.New(conntrack.Config{MaxHalves: size + 100, Allocator: conntrack.Mmap})
			defer t.Close()
			fill(b, t, 0, size)
			r := t.NewReader()
			defer r.Close()
			b.ReportAllocs()
			for i := size; b.Loop(); i++ {
				r.Enter()
				k := flowKey(i)
				h, _, err := t.Insert(&k, t.Hash(&k), conntrack.Init{}, 0)
				if err != nil {
					b.Fatal(err)
				}
				t.Remove(h)
				r.Leave()
			}
		})
	}
}

// BenchmarkFlood is what a new flow costs that takes the place of a half-open one in a full table.
func BenchmarkFlood(b *testing.B) {
	const size = 100_000
	t := conntrack.New(conntrack.Config{MaxHalves: size, Allocator: conntrack.Mmap})
	defer t.Close()
	fill(b, t, 0, size)
	r := t.NewReader()
	defer r.Close()
	b.ReportAllocs()
	for i := size; b.Loop(); i++ {
		if i%32 == 0 {
			r.Leave()
			r.Enter()
		}
		k := flowKey(i)
		if _, _, err := t.Insert(&k, t.Hash(&k), conntrack.Init{}, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSweep(b *testing.B) {
	const size = 100_000
	t := conntrack.New(conntrack.Config{MaxHalves: size, Allocator: conntrack.Mmap})
	defer t.Close()
	fill(b, t, 0, size)
	for b.Loop() {
		t.Sweep(0, 1024)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/slot")
}

// resident is the process's resident memory in bytes.
func resident(b *testing.B) int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("needs /proc/self/statm")
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// BenchmarkMemory prints the growth of resident memory by half, all included, also where the index has
// just grown and is at its emptiest.
func BenchmarkMemory(b *testing.B) {
	for _, size := range []int{10_000, 14_400, 100_000, 200_000, 233_000, 1_000_000} {
		b.Run(fmt.Sprintf("halves=%d", size), func(b *testing.B) {
			var grown int
			for b.Loop() {
				runtime.GC()
				before := resident(b)
				t := conntrack.New(conntrack.Config{MaxHalves: 8_000_000, Allocator: conntrack.Mmap})
				fill(b, t, 0, size)
				grown = resident(b) - before
				t.Close()
			}
			b.ReportMetric(float64(grown)/float64(size), "B/half")
		})
	}
}
