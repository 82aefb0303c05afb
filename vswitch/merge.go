package vswitch

import "github.com/vpclab/vpclab/packet"

// mergeSlots is the size of the index over the runs of one output: a power of two, twice a batch and more.
const mergeSlots = 128

// merger joins the frames of one output that belong to one flow into super-frames, as GRO does. It
// looks across the whole batch, not only at neighbours; a flow's frames keep their order, and nothing
// waits for the next batch. Its state is one output's and starts empty each time.
type merger struct {
	runs  [BatchSize]packet.Run
	heads [BatchSize]*packet.Headers // of each run's first frame
	place [BatchSize]uint8           // of the first frame, in the output
	tails [BatchSize][][]byte
	n     int
	index [mergeSlots]uint8 // number of a run, from 1
}

// merge does what the port's offload allows and shortens the output accordingly.
func (m *merger) merge(out *output) {
	if !out.link.offload.Gather || out.n < 2 {
		return
	}
	kept := 0
	for i := range out.n {
		f, h := out.frames[i], out.heads[i]
		if j := m.join(f, h, out.link); j >= 0 {
			at := m.place[j]
			out.sizes[at].packets += out.sizes[i].packets
			out.sizes[at].bytes += out.sizes[i].bytes
			continue
		}
		if m.n > 0 && m.place[m.n-1] == unplaced {
			m.place[m.n-1] = uint8(kept)
		}
		out.frames[kept], out.sizes[kept] = f, out.sizes[i]
		kept++
	}
	out.merged = uint64(out.n - kept)
	out.n = kept
	m.finish(out)
}

// unplaced is the place of a run whose first frame is just being put into the output.
const unplaced = 0xff

// join adds a frame to its flow's run and returns the run's number, or starts a run and returns -1.
func (m *merger) join(f *Frame, h *packet.Headers, l *link) int {
	if h == nil || h.Kind != packet.IPv4 && h.Kind != packet.IPv6 || !l.offload.merges(h) {
		return -1
	}
	if h.Frag == packet.LaterFragment { // of whichever flow
		m.closeAll()
		return -1
	}
	slot := m.find(h)
	if n := m.index[slot]; n != 0 {
		r := &m.runs[n-1]
		if tail, ok := r.Take(f.Buf, h, f.GSO); ok {
			m.tails[n-1] = append(m.tails[n-1], tail)
			return int(n - 1)
		}
		r.Close()
	}
	if m.n == len(m.runs) {
		return -1
	}
	m.runs[m.n].Start(f.Buf, h, f.GSO)
	if !m.runs[m.n].Open() {
		return -1 // the flow's run before it, if any, is closed
	}
	m.heads[m.n], m.place[m.n], m.tails[m.n] = h, unplaced, m.tails[m.n][:0]
	m.n++
	m.index[slot] = uint8(m.n)
	return -1
}

// merges tells whether the port takes super-frames of the kind that h's flow would make.
func (o *Offload) merges(h *packet.Headers) bool {
	switch {
	case !o.Csum:
		return false
	case h.Proto == packet.ProtoUDP:
		return o.USO
	case h.Proto != packet.ProtoTCP:
		return false
	case h.Kind == packet.IPv4:
		return o.TSO4
	}
	return o.TSO6
}

// find gives the slot of h's flow, or the empty one where it would be.
func (m *merger) find(h *packet.Headers) int {
	x := uint32(h.SrcPort)<<16 | uint32(h.DstPort)
	x ^= uint32(h.Src[15]) | uint32(h.Src[14])<<8 | uint32(h.Dst[15])<<16 | uint32(h.Dst[14])<<24
	x *= 0x9e3779b1
	for slot := int(x >> 25); ; slot = (slot + 1) % mergeSlots {
		n := m.index[slot]
		if n == 0 {
			return slot
		}
		r := m.heads[n-1]
		if r.SrcPort == h.SrcPort && r.DstPort == h.DstPort && r.Proto == h.Proto && r.Src == h.Src && r.Dst == h.Dst {
			return slot
		}
	}
}

func (m *merger) closeAll() {
	for i := range m.runs[:m.n] {
		m.runs[i].Close()
	}
}

// finish writes the super-frames' headers and forgets all runs.
func (m *merger) finish(out *output) {
	for i := range m.runs[:m.n] {
		r := &m.runs[i]
		if r.Segments() > 1 {
			f := out.frames[m.place[i]]
			f.GSO = r.Finish()
			f.Buf, f.Tail = f.Buf[:m.heads[i].End], m.tails[i]
		}
		m.heads[i] = nil
	}
	m.n = 0
	clear(m.index[:])
}
