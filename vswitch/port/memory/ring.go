package memory

import (
	"context"
	"net"
	"sync"

	"github.com/vpclab/vpclab/vswitch"
)

// ring is a bounded queue of frames. Its slots keep their buffers, so that after every slot has held
// a frame of the largest size nothing is allocated any more.
type ring struct {
	mu     sync.Mutex
	frames sync.Cond // readers wait for frames
	idle   sync.Cond // settle waits for a reader to park
	slots  []vswitch.Frame
	head   int // the oldest
	n      int
	parked int // readers that wait in wait
	closed bool
}

func newRing(depth int) *ring {
	r := &ring{slots: make([]vswitch.Frame, depth)}
	r.frames.L, r.idle.L = &r.mu, &r.mu
	return r
}

func (r *ring) push(frames []*vswitch.Frame) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := 0
	for _, f := range frames {
		if r.closed || r.n == len(r.slots) {
			break
		}
		s := &r.slots[(r.head+r.n)%len(r.slots)]
		s.Buf = append(s.Buf[:0], f.Buf...)
		for _, piece := range f.Tail {
			s.Buf = append(s.Buf, piece...)
		}
		s.GSO = f.GSO
		r.n++
		taken++
	}
	if taken > 0 {
		r.frames.Broadcast()
	}
	return taken
}

func (r *ring) shift() *vswitch.Frame {
	s := &r.slots[r.head]
	r.head = (r.head + 1) % len(r.slots)
	r.n--
	return s
}

func (r *ring) pop(f *vswitch.Frame) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 {
		return false
	}
	s := r.shift()
	f.Buf = append(f.Buf[:0], s.Buf...)
	f.GSO = s.GSO
	return true
}

func (r *ring) popInto(b *vswitch.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.n > 0 {
		room := b.Next()
		if room == nil {
			return
		}
		s := r.shift()
		b.Commit(copy(room, s.Buf), s.GSO)
	}
}

// wait parks until a frame is there; false means that the ring is closed and empty.
func (r *ring) wait() bool { return r.waitOr(nil) }

// waitOr is wait that also ends when stop, asked after every wake, says so.
func (r *ring) waitOr(stop func() bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.n == 0 && !r.closed && (stop == nil || !stop()) {
		r.parked++
		r.idle.Broadcast()
		r.frames.Wait()
		r.parked--
	}
	return r.n > 0 || !r.closed
}

// settle waits until the ring is empty and its reader waits for more.
func (r *ring) settle(ctx context.Context) error {
	defer context.AfterFunc(ctx, r.wake)()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.n > 0 || r.parked == 0 {
		if r.closed {
			return net.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r.idle.Wait()
	}
	return nil
}

func (r *ring) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames.Broadcast()
	r.idle.Broadcast()
}

func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.frames.Broadcast()
	r.idle.Broadcast()
}

func (r *ring) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}
