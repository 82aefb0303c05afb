package vswitch

import (
	"sync"

	"github.com/vpclab/vpclab/packet"
)

// BatchSize is the most frames of one batch: beyond 32 more frames a wake-up gain nothing.
const BatchSize = 32

// slabSize leaves room for a full batch of wire frames of the VPC's MTU, or for three super-frames.
const slabSize = 4*MaxFrame + 1024

var slabs = sync.Pool{New: func() any { return new([slabSize]byte) }}

// Batch is a port's frames of one wake-up. Frames are views of one slab that is borrowed when the
// first frame is there and given back before the reader parks, so that idle ports cost nothing.
// A batch belongs to one goroutine.
type Batch struct {
	slab   *[slabSize]byte
	used   int
	n      int
	frames [BatchSize]Frame
}

// Acquire borrows a slab, if the batch has none.
func (b *Batch) Acquire() {
	if b.slab == nil {
		b.slab = slabs.Get().(*[slabSize]byte)
	}
}

// Release empties the batch and gives the slab back; all its frames become invalid.
func (b *Batch) Release() {
	b.Reset()
	if b.slab != nil {
		slabs.Put(b.slab)
		b.slab = nil
	}
}

// Reset empties the batch but keeps its slab.
func (b *Batch) Reset() { b.used, b.n = 0, 0 }

// Next returns room for one frame of up to MaxFrame bytes, or nil when the batch is full. It acquires a slab where none is held.
func (b *Batch) Next() []byte {
	if b.n == BatchSize || b.used+MaxFrame > slabSize {
		return nil
	}
	b.Acquire()
	return b.slab[b.used : b.used+MaxFrame : b.used+MaxFrame]
}

// Commit adds the frame that was put into the first n bytes of what Next returned.
func (b *Batch) Commit(n int, g packet.GSO) {
	b.frames[b.n] = Frame{Buf: b.slab[b.used : b.used+n : b.used+n], GSO: g}
	b.n++
	b.used += (n + 63) &^ 63 // frames start on cache lines
}

// Len is the number of frames.
func (b *Batch) Len() int { return b.n }

// Frame returns frame i.
func (b *Batch) Frame(i int) *Frame { return &b.frames[i] }
