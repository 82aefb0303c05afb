package conntrack

import "github.com/vpclab/vpclab/packet"

// TCP as one interface sees it. Sequence numbers matter in one place only: where each FIN ended, so
// that the acknowledgement of a FIN is told from one of earlier data, and a retransmission of old data
// from new data after the close. A slot has 24 bits for each: an acknowledgement of a FIN is equal to
// its end, and retransmissions lie less than 8 MiB before it.

const (
	finBits      = 24
	finMask      = 1<<finBits - 1
	finEndShift  = 16 // of direction In in Half.ident; Out follows
	handshake    = packet.SYN | packet.ACK | packet.FIN | packet.RST
	synAckFlags  = packet.SYN | packet.ACK
	finRstFlags  = packet.FIN | packet.RST
	signExtender = 32 - finBits
)

// end is the sequence number behind the segment.
func (s *Segment) end() uint32 {
	e := s.Seq + s.Len
	if s.Flags&packet.SYN != 0 {
		e++
	}
	if s.Flags&packet.FIN != 0 {
		e++
	}
	return e
}

// finEnd is where direction d's FIN ended.
func (h *Half) finEnd(d Dir) uint32 {
	return uint32(h.ident.Load()>>(finEndShift+finBits*d)) & finMask
}

func (h *Half) setFinEnd(d Dir, end uint32) {
	shift := finEndShift + finBits*d
	for {
		old := h.ident.Load()
		next := old&^(finMask<<shift) | uint64(end&finMask)<<shift
		if next == old || h.ident.CompareAndSwap(old, next) {
			return
		}
	}
}

// acknowledges reports whether s, from the other side, acknowledges direction d's FIN.
func (h *Half) acknowledges(s *Segment, d Dir) bool {
	return s.Flags&packet.ACK != 0 && (s.blind || s.Ack&finMask == h.finEnd(d))
}

// old reports whether s holds nothing beyond direction d's FIN.
func (h *Half) old(s *Segment, d Dir) bool {
	return int32((s.end()-h.finEnd(d))<<signExtender) <= 0
}

// firstTCP is the state after a connection's first packet that was seen.
func (in *Init) firstTCP(w uint64) uint64 {
	switch {
	case in.TCPFlags&packet.RST != 0:
		return withState(w|pickedBit, Close)
	case in.TCPFlags&handshake == packet.SYN:
		return withState(w, SynSent)
	case in.TCPFlags&packet.FIN != 0:
		w |= fin(in.Opener)
	}
	return withState(w|pickedBit, PickedUp)
}

// stepTCP is the state after a packet of direction d.
func (h *Half) stepTCP(w uint64, d Dir, s *Segment) (uint64, Outcome) {
	st := stateOf(w)
	switch {
	case st == TimeWait || st == Close:
		return w, h.afterClose(w, d, s)
	case s.Flags&packet.RST != 0:
		return withState(w|seen(d), Close), Pass
	case s.Flags&handshake == packet.SYN:
		return stepSYN(w, d)
	}
	w |= seen(d)
	switch {
	case st == SynSent:
		// A FIN or an ACK without the other side's SYN means nothing yet.
		if s.Flags&packet.SYN != 0 && d != openerOf(w) {
			w = withState(w, SynRecv)
		}
		return w, Pass
	case st == SynRecv && s.Flags&packet.ACK != 0 && d == openerOf(w),
		st == PickedUp && w&seenBoth == seenBoth:
		w = withState(w, Established)
	}
	return h.stepFIN(w, d, s), Pass
}

// stepSYN is what a SYN without ACK does while the connection is open.
func stepSYN(w uint64, d Dir) (uint64, Outcome) {
	switch stateOf(w) {
	case LastAck, PickedUp:
		// Both sides are done, or what there was of the old connection is hearsay: this is a new one.
		return w, Reopen
	case SynSent:
		if d != openerOf(w) { // simultaneous open, RFC 9293 section 3.5
			return withState(w|seen(d), SynRecv), Pass
		}
	}
	return w, Pass // a retransmission, or one that the other side answers with an ACK (RFC 5961 section 4)
}

// stepFIN notes FINs and their acknowledgements.
func (h *Half) stepFIN(w uint64, d Dir, s *Segment) uint64 {
	if other := 1 - d; w&fin(other) != 0 && h.acknowledges(s, other) {
		w |= acked(other)
	}
	if s.Flags&packet.FIN != 0 && w&fin(d) == 0 {
		h.setFinEnd(d, s.end())
		w |= fin(d)
	}
	switch {
	case w&finBoth == finBoth && w&ackedBoth == ackedBoth:
		return withState(w, TimeWait)
	case w&finBoth == finBoth:
		return withState(w, LastAck)
	case w&finBoth != 0 && stateOf(w) == Established:
		return withState(w, FinWait)
	}
	return w
}

// afterClose tells the end of an orderly close from what is really late. What the kernel still sends
// then: the last ACK again, a retransmitted FIN and the data before it (its acknowledgement was lost on
// the way after it passed here), ACKs of those, and RSTs of a side whose socket is gone.
func (h *Half) afterClose(w uint64, d Dir, s *Segment) Outcome {
	switch {
	case s.Flags&packet.RST != 0:
		return Pass
	case s.Flags&handshake == packet.SYN:
		return Reopen
	case s.Flags&packet.SYN != 0 || w&finBoth == 0:
		return Closed
	case s.blind && s.Flags&packet.FIN != 0, s.blind && s.Flags&packet.PSH == 0:
		return Pass
	case s.blind:
		return Closed
	case w&fin(d) != 0:
		if s.Len == 0 && s.Flags&packet.FIN == 0 || h.old(s, d) {
			return Pass
		}
	case s.Len == 0: // an RST came on a half-closed connection: the other side's own close crosses it
		return Pass
	}
	return Closed
}
