package vswitch

import "github.com/vpclab/vpclab/packet"

// Reason says why a frame was accepted, rejected, answered or dropped. Counters, explanations, flow
// records and the console all take it from here.
type Reason uint8

// Accepted frames.
const (
	ReasonNone  Reason = iota
	ReasonRule         // a security group rule admitted it
	ReasonReply        // it belongs to a tracked connection opened the other way
	// Rejected: counted, and recorded as REJECT.
	ReasonNoRule     // no rule of the interface's security groups admits it
	ReasonAfterClose // it came after its connection was closed
	// Answered by the switch itself: never forwarded, never recorded.
	ReasonARP      // address resolution
	ReasonNeighbor // neighbour discovery
	ReasonRouter   // echo request to the implicit router
	// Dropped: counted, explained, never recorded as REJECT.
	ReasonTruncated // from here in the order of packet.Malformed
	ReasonVLAN
	ReasonEtherType
	ReasonBadARP
	ReasonBadIPv4
	ReasonBadIPv6
	ReasonBadTCP
	ReasonBadUDP
	ReasonBadICMP
	ReasonBadND
	ReasonBadFragment
	ReasonTinyFragment
	ReasonOversize        // larger than the port's MTU, or a segment larger than the output's
	ReasonBadGSO          // super-frame metadata that does not fit its frame
	ReasonSpoofedMAC      // source MAC is not the interface's
	ReasonSpoofedIP       // source address is not the interface's (source/dest check)
	ReasonMulticast       // a VPC carries no broadcast and no multicast
	ReasonUnknownMAC      // destination MAC is neither the router's nor an interface's of the subnet
	ReasonARPUnanswered   // asks for an address that nobody in the subnet has, or for its own
	ReasonNDUnanswered    // the same for neighbour discovery, and router solicitations
	ReasonLinkLocal       // link-local traffic other than neighbour discovery
	ReasonRouterAddress   // for the router's address, and not an echo request
	ReasonNoRoute         // no route of the subnet's route table matches
	ReasonBlackhole       // the route's target is gone
	ReasonNoDestination   // no interface of the VPC has the address
	ReasonSourceDestCheck // the receiving interface does not own the destination address
	ReasonFragment        // a later fragment whose first was not seen
	ReasonTableFull       // conntrack_allowance_exceeded
	ReasonDetached        // the interface is not attached to a port
	ReasonPortFull        // the output took no more
	numReasons
)

var reasonNames = [numReasons]string{
	ReasonNone: "none", ReasonRule: "rule", ReasonReply: "reply", ReasonNoRule: "no_rule", ReasonAfterClose: "after_close",
	ReasonARP: "arp_reply", ReasonNeighbor: "neighbor_advertisement", ReasonRouter: "router_echo_reply",
	ReasonTruncated: "truncated", ReasonVLAN: "vlan", ReasonEtherType: "ethertype", ReasonBadARP: "bad_arp", ReasonBadIPv4: "bad_ipv4",
	ReasonBadIPv6: "bad_ipv6", ReasonBadTCP: "bad_tcp", ReasonBadUDP: "bad_udp", ReasonBadICMP: "bad_icmp", ReasonBadND: "bad_nd",
	ReasonBadFragment: "bad_fragment", ReasonTinyFragment: "tiny_fragment", ReasonOversize: "oversize", ReasonBadGSO: "bad_gso",
	ReasonSpoofedMAC: "spoofed_mac", ReasonSpoofedIP: "spoofed_ip", ReasonMulticast: "multicast", ReasonUnknownMAC: "unknown_mac",
	ReasonARPUnanswered: "arp_unanswered", ReasonNDUnanswered: "nd_unanswered", ReasonLinkLocal: "link_local", ReasonRouterAddress: "router_address",
	ReasonNoRoute: "no_route", ReasonBlackhole: "blackhole", ReasonNoDestination: "no_destination",
	ReasonSourceDestCheck: "source_dest_check", ReasonFragment: "fragment_without_first",
	ReasonTableFull: "conntrack_allowance_exceeded", ReasonDetached: "detached", ReasonPortFull: "port_full",
}

// String is the name used by counters.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Accepted tells whether the frame went on.
func (r Reason) Accepted() bool { return r == ReasonRule || r == ReasonReply }

// Rejected tells whether the frame is recorded as REJECT.
func (r Reason) Rejected() bool { return r == ReasonNoRule || r == ReasonAfterClose }

// Answered tells whether the switch itself took the frame and replied.
func (r Reason) Answered() bool { return r >= ReasonARP && r <= ReasonRouter }

// Dropped tells whether the frame was lost without a record.
func (r Reason) Dropped() bool { return r >= ReasonTruncated }

// malformedReason names why a frame did not parse.
func malformedReason(m packet.Malformed) Reason {
	return ReasonTruncated + Reason(m-packet.Truncated)
}
