package afpacket

import (
	"fmt"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

const (
	// readAtOnce is the most frames of one recvmmsg.
	readAtOnce = 8
	// small is the largest frame that is worth a copy to save a system call.
	small = 4096
)

// mmsghdr is struct mmsghdr (recvmmsg(2)).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// auxdata is a control message with struct tpacket_auxdata.
type auxdata struct {
	hdr  unix.Cmsghdr
	data unix.TpacketAuxdata
	_    [8]byte
}

// message is where one frame is received: its virtio-net header, what the kernel says of it, and the frame.
type message struct {
	vnet [packet.VnetLen]byte
	vecs [2]unix.Iovec
	aux  auxdata
}

// spare is room for the frames after the first of a recvmmsg, borrowed while there are any: how large a frame is shows
// only when it has been received, and the batch has room for few large ones.
type spare [readAtOnce - 1][vswitch.MaxFrame]byte

var spares = sync.Pool{New: func() any { return new(spare) }}

// reader is the state of Read; it belongs to the one goroutine that calls it.
type reader struct {
	port     *Port
	drain    func(fd uintptr) bool
	batch    *vswitch.Batch // of the Read under way
	err      error
	headers  [readAtOnce]mmsghdr
	messages [readAtOnce]message
	spare    *spare
	next, n  int  // of messages received into spare: next to be handed over, and their number
	small    bool // the last frame was
}

func (r *reader) init(p *Port) {
	r.port, r.drain = p, r.readAll
	for i := range r.messages {
		m, h := &r.messages[i], &r.headers[i].hdr
		m.vecs[0].Base = &m.vnet[0]
		m.vecs[0].SetLen(packet.VnetLen)
		h.Iov = &m.vecs[0]
		h.SetIovlen(2)
		h.Control = (*byte)(unsafe.Pointer(&m.aux))
	}
}

// Read implements vswitch.Port. It waits in Go's poller, or, without a device, until there is one.
func (p *Port) Read(_ int, b *vswitch.Batch) error {
	for {
		a := p.attachment()
		if a == nil {
			b.Release()
			p.reader.drop()
			return net.ErrClosed
		}
		r := &p.reader
		r.batch, r.err = b, nil
		err := a.raw.Read(r.drain) // fails when the device is let go of
		r.batch = nil
		if err == nil && b.Len() > 0 {
			p.learn(a, b)
			return nil
		}
		if err == nil && r.err != nil {
			p.fail(a, r.err)
		}
		b.Release()
	}
}

// fail lets go of a device whose socket is of no use any more, until something changes.
func (p *Port) fail(a *attachment, err error) {
	p.mu.Lock()
	if p.closed || p.now.Load() != a {
		p.mu.Unlock()
		return
	}
	_ = p.release()
	e := Event{p.cfg.Device, Failed, fmt.Sprintf("read: %v; detach and attach it again", err)}
	p.last = e
	p.mu.Unlock()
	if p.cfg.Event != nil {
		p.cfg.Event(e)
	}
}

// learn tells the source of a device's first frame, and waits until that has been taken note of.
func (p *Port) learn(a *attachment, b *vswitch.Batch) {
	if a.learnt || p.cfg.Learn == nil {
		return
	}
	for i := range b.Len() {
		f := b.Frame(i).Buf
		mac := packet.MAC(f[6:12])
		if mac.IsZero() || mac.IsMulticast() {
			continue
		}
		a.learnt = true
		noted := make(chan struct{})
		go func() {
			defer close(noted)
			p.cfg.Learn(mac)
		}()
		select {
		case <-noted:
		case <-a.over:
		}
		return
	}
}

// readAll takes frames until the batch is full or nothing is left. It returns false to be called again when there is
// something to read.
func (r *reader) readAll(fd uintptr) bool {
	for r.handOver() {
		room := r.batch.Next()
		if room == nil {
			return true
		}
		n, errno := r.receive(fd, room)
		switch errno {
		case 0:
			r.first()
			r.next, r.n = 1, n
		case unix.EINTR:
		case unix.EINVAL: // a frame that has no virtio-net header, such as one with tunnel offload
			r.port.lost.badHeader.Add(1)
		case unix.ENETDOWN: // said once when the device goes down or away; the watch sees to it
		case unix.EAGAIN:
			if r.batch.Len() > 0 {
				return true
			}
			r.batch.Release() // no slab while parked
			return false
		default:
			r.err = errno
			return true
		}
	}
	return true
}

// receive gets the first frame into room, and more into spare where frames are small and were there a moment ago.
// RawSyscall, because the socket never blocks: telling the scheduler costs more than the copy.
func (r *reader) receive(fd uintptr, room []byte) (int, syscall.Errno) {
	want := 1
	if r.small && r.batch.Len() > 0 {
		want = min(readAtOnce, vswitch.BatchSize-r.batch.Len())
	}
	if want > 1 && r.spare == nil {
		r.spare = spares.Get().(*spare)
	}
	for i := range want {
		m, h := &r.messages[i], &r.headers[i].hdr
		if i > 0 {
			room = r.spare[i-1][:]
		}
		m.vecs[1].Base = &room[0]
		m.vecs[1].SetLen(len(room))
		h.SetControllen(int(unsafe.Sizeof(m.aux)))
		h.Flags = 0
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.headers[0])), uintptr(want), unix.MSG_DONTWAIT, 0, 0)
	r.messages[0].vecs[1].Base = nil
	return int(n), errno
}

// first commits the frame that was received into the batch itself.
func (r *reader) first() {
	n, g, ok := r.check(0)
	if ok {
		r.batch.Commit(n, g)
		r.small = n <= small
	}
}

// handOver commits what was received into spare, and gives it back when that is done. It is false if the batch is full.
func (r *reader) handOver() bool {
	for ; r.next < r.n; r.next++ {
		n, g, ok := r.check(r.next)
		if !ok {
			continue
		}
		room := r.batch.Next()
		if room == nil {
			return false
		}
		copy(room, r.spare[r.next-1][:n])
		r.batch.Commit(n, g)
		r.small = n <= small
	}
	if r.spare != nil && (!r.small || r.n < readAtOnce) {
		r.drop()
	}
	return true
}

// drop gives spare back, with what is in it.
func (r *reader) drop() {
	r.next, r.n = 0, 0
	if r.spare == nil {
		return
	}
	for i := range r.messages {
		r.messages[i].vecs[1].Base = nil
	}
	spares.Put(r.spare)
	r.spare = nil
}

// check gives the length of the frame in message i, and its GSO; a frame that cannot be handed over is counted.
func (r *reader) check(i int) (n int, g packet.GSO, ok bool) {
	m, h := &r.messages[i], &r.headers[i]
	lost := &r.port.lost
	n = int(h.len) - packet.VnetLen
	if h.hdr.Flags&unix.MSG_TRUNC != 0 {
		lost.truncated.Add(1)
		return 0, g, false
	}
	// The kernel takes the tag out of the frame and tells it here; without this the frame would pass as untagged.
	if m.aux.hdr.Type == unix.PACKET_AUXDATA && m.aux.data.Status&unix.TP_STATUS_VLAN_VALID != 0 && h.hdr.Controllen > 0 {
		lost.vlan.Add(1)
		return 0, g, false
	}
	if n >= packet.EthernetLen {
		g, ok = packet.DecodeVnet(m.vnet[:])
	}
	if !ok {
		lost.badHeader.Add(1)
	}
	return n, g, ok
}
