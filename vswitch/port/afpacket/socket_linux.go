package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// Buffers of a socket, in bytes as the kernel charges them (a super-frame costs about twice its length). They cost
// nothing while they are empty.
const (
	receiveBuffer = 16 << 20
	sendBuffer    = 4 << 20
)

// attachment is a device that was taken: one socket, bound to it for good.
type attachment struct {
	device  device
	file    *os.File
	raw     syscall.RawConn
	running atomic.Bool // a program holds the device
	learnt  bool        // belongs to Read
	over    chan struct{}
}

// take takes the device in the calling thread's namespace: it is shielded, set up, and the socket is bound.
// On an error it is left as it was.
func take(name string, d device) (a *attachment, gives vswitch.Offload, err error) {
	fd, err := newSocket(shieldMark)
	if err != nil {
		return nil, gives, explain(err)
	}
	a = &attachment{device: d, over: make(chan struct{})}
	a.file = os.NewFile(uintptr(fd), "packet:"+name) // non-blocking: goes to Go's poller
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.file.Close()
		return nil, gives, err
	}
	if err := shield(name, d.index); err != nil {
		a.file.Close()
		return nil, gives, explain(err)
	}
	if err := a.plug(fd, name, &gives); err != nil {
		a.file.Close()
		return nil, gives, errors.Join(explain(err), restore(d.index))
	}
	return a, gives, nil
}

func (a *attachment) plug(fd int, name string, gives *vswitch.Offload) error {
	if !a.device.up {
		if err := netlink.LinkSetUp(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: a.device.index}}); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
	}
	var err error
	if *gives, err = probe(a.device.index); err != nil {
		return err
	}
	mreq := unix.PacketMreq{Ifindex: int32(a.device.index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return os.NewSyscallError("PACKET_ADD_MEMBERSHIP", err)
	}
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: allProtocols(), Ifindex: a.device.index}))
}

// newSocket makes a packet socket that receives nothing until it is bound.
func newSocket(mark int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for _, o := range []struct {
		name                 string
		level, option, value int
	}{
		{"PACKET_VNET_HDR", unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{"PACKET_IGNORE_OUTGOING", unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
		{"PACKET_AUXDATA", unix.SOL_PACKET, unix.PACKET_AUXDATA, 1},
		{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, mark},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError(o.name, err)
		}
	}
	// The FORCE forms go past net.core.*mem_max and may be refused in a user namespace.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	return fd, nil
}

// allProtocols is ETH_P_ALL in network byte order.
func allProtocols() uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
}

// probe finds out which unfinished frames the kernel takes, by sending some without the mark: those it understands
// end in the shield, the others are EINVAL. What the program behind the TAP has negotiated does not matter: the kernel
// finishes what that program does not take (validate_xmit_skb in net/core/dev.c), whenever it changes its mind.
func probe(index int) (vswitch.Offload, error) {
	fd, err := newSocket(0)
	if err != nil {
		return vswitch.Offload{}, err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Ifindex: index, Protocol: allProtocols()}
	var failed error
	takes := func(v6 bool, proto uint8, g packet.GSO) bool {
		msg := probeFrame(v6, proto, g)
		err := unix.Sendto(fd, msg, unix.MSG_DONTWAIT, to)
		switch {
		case errors.Is(err, unix.ENOBUFS): // dropped by the shield: as it should be
			return true
		case err == nil:
			failed = errors.New("a frame of the host's own got past the shield; remove other traffic filters from the device (tc filter show)")
		case !errors.Is(err, unix.EINVAL):
			failed = os.NewSyscallError("send", err)
		}
		return false
	}
	o := vswitch.Offload{
		Gather: true,
		Csum:   takes(false, packet.ProtoTCP, packet.GSO{}),
		TSO4:   takes(false, packet.ProtoTCP, packet.GSO{Type: packet.GSOTCP4}),
		TSO6:   takes(true, packet.ProtoTCP, packet.GSO{Type: packet.GSOTCP6}),
		ECN:    takes(false, packet.ProtoTCP, packet.GSO{Type: packet.GSOTCP4, ECN: true}),
		USO:    takes(false, packet.ProtoUDP, packet.GSO{Type: packet.GSOUDP}) && takes(true, packet.ProtoUDP, packet.GSO{Type: packet.GSOUDP}),
	}
	return o, failed
}

// probeFrame is a frame to nobody, with its virtio-net header, that wants g and a checksum.
func probeFrame(v6 bool, proto uint8, g packet.GSO) []byte {
	const payload, ethernet = 300, packet.EthernetLen
	ip, l4, at := 20, 20, 16 // TCP's checksum
	if v6 {
		ip = 40
	}
	if proto == packet.ProtoUDP {
		l4, at = 8, 6
	}
	g.NeedsCsum, g.CsumStart, g.CsumOffset = true, uint16(ethernet+ip), uint16(at)
	if g.Type != packet.GSONone {
		g.HdrLen, g.SegSize = uint16(ethernet+ip+l4), payload/3
	}
	b := make([]byte, packet.VnetLen+ethernet+ip+l4+payload)
	packet.EncodeVnet(b[:packet.VnetLen], g)
	eth := b[packet.VnetLen:]
	head := eth[ethernet:]
	if v6 {
		binary.BigEndian.PutUint16(eth[12:], unix.ETH_P_IPV6)
		head[0], head[6], head[7] = 0x60, proto, 1
		binary.BigEndian.PutUint16(head[4:], uint16(l4+payload))
	} else {
		binary.BigEndian.PutUint16(eth[12:], unix.ETH_P_IP)
		head[0], head[8], head[9] = 0x45, 1, proto
		binary.BigEndian.PutUint16(head[2:], uint16(ip+l4+payload))
	}
	if proto == packet.ProtoTCP {
		head[ip+12] = 5 << 4
	} else {
		binary.BigEndian.PutUint16(head[ip+4:], uint16(l4+payload))
	}
	return b
}

// kernelDrops reads and resets the socket's own count.
func (a *attachment) kernelDrops() uint64 {
	var n uint64
	_ = a.raw.Control(func(fd uintptr) {
		if st, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			n = uint64(st.Drops)
		}
	})
	return n
}
