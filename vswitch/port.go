package vswitch

import "github.com/vpclab/vpclab/packet"

// MaxFrame is the largest frame a port may hand over: an Ethernet header and a super-frame of
// 65,535 bytes (linux/netdevice.h GSO_LEGACY_MAX_SIZE).
const MaxFrame = 14 + 65535

// Frame is one Ethernet frame, or one super-frame that stands for many.
// Its bytes are borrowed: they belong to the batch it was read into and hold until that batch is reset.
type Frame struct {
	Buf []byte
	GSO packet.GSO
	// Tail is payload that follows Buf: of a super-frame that the switch merged, for ports whose Offload has
	// Gather. It is nil in all other frames.
	Tail [][]byte
}

// Len is the length of the whole frame.
func (f *Frame) Len() int {
	n := len(f.Buf)
	for _, t := range f.Tail {
		n += len(t)
	}
	return n
}

// MaxTail is the most pieces that a Tail has.
const MaxTail = BatchSize

// Offload says which unfinished frames a port accepts in Write. What it does not accept, the switch
// completes first: checksums are filled in, super-frames are split.
type Offload struct {
	Csum, TSO4, TSO6, USO, ECN bool

	// Gather: a frame may come in pieces (Frame.Tail), and the switch may therefore merge frames of a
	// flow into super-frames of the kinds above, because a write costs more than the pieces.
	Gather bool
}

// Port is the data plane's end of an instance's link.
type Port interface {
	// Name is shown in counters and messages.
	Name() string

	// MTU is the largest IP packet, in bytes, that the link carries as one wire frame.
	MTU() int

	// Offload must not change while the port is attached.
	Offload() Offload

	// Queues is the number of queues; the switch runs one worker for each.
	Queues() int

	// Read blocks for one frame, then takes what is there without blocking until b is full.
	// One goroutine a queue calls it. It acquires b's slab only when frames are there and holds
	// none while it waits. After Close it returns net.ErrClosed.
	Read(q int, b *Batch) error

	// Write sends frames in order and returns how many were taken; the caller counts the rest as
	// dropped. It never blocks, borrows the frames until it returns, and may be called concurrently;
	// q is the writing worker's own number, to spread load, and may be any non-negative number.
	Write(q int, frames []*Frame) int

	// Close releases the link and unblocks Read. It is idempotent.
	Close() error
}
