package vswitch

import (
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// emit is the first half of stage 8: the frame joins those for its output port.
func (w *worker) emit(p *passage) {
	if p.reason != ReasonNone {
		return
	}
	dst := p.legs[conntrack.In].eni
	if w.trace != nil {
		w.trace.delivered = dst
		return
	}
	w.out.add(dst.link, p.frame, &p.h, size{p.packets, p.bytes})
}

// outputs gathers a batch's frames by port, in order.
type outputs struct {
	n    int
	list [BatchSize + 1]output // one more: answers go back to the input
}

// output is what one port gets of one batch.
type output struct {
	link   *link
	n      int
	frames [2 * BatchSize]*Frame
	sizes  [2 * BatchSize]size
	heads  [2 * BatchSize]*packet.Headers // nil for the switch's own
	merged uint64                         // frames that became part of another
}

// size is what a frame stands for on a wire.
type size struct {
	packets uint32
	bytes   uint64 // of IP
}

func (o *outputs) add(l *link, f *Frame, h *packet.Headers, z size) {
	out := o.find(l)
	out.frames[out.n], out.heads[out.n], out.sizes[out.n] = f, h, z
	out.n++
}

func (o *outputs) find(l *link) *output {
	for i := range o.list[:o.n] {
		if o.list[i].link == l {
			return &o.list[i]
		}
	}
	out := &o.list[o.n]
	o.n++
	out.link, out.n, out.merged = l, 0, 0
	return out
}

// flush is the second half of stage 8: one write for each port. What a port takes no more of is dropped
// and counted at that port; nothing waits for it.
func (w *worker) flush() {
	for i := range w.out.list[:w.out.n] {
		out := &w.out.list[i]
		if out.whole() {
			w.merger.merge(out)
			w.tally.merged += out.merged
			w.send(out.link, out.frames[:out.n], out.sizes[:out.n])
		} else {
			w.sendEach(out)
		}
		clear(out.frames[:out.n])
	}
	w.out.n, w.replies.n = 0, 0
}

// whole tells whether the port takes all its frames as they are.
func (o *output) whole() bool {
	for _, f := range o.frames[:o.n] {
		if !o.link.takes(f) {
			return false
		}
	}
	return true
}

// send writes frames, and counts at their port what it took and what it did not.
func (w *worker) send(l *link, frames []*Frame, sizes []size) {
	n := l.port.Write(w.queue, frames)
	var taken size
	for i, z := range sizes {
		if i < n {
			taken.packets += z.packets
			taken.bytes += z.bytes
		} else {
			w.drop(l, ReasonPortFull, z.packets)
		}
	}
	l.counts.sent.Add(uint64(n))
	l.counts.sentPackets.Add(uint64(taken.packets))
	l.counts.sentBytes.Add(taken.bytes)
}

// drop counts packets that were lost on their way out, at the port that they were for.
func (w *worker) drop(l *link, r Reason, packets uint32) {
	l.counts.reasons[r].Add(uint64(packets))
}

// sendEach finishes what the port cannot: checksums are completed and super-frames split, in order.
func (w *worker) sendEach(out *output) {
	for i, f := range out.frames[:out.n] {
		if out.link.takes(f) {
			w.send(out.link, out.frames[i:i+1], out.sizes[i:i+1])
			continue
		}
		w.sendFinished(out.link, f, out.sizes[i].packets)
	}
}

func (w *worker) sendFinished(l *link, f *Frame, packets uint32) {
	if f.GSO.Type == packet.GSONone {
		if f.GSO.NeedsCsum && !l.offload.Csum && !packet.CompleteChecksum(f.Buf, f.GSO) {
			w.drop(l, ReasonBadGSO, packets)
			return
		}
		f.GSO = packet.GSO{}
		if len(f.Buf)-packet.EthernetLen > l.mtu {
			w.drop(l, ReasonOversize, packets)
			return
		}
		w.sendOne(l, f)
		return
	}
	w.split(l, f, packets)
}

func (w *worker) sendOne(l *link, f *Frame) {
	w.one[0], w.oneSize[0] = f, size{1, uint64(len(f.Buf) - packet.EthernetLen)}
	w.send(l, w.one[:], w.oneSize[:])
}

// split sends a super-frame as the wire frames that it stands for.
func (w *worker) split(l *link, f *Frame, packets uint32) {
	w.headers.Parse(f.Buf) // cheap beside the split; the MACs are the output's by now
	if n := packet.SplitLen(&w.headers, f.GSO); n > len(w.segmentBuf) {
		w.segmentBuf = make([]byte, n) // kept: the next one will need it
	}
	w.segments, w.segmentSizes, w.segmentMTU = w.segments[:0], w.segmentSizes[:0], l.mtu
	w.tally.split++
	packet.Split(f.Buf, &w.headers, f.GSO, w.segmentBuf, w.keepSegment)
	if lost := packets - uint32(len(w.segments)); lost > 0 {
		w.drop(l, ReasonOversize, lost)
	}
	w.sendSegments(l)
}

// segment is Split's callback; bound once for each worker, so that splitting does not allocate.
func (w *worker) segment(b []byte) bool {
	if len(b)-packet.EthernetLen <= w.segmentMTU {
		w.segments = append(w.segments, Frame{Buf: b})
		w.segmentSizes = append(w.segmentSizes, size{1, uint64(len(b) - packet.EthernetLen)})
	}
	return true
}

func (w *worker) sendSegments(l *link) {
	w.segmentRefs = w.segmentRefs[:0]
	for i := range w.segments {
		w.segmentRefs = append(w.segmentRefs, &w.segments[i])
	}
	w.send(l, w.segmentRefs, w.segmentSizes)
}
