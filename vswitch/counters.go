package vswitch

import "sync/atomic"

// tally is what one worker counts while it runs a batch, without atomics.
type tally struct {
	frames, packets, bytes uint64 // received: frames and super-frames, wire packets, IP bytes
	split                  uint64 // super-frames split for an output without offload
	merged                 uint64 // frames that became part of a super-frame
	reasons                [numReasons]uint64
}

// counts is a tally that others may read at any time.
type counts struct {
	frames, packets, bytes atomic.Uint64
	// what other ports' workers wrote here
	sent, sentPackets, sentBytes atomic.Uint64
	split                        atomic.Uint64
	merged                       atomic.Uint64
	reasons                      [numReasons]atomic.Uint64
}

// take adds a batch's tally and clears it.
func (c *counts) take(t *tally) {
	c.frames.Add(t.frames)
	c.packets.Add(t.packets)
	c.bytes.Add(t.bytes)
	c.split.Add(t.split)
	c.merged.Add(t.merged)
	for r, n := range t.reasons {
		if n != 0 {
			c.reasons[r].Add(n)
		}
	}
	*t = tally{}
}

// Counters are totals since the port was attached, or since the switch was made.
// Packets and Reasons count wire packets: a super-frame counts its segments.
type Counters struct {
	Frames      uint64            `json:"frames"`       // frames and super-frames read from the port
	Packets     uint64            `json:"packets"`      // wire packets they stand for
	Bytes       uint64            `json:"bytes"`        // their IP bytes; 0 for what is not IP
	Split       uint64            `json:"split"`        // of these, super-frames split for an output without offload
	Merged      uint64            `json:"merged"`       // of these, frames that became part of a super-frame on their way out
	Sent        uint64            `json:"sent"`         // frames and super-frames written to the port
	SentPackets uint64            `json:"sent_packets"` // wire packets they stand for
	SentBytes   uint64            `json:"sent_bytes"`   // their IP bytes
	Reasons     map[string]uint64 `json:"reasons"`      // wire packets by what became of them; without zeros
}

func (c *counts) addTo(out *Counters) {
	out.Frames += c.frames.Load()
	out.Packets += c.packets.Load()
	out.Bytes += c.bytes.Load()
	out.Sent += c.sent.Load()
	out.SentPackets += c.sentPackets.Load()
	out.SentBytes += c.sentBytes.Load()
	out.Split += c.split.Load()
	out.Merged += c.merged.Load()
	for r := range c.reasons {
		if n := c.reasons[r].Load(); n != 0 {
			out.Reasons[Reason(r).String()] += n
		}
	}
}

// Lost gives the counters of packets that were lost without a record, by name.
func (c *Counters) Lost() map[string]uint64 {
	out := map[string]uint64{}
	for r := ReasonTruncated; r < numReasons; r++ {
		if n := c.Reasons[r.String()]; n != 0 {
			out[r.String()] = n
		}
	}
	return out
}

// Dropped sums Lost.
func (c *Counters) Dropped() (n uint64) {
	for _, v := range c.Lost() {
		n += v
	}
	return n
}
