package conntrack

import "github.com/vpclab/vpclab/packet"

// Outcome is what a half says of a packet.
type Outcome uint8

// Outcomes.
const (
	Pass    Outcome = iota // the packet belongs to the flow: its verdict holds
	Closed                 // it came after the connection was closed: AWS rejects it
	Reopen                 // a SYN on a closed connection: judge it as new, then Reset
	Expired                // the flow was idle too long: judge it as new, then Reset
)

var outcomeNames = [...]string{"pass", "closed", "reopen", "expired"}

// String names the outcome.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// Segment is what the state machine needs of a TCP packet. The zero Segment stands for other protocols.
type Segment struct {
	Flags    uint8
	Seq, Ack uint32
	Len      uint32 // bytes of payload; of a super-frame, all of them

	blind bool // only the flags are known
}

// SegmentOf takes a segment from headers.
func SegmentOf(h *packet.Headers) Segment {
	if h.Proto != packet.ProtoTCP {
		return Segment{}
	}
	return Segment{Flags: h.TCPFlags, Seq: h.TCPSeq, Ack: h.TCPAck, Len: uint32(max(h.End-h.Payload, 0))}
}

// refresh is how far, in milliseconds, "last seen" may lag behind, so that a hit seldom writes it.
const refresh = 64

// TrackSegment advances the flow by a packet of direction d. With any outcome but Pass, nothing is changed.
//
// A connection counts as closed when an RST was seen, or both FINs and the acknowledgement of each;
// Closed is what comes later but does not belong to the close itself (see tcp.go).
func (h *Half) TrackSegment(d Dir, s Segment, now int64) Outcome {
	ms := millis(now)
	for {
		old := h.state.Load()
		idle := since(ms, uint32(old))
		if idle >= refresh && idle > limit(old) {
			return Expired
		}
		next, out := h.step(old, d&1, &s)
		if out != Pass {
			return out
		}
		if next != old || idle >= refresh {
			next = next&^lastMask | uint64(uint32(old)+idle)
		}
		if next == old || h.state.CompareAndSwap(old, next) {
			return Pass
		}
	}
}

// Track is TrackSegment for callers that know only the flags. It takes any acknowledgement after a FIN
// for one of the FIN, and PSH for data, so that it may see a connection closed too early when packets
// were lost near its end.
func (h *Half) Track(d Dir, tcpFlags uint8, now int64) Outcome {
	return h.TrackSegment(d, Segment{Flags: tcpFlags, blind: true}, now)
}

// step is the state after a packet.
func (h *Half) step(w uint64, d Dir, s *Segment) (uint64, Outcome) {
	st := stateOf(w)
	switch {
	case st == Established && s.Flags&(packet.SYN|packet.FIN|packet.RST) == 0:
		return w, Pass
	case st <= Close:
		return h.stepTCP(w, d, s)
	case st <= UDPStream:
		return stepUDP(w, d), Pass
	}
	return w | seen(d), Pass
}

// stepUDP counts request-responses: a transaction is a packet of the opener and one of the other side.
func stepUDP(w uint64, d Dir) uint64 {
	st, request := stateOf(w), d == openerOf(w)
	switch {
	case st == UDPRequest && !request:
		st = UDPReplied
	case st == UDPReplied && request:
		st = UDPAgain
	case st == UDPAgain && !request:
		st = UDPStream
	}
	return withState(w, st) | seen(d)
}
