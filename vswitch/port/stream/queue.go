package stream

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/vpclab/vpclab/vswitch"
)

// queue holds frames, each with its length before it, until the connection takes them. All that is there goes
// out in one write: frames lie one behind the other, so that a batch needs no vector.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	waiting []byte // whole frames
	depth   int
	closed  bool
}

func newQueue(depth int) *queue {
	q := &queue{depth: depth}
	q.filled.L = &q.mu
	return q
}

// put adds frames while there is room and returns how many it took. One frame always finds room in an empty queue.
func (q *queue) put(p *Port, frames []*vswitch.Frame) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0
	}
	before := len(q.waiting)
	taken := 0
	for _, f := range frames {
		if p.carries(f) {
			if len(q.waiting) > 0 && len(q.waiting)+headerLen+len(f.Buf) > q.depth {
				break
			}
			q.waiting = binary.BigEndian.AppendUint32(q.waiting, uint32(len(f.Buf)))
			q.waiting = append(q.waiting, f.Buf...)
		}
		taken++
	}
	if before == 0 && len(q.waiting) > 0 {
		q.filled.Signal()
	}
	return taken
}

// send writes what is put, until the queue is closed or w fails.
func (q *queue) send(w io.Writer) error {
	var spare []byte
	for {
		batch, ok := q.swap(spare)
		if !ok {
			return nil
		}
		if _, err := w.Write(batch); err != nil {
			return err
		}
		spare = batch[:0]
	}
}

// swap waits for frames and takes them all; spare takes their place. false means that the queue is closed.
func (q *queue) swap(spare []byte) ([]byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return nil, false
	}
	batch := q.waiting
	q.waiting = spare
	return batch, true
}

// close lets the frames go that still wait.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.waiting = nil
	q.filled.Broadcast()
}
