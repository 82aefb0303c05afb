package sg

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// world is a random set of groups with their prefix lists, and the policy made of them.
type world struct {
	naive
	policy *Policy
	rng    *rand.Rand
}

// Few values, chosen so that ranges touch, nest and overlap, and prefixes contain each other.
var (
	worldPorts    = []int{0, 1, 2, 3, 79, 80, 81, 100, 443, 1023, 1024, 8080, 40000, 65534, 65535}
	worldPrefixes = []string{
		"0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8", "10.0.0.0/9", "10.0.0.0/16", "10.0.1.0/24", "10.0.1.0/25", "10.0.1.4/30",
		"10.0.1.4/31", "10.0.1.5/32", "10.0.1.4/32", "10.128.0.0/9", "192.168.0.0/16", "0.0.0.0/32", "255.255.255.255/32",
		"::/0", "::/1", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::/64", "2001:db8:1::4/127", "2001:db8:1::5/128", "::/128",
	}
	worldAddrs = []string{
		"10.0.1.5", "10.0.1.4", "10.0.1.6", "10.0.1.130", "10.0.2.1", "10.200.0.1", "192.168.3.4", "1.2.3.4", "200.1.1.1", "0.0.0.0",
		"255.255.255.255", "2001:db8:1::5", "2001:db8:1::4", "2001:db8:1::9", "2001:db8:2::1", "2001:db9::1", "fe80::1", "::", "::1",
	}
	worldProtos = []int{-1, 6, 6, 6, 6, 17, 17, 1, 1, 58, 47, 50}
	worldICMP   = []int{-1, 0, 3, 8, 128, 255}
	worldGroups = []string{"sg-a", "sg-b", "sg-c", "sg-d"}
	worldLists  = []string{"pl-a", "pl-b", "pl-missing"}
)

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// newWorld makes a world of up to maxRules rules. narrow leaves fewer rules that match everything.
func newWorld(seed uint64, maxRules int, narrow bool) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1))}
	lists := map[string]*vpc.PrefixList{}
	for _, id := range worldLists[:2] {
		lists[id] = w.prefixList(id)
	}
	w.registry = NewRegistry()
	w.lists = func(id string) (*vpc.PrefixList, bool) { l, ok := lists[id]; return l, ok }
	for i := range 1 + w.rng.IntN(3) {
		w.groups = append(w.groups, &vpc.SecurityGroup{Meta: vpc.Meta{ID: worldGroups[i]}, GroupName: "g" + worldGroups[i]})
	}
	for range w.rng.IntN(maxRules + 1) {
		g := pick(w.rng, w.groups)
		g.Rules = append(g.Rules, w.rule(narrow))
	}
	w.policy = Compile(w.registry, w.groups, w.lists)
	return w
}

func (w *world) prefixList(id string) *vpc.PrefixList {
	l := &vpc.PrefixList{Meta: vpc.Meta{ID: id, Name: "list " + id}}
	for range w.rng.IntN(5) {
		l.Entries = append(l.Entries, vpc.PrefixListEntry{CIDR: netip.MustParsePrefix(pick(w.rng, worldPrefixes))})
	}
	return l
}

func (w *world) rule(narrow bool) vpc.SecurityGroupRule {
	r := vpc.SecurityGroupRule{ID: fmt.Sprintf("sgr-%08x", w.rng.Uint32()), Direction: vpc.Direction(w.rng.IntN(2))}
	p := vpc.Permission{Protocol: pick(w.rng, worldProtos)}
	if narrow && p.Protocol == -1 && w.rng.IntN(8) > 0 {
		p.Protocol = 6
	}
	switch p.Protocol {
	case 6, 17:
		p.FromPort, p.ToPort = w.port(), w.port()
		if w.rng.IntN(4) == 0 {
			p.ToPort = p.FromPort
		}
		p.FromPort, p.ToPort = min(p.FromPort, p.ToPort), max(p.FromPort, p.ToPort)
	case 1, 58:
		p.FromPort, p.ToPort = pick(w.rng, worldICMP), pick(w.rng, worldICMP)
		if p.FromPort == -1 {
			p.ToPort = -1
		}
	}
	switch w.rng.IntN(6) {
	case 0:
		p.GroupID = pick(w.rng, worldGroups)
	case 1:
		p.PrefixListID = pick(w.rng, worldLists)
	default:
		p.CIDR = netip.MustParsePrefix(pick(w.rng, worldPrefixes))
		if narrow && p.CIDR.Bits() < 2 && w.rng.IntN(8) > 0 {
			p.CIDR = netip.MustParsePrefix("10.0.1.5/32")
		}
	}
	var err error
	if r.Permission, err = p.Normalize(); err != nil {
		panic(err)
	}
	return r
}

func (w *world) port() int {
	if w.rng.IntN(3) == 0 {
		return w.rng.IntN(65536)
	}
	return pick(w.rng, worldPorts)
}

