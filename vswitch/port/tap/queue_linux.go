package tap

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

const ethernetLen = 14

// queue is one attached descriptor. Its read side belongs to one goroutine; hdr and vecs are made
// once, so that a read allocates nothing.
type queue struct {
	file *os.File
	raw  syscall.RawConn
	lost *counters

	vnetLen int
	hdr     [packet.VnetMrgLen]byte
	vecs    [2]unix.Iovec
	drain   func(fd uintptr) bool
	batch   *vswitch.Batch // of the Read under way
	err     error
}

func (p *Port) newQueue(fd int) (*queue, error) {
	q := &queue{file: os.NewFile(uintptr(fd), tunPath), lost: &p.lost, vnetLen: p.vnetLen}
	raw, err := q.file.SyscallConn()
	if err != nil {
		q.file.Close()
		return nil, err
	}
	q.raw = raw
	q.drain = q.readAll
	if q.vnetLen > 0 {
		q.vecs[0].Base = &q.hdr[0]
		q.vecs[0].SetLen(q.vnetLen)
	}
	return q, nil
}

// control runs fn with the descriptor, which stays open meanwhile.
func (q *queue) control(fn func(fd int) error) error {
	var err error
	if cerr := q.raw.Control(func(fd uintptr) { err = fn(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// Read implements vswitch.Port. It waits in Go's poller, not in a thread.
func (p *Port) Read(q int, b *vswitch.Batch) error {
	qu := p.queues[q]
	qu.batch, qu.err = b, nil
	err := qu.raw.Read(qu.drain)
	qu.batch = nil
	if err == nil {
		err = qu.err
	}
	switch {
	case err == nil:
		return nil
	case b.Len() > 0: // hand over what came before it; the next Read meets it again
		return nil
	case p.closed.Load():
		b.Release()
		return net.ErrClosed
	}
	b.Release()
	return fmt.Errorf("tap %q: read: %w", p.device, err)
}

// readAll takes frames until the batch is full or nothing is left. It returns false to be called
// again when there is something to read.
func (q *queue) readAll(fd uintptr) bool {
	b := q.batch
	for {
		room := b.Next()
		if room == nil {
			return true
		}
		n, errno := q.readOne(fd, room)
		switch errno {
		case 0:
			q.commit(n)
		case unix.EINTR:
		case unix.EAGAIN:
			if b.Len() > 0 {
				return true
			}
			b.Release() // no slab while parked
			return false
		default:
			q.err = errno
			return true
		}
	}
}

// readOne reads one frame into room, and its virtio-net header, if there is one, into q.hdr.
// RawSyscall, because the descriptor never blocks: telling the scheduler costs more than the copy.
func (q *queue) readOne(fd uintptr, room []byte) (int, syscall.Errno) {
	q.vecs[1].Base = &room[0]
	q.vecs[1].SetLen(len(room))
	var n uintptr
	var errno syscall.Errno
	if q.vnetLen > 0 {
		n, _, errno = syscall.RawSyscall(unix.SYS_READV, fd, uintptr(unsafe.Pointer(&q.vecs[0])), 2)
	} else {
		n, _, errno = syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&room[0])), uintptr(len(room)))
	}
	q.vecs[1].Base = nil
	return int(n), errno
}

// commit adds the frame that readOne put into the batch's room, n bytes with the header.
func (q *queue) commit(n int) {
	var gso packet.GSO
	ok := n >= q.vnetLen+ethernetLen
	if ok && q.vnetLen > 0 {
		gso, ok = packet.DecodeVnet(q.hdr[:q.vnetLen])
	}
	if !ok {
		q.lost.badHeader.Add(1)
		return
	}
	q.batch.Commit(n-q.vnetLen, gso)
}
