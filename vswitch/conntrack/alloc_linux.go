package conntrack

import "syscall"

// Values of linux/mman.h.
const (
	madvHugepage   = 14
	madvNoHugepage = 15
)

// advise asks for huge pages where the chunk is large enough, and for none where it is not: a page
// that holds a few halves must not become resident as 2 MiB. Kernels without huge pages refuse both.
func advise(mem []byte) {
	if len(mem) >= hugeChunk {
		_ = syscall.Madvise(mem, madvHugepage)
	} else {
		_ = syscall.Madvise(mem, madvNoHugepage)
	}
}
