package sg

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

// shapes are sets of n rules that are hard for one compiled form or another.
var shapes = []struct {
	name string
	make func(i, n int) vpc.Permission
}{
	{"nested ports, distinct prefixes", func(i, n int) vpc.Permission {
		return tcpRule(i, 65535-i, host(i))
	}},
	{"nested ports, distinct prefixes in a busy one", func(i, n int) vpc.Permission {
		if i < 20 {
			return tcpRule(100*i, 100*i, netip.MustParsePrefix("10.0.0.0/8"))
		}
		return tcpRule(i, 65535-i, host(i))
	}},
	{"wider ports in narrower prefixes", func(i, n int) vpc.Permission {
		depth := i % 25
		return tcpRule(20000-400*depth-i%391, 30000+800*depth+i%787, netip.PrefixFrom(host(i/25<<10).Addr(), 8+depth).Masked())
	}},
	{"nested ports, one prefix", func(i, n int) vpc.Permission {
		return tcpRule(n-i, 65535-n+i, netip.MustParsePrefix("10.0.0.0/8"))
	}},
	{"single ports from anywhere, every port from networks", func(i, n int) vpc.Permission {
		if i%2 == 0 {
			return tcpRule(3*i, 3*i, netip.MustParsePrefix("0.0.0.0/0"))
		}
		return tcpRule(0, 65535, netip.PrefixFrom(host(i<<8).Addr(), 24))
	}},
	{"overlapping ports, a prefix for each length", func(i, n int) vpc.Permission {
		return tcpRule(i, i+30000, netip.PrefixFrom(netip.MustParseAddr("2001:db8::"), 128-i%129).Masked())
	}},
	{"groups", func(i, n int) vpc.Permission {
		p := tcpRule(n-i, 65535-n+i, netip.Prefix{})
		p.GroupID = fmt.Sprintf("sg-%d", i%50)
		return p
	}},
	{"random", func(i, n int) vpc.Permission {
		rng := rand.New(rand.NewPCG(uint64(i), 3))
		lo := rng.IntN(65000)
		return tcpRule(lo, lo+rng.IntN(500), netip.PrefixFrom(host(rng.IntN(1<<24)).Addr(), 8+rng.IntN(25)).Masked())
	}},
}

func tcpRule(lo, hi int, peer netip.Prefix) vpc.Permission {
	return vpc.Permission{Protocol: 6, FromPort: lo, ToPort: hi, CIDR: peer}
}

// host is the i-th address of 10.0.0.0/8 as a prefix.
func host(i int) netip.Prefix {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24|uint32(i)&0xffffff)
	return netip.PrefixFrom(netip.AddrFrom4(b), 32)
}

func shapedGroup(n, shape int) *vpc.SecurityGroup {
	g := &vpc.SecurityGroup{Meta: vpc.Meta{ID: "sg-x"}, GroupName: "x"}
	for i := range n {
		p, err := shapes[shape].make(i, n).Normalize()
		if err != nil {
			panic(err)
		}
		g.Rules = append(g.Rules, vpc.SecurityGroupRule{ID: fmt.Sprintf("sgr-%08d", i), Permission: p})
	}
	return g
}

// nestedGroup adds to a shape what every group has: an egress rule for everything.
func nestedGroup(n, shape int) *vpc.SecurityGroup {
	g := shapedGroup(n-1, shape)
	g.Rules = append(g.Rules, vpc.SecurityGroupRule{ID: "sgr-egress", Direction: vpc.Egress, Permission: vpc.Permission{
		Protocol: -1, FromPort: -1, ToPort: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0"),
	}})
	return g
}

// bytesOf counts the bytes of all ports of a policy.
func bytesOf(p *Policy) (n int) {
	for i := range p.sides {
		for _, c := range p.sides[i].classes {
			n += 16*len(c.ports.sets) + 8*len(c.ports.spans) + 12*len(c.ports.nodes) + 2*len(c.ports.bounds)
		}
	}
	return n
}

