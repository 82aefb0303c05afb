package vswitch

import (
	"encoding/binary"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// benchPair is pair with a large table outside the Go heap, and ports that keep nothing.
func benchPair(b *testing.B) (w *world, web, app *stubPort) {
	w = newWorld(b)
	if err := w.sw.Close(); err != nil {
		b.Fatal(err)
	}
	w.acc = flowlogs.NewAggregator(flowlogs.Config{Start: testStart.UnixNano(), MaxRecords: 1})
	sw, err := New(Config{Clock: w.clock, Records: w.acc, Table: conntrack.Config{MaxHalves: 1 << 20, Allocator: conntrack.Mmap}})
	if err != nil {
		b.Fatal(err)
	}
	w.sw = sw
	b.Cleanup(func() { sw.Close() })
	w.group("web")
	w.group("app", "udp 53 from web")
	web, app = w.instance("web-1", "a", "10.0.1.10", "web"), w.instance("app-1", "b", "10.0.2.10", "app")
	web.discard, app.discard = true, true
	return w, web, app
}

// BenchmarkFrame is what a frame costs from parse to write, in batches of 32, small UDP datagrams between two
// subnets. A hit is one of 4,096 flows in turn; a miss opens its flow, with two halves.
func BenchmarkFrame(b *testing.B) {
	for _, family := range []string{"ipv4", "ipv6"} {
		for _, kind := range []struct {
			name  string
			port  uint16
			flows int
		}{{"hit", 53, 4096}, {"miss-accept", 53, 1 << 15}, {"miss-reject", 54, 1 << 15}} {
			b.Run(kind.name+"/"+family, func(b *testing.B) {
				w, web, app := benchPair(b)
				frame := web.udp(app, 0, kind.port, "payload")
				if family == "ipv6" {
					frame = web.udp6(app, 0, kind.port, "payload")
				}
				r := batchRun{p: web, frame: frame, port: int(parsed(frame).L4), flows: kind.flows}
				if kind.name == "hit" {
					r.all()
				}
				b.ReportAllocs()
				frames := 0
				for b.Loop() {
					if r.next == 0 && kind.name != "hit" {
						b.StopTimer()
						w.forget()
						b.StartTimer()
					}
					r.one()
					frames += BatchSize
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(frames), "ns/frame")
				if total := w.sw.Totals(); total.Dropped() != 0 {
					b.Errorf("frames were dropped: %v", total.Lost())
				}
			})
		}
	}
}

// batchRun sends a frame from one source port after the other.
type batchRun struct {
	p           *stubPort
	frame       []byte
	port        int // where the source port stands
	flows, next int
}

func (r *batchRun) one() {
	b := &r.p.batch
	b.Reset()
	for range BatchSize {
		binary.BigEndian.PutUint16(r.frame[r.port:], uint16(r.next))
		b.Commit(copy(b.Next(), r.frame), packet.GSO{})
		if r.next++; r.next == r.flows {
			r.next = 0
		}
	}
	r.p.link.workers[0].run(b)
}

func (r *batchRun) all() {
	for r.one(); r.next != 0; {
		r.one()
	}
}

// forget empties the flow table.
func (w *world) forget() {
	for _, e := range w.sw.snap.Load().byID {
		w.sw.table.RemoveENI(e.num)
	}
	w.sw.table.Reclaim()
}

// BenchmarkHalfMemory opens 100,000 UDP flows, 200,000 halves, through the pipeline, and prints by how much a
// half lets resident memory grow, the index and all else included. It may be 160 bytes.
func BenchmarkHalfMemory(b *testing.B) {
	const flows, limit = 100_000, 160
	var perHalf float64
	for b.Loop() {
		w, web, app := benchPair(b)
		r := batchRun{p: web, frame: web.udp(app, 0, 53, "x"), port: 34, flows: BatchSize}
		r.all() // what every switch needs once
		w.forget()
		before := resident(b)
		for dst := range uint32(2) {
			f := web.udp(app, 0, 53, "x")
			if dst == 1 {
				f = web.udp6(app, 0, 53, "x")
			}
			r = batchRun{p: web, frame: f, port: int(parsed(f).L4), flows: flows / 2 / BatchSize * BatchSize}
			r.all()
		}
		halves := w.sw.TableStats().Halves
		if halves < 2*flows-4*BatchSize {
			b.Fatalf("%d halves, want about %d; %v", halves, 2*flows, w.sw.Totals().Reasons)
		}
		perHalf = float64(resident(b)-before) / float64(halves)
	}
	b.ReportMetric(perHalf, "B/half")
	if perHalf > limit {
		b.Errorf("%.1f bytes a half, at most %d are allowed", perHalf, limit)
	}
}

// resident is the process's resident memory in bytes.
func resident(b *testing.B) int {
	debug.FreeOSMemory()
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
