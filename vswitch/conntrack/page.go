package conntrack

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// The table's memory comes in pages of 4 KiB. A page is a block of 28 slots, or a segment of an index
// (index.go). What no hit touches lies apart at the page's head, so that slots are 128 bytes and begin
// on 128-byte boundaries, and a half costs 146 bytes with its share of the head.

const (
	pageSize   = 4096
	blockSlots = 28

	placeBits = 5  // a slot's place on its page, from 1, so that no local number is 0
	localBits = 20 // a slot's number in its shard: block and place
	maxBlocks = 1 << (localBits - placeBits)
)

// block is a page of slots.
type block struct {
	number uint32 // in the shard
	shard  uint32
	table  uint32 // see tableAt
	_      [52]byte
	cold   [blockSlots]cold
	hot    [blockSlots]Half
}

// The layout is what the memory bound and Half.block rely on.
var (
	_ [0]struct{} = [unsafe.Sizeof(block{}) - pageSize]struct{}{}
	_ [0]struct{} = [unsafe.Sizeof(segment{}) - pageSize]struct{}{}
	_ [0]struct{} = [unsafe.Offsetof(block{}.hot) % 128]struct{}{}
)

// chunkSize is the least that is asked of the allocator.
const chunkSize = 256 << 10

// pages hands out pages of chunks, and those again that were retired. take and retire are for holders
// of a shard's lock: they take none themselves.
type pages struct {
	alloc Allocator
	limit int64 // most pages

	chunk   atomic.Pointer[chunk]
	taken   atomic.Int64
	retired atomic.Pointer[retiredPage] // linked list

	mu     sync.Mutex // guards what follows; never held together with another lock
	chunks []*chunk
	total  int // bytes
}

type chunk struct {
	mem  []byte
	next atomic.Int64 // pages handed out
}

// retiredPage is a page that readers may still see.
type retiredPage struct {
	page  unsafe.Pointer
	stamp uint64
	next  *retiredPage
}

// take returns a zeroed page, or nil: then call grow without locks, and try again.
func (p *pages) take(e *epochs) unsafe.Pointer {
	if old := p.again(e); old != nil {
		clear((*[pageSize / 8]uint64)(old)[:])
		return old
	}
	c := p.chunk.Load()
	if c == nil {
		return nil
	}
	n := c.next.Add(1) - 1
	if (n+1)*pageSize > int64(len(c.mem)) {
		return nil
	}
	p.taken.Add(1)
	return unsafe.Pointer(&c.mem[n*pageSize])
}

// again returns a retired page that no reader sees any more, or nil.
func (p *pages) again(e *epochs) unsafe.Pointer {
	for {
		r := p.retired.Load()
		if r == nil || r.stamp >= e.safe.Load() && r.stamp >= e.advance() {
			return nil
		}
		if p.retired.CompareAndSwap(r, r.next) {
			return r.page
		}
	}
}

// retire keeps a page, which may be nil, for use after its stamp is safe.
func (p *pages) retire(page unsafe.Pointer, stamp uint64) {
	if page == nil {
		return
	}
	r := &retiredPage{page: page, stamp: stamp}
	for {
		r.next = p.retired.Load()
		if p.retired.CompareAndSwap(r.next, r) {
			return
		}
	}
}

// grow makes room for a page. It returns false at the limit, or where the system has no more memory.
func (p *pages) grow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.chunk.Load(); c != nil && (c.next.Load()+1)*pageSize <= int64(len(c.mem)) {
		return true // somebody else did
	}
	if p.taken.Load() >= p.limit {
		return false
	}
	mem, err := p.alloc.Alloc(p.nextSize())
	if err != nil {
		return false
	}
	c := &chunk{mem: mem}
	p.chunks = append(p.chunks, c)
	p.total += len(mem)
	p.chunk.Store(c)
	return true
}

// hugeAfter is the size from which chunks are large enough for huge pages: the 2 MiB that the last one
// may lie empty are then 1 % of the table, and look-ups among millions of halves miss the TLB less.
const (
	hugeAfter = 192 << 20
	hugeChunk = 32 << 20
)

func (p *pages) nextSize() int {
	if p.total >= hugeAfter {
		return hugeChunk
	}
	return chunkSize
}

func (p *pages) free() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.chunks {
		p.alloc.Free(c.mem)
	}
	p.chunks = nil
	p.chunk.Store(nil)
}
