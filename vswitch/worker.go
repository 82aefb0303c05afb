package vswitch

import (
	"sync/atomic"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// worker runs the frames of one queue of one port from read to write. All of it but snap belongs to
// one goroutine.
type worker struct {
	sw     *Switch
	table  *conntrack.Table
	reader *conntrack.Reader
	link   *link // where the frames come from
	queue  int

	snap atomic.Pointer[Snapshot] // what this worker runs on; nil between batches

	cur      *Snapshot
	src      *eni // the interface that the port belongs to
	now      int64
	tally    tally
	batch    Batch
	passages [BatchSize]passage
	lookups  lookups
	opened   bool // a frame of this batch made a half
	out      outputs
	replies  replies
	merger   merger
	trace    *Trace // nil in traffic

	// for frames that their output cannot take as they are
	headers      packet.Headers
	one          [1]*Frame
	oneSize      [1]size
	segmentMTU   int
	segmentBuf   []byte
	segments     []Frame
	segmentSizes []size
	segmentRefs  []*Frame
	keepSegment  func([]byte) bool
}

func newWorker(sw *Switch, t *conntrack.Table, l *link, queue int) *worker {
	w := &worker{sw: sw, table: t, reader: t.NewReader(), link: l, queue: queue}
	w.keepSegment = w.segment
	return w
}

// enter takes the snapshot that the whole batch runs on. It is read after the frames: a change that
// was applied before a frame was sent holds for that frame.
func (w *worker) enter() {
	for {
		s := w.sw.snap.Load()
		w.snap.Store(s)
		if w.sw.snap.Load() == s { // else the publisher may not have seen that s is in use
			w.cur = s
			break
		}
	}
	w.reader.Enter()
	w.src = w.cur.eni(w.link.num)
	if w.src != nil && w.src.link != w.link {
		w.src = nil
	}
	w.now = w.sw.clock.Mono()
}

func (w *worker) leave() {
	w.reader.Leave()
	w.cur, w.src = nil, nil
	w.snap.Store(nil)
	w.link.counts.take(&w.tally)
}

// loop reads and runs batches until the port is closed.
func (w *worker) loop() error {
	defer w.reader.Close()
	defer w.batch.Release()
	for {
		w.batch.Reset()
		if err := w.link.port.Read(w.queue, &w.batch); err != nil {
			return err
		}
		if w.batch.Len() > 0 {
			w.run(&w.batch)
		}
	}
}
