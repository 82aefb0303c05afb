package flowlogs

import (
	"testing"
	"time"
)

func timeOf(second int64) time.Time { return time.Unix(second, 0).UTC() }

func BenchmarkAdd(b *testing.B) {
	b.Run("hit", func(b *testing.B) {
		a := newTest(Config{})
		f := web(1, 2)
		b.ReportAllocs()
		for b.Loop() {
			a.Add(1, f)
		}
	})
	b.Run("hit of 100000", func(b *testing.B) {
		a := newTest(Config{})
		f := web(1, 2)
		n := 0
		next := func() {
			f.Tuple.SrcPort, f.Tuple.DstPort = uint16(n), uint16(n>>16)
			n = (n + 7919) % 100000
			a.Add(1, f)
		}
		for range 100000 {
			next()
		}
		b.ReportAllocs()
		for b.Loop() {
			next()
		}
	})
	b.Run("hit from all CPUs, one interface", func(b *testing.B) {
		a := newTest(Config{})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			f := web(1, 2)
			for pb.Next() {
				a.Add(1, f)
			}
		})
	})
	b.Run("new", func(b *testing.B) {
		a := newTest(Config{MaxRecords: 1 << 30})
		f := web(1, 2)
		n := uint32(0)
		b.ReportAllocs()
		for b.Loop() {
			f.Tuple.SrcPort, f.Tuple.DstPort = uint16(n), uint16(n>>16)
			n++
			a.Add(1, f)
		}
	})
	b.Run("no room", func(b *testing.B) {
		a := newTest(Config{MaxRecords: 1})
		f := web(1, 2)
		a.Add(1, f)
		f.Tuple.SrcPort++
		b.ReportAllocs()
		for b.Loop() {
			a.Add(1, f)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	four := &Record{Interface: testInterface(web1, "10.0.1.10"), Flow: *web(0, 1), Start: base, End: base + 60}
	six := longest()
	for _, bench := range []struct {
		name string
		f    *Format
		r    *Record
	}{
		{"default IPv4", DefaultFormat(), four},
		{"version 5 IPv4", mustFormat(version5), four},
		{"all fields IPv6", mustFormat(allFields), six},
		{"no data", DefaultFormat(), &Record{Interface: four.Interface, Status: NoData}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			buf := make([]byte, 0, MaxLine)
			b.ReportAllocs()
			for b.Loop() {
				buf = bench.f.Append(buf[:0], bench.r)
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	const flows = 100000
	b.Run("100000 flows", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			a := newTest(Config{})
			f := web(1, 2)
			for n := range flows {
				f.Tuple.SrcPort, f.Tuple.DstPort = uint16(n), uint16(n>>16)
				a.Add(1, f)
			}
			b.StartTimer()
			if got := a.Seal(at(60)); len(got) != flows {
				b.Fatal(len(got))
			}
		}
	})
}
