package tap

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// writer is the state of one Write under way. It is pooled because the callback that RawConn wants
// would else be made anew, on the heap, for each batch.
type writer struct {
	hdr    [packet.VnetMrgLen]byte
	vecs   [2 + vswitch.MaxTail]unix.Iovec
	run    func(fd uintptr)
	port   *Port
	frames []*vswitch.Frame
	taken  int
}

var writers = sync.Pool{New: func() any {
	w := new(writer)
	w.run = w.writeAll
	w.vecs[0].Base = &w.hdr[0]
	return w
}}

// Write implements vswitch.Port: one system call a batch where there is io_uring, else one a frame. A device that is down (EIO) or a kernel
// short of memory (EAGAIN, ENOBUFS, ENOMEM) takes no more; a frame that the kernel finds invalid is taken
// and counted in Stats.Refused, so that the frames after it still go.
//
// The descriptor is held with Control, which, unlike RawConn.Write, lets callers write at the same time.
func (p *Port) Write(q int, frames []*vswitch.Frame) int {
	if len(frames) == 0 {
		return 0
	}
	w := writers.Get().(*writer)
	w.port, w.frames, w.taken = p, frames, 0
	w.vecs[0].SetLen(p.vnetLen)
	_ = p.queues[q%len(p.queues)].raw.Control(w.run) // closed: none taken
	taken := w.taken
	w.port, w.frames = nil, nil
	for i := range w.vecs[1:] {
		w.vecs[1+i].Base = nil
	}
	writers.Put(w)
	return taken
}

func (w *writer) writeAll(fd uintptr) {
	if len(w.frames) >= uringMinBatch && w.port.vnetLen > 0 && !w.port.cfg.PlainWrites {
		if r := rings.get(); r != nil {
			defer rings.put(r)
			w.writeRing(fd, r)
			return
		}
	}
	for _, f := range w.frames {
		errno := w.writeOne(fd, f)
		if congested(errno) {
			return
		}
		w.port.lost.count(errno)
		w.taken++
	}
}

// writeRing sends the frames through a ring. The last ones that found no room are not taken, as with plain
// writes; one that found none in the middle counts as taken, and is counted in Stats.
func (w *writer) writeRing(fd uintptr, r *uring) {
	for w.taken < len(w.frames) {
		part := w.frames[w.taken:min(len(w.frames), w.taken+uringEntries)]
		n := 0
		for n < len(part) && w.valid(part[n]) {
			n++
		}
		r.write(fd, w.port.vnetLen, part[:n])
		taken := n
		for taken > 0 && congested(r.errs[taken-1]) {
			taken--
		}
		for _, errno := range r.errs[:taken] {
			w.port.lost.count(errno)
		}
		w.taken += taken
		if taken < n {
			return
		}
		if n < len(part) {
			w.port.lost.refused.Add(1)
			w.taken++
		}
	}
}

// valid tells whether the kernel can make sense of a frame.
func (w *writer) valid(f *vswitch.Frame) bool {
	var hdr [packet.VnetMrgLen]byte
	return len(f.Buf) > 0 && len(f.Buf) <= vswitch.MaxFrame && len(f.Tail) <= vswitch.MaxTail && packet.EncodeVnet(hdr[:], f.GSO)
}

// writeOne sends one frame, with its virtio-net header in front. The receiver's stack runs inside the
// call. EINVAL also stands for a frame that asks for what the device was not opened for.
func (w *writer) writeOne(fd uintptr, f *vswitch.Frame) syscall.Errno {
	if len(f.Buf) == 0 || len(f.Buf) > vswitch.MaxFrame || len(f.Tail) > vswitch.MaxTail {
		return unix.EINVAL
	}
	vnetLen := w.port.vnetLen
	if vnetLen == 0 {
		if f.Tail != nil || f.GSO.Type != packet.GSONone || f.GSO.NeedsCsum {
			return unix.EINVAL
		}
		return retry(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&f.Buf[0])), uintptr(len(f.Buf)))
	}
	if !packet.EncodeVnet(w.hdr[:vnetLen], f.GSO) {
		return unix.EINVAL
	}
	w.vecs[1].Base = &f.Buf[0]
	w.vecs[1].SetLen(len(f.Buf))
	for i, t := range f.Tail {
		w.vecs[2+i].Base = &t[0]
		w.vecs[2+i].SetLen(len(t))
	}
	return retry(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.vecs[0])), uintptr(2+len(f.Tail)))
}

// congested tells whether the kernel had no room for a frame, or the device is down: nothing is wrong with it.
func congested(errno syscall.Errno) bool {
	switch errno {
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.EIO, unix.EBADFD, unix.EBADF:
		return true
	}
	return false
}

// count notes how the write of a frame that counts as taken fared.
func (c *counters) count(errno syscall.Errno) {
	switch {
	case errno == 0:
	case congested(errno):
		c.congested.Add(1)
	default:
		c.refused.Add(1)
	}
}

// retry is RawSyscall that goes on after a signal.
//
//go:uintptrescapes
func retry(trap, fd, arg, n uintptr) syscall.Errno {
	for {
		_, _, errno := syscall.RawSyscall(trap, fd, arg, n)
		if errno != unix.EINTR {
			return errno
		}
	}
}
