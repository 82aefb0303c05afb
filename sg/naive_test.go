package sg

import (
	"net/netip"
	"slices"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// naive is what Compile and judge do, as AWS's pages say it: for each rule of each group, does it
// match; which of those that do is the most permissive; is the flow tracked.
type naive struct {
	registry *Registry
	groups   []*vpc.SecurityGroup
	lists    func(id string) (*vpc.PrefixList, bool)
}

func (n naive) judge(d vpc.Direction, q *Query) Verdict {
	var best *vpc.SecurityGroupRule
	bestWidth := 0
	for _, g := range n.groups {
		for i := range g.Rules {
			r := &g.Rules[i]
			if r.Direction != d || !n.protocolMatches(r, q) || !n.portMatches(r, q) {
				continue
			}
			width, ok := n.peerMatches(r, q)
			if !ok {
				continue
			}
			if best == nil || width < bestWidth || width == bestWidth && r.ID < best.ID {
				best, bestWidth = r, width
			}
		}
	}
	if best == nil {
		return Verdict{}
	}
	return Verdict{Accept: true, Rule: n.registry.FindRule(best.ID), Tracked: n.tracked(d, best, q)}
}

func (n naive) protocolMatches(r *vpc.SecurityGroupRule, q *Query) bool {
	return r.Protocol == -1 || r.Protocol == int(q.Proto)
}

func (n naive) portMatches(r *vpc.SecurityGroupRule, q *Query) bool {
	if q.NoPorts {
		return true
	}
	switch r.Protocol {
	case 6, 17:
		return r.FromPort <= int(q.Port) && int(q.Port) <= r.ToPort
	case 1, 58:
		return (r.FromPort == -1 || r.FromPort == int(q.Type)) && (r.ToPort == -1 || r.ToPort == int(q.Code))
	}
	return true
}

// peerMatches also says how permissive the peer is: the lower, the more.
func (n naive) peerMatches(r *vpc.SecurityGroupRule, q *Query) (width int, ok bool) {
	switch {
	case r.Permission.GroupID != "":
		return 500, slices.Contains(q.RemoteGroups, n.registry.Group(r.Permission.GroupID))
	case r.PrefixListID != "":
		list, found := n.lists(r.PrefixListID)
		if !found {
			return 0, false
		}
		width = 1000
		for _, e := range list.Entries {
			if e.CIDR.Contains(q.Remote.Netip()) {
				width, ok = min(width, prefixWidth(e.CIDR)), true
			}
		}
		return width, ok
	}
	if r.CIDR == netip.MustParsePrefix("0.0.0.0/0") || r.CIDR == netip.MustParsePrefix("::/0") {
		return 0, r.CIDR.Contains(q.Remote.Netip())
	}
	return prefixWidth(r.CIDR), r.CIDR.Contains(q.Remote.Netip())
}

func prefixWidth(p netip.Prefix) int {
	if p.Bits() == p.Addr().BitLen() {
		return 999
	}
	return 100 + p.Bits()
}

// tracked is the "untracked iff" of AWS's page on connection tracking, denied.
func (n naive) tracked(d vpc.Direction, r *vpc.SecurityGroupRule, q *Query) bool {
	if q.Proto != 6 && q.Proto != 17 {
		return true
	}
	anywhere := netip.MustParsePrefix("0.0.0.0/0")
	if !q.Remote.Is4() {
		anywhere = netip.MustParsePrefix("::/0")
	}
	if r.CIDR != anywhere {
		return true
	}
	for _, g := range n.groups {
		for _, o := range g.Rules {
			allPorts := o.Protocol == -1 || o.Protocol == int(q.Proto) && o.FromPort == 0 && o.ToPort == 65535
			if o.Direction != d && o.CIDR == anywhere && allPorts {
				return false
			}
		}
	}
	return true
}

// addr makes an address of its text.
func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }
