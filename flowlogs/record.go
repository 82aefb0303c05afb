package flowlogs

import (
	"net/netip"
	"slices"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// Interface is what records say about the network interface they were taken at.
// It is immutable once it was handed over; an empty string is written "-".
type Interface struct {
	ID         string // "eni-..."
	AccountID  string
	VPCID      string
	SubnetID   string
	InstanceID string // "" for an interface that AWS manages, such as a NAT gateway's
	Region     string
	ZoneID     string // "use1-az1"

	Primary4, Primary6 netip.Addr // zero where the interface has none
	Addresses          []netip.Addr
}

// owns says whether a is one of the interface's own addresses.
func (i *Interface) owns(a netip.Addr) bool {
	return slices.Contains(i.Addresses, a)
}

// shown gives the address that stands for the interface in srcaddr or dstaddr where the packet had a.
// IPv4 is always the primary private address, also for a secondary one or one that is not the
// interface's. IPv6 has no such rule: an own address stands for itself.
func (i *Interface) shown(a netip.Addr) netip.Addr {
	primary := i.Primary6
	if a.Is4() {
		primary = i.Primary4
	} else if i.owns(a) {
		return a
	}
	if !primary.IsValid() {
		return a
	}
	return primary
}

// Action is what became of a flow's packets.
type Action uint8

// Actions. The zero value is no action: that of a NODATA record, and "any" in a Filter.
const (
	Accept Action = iota + 1
	Reject
)

// String gives AWS's word, "-" for no action.
func (a Action) String() string {
	switch a {
	case Accept:
		return "ACCEPT"
	case Reject:
		return "REJECT"
	}
	return "-"
}

// Status is a record's log-status.
type Status uint8

// The log-status values of AWS.
const (
	OK       Status = iota // a flow
	NoData                 // the interface had no traffic in the window
	SkipData               // flows of the interface could not be recorded in the window
)

// String gives AWS's word.
func (s Status) String() string {
	switch s {
	case NoData:
		return "NODATA"
	case SkipData:
		return "SKIPDATA"
	}
	return "OK"
}

// Flow is what was counted of one flow in one direction at one network interface.
// It holds no pointer.
type Flow struct {
	// Tuple is that of the packets, as the interface saw them (pkt-srcaddr, pkt-dstaddr).
	Tuple     packet.Tuple
	Direction vpc.Direction
	Action    Action
	// Reason and Rule belong to the latest packet that was counted. They are the data plane's
	// numbers; AWS's lines do not show them.
	Reason uint8
	// TrafficPath is AWS's number for the way out of an egress flow; 0 where it has none.
	TrafficPath uint8
	// TCPFlags holds FIN, SYN and RST of all packets, and ACK if some packet was a SYN-ACK.
	TCPFlags uint8
	Rule     uint32
	Packets  uint64
	Bytes    uint64 // sum of the IP total lengths
	// First and Last are when the first and the last packet came, in Unix nanoseconds.
	First, Last int64
}

// Record is one line of a flow log.
type Record struct {
	Interface *Interface
	// Flow of a SKIPDATA record has only Packets, Bytes, First and Last: what was not recorded.
	Flow
	Status     Status
	Window     Window // the aggregation interval it was counted in
	Start, End int64  // as written, in Unix seconds
}

// SrcAddr is what srcaddr shows; Tuple.Src is the packet's own (pkt-srcaddr).
func (r *Record) SrcAddr() netip.Addr {
	a := r.Tuple.Src.Netip()
	if r.Direction == vpc.Egress {
		return r.Interface.shown(a)
	}
	return a
}

// DstAddr is what dstaddr shows; Tuple.Dst is the packet's own (pkt-dstaddr).
func (r *Record) DstAddr() netip.Addr {
	a := r.Tuple.Dst.Netip()
	if r.Direction == vpc.Ingress {
		return r.Interface.shown(a)
	}
	return a
}

// recordFlags leaves what a record may show: FIN, SYN and RST, and ACK only beside SYN.
func recordFlags(proto, flags uint8) uint8 {
	if proto != packet.ProtoTCP {
		return 0
	}
	if flags&packet.SYN == 0 {
		return flags & (packet.FIN | packet.RST)
	}
	return flags & (packet.FIN | packet.SYN | packet.RST | packet.ACK)
}

// recordTuple takes ICMP's identifiers, types and codes out: records show its ports as 0,
// and all packets of a pair of addresses are one flow.
func recordTuple(t packet.Tuple) packet.Tuple {
	if t.Proto == packet.ProtoICMP || t.Proto == packet.ProtoICMPv6 {
		t.SrcPort, t.DstPort = 0, 0
	}
	return t
}
