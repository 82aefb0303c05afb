package sg

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

// group makes a group of rules in the short grammar, one a line; a rule with "to" is an egress rule.
// A rule's id is "sgr-" and the rule's place. Other groups are named by their id, sg-NAME.
func group(t testing.TB, id string, rules ...string) *vpc.SecurityGroup {
	t.Helper()
	g := &vpc.SecurityGroup{Meta: vpc.Meta{ID: id}, GroupName: strings.TrimPrefix(id, "sg-")}
	for _, text := range rules {
		d := vpc.Ingress
		if strings.Contains(text, " to ") {
			d = vpc.Egress
		}
		perms, err := vpc.ParseRule(text, d, nil)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, p := range perms {
			g.Rules = append(g.Rules, vpc.SecurityGroupRule{
				ID: fmt.Sprintf("sgr-%s-%02d", g.GroupName, len(g.Rules)), GroupID: id, Direction: d, Permission: p, Words: text,
			})
		}
	}
	return g
}

// tcp, udp and icmp make queries.
func tcp(remote string, port uint16) *Query {
	return &Query{Remote: addr(remote), Proto: 6, Port: port}
}
func udp(remote string, port uint16) *Query {
	return &Query{Remote: addr(remote), Proto: 17, Port: port}
}
func icmp(remote string, typ, code uint8) *Query {
	q := &Query{Remote: addr(remote), Proto: 1, Type: typ, Code: code}
	if q.Remote.Netip().Is6() {
		q.Proto = 58
	}
	return q
}

// admitted is the words of the rule that admits, "untracked" in front of it, or "reject".
func admitted(r *Registry, v Verdict) string {
	switch {
	case !v.Accept:
		return "reject"
	case v.Tracked:
		return r.RuleInfo(v.Rule).Words
	}
	return "untracked " + r.RuleInfo(v.Rule).Words
}

