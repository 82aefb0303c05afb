package memory

import (
	"context"
	"net"
	"slices"

	"github.com/vpclab/vpclab/vswitch"
)

// Inject copies frames into the queue q towards the switch and returns how many were taken; the
// rest are counted as InjectDrops. It never blocks.
func (p *Port) Inject(q int, frames ...*vswitch.Frame) int {
	n := p.in[q].push(frames)
	p.injected.Add(uint64(n))
	p.injectDrops.Add(uint64(len(frames) - n))
	return n
}

// InjectBytes is Inject of complete wire frames into queue 0.
func (p *Port) InjectBytes(frames ...[]byte) int {
	n := 0
	for _, buf := range frames {
		n += p.Inject(0, &vswitch.Frame{Buf: buf})
	}
	return n
}

// Settle waits until all that was injected has been handled: the queues are empty and the reader of
// each is back in Read and waiting. As a worker runs each batch to its end before it reads again,
// nothing of what was injected before the call is under way in the switch afterwards.
// It returns ctx's error, or net.ErrClosed.
func (p *Port) Settle(ctx context.Context) error {
	for _, r := range p.in {
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Pending is the number of frames that the switch has written and nobody has taken.
func (p *Port) Pending() int { return p.out.len() }

// Take moves the oldest written frame into f, reusing f.Buf's capacity, and reports whether there was one.
func (p *Port) Take(f *vswitch.Frame) bool { return p.out.pop(f) }

// Drain takes all written frames and hands each to fn, which borrows it until it returns.
func (p *Port) Drain(fn func(*vswitch.Frame)) int {
	var f vswitch.Frame
	n := 0
	for ; p.out.pop(&f); n++ {
		fn(&f)
	}
	return n
}

// Receive waits for a written frame and returns a copy of it. It returns ctx's error, or
// net.ErrClosed when the port is closed and empty.
func (p *Port) Receive(ctx context.Context) (vswitch.Frame, error) {
	stop := context.AfterFunc(ctx, p.out.wake)
	defer stop()
	var f vswitch.Frame
	for {
		if p.out.pop(&f) {
			return f, nil
		}
		if err := ctx.Err(); err != nil {
			return f, err
		}
		if !p.out.waitOr(func() bool { return ctx.Err() != nil }) {
			return f, net.ErrClosed
		}
	}
}

// Repeat returns a Source that yields frames round and round, n in all over all queues together
// when there is one queue, n for each queue otherwise. n below 0 means without end.
// The frames must not change while it is in use.
func Repeat(queues int, frames []vswitch.Frame, n int) func(q int, b *vswitch.Batch) bool {
	type cursor struct {
		next, left int
		_          [48]byte // queues on their own cache lines
	}
	frames = slices.Clone(frames)
	cursors := make([]cursor, max(queues, 1))
	for i := range cursors {
		cursors[i].left = n
	}
	return func(q int, b *vswitch.Batch) bool {
		c, some := &cursors[q], false
		for c.left != 0 {
			room := b.Next()
			if room == nil {
				break
			}
			f := &frames[c.next]
			b.Commit(copy(room, f.Buf), f.GSO)
			if c.next++; c.next == len(frames) {
				c.next = 0
			}
			c.left, some = c.left-1, true
		}
		return some
	}
}
