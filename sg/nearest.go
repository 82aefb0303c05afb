package sg

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// Difference says in what a rule differs from a packet: a set of bits.
type Difference uint8

const (
	PeerDiffers     Difference = 1 << iota // the remote address is not the peer's
	PortDiffers                            // the port, or the ICMP type or code
	ProtocolDiffers                        // then PortDiffers is not set
)

// String gives "peer", "port and peer" and the like.
func (d Difference) String() string {
	var s []string
	for i, name := range []string{"peer", "port", "protocol"} {
		if d&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	slices.Reverse(s)
	return strings.Join(s, " and ")
}

// sideRule is a rule as Nearest reads it.
type sideRule struct {
	id     string
	number uint32
	group  uint32 // the referenced group, 0 if none
	lo, hi uint16
	perm   vpc.Permission
	list   []vpc.PrefixListEntry
}

// Nearest finds the rule of direction d that came closest to admitting q, which is meant to be one
// that d rejects, and says in what it differs. It is the one that differs in the fewest things; in the
// peer rather than in the port, and in the port rather than in the protocol; by the least; and among
// equals the one with the lowest id. It gives NoRule where there are no rules.
//
// It reads every rule and is meant for people.
func (p *Policy) Nearest(d vpc.Direction, q *Query) (rule uint32, why Difference) {
	var best nearness
	for i := range p.sides[d].rules {
		r := &p.sides[d].rules[i]
		if n := r.nearness(q); rule == NoRule || n.compare(best) < 0 {
			rule, best = r.number, n
		}
	}
	return rule, best.why
}

// nearness says how far a rule is from a packet.
type nearness struct {
	why      Difference
	distance int
}

func (n nearness) compare(m nearness) int {
	return cmp.Or(
		cmp.Compare(bits.OnesCount8(uint8(n.why)), bits.OnesCount8(uint8(m.why))),
		cmp.Compare(n.why, m.why),
		cmp.Compare(n.distance, m.distance))
}

func (r *sideRule) nearness(q *Query) nearness {
	var n nearness
	switch point := q.point(); {
	case r.perm.Protocol != vpc.AllProtocols && r.perm.Protocol != int(q.Proto):
		n.why |= ProtocolDiffers
	case !q.NoPorts && (point < r.lo || r.hi < point):
		n.why |= PortDiffers
		n.distance = max(int(r.lo)-int(point), int(point)-int(r.hi))
	}
	if away := r.peerDistance(q); away > 0 {
		n.why |= PeerDiffers
		n.distance += away
	}
	return n
}

const otherFamily = 1 << 16

// peerDistance is 0 if the peer matches; else 1 for a group, and for a prefix the number of its bits
// from the first that differs on.
func (r *sideRule) peerDistance(q *Query) int {
	remote := q.Remote.Netip()
	switch {
	case r.group != 0 && slices.Contains(q.RemoteGroups, r.group):
		return 0
	case r.group != 0:
		return 1
	case r.perm.CIDR.IsValid():
		return prefixDistance(r.perm.CIDR, remote)
	}
	least := otherFamily
	for _, e := range r.list {
		least = min(least, prefixDistance(e.CIDR, remote))
	}
	return least
}

func prefixDistance(p netip.Prefix, a netip.Addr) int {
	if p.Addr().Is4() != a.Is4() {
		return otherFamily
	}
	x, y := p.Addr().AsSlice(), a.AsSlice()
	for i := range x {
		if diff := x[i] ^ y[i]; diff != 0 {
			common := 8*i + bits.LeadingZeros8(diff)
			return max(0, p.Bits()-common)
		}
	}
	return 0
}
