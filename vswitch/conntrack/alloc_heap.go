//go:build !unix || race

package conntrack

// Mmap is the heap where the system has no mmap, and under the race detector, which does not see mapped
// memory and therefore not what is published through it.
var Mmap = Heap
