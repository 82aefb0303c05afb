package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/vswitch"
)

const unplugged = "no program holds the device, or it is down (ip link set up)"

// subscribe opens a netlink socket that is told of changes in the calling thread's namespace (rtnetlink(7)).
func subscribe() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// watch looks at the device again whenever it may have changed. What the messages say is not believed: they can be lost
// (ENOBUFS) and come late, so they only tell when to look.
func (p *Port) watch() {
	buf := make([]byte, 32<<10)
	for p.look() { // once at first: what happened while it was opened
		for {
			n, err := p.changes.Read(buf)
			if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil || p.concerns(buf[:n]) {
				break
			}
		}
	}
}

// concerns says whether one of the messages can be about the device.
func (p *Port) concerns(b []byte) bool {
	a := p.now.Load()
	if a == nil {
		return true
	}
	for len(b) >= unix.NLMSG_HDRLEN {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			return true
		}
		body := b[unix.NLMSG_HDRLEN:n]
		if len(body) < 8 || int(int32(binary.NativeEndian.Uint32(body[4:]))) == a.device.index { // of ifinfomsg and ifaddrmsg alike
			return true
		}
		b = b[min(len(b), (n+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
	}
	return false
}

// look makes the port be as the device now is, and tells of a change. It is false once the port is closed.
func (p *Port) look() bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return false
	}
	e := p.adapt()
	changed := e.State != p.last.State
	p.last = e
	p.mu.Unlock()
	if changed && p.cfg.Event != nil {
		p.cfg.Event(e)
	}
	return true
}

// adapt takes the device or lets go of it. Called with mu held.
func (p *Port) adapt() Event {
	var d device
	err := p.space.do(func() (err error) {
		d, err = inspect(p.cfg.Device)
		return err
	})
	a := p.now.Load()
	if a != nil && (err != nil || d.index != a.device.index) {
		err = errors.Join(err, p.release())
		a = nil
	}
	if a == nil && err == nil {
		a, err = p.retake(d)
	}
	if err != nil {
		return Event{p.cfg.Device, why(err), err.Error()}
	}
	// A device that was down has been set up, and says so by another message.
	a.running.Store(d.running)
	if !d.running {
		return Event{p.cfg.Device, Unplugged, unplugged}
	}
	return Event{p.cfg.Device, Attached, fmt.Sprintf("attached, MTU %d", d.mtu)}
}

// retake takes a device that has come back or is fit again.
func (p *Port) retake(d device) (a *attachment, err error) {
	err = p.space.do(func() error {
		var gives vswitch.Offload
		a, gives, err = take(p.cfg.Device, d)
		if err == nil && gives != p.offload {
			err = errors.Join(errors.New("the kernel takes other frames than before; attach the device anew"), a.file.Close(), restore(d.index))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.set(a)
	return a, nil
}
