package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

// largeLab is a lab of n instances in n/10 groups, with a test for each.
func largeLab(n int) string {
	var b strings.Builder
	b.WriteString("lab: large\nvpcs: { v: { cidr: 10.0.0.0/16, subnets: { a: 10.0.0.0/17 } } }\nsecurity-groups:\n")
	for i := range n / 10 {
		fmt.Fprintf(&b, "  g%d: { ingress: [http from anywhere, tcp 8000-8100 from g%d, ssh from 10.0.%d.0/24] }\n", i, (i+1)%(n/10), i%128)
	}
	b.WriteString("instances:\n")
	for i := range n {
		fmt.Fprintf(&b, "  i%d: { subnet: a, groups: [g%d], listen: [80] }\n", i, i/10)
	}
	b.WriteString("tests:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - { from: i%d, to: \"i%d:80\", expect: accept }\n", i, (i+1)%n)
	}
	return b.String()
}

// BenchmarkLargeLab is a lab of a thousand instances.
func BenchmarkLargeLab(b *testing.B) {
	text := []byte(largeLab(1000))
	f := parseText(b, string(text))
	s := vpc.NewMemoryStore(storeConfig)
	update(b, s, func(tx *vpc.Tx) error { _, err := Apply(tx, f); return err })
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"parse", func() error { _, err := Parse("lab.yaml", text); return err }},
		{"apply-new", func() error {
			_, err := vpc.NewMemoryStore(storeConfig).Update(context.Background(), func(tx *vpc.Tx) error { _, err := Apply(tx, f); return err })
			return err
		}},
		{"plan-nothing", func() error { _, err := Plan(s.View(), f); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
