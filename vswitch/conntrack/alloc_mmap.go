//go:build unix && !race

package conntrack

import "syscall"

// Mmap allocates outside the Go heap: neither the collector's sight nor its pacing is burdened by
// millions of halves. It is the allocator for production.
var Mmap Allocator = mmap{}

type mmap struct{}

func (mmap) Alloc(n int) ([]byte, error) {
	mem, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		advise(mem)
	}
	return mem, err
}

func (mmap) Free(mem []byte) { _ = syscall.Munmap(mem) }
