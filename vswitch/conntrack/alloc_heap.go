//go:build !unix

package conntrack

// Mmap is the heap where the system has no mmap.
var Mmap = Heap
