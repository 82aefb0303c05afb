package conntrack

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A slot that was freed may still be read by whoever looked it up before. Each reader says when it runs
// a batch, and in which epoch it began. A freed slot is stamped with the present epoch and used again
// only after every running reader began in a later one.

// epochs is the clock of a table's readers.
type epochs struct {
	now     atomic.Uint64
	safe    atomic.Uint64 // slots with stamps below it may be used again
	readers atomic.Pointer[[]*Reader]
	mu      sync.Mutex // guards changes of readers
}

// Reader marks the batches of one goroutine. Halves that a goroutine looks up hold from Enter to Leave.
type Reader struct {
	_     [64]byte // no other reader's word on the same line
	epoch atomic.Uint64
	table *Table
	_     [64]byte
}

// NewReader registers a reader. Close it when its goroutine ends.
func (t *Table) NewReader() *Reader {
	r := &Reader{table: t}
	e := &t.epochs
	e.mu.Lock()
	defer e.mu.Unlock()
	list := append(slices.Clip(e.list()), r)
	e.readers.Store(&list)
	return r
}

func (e *epochs) list() []*Reader {
	if l := e.readers.Load(); l != nil {
		return *l
	}
	return nil
}

// Enter begins a batch. Batches do not nest, and should be short: nothing freed meanwhile is used
// again before Leave.
func (r *Reader) Enter() { r.epoch.Store(r.table.epochs.now.Load()) }

// Leave ends the batch. All halves looked up since Enter are void.
func (r *Reader) Leave() { r.epoch.Store(0) }

// Close ends the batch, if one runs, and forgets the reader. It is idempotent.
func (r *Reader) Close() {
	r.Leave()
	e := &r.table.epochs
	e.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(e.list()), func(o *Reader) bool { return o == r })
	e.readers.Store(&list)
	e.mu.Unlock()
}

// stamp is the present epoch. A slot is stamped after nothing leads to it any more.
func (e *epochs) stamp() uint64 { return e.now.Load() }

// advance begins a new epoch and returns the one below which stamps are safe: that in which the
// longest-running reader began, and never a later one than its own. A reader that enters meanwhile, and
// is not seen, cannot find what was stamped before the epoch began.
func (e *epochs) advance() uint64 {
	oldest := e.now.Add(1)
	for _, r := range e.list() {
		if began := r.epoch.Load(); began != 0 {
			oldest = min(oldest, began)
		}
	}
	for {
		old := e.safe.Load()
		if oldest <= old || e.safe.CompareAndSwap(old, oldest) {
			return max(old, oldest)
		}
	}
}
