package conntrack

import "unsafe"

// Allocator gets the table its memory. It may be called concurrently.
type Allocator interface {
	// Alloc returns n zeroed bytes, aligned to a page of 4 KiB; n is a multiple of 256 KiB. They must
	// not be resident before they are touched, or the table is larger than it need be.
	Alloc(n int) ([]byte, error)

	// Free takes back what Alloc returned.
	Free([]byte)
}

// Heap allocates from the Go heap, where the race detector sees every access. The collector does not
// scan what it allocates.
var Heap Allocator = heap{}

type heap struct{}

type heapPage [pageSize / 8]uint64

func (heap) Alloc(n int) ([]byte, error) {
	// Objects of more than 32 KiB begin on a page of the runtime's, 8 KiB; ask for one more in case that changes.
	mem := make([]heapPage, n/pageSize)
	if uintptr(unsafe.Pointer(&mem[0]))%pageSize != 0 {
		mem = make([]heapPage, n/pageSize+1)
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&mem[0])), len(mem)*pageSize)
	skip := -int(uintptr(unsafe.Pointer(&mem[0]))) & (pageSize - 1)
	return b[skip : skip+n : skip+n], nil
}

func (heap) Free([]byte) {}
