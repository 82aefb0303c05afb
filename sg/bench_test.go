package sg

import (
	"fmt"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

var benchSizes = []int{10, 60, 1000, 10000}

// BenchmarkVerdict judges packets that rules all over the set admit, and some that none does, in turn.
func BenchmarkVerdict(b *testing.B) {
	for shape := range 2 { // short lists, long walks
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/rules=%d", shapes[shape].name, n), func(b *testing.B) { benchmarkVerdict(b, n, shape) })
		}
	}
	b.Run("anywhere", func(b *testing.B) {
		p := Compile(NewRegistry(), []*vpc.SecurityGroup{group(b, "sg-x", "http from anywhere", "ssh from 10.0.0.0/8", "all to anywhere")}, nil)
		q := tcp("10.1.2.3", 80)
		b.ReportAllocs()
		for b.Loop() {
			p.Ingress(q)
		}
	})
	b.Run("group", func(b *testing.B) {
		r := NewRegistry()
		p := Compile(r, []*vpc.SecurityGroup{group(b, "sg-x", "postgres from sg-app", "ssh from sg-admin", "all to anywhere")}, nil)
		q := tcp("10.1.2.3", 5432)
		q.RemoteGroups = []uint32{r.Group("sg-app"), r.Group("sg-other")}
		b.ReportAllocs()
		for b.Loop() {
			p.Ingress(q)
		}
	})
}

func benchmarkVerdict(b *testing.B, n, shape int) {
	p := Compile(NewRegistry(), []*vpc.SecurityGroup{nestedGroup(n, shape)}, nil)
	queries := make([]Query, 1024)
	for i := range queries {
		rule := i * (n - 1) / len(queries)
		queries[i] = Query{Proto: 6, Remote: addr(host(rule).Addr().String()), Port: uint16(rule)}
		if i%3 == 0 {
			queries[i].Port-- // below its range
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p.Ingress(&queries[i%len(queries)])
		i++
	}
}

// BenchmarkCompile compiles again after a change elsewhere: the registry knows the rules.
func BenchmarkCompile(b *testing.B) {
	for i, shape := range shapes {
		for _, n := range benchSizes {
			b.Run(fmt.Sprintf("%s/rules=%d", shape.name, n), func(b *testing.B) {
				r, groups := NewRegistry(), []*vpc.SecurityGroup{nestedGroup(n, i)}
				size := bytesOf(Compile(r, groups, nil))
				b.ReportAllocs()
				for b.Loop() {
					Compile(r, groups, nil)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/rule")
				b.ReportMetric(float64(size)/float64(n), "bytes/rule")
			})
		}
	}
}

func BenchmarkNearest(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			p := Compile(NewRegistry(), []*vpc.SecurityGroup{nestedGroup(n, 0)}, nil)
			q := tcp("192.168.1.1", 9)
			b.ReportAllocs()
			for b.Loop() {
				p.Nearest(vpc.Ingress, q)
			}
		})
	}
}
