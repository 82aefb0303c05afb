package tap

import (
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// A TAP has no batched write. io_uring has: many writes in one system call (io_uring_enter(2)). There is
// no binding in x/sys, and the few there are elsewhere bring goroutines and channels; this is the part of
// linux/io_uring.h that a batch of writes needs.
const (
	uringEntries  = 64 // at least a batch and the switch's own answers
	uringWritev   = 2  // IORING_OP_WRITEV
	uringEvents   = 1  // IORING_ENTER_GETEVENTS
	uringOneMap   = 1  // IORING_FEAT_SINGLE_MMAP, kernel 5.4
	uringOffSQEs  = 0x10000000
	uringSQESize  = 64
	uringCQESize  = 16
	uringMinBatch = 2 // below it a plain write is as cheap
)

// uringParams is struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFD uint32
	_                                                                  [3]uint32
	sq                                                                 struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// uringSQE is struct io_uring_sqe, as IORING_OP_WRITEV has it.
type uringSQE struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off, addr     uint64
	len           uint32
	rwFlags       uint32
	userData      uint64
	_             [24]byte
}

type uringCQE struct {
	userData uint64
	res      int32
	flags    uint32
}

// uring is one ring with the headers and vectors of the writes under way. It belongs to one caller at
// a time. Everything that the kernel reads is in it or held by it until the writes are done.
type uring struct {
	fd                     int
	rings, entries         []byte // mapped
	sqTail, cqHead, cqTail *atomic.Uint32
	sqMask, cqMask         uint32
	sqArray                unsafe.Pointer
	cqes                   unsafe.Pointer

	hdrs [uringEntries][packet.VnetMrgLen]byte
	vecs [uringEntries][2 + vswitch.MaxTail]unix.Iovec
	errs [uringEntries]syscall.Errno
}

// newURing makes a ring, or says why the kernel or a sandbox does not.
func newURing() (*uring, error) {
	var p uringParams
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, uringEntries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &uring{fd: int(fd)}
	unix.CloseOnExec(r.fd)
	if p.features&uringOneMap == 0 {
		r.close()
		return nil, os.NewSyscallError("io_uring_setup", unix.ENOSYS)
	}
	if err := r.mmap(&p); err != nil {
		r.close()
		return nil, os.NewSyscallError("io_uring mmap", err)
	}
	return r, nil
}

func (r *uring) mmap(p *uringParams) (err error) {
	size := max(p.sq.array+4*p.sqEntries, p.cq.cqes+uringCQESize*p.cqEntries)
	if r.rings, err = unix.Mmap(r.fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return err
	}
	r.entries, err = unix.Mmap(r.fd, uringOffSQEs, int(p.sqEntries)*uringSQESize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	at := func(off uint32) unsafe.Pointer { return unsafe.Pointer(&r.rings[off]) }
	r.sqTail, r.cqHead, r.cqTail = (*atomic.Uint32)(at(p.sq.tail)), (*atomic.Uint32)(at(p.cq.head)), (*atomic.Uint32)(at(p.cq.tail))
	r.sqMask, r.cqMask = *(*uint32)(at(p.sq.mask)), *(*uint32)(at(p.cq.mask))
	r.sqArray, r.cqes = at(p.sq.array), at(p.cq.cqes)
	return nil
}

func (r *uring) close() {
	if r.rings != nil {
		_ = unix.Munmap(r.rings)
	}
	if r.entries != nil {
		_ = unix.Munmap(r.entries)
	}
	_ = unix.Close(r.fd)
}

// write sends up to uringEntries frames in order and stores how each fared in errs. TAP descriptors do not
// block, so the kernel does each at once, while it takes it up, and nothing is left under way.
func (r *uring) write(fd uintptr, vnetLen int, frames []*vswitch.Frame) {
	tail := r.sqTail.Load()
	for i, f := range frames {
		r.prepare(i, tail+uint32(i), fd, vnetLen, f)
	}
	r.sqTail.Store(tail + uint32(len(frames)))
	r.submit(len(frames))
	for i := range frames {
		for j := range r.vecs[i][:2+len(frames[i].Tail)] {
			r.vecs[i][j].Base = nil
		}
	}
}

// prepare puts one write into the submission ring.
func (r *uring) prepare(i int, at uint32, fd uintptr, vnetLen int, f *vswitch.Frame) {
	packet.EncodeVnet(r.hdrs[i][:vnetLen], f.GSO) // valid: Write has looked
	v := &r.vecs[i]
	v[0].Base = &r.hdrs[i][0]
	v[0].SetLen(vnetLen)
	v[1].Base = &f.Buf[0]
	v[1].SetLen(len(f.Buf))
	for j, t := range f.Tail {
		v[2+j].Base = &t[0]
		v[2+j].SetLen(len(t))
	}
	slot := at & r.sqMask
	*(*uringSQE)(unsafe.Pointer(&r.entries[slot*uringSQESize])) = uringSQE{
		opcode: uringWritev, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(v))), len: uint32(2 + len(f.Tail)), userData: uint64(i),
	}
	*(*uint32)(unsafe.Add(r.sqArray, 4*slot)) = slot
	r.errs[i] = unix.EIO // until the kernel says otherwise
}

// submit hands n writes over and waits for all of them.
func (r *uring) submit(n int) {
	for done, left := 0, n; done < n; {
		got, _, errno := syscall.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(left), uintptr(n-done), uringEvents, 0, 0)
		if errno == 0 {
			left -= int(got)
		}
		done += r.reap()
		if errno != 0 && errno != unix.EINTR && errno != unix.EAGAIN && errno != unix.EBUSY {
			return
		}
	}
}

// reap takes what is complete.
func (r *uring) reap() (n int) {
	head := r.cqHead.Load()
	for ; head != r.cqTail.Load(); head++ {
		c := (*uringCQE)(unsafe.Add(r.cqes, uringCQESize*(head&r.cqMask)))
		r.errs[c.userData] = 0
		if c.res < 0 {
			r.errs[c.userData] = syscall.Errno(-c.res)
		}
		n++
	}
	r.cqHead.Store(head)
	return n
}
