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

// Write implements vswitch.Port: one system call a frame. A device that is down (EIO) or a kernel
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
	for _, f := range w.frames {
		switch w.writeOne(fd, f) {
		case 0:
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.EIO, unix.EBADFD, unix.EBADF:
			return
		default:
			w.port.lost.refused.Add(1)
		}
		w.taken++
	}
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
