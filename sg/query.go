package sg

import "github.com/vpclab/vpclab/packet"

// NoRule is the rule of a verdict that no rule decided: the default deny. Numbers start at 1.
const NoRule uint32 = 0

// Query is a packet that opens a flow, as a security group sees it: Remote is the source of an
// ingress packet and the destination of an egress one. It is only read.
type Query struct {
	Remote packet.Addr

	// RemoteGroups are the registry's numbers of the groups that hold Remote: those of the
	// network interface that has it as a private address. Order does not matter.
	RemoteGroups []uint32

	Port       uint16 // destination port of TCP and UDP
	Proto      uint8
	Type, Code uint8 // of ICMP and ICMPv6

	// NoPorts says that the packet shows no transport header, as a later fragment does: then a
	// rule of its protocol matches whatever ports, type or code the rule names.
	NoPorts bool
}

// Verdict is what a policy says about a query.
type Verdict struct {
	Accept bool

	// Tracked says, where Accept, whether the flow lives on by itself once it is open, or by its
	// rules alone. Untracked is a TCP or UDP flow admitted by a rule for 0.0.0.0/0 (or ::/0)
	// while the other direction has a rule for 0.0.0.0/0 (or ::/0) with all ports; every other
	// flow is tracked. What AWS tracks for other reasons, such as flows through a NAT gateway,
	// the caller must know.
	//
	// Source: EC2 User Guide, "Security group connection tracking".
	Tracked bool

	// Rule is the registry's number of the rule that counts as the one that admitted, or NoRule.
	// It is the most permissive of those that match: a rule for 0.0.0.0/0 or ::/0 before all;
	// then the widest prefix, whether it stands in the rule or in a prefix list; a group reference
	// after every prefix but a single address (/32, /128); among equals the lowest rule id as a
	// string, so that it does not depend on the order of creation or compilation.
	Rule uint32
}

const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// point is where the packet lies in its protocol's space of 65,536: the port of TCP and UDP, type and
// code of ICMP. Other protocols have one place only.
func (q *Query) point() uint16 {
	switch q.Proto {
	case protoTCP, protoUDP:
		return q.Port
	case protoICMP, protoICMPv6:
		return uint16(q.Type)<<8 | uint16(q.Code)
	}
	return 0
}
