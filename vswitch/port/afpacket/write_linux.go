package afpacket

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// writeAtOnce is the most frames of one sendmmsg: what one batch can make of one output.
const writeAtOnce = 2 * vswitch.BatchSize

// writer is the state of one Write under way. It is pooled because it is large and the callback that RawConn wants
// would else be made anew for each batch.
type writer struct {
	run     func(fd uintptr)
	port    *Port
	frames  []*vswitch.Frame
	taken   int
	vnets   [writeAtOnce][packet.VnetLen]byte
	headers [writeAtOnce]mmsghdr
	vecs    []unix.Iovec // of all frames, one after the other
	ends    [writeAtOnce]int
}

var writers = sync.Pool{New: func() any {
	w := &writer{vecs: make([]unix.Iovec, 0, 3*writeAtOnce)}
	w.run = w.writeAll
	return w
}}

// Write implements vswitch.Port: one sendmmsg for all frames. A device that is down or that nobody holds, and a kernel
// that is short of memory take no more. A frame that the kernel finds invalid is taken and counted, so that those after
// it still go.
func (p *Port) Write(_ int, frames []*vswitch.Frame) int {
	a := p.now.Load()
	if a == nil || !a.running.Load() { // the kernel would drop them and not say so
		return 0
	}
	w := writers.Get().(*writer)
	w.port, w.taken = p, 0
	for taken := -1; w.taken < len(frames) && taken != w.taken; {
		taken = w.taken
		w.frames = frames[taken:min(len(frames), taken+writeAtOnce)]
		_ = a.raw.Control(w.run) // let go of meanwhile: none taken
		if w.taken-taken < len(w.frames) {
			break
		}
	}
	taken := w.taken
	w.port, w.frames = nil, nil
	clear(w.vecs)
	writers.Put(w)
	return taken
}

// writeAll sends w.frames and counts in w.taken those that were taken.
func (w *writer) writeAll(fd uintptr) {
	for from := 0; from < len(w.frames); {
		n := w.fill(w.frames[from:])
		if n == 0 { // the first one is invalid
			w.port.lost.refused.Add(1)
			from++
			w.taken++
			continue
		}
		sent, errno := w.send(fd, n)
		from += sent
		w.taken += sent
		switch errno {
		case 0:
		case unix.EINTR:
		case unix.EMSGSIZE:
			w.port.lost.tooLarge.Add(1)
			from++
			w.taken++
		case unix.EINVAL:
			w.port.lost.refused.Add(1)
			from++
			w.taken++
		default: // EAGAIN, ENOBUFS, ENOMEM, ENETDOWN, ENXIO
			return
		}
	}
}

// fill makes messages of the frames up to the first that cannot be sent, and returns their number.
func (w *writer) fill(frames []*vswitch.Frame) int {
	w.vecs = w.vecs[:0]
	n := 0
	for ; n < len(frames) && w.add(n, frames[n]); n++ {
		w.ends[n] = len(w.vecs)
	}
	start := 0
	for i := range n { // vecs does not move any more
		h := &w.headers[i].hdr
		*h = unix.Msghdr{Iov: &w.vecs[start]}
		h.SetIovlen(w.ends[i] - start)
		start = w.ends[i]
	}
	return n
}

// add appends the pieces of a frame.
func (w *writer) add(i int, f *vswitch.Frame) bool {
	if size := f.Len(); len(f.Buf) < packet.EthernetLen || size > vswitch.MaxFrame || len(f.Tail) > vswitch.MaxTail {
		return false
	}
	vnet := w.vnets[i][:]
	if !packet.EncodeVnet(vnet, f.GSO) {
		return false
	}
	w.vec(vnet)
	w.vec(f.Buf)
	for _, t := range f.Tail {
		if len(t) > 0 {
			w.vec(t)
		}
	}
	return true
}

func (w *writer) vec(b []byte) {
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	w.vecs = append(w.vecs, v)
}

// send sends the first n messages and returns how many went, and why the next one did not: sendmmsg tells an error only
// of its first message.
func (w *writer) send(fd uintptr, n int) (int, syscall.Errno) {
	for sent := 0; ; {
		k, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&w.headers[sent])), uintptr(n-sent), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return sent, errno
		}
		if sent += int(k); sent == n {
			return sent, 0
		}
	}
}