// With ten times the rules a policy grows by ten and the growth of a logarithm, never by the square; and
// no walk is longer than the logarithm of twice the rules.
func TestSizeGrowsNearLinearly(t *testing.T) {
	for i, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			small := bytesOf(Compile(NewRegistry(), []*vpc.SecurityGroup{shapedGroup(1000, i)}, nil))
			policy := Compile(NewRegistry(), []*vpc.SecurityGroup{shapedGroup(10000, i)}, nil)
			large := bytesOf(policy)
			t.Logf("1,000 rules: %d bytes a rule; 10,000: %d", small/1000, large/10000)
			if large > 15*small || large > 10000*1024 {
				t.Errorf("%d bytes became %d", small, large)
			}
			for _, c := range policy.sides[vpc.Ingress].classes {
				if steps := bits.Len(uint(len(c.ports.bounds))) + 1; steps > bits.Len(20000)+1 {
					t.Errorf("a walk may take %d steps", steps)
				}
			}
		})
	}
}

// The shapes are too large for random queries to meet their corners: compare at the edges of each rule.
func TestShapesEqualNaive(t *testing.T) {
	for i, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			r := NewRegistry()
			n := naive{registry: r, groups: []*vpc.SecurityGroup{nestedGroup(600, i)}}
			p := Compile(r, n.groups, nil)
			for _, rule := range n.groups[0].Rules {
				if rule.Protocol == -1 {
					continue
				}
				q := Query{Proto: 6, Remote: addr("10.0.0.9")}
				if rule.CIDR.IsValid() {
					q.Remote = addr(rule.CIDR.Addr().String())
				} else {
					q.RemoteGroups = []uint32{r.Group(rule.Permission.GroupID), r.Group("sg-7")}
				}
				for _, port := range []int{rule.FromPort - 1, rule.FromPort, rule.ToPort, rule.ToPort + 1, 30000} {
					q.Port = uint16(port)
					if got, want := p.Ingress(&q), n.judge(vpc.Ingress, &q); got != want {
						t.Fatalf("%+v: %+v, want %+v", q, got, want)
					}
				}
			}
		})
	}
}

// Which form a port set has is part of the design: lists while they are short, one tree shared by
// the sets that extend it, nothing for what a wider prefix admits already.
func TestPortSetForms(t *testing.T) {
	compile := func(rules ...string) *class {
		p := Compile(NewRegistry(), []*vpc.SecurityGroup{group(t, "sg-x", rules...)}, nil)
		return p.sides[vpc.Ingress].classes[0]
	}
	ports := func(n int, peer string) (rules []string) {
		for i := range n {
			rules = append(rules, fmt.Sprintf("tcp %d from %s", 10*i, peer))
		}
		return rules
	}
	c := compile(ports(listMax, "anywhere")...)
	if len(c.ports.nodes) != 0 || len(c.ports.spans) != listMax || c.table != nil {
		t.Errorf("a short list: %d nodes, %d spans, table %v", len(c.ports.nodes), len(c.ports.spans), c.table != nil)
	}
	c = compile(ports(listMax+1, "anywhere")...)
	if len(c.ports.nodes) == 0 || len(c.ports.spans) != 0 || c.ports.sets[c.any4].root == 0 {
		t.Errorf("a long list: %d nodes, %d spans", len(c.ports.nodes), len(c.ports.spans))
	}
	one := len(c.ports.nodes)
	if leaves := len(c.ports.bounds) + 1; one > 2*leaves {
		t.Errorf("a tree of %d leaves has %d nodes", leaves, one)
	}
	children := ports(listMax, "10.0.0.0/8")
	for i := range 100 {
		children = append(children, fmt.Sprintf("tcp 5 from 10.0.%d.0/24", i))
	}
	if n := len(compile(children...).ports.nodes); n > 2*20+100*7 {
		t.Errorf("100 prefixes within a list have %d nodes: its tree was made more than once", n)
	}
	c = compile(append(ports(200, "anywhere"), "tcp 7777 from 10.0.0.0/8")...)
	two := len(compile(ports(200, "anywhere")...).ports.nodes)
	if extra := len(c.ports.nodes) - two; extra < 1 || extra > 24 || one >= two {
		t.Errorf("a prefix within copied %d nodes of %d", extra, two)
	}
	c = compile("all tcp from anywhere", "tcp 80 from 10.0.0.0/8", "tcp 1-99 from 10.1.0.0/16")
	if c.table != nil || len(c.ports.sets) != 2 {
		t.Errorf("covered prefixes were kept: table %v, %d sets", c.table != nil, len(c.ports.sets))
	}
	c = compile(append(ports(20, "10.0.0.0/8"), "tcp 0-190 from 10.0.0.0/8", "tcp 5-185 from 10.1.0.0/16")...)
	if c.table.Size() != 1 {
		t.Errorf("a prefix covered by several ranges was kept: %d prefixes", c.table.Size())
	}
}
