package afpacket

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

func datagram(port uint16) *vswitch.Frame {
	return &vswitch.Frame{Buf: packettest.UDP{Src: netip.MustParseAddrPort("10.9.0.1:1"), Dst: netip.AddrPortFrom(netip.MustParseAddr("10.9.0.2"), port), SrcMAC: packet.MAC{2, 0, 0, 0, 0, 1}}.Bytes()}
}

// crosses fails unless a frame goes through in each direction.
func crosses(t *testing.T, p *Port, in *frameReader, held *tap.Port, port uint16) {
	t.Helper()
	ready(t, p)
	held.Write(0, []*vswitch.Frame{datagram(port)})
	in.next("a frame of the instance", udpTo(port))
	if n := p.Write(0, []*vswitch.Frame{datagram(port)}); n != 1 {
		t.Fatal("the port takes no frame")
	}
}

// TestLetGo: a device that joins a bridge, gets an address or turns into something else is let go of, with a named event,
// and taken again when it is fit again.
func TestLetGo(t *testing.T) {
	needsRoot(t)
	for name, c := range map[string]struct {
		spoil, mend func(r *room) error
		state       State
		text        string
	}{
		"bridge": {
			func(r *room) error {
				br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
				return errors.Join(netlink.LinkAdd(br), r.link("vnet0", func(l netlink.Link) error { return netlink.LinkSetMaster(l, br) }))
			},
			func(r *room) error { return r.link("vnet0", netlink.LinkSetNoMaster) },
			Bridged, "vnet0 is in br0 (bridge)",
		},
		"address": {
			func(r *room) error { return r.address("vnet0", "10.0.0.1/24") },
			func(r *room) error {
				return r.link("vnet0", func(l netlink.Link) error {
					list, err := netlink.AddrList(l, netlink.FAMILY_V4)
					return errors.Join(err, netlink.AddrDel(l, &list[0]))
				})
			},
			Addressed, "vnet0 has 10.0.0.1/24",
		},
		"another name": {
			func(r *room) error {
				return errors.Join(r.link("vnet0", netlink.LinkSetDown), r.link("vnet0", func(l netlink.Link) error { return netlink.LinkSetName(l, "vnet9") }), r.link("vnet9", netlink.LinkSetUp))
			},
			func(r *room) error {
				return errors.Join(r.link("vnet9", netlink.LinkSetDown), r.link("vnet9", func(l netlink.Link) error { return netlink.LinkSetName(l, "vnet0") }))
			},
			Gone, `there is no network interface "vnet0"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			held := r.hold("vnet0", tap.Config{})
			l := newLog(t)
			p := r.attach(Config{Device: "vnet0", Event: l.add})
			in := read(t, p)
			crosses(t, p, in, held, 1)
			l.wait(Attached)
			r.do(func() error { return c.spoil(r) })
			e := l.wait(c.state)
			if e.Device != "vnet0" || !strings.Contains(e.Text, c.text) || p.State() != e {
				t.Errorf("%v", e)
			}
			r.do(func() error { // it is the others' now, as it was
				for _, dev := range []string{"vnet0", "vnet9"} {
					if s := describe(dev); strings.Contains(s, "clsact") || strings.Contains(s, "promisc") && c.state != Bridged {
						t.Errorf("%s: %s", dev, s)
					}
				}
				return nil
			})
			held.Write(0, []*vswitch.Frame{datagram(2)})
			if n := p.Write(0, []*vswitch.Frame{datagram(2)}); n != 0 {
				t.Error("a frame passes")
			}
			r.do(func() error { return c.mend(r) })
			l.wait(Attached)
			crosses(t, p, in, held, 3)
			in.none("a frame sent meanwhile", udpTo(2))
		})
	}
}

// TestRemovedAndMadeAgain also has a device of another kind take the name meanwhile.
func TestRemovedAndMadeAgain(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	held := r.hold("vnet0", tap.Config{})
	l := newLog(t)
	macs := make(chan packet.MAC, 4)
	p := r.attach(Config{Device: "vnet0", Event: l.add, Learn: func(m packet.MAC) { macs <- m }})
	in := read(t, p)
	crosses(t, p, in, held, 1)
	l.wait(Attached)
	for i := range 3 {
		if err := held.Close(); err != nil { // QEMU ends
			t.Fatal(err)
		}
		if e := l.wait(Gone); !strings.Contains(e.Text, "start the program") {
			t.Errorf("%v", e)
		}
		if p.Write(0, []*vswitch.Frame{datagram(1)}) != 0 {
			t.Error("a frame goes nowhere")
		}
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "vnet0"}}
		r.do(func() error { return netlink.LinkAdd(br) })
		l.wait(NotTAP)
		r.do(func() error { return netlink.LinkDel(br) })
		l.wait(Gone)
		held = r.hold("vnet0", tap.Config{})
		l.wait(Attached)
		crosses(t, p, in, held, uint16(10+i))
	}
	if n := len(macs); n != 4 {
		t.Errorf("%d addresses were learnt of 4 devices", n)
	}
}

// TestHolderComesAndGoes: a persistent TAP stays when its program ends. What is sent meanwhile is refused, not lost unseen.
func TestHolderComesAndGoes(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	r.do(func() error { return addTAP("vnet0") })
	l := newLog(t)
	p := r.attach(Config{Device: "vnet0", Event: l.add})
	if e := p.State(); e.State != Unplugged {
		t.Fatalf("%v", e)
	}
	in := read(t, p)
	for range 2 {
		if n := p.Write(0, []*vswitch.Frame{datagram(1)}); n != 0 {
			t.Fatal("taken although nobody holds the device")
		}
		fd := r.openQueue("vnet0")
		l.wait(Attached)
		if n := p.Write(0, []*vswitch.Frame{datagram(1)}); n != 1 {
			t.Fatal("not taken")
		}
		if _, err := unix.Write(fd, datagram(5).Buf); err != nil {
			t.Fatal(err)
		}
		in.next("a frame of the instance", udpTo(5))
		unix.Close(fd)
		l.wait(Unplugged)
	}
	// Set down by its owner: not fought over, and taken up again.
	fd := r.openQueue("vnet0")
	defer unix.Close(fd)
	l.wait(Attached)
	r.do(func() error { return r.link("vnet0", netlink.LinkSetDown) })
	l.wait(Unplugged)
	r.do(func() error { return r.link("vnet0", netlink.LinkSetUp) })
	l.wait(Attached)
	unix.Write(fd, datagram(6).Buf)
	in.next("a frame after the device was down", udpTo(6))
}

// openQueue opens a TAP as a program without virtio-net headers does.
func (r *room) openQueue(name string) int {
	r.t.Helper()
	var fd int
	r.do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	})
	return fd
}

// TestReadErrors: a socket that fails lets go of the device, and nothing spins.
func TestReadErrors(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	held := r.hold("vnet0", tap.Config{})
	l := newLog(t)
	p := r.attach(Config{Device: "vnet0", Event: l.add})
	in := read(t, p)
	crosses(t, p, in, held, 1)
	p.fail(p.now.Load(), unix.EIO)
	if e := l.wait(Failed); !strings.Contains(e.Text, "attach it again") {
		t.Error(e)
	}
	r.do(func() error {
		return r.link("vnet0", func(l netlink.Link) error { return netlink.LinkSetAlias(l, "x") })
	}) // anything that happens
	l.wait(Attached)
	crosses(t, p, in, held, 2)
}

func TestConcerns(t *testing.T) {
	message := func(index int32, extra int) []byte {
		b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+16+extra))
		b = append(b, make([]byte, unix.NLMSG_HDRLEN-4+16+extra)...)
		binary.NativeEndian.PutUint32(b[unix.NLMSG_HDRLEN+4:], uint32(index))
		return append(b, make([]byte, -len(b)&3)...)
	}
	join := func(list ...[]byte) (all []byte) {
		for _, b := range list {
			all = append(all, b...)
		}
		return all
	}
	p := &Port{changed: make(chan struct{})}
	if !p.concerns(message(3, 0)) {
		t.Error("without a device everything may matter")
	}
	p.set(&attachment{device: device{index: 7}})
	for name, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"another":       {message(3, 0), false},
		"ours":          {message(7, 0), true},
		"ours is last":  {join(message(3, 5), message(4, 0), message(7, 9)), true},
		"others":        {join(message(3, 5), message(4, 0)), false},
		"nothing":       {nil, false},
		"cut off":       {message(3, 8)[:20], true},
		"length 0":      {make([]byte, 32), true},
		"a short body":  {message(3, 0)[:unix.NLMSG_HDRLEN], true},
		"trailing junk": {append(message(3, 0), 1, 2, 3), false},
	} {
		if got := p.concerns(c.b); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestSpaces: the device is looked for where it was taken, whatever thread asks.
func TestSpaces(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	r.do(func() error { return addTAP("vnet0") })
	p := r.attach(Config{Device: "vnet0"})
	p.mu.Lock()
	e := p.adapt()
	p.mu.Unlock()
	if e.State != Unplugged {
		t.Error(e)
	}
	deadline := time.Now().Add(patience)
	for p.State().State != Unplugged && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if err := onThread(func() error { _, err := inspect("vnet0"); return err }); why(err) != Gone {
		t.Errorf("found in the test's own namespace: %v", err)
	}
}
