package sg

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// entry is a rule with one of its peers: its CIDR, one CIDR of its prefix list, or its group.
type entry struct {
	id        string // the rule's
	prefix    netip.Prefix
	group     uint32 // 0: the peer is prefix
	rule      uint32
	order     uint32
	rank      uint16
	lo, hi    uint16 // of Query.point
	proto     int16  // vpc.AllProtocols or a number
	direction vpc.Direction
}

// Ranks of peers, the most permissive first. Prefixes that are wider than a host lie between rankPrefix
// (of /0 in a prefix list) and rankGroup. IPv4 and IPv6 share the ranks: a packet has one family.
const (
	rankAnywhere = 0 // 0.0.0.0/0 or ::/0 in the rule itself
	rankPrefix   = 1 // plus the prefix length
	rankGroup    = 200
	rankHost     = 201
)

func prefixRank(p netip.Prefix) uint16 {
	if p.IsSingleIP() {
		return rankHost
	}
	return rankPrefix + uint16(p.Bits())
}

// Compile makes the policy of a set of groups. Neither the order of groups nor that of their rules
// matters, and a group that stands there twice counts once. lists (it may be nil) gives a prefix list;
// a rule for one that does not exist matches nothing. Every rule gets a number in r.
//
// Time and size are O(n log n) in the number of rules, with every prefix list counted by its entries.
func Compile(r *Registry, groups []*vpc.SecurityGroup, lists func(id string) (*vpc.PrefixList, bool)) *Policy {
	c := compiler{registry: r, lists: lists, policy: &Policy{}}
	seen := make(map[string]bool, len(groups))
	for _, g := range groups {
		r.SetName(g.ID, g.GroupName)
	}
	for _, g := range groups {
		if seen[g.ID] {
			continue
		}
		seen[g.ID] = true
		for i := range g.Rules {
			c.addRule(&g.Rules[i], g)
		}
	}
	c.setOrders()
	c.build()
	c.tidy()
	return c.policy
}

type compiler struct {
	registry *Registry
	lists    func(id string) (*vpc.PrefixList, bool)
	entries  []entry
	policy   *Policy
}

// addRule appends the entries of a rule. One that AWS would have refused admits nothing.
func (c *compiler) addRule(rule *vpc.SecurityGroupRule, g *vpc.SecurityGroup) {
	perm, err := rule.Permission.Normalize()
	if err != nil || rule.Direction > vpc.Egress {
		return
	}
	var list *vpc.PrefixList
	if perm.PrefixListID != "" {
		list = c.prefixList(perm.PrefixListID)
	}
	e := entry{id: rule.ID, rule: c.registry.Rule(rule, g), proto: int16(perm.Protocol), direction: rule.Direction}
	e.lo, e.hi = points(perm)
	sr := sideRule{id: rule.ID, number: e.rule, perm: perm, lo: e.lo, hi: e.hi}
	switch {
	case perm.GroupID != "":
		e.group, e.rank = c.registry.Group(perm.GroupID), rankGroup
		c.entries = append(c.entries, e)
		c.policy.references = append(c.policy.references, e.group)
		sr.group = e.group
	case list != nil:
		c.addList(e, list)
		sr.list = list.Entries
	case perm.CIDR.IsValid():
		e.prefix, e.rank = perm.CIDR, prefixRank(perm.CIDR)
		if isAnywhere(perm.CIDR) {
			e.rank = rankAnywhere
			c.policy.sides[rule.Direction].noteOpen(perm)
		}
		c.entries = append(c.entries, e)
	}
	s := &c.policy.sides[rule.Direction]
	s.rules = append(s.rules, sr)
}

func (c *compiler) prefixList(id string) *vpc.PrefixList {
	c.policy.prefixLists = append(c.policy.prefixLists, id)
	if c.lists == nil {
		return nil
	}
	list, ok := c.lists(id)
	if !ok || list == nil {
		return nil
	}
	c.registry.SetName(id, list.Name)
	return list
}

func (c *compiler) addList(e entry, list *vpc.PrefixList) {
	for _, le := range list.Entries {
		if !le.CIDR.IsValid() || le.CIDR.Addr().Is4In6() {
			continue
		}
		e.prefix = le.CIDR.Masked()
		e.rank = prefixRank(e.prefix)
		c.entries = append(c.entries, e)
	}
}

// isAnywhere says whether a prefix is 0.0.0.0/0 or ::/0.
func isAnywhere(p netip.Prefix) bool { return p.IsValid() && p.Bits() == 0 }

// points is the range of Query.point that a normalized permission matches.
func points(p vpc.Permission) (lo, hi uint16) {
	switch p.Protocol {
	case protoTCP, protoUDP:
		return uint16(p.FromPort), uint16(p.ToPort)
	case protoICMP, protoICMPv6:
		if p.FromPort < 0 {
			break
		}
		lo = uint16(p.FromPort) << 8
		if p.ToPort < 0 {
			return lo, lo | 0xff
		}
		return lo | uint16(p.ToPort), lo | uint16(p.ToPort)
	}
	return 0, 0xffff
}

// noteOpen remembers a rule for anywhere that admits every port.
func (s *side) noteOpen(p vpc.Permission) {
	v6 := 0
	if p.CIDR.Addr().Is6() {
		v6 = 1
	}
	all := p.Protocol == vpc.AllProtocols
	every := p.FromPort == 0 && p.ToPort == 0xffff
	s.open[v6][0] = s.open[v6][0] || all || p.Protocol == protoTCP && every
	s.open[v6][1] = s.open[v6][1] || all || p.Protocol == protoUDP && every
}

// setOrders sorts the entries, the most permissive first, and numbers them.
// Entries of one rule with one rank share an order.
func (c *compiler) setOrders() {
	slices.SortFunc(c.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.id, b.id), cmp.Compare(a.rule, b.rule))
	})
	for i := range c.entries {
		e := &c.entries[i]
		if i == 0 || c.entries[i-1].rank != e.rank || c.entries[i-1].rule != e.rule {
			c.policy.admits = append(c.policy.admits, admit{rule: e.rule, anywhere: e.rank == rankAnywhere})
		}
		e.order = uint32(len(c.policy.admits) - 1)
	}
}

// build makes the classes of both sides. entries are sorted by order and stay so within each class.
func (c *compiler) build() {
	byClass := map[[2]int16][]entry{}
	for _, e := range c.entries {
		k := [2]int16{int16(e.direction), e.proto}
		byClass[k] = append(byClass[k], e)
	}
	for k, entries := range byClass {
		s := &c.policy.sides[k[0]]
		if k[1] == vpc.AllProtocols {
			s.all = newClass(entries)
			continue
		}
		s.protos = append(s.protos, byte(k[1]))
		s.classes = append(s.classes, newClass(entries))
	}
}

// tidy makes what Nearest, References and PrefixLists give independent of the order of groups.
func (c *compiler) tidy() {
	p := c.policy
	for i := range p.sides {
		slices.SortFunc(p.sides[i].rules, func(a, b sideRule) int { return strings.Compare(a.id, b.id) })
	}
	slices.Sort(p.references)
	p.references = slices.Compact(p.references)
	slices.Sort(p.prefixLists)
	p.prefixLists = slices.Compact(p.prefixLists)
}