func TestPolicyMatches(t *testing.T) {
	g := group(t, "sg-x",
		"tcp 22 from 203.0.113.1/32", "tcp 80-90 from 10.0.0.0/8", "udp 53 from 10.0.0.0/8", "http from anywhere",
		"https from anywhere-v6", "ping from 10.0.0.0/8", "icmp 3/4 from anywhere", "icmp 11 from anywhere",
		"gre from 10.0.0.0/8", "tcp 5432 from sg-app", "all from 192.168.7.0/24", "udp 123 to 10.0.0.2")
	r := NewRegistry()
	p := Compile(r, []*vpc.SecurityGroup{g}, nil)
	member := tcp("10.9.9.9", 5432)
	member.RemoteGroups = []uint32{r.Group("sg-other"), r.Group("sg-app")}
	tests := []struct {
		name string
		q    *Query
		want string
	}{
		{"host", tcp("203.0.113.1", 22), "tcp 22 from 203.0.113.1/32"},
		{"not the host", tcp("203.0.113.2", 22), "reject"},
		{"range, first", tcp("10.1.1.1", 81), "tcp 80-90 from 10.0.0.0/8"},
		{"range, last", tcp("10.1.1.1", 90), "tcp 80-90 from 10.0.0.0/8"},
		{"above the range", tcp("10.1.1.1", 91), "reject"},
		{"most permissive", tcp("10.1.1.1", 80), "http from anywhere"},
		{"other protocol", udp("1.2.3.4", 80), "reject"},
		{"IPv4 anywhere is not IPv6", tcp("2001:db8::1", 80), "reject"},
		{"IPv6 anywhere", tcp("2001:db8::1", 443), "https from anywhere-v6"},
		{"IPv6 anywhere is not IPv4", tcp("1.2.3.4", 443), "reject"},
		{"udp", udp("10.1.1.1", 53), "udp 53 from 10.0.0.0/8"},
		{"ping", icmp("10.1.1.1", 8, 0), "ping from 10.0.0.0/8"},
		{"echo reply is no ping", icmp("10.1.1.1", 0, 0), "reject"},
		{"type and code", icmp("1.2.3.4", 3, 4), "icmp 3/4 from anywhere"},
		{"other code", icmp("1.2.3.4", 3, 3), "reject"},
		{"type 4 is no code 4", icmp("1.2.3.4", 4, 3), "reject"},
		{"any code", icmp("1.2.3.4", 11, 1), "icmp 11 from anywhere"},
		{"icmpv6 is not icmp", icmp("2001:db8::1", 11, 1), "reject"},
		{"gre", &Query{Remote: addr("10.1.1.1"), Proto: 47}, "gre from 10.0.0.0/8"},
		{"esp", &Query{Remote: addr("10.1.1.1"), Proto: 50}, "reject"},
		{"group", member, "tcp 5432 from sg-app"},
		{"not in the group", tcp("10.9.9.9", 5432), "reject"},
		{"all protocols, tcp", tcp("192.168.7.9", 9), "all from 192.168.7.0/24"},
		{"all protocols, icmp", icmp("192.168.7.9", 3, 1), "all from 192.168.7.0/24"},
		{"all protocols, sctp", &Query{Remote: addr("192.168.7.9"), Proto: 132}, "all from 192.168.7.0/24"},
		{"egress rule is no ingress rule", udp("10.0.0.2", 123), "reject"},
		{"later fragment matches any port", &Query{Remote: addr("203.0.113.1"), Proto: 6, NoPorts: true}, "http from anywhere"},
		{"later fragment, no rule", &Query{Remote: addr("203.0.113.1"), Proto: 17, NoPorts: true}, "reject"},
		{"later fragment of ICMP", &Query{Remote: addr("1.2.3.4"), Proto: 1, NoPorts: true}, "icmp 3/4 from anywhere"},
	}
	for _, tt := range tests {
		if got := admitted(r, p.Ingress(tt.q)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := admitted(r, p.Egress(udp("10.0.0.2", 123))); got != "udp 123 to 10.0.0.2" {
		t.Errorf("egress: %s", got)
	}
}

func TestEmptyPolicyRejects(t *testing.T) {
	r := NewRegistry()
	for _, p := range []*Policy{Compile(r, nil, nil), Compile(r, []*vpc.SecurityGroup{group(t, "sg-x")}, nil)} {
		for _, q := range []*Query{tcp("10.0.0.1", 80), icmp("::1", 128, 0), {}} {
			if v := p.Ingress(q); v != (Verdict{}) {
				t.Errorf("Ingress = %+v", v)
			}
			if v := p.Egress(q); v != (Verdict{}) {
				t.Errorf("Egress = %+v", v)
			}
			if rule, why := p.Nearest(vpc.Ingress, q); rule != NoRule || why != 0 {
				t.Errorf("Nearest = %d, %v", rule, why)
			}
		}
	}
}

// SG-01: groups combine by union alone. Two that each permit half of a packet permit nothing of it.
func TestAWS_SG01_Union(t *testing.T) {
	r := NewRegistry()
	port := group(t, "sg-port", "tcp 80 from 10.0.0.0/8")
	peer := group(t, "sg-peer", "tcp 22 from 192.168.0.0/16")
	p := Compile(r, []*vpc.SecurityGroup{port, peer}, nil)
	for _, tt := range []struct {
		q    *Query
		want bool
	}{
		{tcp("10.0.0.1", 80), true},
		{tcp("192.168.0.1", 22), true},
		{tcp("192.168.0.1", 80), false},
		{tcp("10.0.0.1", 22), false},
	} {
		if got := p.Ingress(tt.q).Accept; got != tt.want {
			t.Errorf("%v port %d: accept %v, want %v", tt.q.Remote, tt.q.Port, got, tt.want)
		}
	}
}

// SG-02: a rule for protocol 47 with ports 1 to 1 passes all GRE.
func TestAWS_SG02_PortsIgnored(t *testing.T) {
	r := NewRegistry()
	g := &vpc.SecurityGroup{Meta: vpc.Meta{ID: "sg-x"}, Rules: []vpc.SecurityGroupRule{{
		ID:         "sgr-1",
		Permission: vpc.Permission{Protocol: 47, FromPort: 1, ToPort: 1, CIDR: netip.MustParsePrefix("10.0.0.0/8")},
	}}}
	p := Compile(r, []*vpc.SecurityGroup{g}, nil)
	for _, port := range []uint16{0, 1, 2, 65535} {
		if !p.Ingress(&Query{Remote: addr("10.0.0.1"), Proto: 47, Port: port}).Accept {
			t.Errorf("GRE rejected with port %d", port)
		}
	}
}

// SG-03: 10.0.0.5/8 and 10.0.0.0/8 are one rule; the message is the one that AWS answers.
func TestAWS_SG03_Canonical(t *testing.T) {
	a := vpc.Permission{Protocol: 6, FromPort: 80, ToPort: 80, CIDR: netip.MustParsePrefix("10.0.0.5/8")}
	b := vpc.Permission{Protocol: 6, FromPort: 80, ToPort: 80, CIDR: netip.MustParsePrefix("10.0.0.0/8")}
	if !a.Equal(b) || a.Message() != "peer: 10.0.0.0/8, TCP, from port: 80, to port: 80, ALLOW" {
		t.Errorf("Equal %v, Message %q", a.Equal(b), a.Message())
	}
	g := &vpc.SecurityGroup{Meta: vpc.Meta{ID: "sg-x"}, Rules: []vpc.SecurityGroupRule{{ID: "sgr-1", Permission: a}}}
	if !Compile(NewRegistry(), []*vpc.SecurityGroup{g}, nil).Ingress(tcp("10.200.0.1", 80)).Accept {
		t.Error("the host bits of a CIDR took part in the match")
	}
}

// SG-05: who is in a referenced group is asked for each packet; no rule is compiled again.
func TestAWS_SG05_Membership(t *testing.T) {
	r := NewRegistry()
	p := Compile(r, []*vpc.SecurityGroup{group(t, "sg-a", "tcp 80 from sg-b")}, nil)
	q := tcp("10.0.0.1", 80)
	if p.Ingress(q).Accept {
		t.Error("accepted before it joined")
	}
	q.RemoteGroups = []uint32{r.Group("sg-b")}
	if !p.Ingress(q).Accept {
		t.Error("rejected after it joined")
	}
}

// The example of EC2's page "Security group connection tracking": 22 tracked, 80 untracked, ICMP tracked.
func TestAWS_TrackingExample(t *testing.T) {
	r := NewRegistry()
	inbound := []string{"tcp 22 from 203.0.113.1/32", "tcp 80 from anywhere", "tcp 80 from anywhere-v6", "icmp from anywhere", "icmp from anywhere-v6"}
	with := func(egress ...string) *Policy {
		return Compile(r, []*vpc.SecurityGroup{group(t, "sg-x", slices.Concat(inbound, egress)...)}, nil)
	}
	open := with("all to anywhere", "all to anywhere-v6")
	tests := []struct {
		name   string
		policy *Policy
		q      *Query
		want   bool // tracked
	}{
		{"22 from a host", open, tcp("203.0.113.1", 22), true},
		{"80 from anywhere", open, tcp("203.0.113.1", 80), false},
		{"80 from anywhere, IPv6", open, tcp("2001:db8::1", 80), false},
		{"ICMP", open, icmp("203.0.113.1", 8, 0), true},
		{"ICMPv6", open, icmp("2001:db8::1", 128, 0), true},

		// Per family: "all IPv4 flows become tracked, incl. port 80 from anywhere".
		{"without IPv4 egress, IPv4", with("all to anywhere-v6"), tcp("203.0.113.1", 80), true},
		{"without IPv4 egress, IPv6", with("all to anywhere-v6"), tcp("2001:db8::1", 80), false},

		// CT-03: egress is only 443.
		{"CT-03", with("tcp 443 to anywhere"), tcp("203.0.113.1", 80), true},
		{"no egress", with(), tcp("203.0.113.1", 80), true},
		{"all tcp", with("all tcp to anywhere"), tcp("203.0.113.1", 80), false},
		{"all udp", with("all udp to anywhere"), tcp("203.0.113.1", 80), true},
		{"all but port 0", with("tcp 1-65535 to anywhere"), tcp("203.0.113.1", 80), true},
		{"two halves are not one rule", with("tcp 0-999 to anywhere", "tcp 1000-65535 to anywhere"), tcp("203.0.113.1", 80), true},
		{"all, but to half of the addresses", with("all to 0.0.0.0/1", "all to 128.0.0.0/1"), tcp("203.0.113.1", 80), true},
	}
	for _, tt := range tests {
		v := tt.policy.Ingress(tt.q)
		if !v.Accept || v.Tracked != tt.want {
			t.Errorf("%s: %+v, want tracked %v", tt.name, v, tt.want)
		}
	}
}

// The same for flows that the instance opens.
func TestTrackingEgress(t *testing.T) {
	r := NewRegistry()
	p := Compile(r, []*vpc.SecurityGroup{group(t, "sg-x", "all to anywhere", "all udp from anywhere", "all to anywhere-v6")}, nil)
	for _, tt := range []struct {
		name string
		q    *Query
		want bool
	}{
		{"udp", udp("1.2.3.4", 53), false},
		{"tcp, replies not admitted", tcp("1.2.3.4", 53), true},
		{"udp, IPv6 replies not admitted", udp("2001:db8::1", 53), true},
		{"icmp", icmp("1.2.3.4", 8, 0), true},
		{"gre", &Query{Remote: addr("1.2.3.4"), Proto: 47}, true},
	} {
		if v := p.Egress(tt.q); !v.Accept || v.Tracked != tt.want {
			t.Errorf("%s: %+v, want tracked %v", tt.name, v, tt.want)
		}
	}
}

// The rule that counts is the most permissive, because it decides tracked or untracked.
func TestMostPermissiveRule(t *testing.T) {
	lists := map[string]*vpc.PrefixList{
		"pl-any":  {Entries: []vpc.PrefixListEntry{{CIDR: netip.MustParsePrefix("0.0.0.0/0")}, {CIDR: netip.MustParsePrefix("10.0.0.5/32")}}},
		"pl-ten":  {Entries: []vpc.PrefixListEntry{{CIDR: netip.MustParsePrefix("10.0.0.0/8")}, {CIDR: netip.MustParsePrefix("2001:db8::/32")}}},
		"pl-host": {Entries: []vpc.PrefixListEntry{{CIDR: netip.MustParsePrefix("10.0.0.5/32")}}},
	}
	tests := []struct {
		name  string
		rules []string
		want  string
	}{
		{"anywhere before all", []string{"tcp 80 from 10.0.0.0/8", "tcp 80 from 0.0.0.0/1", "tcp 80 from anywhere"}, "untracked tcp 80 from anywhere"},
		{"anywhere in the rule before anywhere in a list", []string{"tcp 80 from pl-any", "tcp 80 from anywhere"}, "untracked tcp 80 from anywhere"},
		{"anywhere in a list is tracked", []string{"tcp 80 from pl-any", "tcp 80 from 0.0.0.0/1"}, "tcp 80 from pl-any"},
		{"widest prefix", []string{"tcp 80 from 10.0.0.0/24", "tcp 80 from 10.0.0.0/8", "tcp 80 from 10.0.0.0/16"}, "tcp 80 from 10.0.0.0/8"},
		{"widest prefix, whatever the ports", []string{"tcp 80 from 10.0.0.0/8", "all tcp from 10.0.0.0/9"}, "tcp 80 from 10.0.0.0/8"},
		{"widest prefix, whatever the protocol", []string{"tcp 80 from 10.0.0.0/9", "all from 10.0.0.0/8"}, "all from 10.0.0.0/8"},
		{"prefix in a list", []string{"tcp 80 from 10.0.0.0/9", "tcp 80 from pl-ten"}, "tcp 80 from pl-ten"},
		{"group after a prefix", []string{"tcp 80 from sg-g", "tcp 80 from 10.0.0.4/31"}, "tcp 80 from 10.0.0.4/31"},
		{"group before a host", []string{"tcp 80 from 10.0.0.5/32", "tcp 80 from sg-g"}, "tcp 80 from sg-g"},
		{"group before a host in a list", []string{"tcp 80 from pl-host", "tcp 80 from sg-g"}, "tcp 80 from sg-g"},
		{"lowest id among equals", []string{"tcp 80 from 10.0.0.0/8", "tcp 70-90 from 10.0.0.0/8", "all from 10.0.0.0/8"}, "tcp 80 from 10.0.0.0/8"},
		{"lowest id among equals, other order", []string{"all from 10.0.0.0/8", "tcp 70-90 from 10.0.0.0/8", "tcp 80 from 10.0.0.0/8"}, "all from 10.0.0.0/8"},
		{"lowest id among groups", []string{"tcp 80 from sg-h", "tcp 80 from sg-g"}, "tcp 80 from sg-h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRegistry()
			g := group(t, "sg-x", append(tt.rules, "all to anywhere")...)
			p := Compile(r, []*vpc.SecurityGroup{g}, func(id string) (*vpc.PrefixList, bool) { l, ok := lists[id]; return l, ok })
			q := tcp("10.0.0.5", 80)
			q.RemoteGroups = []uint32{r.Group("sg-g"), r.Group("sg-h")}
			if got := admitted(r, p.Ingress(q)); got != tt.want {
				t.Errorf("admitted by %s, want %s", got, tt.want)
			}
		})
	}
}

func TestReferencesAndPrefixLists(t *testing.T) {
	r := NewRegistry()
	p := Compile(r, []*vpc.SecurityGroup{
		group(t, "sg-a", "tcp 1 from sg-b", "tcp 2 to sg-a", "tcp 3 from pl-2", "tcp 4 from 10.0.0.0/8"),
		group(t, "sg-b", "tcp 1 from sg-b", "tcp 5 to pl-1", "tcp 6 from pl-2"),
	}, nil)
	want := []uint32{r.Group("sg-a"), r.Group("sg-b")}
	slices.Sort(want)
	if got := p.References(); !slices.Equal(got, want) {
		t.Errorf("References = %v, want %v", got, want)
	}
	if got := p.PrefixLists(); !slices.Equal(got, []string{"pl-1", "pl-2"}) {
		t.Errorf("PrefixLists = %v", got)
	}
	p.References()[0], p.PrefixLists()[0] = 99, "changed"
	if p.References()[0] == 99 || p.PrefixLists()[0] == "changed" {
		t.Error("a caller can change the policy")
	}
}

// A rule that AWS would have refused admits nothing.
func TestCompileIgnoresInvalidRules(t *testing.T) {
	any4 := netip.MustParsePrefix("0.0.0.0/0")
	g := &vpc.SecurityGroup{Meta: vpc.Meta{ID: "sg-x"}, Rules: []vpc.SecurityGroupRule{
		{ID: "sgr-1", Permission: vpc.Permission{Protocol: 6, FromPort: 90, ToPort: 80, CIDR: any4}},
		{ID: "sgr-2", Permission: vpc.Permission{Protocol: 6, FromPort: -1, ToPort: -1, CIDR: any4}},
		{ID: "sgr-3", Permission: vpc.Permission{Protocol: 300, CIDR: any4}},
		{ID: "sgr-4", Permission: vpc.Permission{Protocol: -1}},
		{ID: "sgr-5", Permission: vpc.Permission{Protocol: -1, CIDR: any4}, Direction: 2},
	}}
	p := Compile(NewRegistry(), []*vpc.SecurityGroup{g}, nil)
	for _, port := range []uint16{0, 80, 85, 90, 65535} {
		if p.Ingress(tcp("10.0.0.1", port)).Accept || p.Egress(tcp("10.0.0.1", port)).Accept {
			t.Errorf("port %d accepted", port)
		}
	}
	if rule, _ := p.Nearest(vpc.Ingress, tcp("10.0.0.1", 80)); rule != NoRule {
		t.Errorf("an invalid rule is the nearest: %d", rule)
	}
}

func TestVerdictAllocatesNothing(t *testing.T) {
	for _, n := range []int{10, 60, 1000} {
		r := NewRegistry()
		p := Compile(r, []*vpc.SecurityGroup{nestedGroup(n, 0)}, nil)
		member := tcp("2001:db8::1", 80)
		member.RemoteGroups = []uint32{1, 2, 3}
		queries := []*Query{tcp("10.0.0.5", 443), udp("10.0.0.5", 53), icmp("10.0.0.5", 8, 0), member, {Proto: 47, Remote: addr("::1")}}
		allocs := testing.AllocsPerRun(100, func() {
			for _, q := range queries {
				p.Ingress(q)
				p.Egress(q)
			}
		})
		if allocs != 0 {
			t.Errorf("%d rules: %v allocations", n, allocs)
		}
	}
}

// A policy is read by many workers while others are compiled from the same registry.
func TestPolicyConcurrent(t *testing.T) {
	w := newWorld(7, 100, true)
	queries := make([]*Query, 50)
	want := make([]Verdict, len(queries))
	for i := range queries {
		queries[i] = w.query()
		want[i] = w.policy.Ingress(queries[i])
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			other := Compile(w.registry, w.groups, w.lists)
			for i, q := range queries {
				if got := w.policy.Ingress(q); got != want[i] {
					t.Errorf("%+v: %+v, want %+v", q, got, want[i])
				}
				if got := other.Ingress(q); got != want[i] {
					t.Errorf("compiled again, %+v: %+v, want %+v", q, got, want[i])
				}
			}
		})
	}
	wg.Wait()
}