func (w *world) query() *Query {
	q := &Query{
		Remote:  addr(pick(w.rng, worldAddrs)),
		Proto:   pick(w.rng, []uint8{6, 6, 6, 17, 17, 1, 58, 47, 50, 132}),
		Port:    uint16(w.port()),
		Type:    pick(w.rng, []uint8{0, 3, 8, 128, 255, 7}),
		Code:    pick(w.rng, []uint8{0, 3, 4, 8, 255}),
		NoPorts: w.rng.IntN(10) == 0,
	}
	for _, g := range worldGroups {
		if w.rng.IntN(4) == 0 {
			q.RemoteGroups = append(q.RemoteGroups, w.registry.Group(g))
		}
	}
	return q
}

// check compares the policy with the naive twin on n random queries, both directions.
func (w *world) check(t *testing.T, n int) {
	t.Helper()
	for range n {
		q := w.query()
		for _, d := range []vpc.Direction{vpc.Ingress, vpc.Egress} {
			got := w.policy.Ingress(q)
			if d == vpc.Egress {
				got = w.policy.Egress(q)
			}
			if want := w.judge(d, q); got != want {
				t.Fatalf("%v %+v\ngot  %+v %s\nwant %+v %s", d, q, got, w.describe(got), want, w.describe(want))
			}
			w.checkNearest(t, d, q, got)
		}
	}
}

func (w *world) checkNearest(t *testing.T, d vpc.Direction, q *Query, v Verdict) {
	t.Helper()
	rule, why := w.policy.Nearest(d, q)
	if v.Accept && why != 0 {
		t.Fatalf("%v %+v: accepted, but the nearest rule differs in %v", d, q, why)
	}
	if !v.Accept && rule != NoRule && why == 0 {
		t.Fatalf("%v %+v: rejected, but rule %s differs in nothing", d, q, w.registry.RuleInfo(rule).ID)
	}
}

func (w *world) describe(v Verdict) string {
	if info := w.registry.RuleInfo(v.Rule); info != nil {
		return info.ID + " " + info.Words
	}
	return "default deny"
}

func TestPolicyEqualsNaive(t *testing.T) {
	for seed := range uint64(150) {
		newWorld(seed, 12, false).check(t, 60)
		newWorld(seed, 200, true).check(t, 60)
	}
}

// FuzzPolicy compares the compiled form with the naive twin over random rules and queries.
func FuzzPolicy(f *testing.F) {
	f.Add(uint64(1), uint16(5), false, []byte{10, 0, 1, 5}, uint16(80))
	f.Add(uint64(2), uint16(60), true, []byte{0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}, uint16(443))
	f.Add(uint64(3), uint16(1000), true, []byte{192, 168, 0, 1}, uint16(65535))
	f.Fuzz(func(t *testing.T, seed uint64, rules uint16, narrow bool, remote []byte, port uint16) {
		w := newWorld(seed, int(rules%500), narrow)
		w.check(t, 20)
		a, ok := netip.AddrFromSlice(remote)
		if !ok {
			return
		}
		for _, proto := range []uint8{6, 17, 1, 58, 47} {
			q := &Query{Remote: packet.AddrFrom(a), Proto: proto, Port: port, Type: uint8(port >> 8), Code: uint8(port)}
			if got, want := w.policy.Ingress(q), w.judge(vpc.Ingress, q); got != want {
				t.Fatalf("%+v: got %+v, want %+v", q, got, want)
			}
		}
	})
}

// The order of groups and rules, and groups that stand twice, change nothing.
func TestCompileOrderDoesNotMatter(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(seed, 80, true)
		var shuffled []*vpc.SecurityGroup
		for _, g := range w.groups {
			c := *g
			c.Rules = append([]vpc.SecurityGroupRule(nil), g.Rules...)
			w.rng.Shuffle(len(c.Rules), func(i, j int) { c.Rules[i], c.Rules[j] = c.Rules[j], c.Rules[i] })
			shuffled = append([]*vpc.SecurityGroup{&c, &c}, shuffled...)
		}
		other := Compile(w.registry, shuffled, w.lists)
		for d, side := range w.policy.sides {
			if n := len(other.sides[d].rules); n != len(side.rules) {
				t.Fatalf("seed %d: %d rules became %d", seed, len(side.rules), n)
			}
		}
		for range 100 {
			q := w.query()
			if a, b := w.policy.Ingress(q), other.Ingress(q); a != b {
				t.Fatalf("seed %d, %+v: %+v and %+v", seed, q, a, b)
			}
			r1, d1 := w.policy.Nearest(vpc.Egress, q)
			if r2, d2 := other.Nearest(vpc.Egress, q); r1 != r2 || d1 != d2 {
				t.Fatalf("seed %d, %+v: nearest %d %v and %d %v", seed, q, r1, d1, r2, d2)
			}
		}
	}
}
