package conntrack

import (
	"time"

	"github.com/vpclab/vpclab/packet"
)

// State is where a flow stands, as one interface sees it. TCP's names are the kernel's
// (nf_conntrack_proto_tcp.c).
type State uint8

// States. The zero State is none.
const (
	SynSent     State = iota + 1 // the opener's SYN
	SynRecv                      // answered by a SYN
	PickedUp                     // first seen mid-stream, one direction only so far
	Established                  //
	FinWait                      // one side has sent its FIN
	LastAck                      // both have, and not both are acknowledged
	TimeWait                     // closed in order
	Close                        // closed by RST
	UDPRequest                   // one direction only
	UDPReplied                   // a single request-response
	UDPAgain                     // another request after it
	UDPStream                    // more than one request-response
	ICMPQuery                    // ICMP and ICMPv6
	Other                        // other protocols
	Rejected                     // whatever the protocol: a remembered rejection
	stateCount  = iota + 1
)

var stateNames = [stateCount]string{
	"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "ESTABLISHED", "FIN_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
	"REQUEST", "REPLIED", "REPLIED", "STREAM", "QUERY", "OTHER", "REJECTED",
}

// String returns the kernel's name, where it has one.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return stateNames[0]
}

// A half's state word: last seen in milliseconds, then state and flags, then the number of its limits.
const (
	stateShift  = 32
	openerBit   = 1 << 36 // set: Out
	trackedBit  = 1 << 37
	pickedBit   = 1 << 38
	seenShift   = 40 // a bit for each direction, also of the next two
	finShift    = 42
	ackedShift  = 44 // this direction's FIN was acknowledged
	limitsShift = 48

	stateMask = uint64(0xf) << stateShift
	seenBoth  = uint64(3) << seenShift
	finBoth   = uint64(3) << finShift
	ackedBoth = uint64(3) << ackedShift
	lastMask  = uint64(0xffff_ffff)
)

func stateOf(w uint64) State             { return State(w >> stateShift & 0xf) }
func withState(w uint64, s State) uint64 { return w&^stateMask | uint64(s)<<stateShift }
func seen(d Dir) uint64                  { return 1 << (seenShift + d&1) }
func fin(d Dir) uint64                   { return 1 << (finShift + d&1) }
func acked(d Dir) uint64                 { return 1 << (ackedShift + d&1) }

func openerOf(w uint64) Dir {
	if w&openerBit != 0 {
		return Out
	}
	return In
}

// Init says how a half begins.
type Init struct {
	Opener   Dir  // direction of the first packet
	Tracked  bool // in AWS's sense
	Rejected bool // the verdict is a rejection: the half is short-lived and counts for MaxRejectedShare

	// Timeouts are the interface's; nil for the defaults. They are copied.
	Timeouts *Timeouts

	TCPFlags uint8  // of the first packet; it is not to be given to Track again
	TCPSeq   uint32 // of the first packet, and the bytes it carries: matters only if it is a FIN
	TCPLen   uint32
}

// first is the state word of a new half.
func (in *Init) first(proto uint8, limits uint16, ms uint32) uint64 {
	w := uint64(ms) | uint64(limits)<<limitsShift | seen(in.Opener)
	if in.Opener&1 == Out {
		w |= openerBit
	}
	if in.Tracked {
		w |= trackedBit
	}
	switch {
	case in.Rejected:
		return withState(w, Rejected)
	case proto == packet.ProtoTCP:
		return in.firstTCP(w)
	case proto == packet.ProtoUDP:
		return withState(w, UDPRequest)
	case proto == packet.ProtoICMP || proto == packet.ProtoICMPv6:
		return withState(w, ICMPQuery)
	}
	return withState(w, Other)
}

// State is where the flow stands.
func (h *Half) State() State { return stateOf(h.state.Load()) }

// Opener is the direction of the packet that opened the flow.
func (h *Half) Opener() Dir { return openerOf(h.state.Load()) }

// Tracked reports whether the flow is tracked in AWS's sense: it outlives the rule that admitted it.
func (h *Half) Tracked() bool { return h.state.Load()&trackedBit != 0 }

// SetTracked changes that, and leaves all else as it is.
func (h *Half) SetTracked(tracked bool) {
	if tracked {
		h.state.Or(trackedBit)
	} else {
		h.state.And(^uint64(trackedBit))
	}
}

// Rejected reports whether the half remembers a rejection.
func (h *Half) Rejected() bool { return h.State() == Rejected }

// PickedUp reports whether the half's first packet was not the connection's.
func (h *Half) PickedUp() bool { return h.state.Load()&pickedBit != 0 }

// HalfOpen reports whether only one side has spoken so far, or TCP's handshake is not done. Such
// halves are given up first when the table is full.
func (h *Half) HalfOpen() bool { return halfOpen(h.state.Load()) }

func halfOpen(w uint64) bool {
	switch stateOf(w) {
	case SynSent, SynRecv, PickedUp, UDPRequest:
		return true
	case ICMPQuery, Other:
		return w&seenBoth != seenBoth
	}
	return false
}

// LastSeen is the time of the flow's last packet, to about 1/16 s, given the present time.
func (h *Half) LastSeen(now int64) int64 { return nanos(uint32(h.state.Load()), now) }

// ExpiresIn is the time until the half times out unless a packet comes; 0 or less: it has.
func (h *Half) ExpiresIn(now int64) time.Duration {
	w := h.state.Load()
	left := int64(limit(w)) - int64(since(millis(now), uint32(w)))
	return time.Duration(left) * time.Millisecond
}

func expired(w uint64, ms uint32) bool { return since(ms, uint32(w)) > limit(w) }
