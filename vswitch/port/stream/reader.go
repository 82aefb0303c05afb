package stream

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// headerLen is the length of a frame's length.
const headerLen = 4

// errLength is what a peer does that does not speak the framing, or no longer: nothing after it can be read.
var errLength = errors.New("the peer announced a frame of 0 bytes or of more than 65549")

// reader takes frames out of a byte stream. It belongs to one goroutine.
type reader struct {
	src io.Reader
	buf [128 << 10]byte // room for the largest frame, and for many in one system call
	r   int             // first byte not handed over
	w   int             // end of what was read
}

// read waits for one frame and adds those that are whole to the batch, until that is full. Part of a frame is kept
// for the next call. No slab is held while it waits. An error comes only when no whole frame is left.
func (r *reader) read(b *vswitch.Batch) error {
	for {
		err := r.take(b)
		if b.Len() > 0 {
			return nil // an error comes again
		}
		b.Release()
		if err != nil {
			return err
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// take moves whole frames into the batch.
func (r *reader) take(b *vswitch.Batch) error {
	for r.w-r.r >= headerLen {
		n := binary.BigEndian.Uint32(r.buf[r.r:])
		if n == 0 || n > vswitch.MaxFrame {
			return errLength
		}
		end := r.r + headerLen + int(n)
		if end > r.w {
			return nil
		}
		room := b.Next()
		if room == nil {
			return nil
		}
		b.Commit(copy(room, r.buf[r.r+headerLen:end]), packet.GSO{})
		r.r = end
	}
	return nil
}

// fill waits for at least one byte. What is left of the last read goes to the front first: it is less than a frame.
func (r *reader) fill() error {
	r.w = copy(r.buf[:], r.buf[r.r:r.w])
	r.r = 0
	for {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		if n > 0 {
			return nil // an error comes again
		}
		if err != nil {
			return err
		}
	}
}

// inside says whether the stream stopped within a frame.
func (r *reader) inside() bool { return r.w > r.r }
