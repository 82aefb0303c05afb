package sg

import (
	"bytes"
	"slices"

	"github.com/vpclab/vpclab/vpc"
)

// Policy is the union of the rules of a set of security groups. It is immutable; all methods may be
// called concurrently. Verdicts allocate nothing and cost O(log rules).
type Policy struct {
	sides  [2]side // by vpc.Direction
	admits []admit // by order

	references  []uint32
	prefixLists []string
}

// admit is what is known of an order: which rule it is, and whether its peer is 0.0.0.0/0 or ::/0.
type admit struct {
	rule     uint32
	anywhere bool
}

// side is one direction of a policy.
type side struct {
	protos  []byte   // the protocols that rules name
	classes []*class // of protos
	all     *class   // the rules for all protocols; nil if there are none

	// open[v6][udp] says whether one rule admits every port from or to 0.0.0.0/0 (or ::/0): then
	// it admits any reply to what a rule of the other direction admitted.
	open [2][2]bool

	rules []sideRule // for Nearest
}

// Ingress judges a packet that enters the instance; Remote is its source.
func (p *Policy) Ingress(q *Query) Verdict { return p.judge(vpc.Ingress, q) }

// Egress judges a packet that leaves the instance; Remote is its destination.
func (p *Policy) Egress(q *Query) Verdict { return p.judge(vpc.Egress, q) }

func (p *Policy) judge(d vpc.Direction, q *Query) Verdict {
	s := &p.sides[d]
	best, point := noOrder, q.point()
	if i := bytes.IndexByte(s.protos, q.Proto); i >= 0 {
		best = s.classes[i].find(q, point, best)
	}
	if s.all != nil {
		best = s.all.find(q, point, best)
	}
	if best == noOrder {
		return Verdict{}
	}
	a := p.admits[best]
	return Verdict{Accept: true, Rule: a.rule, Tracked: !a.anywhere || !p.repliesPass(d, q)}
}

// repliesPass says whether a rule of the other direction admits every reply to the flow that q opens.
func (p *Policy) repliesPass(d vpc.Direction, q *Query) bool {
	v6, udp := 0, 0
	if !q.Remote.Is4() {
		v6 = 1
	}
	switch q.Proto {
	case protoTCP:
	case protoUDP:
		udp = 1
	default:
		return false
	}
	return p.sides[opposite(d)].open[v6][udp]
}

func opposite(d vpc.Direction) vpc.Direction {
	if d == vpc.Egress {
		return vpc.Ingress
	}
	return vpc.Egress
}

// References are the registry's numbers of the groups that rules name as peers, sorted: a change of their
// membership changes verdicts.
func (p *Policy) References() []uint32 { return slices.Clone(p.references) }

// PrefixLists are the ids of the prefix lists that rules name as peers, sorted, also of those that do
// not exist: a change of one means that the policy must be compiled again.
func (p *Policy) PrefixLists() []string { return slices.Clone(p.prefixLists) }
