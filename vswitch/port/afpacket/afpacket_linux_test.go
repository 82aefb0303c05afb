package afpacket

import (
	"errors"
	"net"
	"net/netip"
	"os"
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

// addTAP makes a persistent TAP that nobody holds.
func addTAP(name string) error {
	return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: netlink.TUNTAP_MODE_TAP})
}

// TestOpenErrors: each refusal says why and what would be right, and leaves nothing changed.
func TestOpenErrors(t *testing.T) {
	needsRoot(t)
	for name, c := range map[string]struct {
		device  string
		prepare func(r *room) error
		want    error
		texts   []string
	}{
		"no device":    {"vnet7", func(*room) error { return nil }, ErrNoDevice, []string{`device "vnet7"`, `there is no network interface "vnet7"`, "ip link"}},
		"empty name":   {"", func(*room) error { return nil }, ErrNoDevice, []string{"1 to 15 bytes"}},
		"long name":    {strings.Repeat("x", 16), func(*room) error { return nil }, ErrNoDevice, []string{"1 to 15 bytes"}},
		"the loopback": {"lo", func(*room) error { return nil }, ErrNotTAP, []string{"lo is a device of the kind loopback", "QEMU"}},
		"a bridge": {"br0", func(*room) error { return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}) },
			ErrNotTAP, []string{"br0 is a bridge"}},
		"a TUN": {"tun0", func(*room) error {
			return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN})
		}, ErrNotTAP, []string{"no Ethernet frames", "make it a TAP"}},
		"in a bridge": {"vnet0", func(r *room) error {
			br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
			return errors.Join(addTAP("vnet0"), netlink.LinkAdd(br), r.link("vnet0", func(l netlink.Link) error { return netlink.LinkSetMaster(l, br) }))
		}, ErrBridged, []string{"vnet0 is in br0 (bridge)", "past the rules", "ip link set dev vnet0 nomaster", "managed='no'"}},
		"IPv4 address": {"vnet0", func(r *room) error { return errors.Join(addTAP("vnet0"), r.address("vnet0", "10.0.0.1/24")) },
			ErrAddressed, []string{"vnet0 has 10.0.0.1/24", "past the rules", "ip address del 10.0.0.1/24 dev vnet0"}},
		"IPv6 address": {"vnet0", func(r *room) error { return errors.Join(addTAP("vnet0"), r.address("vnet0", "fd00::1/64")) },
			ErrAddressed, []string{"fd00::1/64"}},
		"no CAP_NET_RAW": {"vnet0", func(*room) error { return errors.Join(addTAP("vnet0"), dropCapability(unix.CAP_NET_RAW)) },
			ErrPermission, []string{"CAP_NET_RAW and CAP_NET_ADMIN"}},
		"no CAP_NET_ADMIN": {"vnet0", func(*room) error { return errors.Join(addTAP("vnet0"), dropCapability(unix.CAP_NET_ADMIN)) },
			ErrPermission, []string{"CAP_NET_RAW and CAP_NET_ADMIN"}},
		"attached already": {"vnet0", func(r *room) error {
			err := addTAP("vnet0")
			p, perr := Open(Config{Device: "vnet0"})
			if perr == nil {
				r.t.Cleanup(func() { p.Close() })
			}
			return errors.Join(err, perr)
		}, ErrInUse, []string{"another agent has the device", "tc filter del dev vnet0 ingress pref 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			fds := 0
			var before, after string
			r.do(func() error {
				if err := c.prepare(r); err != nil {
					return err
				}
				fds, before = openFDs(t), describe(c.device)
				p, err := Open(Config{Device: c.device})
				if err == nil {
					p.Close()
				}
				after = describe(c.device)
				if !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				for _, text := range c.texts {
					if err != nil && !strings.Contains(err.Error(), text) {
						t.Errorf("%q does not say %q", err, text)
					}
				}
				return nil
			})
			if before != after {
				t.Errorf("before %s, after %s", before, after)
			}
			settle(t, fds)
		})
	}
}

// settle waits until no more descriptors are open than before: other ports look at their devices now and then.
func settle(t testing.TB, before int) {
	t.Helper()
	n := openFDs(t)
	for end := time.Now().Add(patience); n > before && time.Now().Before(end); n = openFDs(t) {
		time.Sleep(time.Millisecond)
	}
	if n > before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
}

func dropCapability(c uint) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << c
	return unix.Capset(&hdr, &data[0])
}

// describe is all that taking a device may change on it.
func describe(name string) string {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return "none"
	}
	six, _ := os.ReadFile(ipv6Knob(name))
	qdiscs, _ := netlink.QdiscList(l)
	var b strings.Builder
	for _, q := range qdiscs {
		b.WriteString(q.Type() + " ")
	}
	a := l.Attrs()
	return strings.Join([]string{a.Flags.String(), string(six), b.String(), strings.Repeat("promiscuous ", a.Promisc)}, "|")
}

func openFDs(t testing.TB) int {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

func TestPortDescribesItself(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	r.hold("vnet0", tap.Config{MTU: 4000})
	p := r.attach(Config{Device: "vnet0", Label: "vm-1"})
	if p.Name() != "vm-1" || p.Device() != "vnet0" || p.MTU() != 4000 || p.Queues() != 1 {
		t.Fatalf("%q, %q, %d, %d", p.Name(), p.Device(), p.MTU(), p.Queues())
	}
	if o := p.Offload(); !o.Csum || !o.TSO4 || !o.TSO6 || !o.ECN || !o.Gather {
		t.Fatalf("%+v", o)
	}
	p.Close()
	if p = r.attach(Config{Device: "vnet0", MTU: 1400}); p.MTU() != 1400 || p.Name() != "vnet0" {
		t.Fatalf("%d, %q", p.MTU(), p.Name())
	}
}

// TestLeavesDeviceAsItWas also holds for link-local addresses, which come back.
func TestLeavesDeviceAsItWas(t *testing.T) {
	needsRoot(t)
	for name, up := range map[string]bool{"up": true, "with IPv6 off": false} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			r.hold("vnet0", tap.Config{})
			var before string
			r.do(func() error {
				err := r.link("vnet0", netlink.LinkSetUp)
				if !up {
					err = errors.Join(err, os.WriteFile(ipv6Knob("vnet0"), []byte("1"), 0))
				}
				before = describe("vnet0")
				return err
			})
			fds := openFDs(t)
			p := r.attach(Config{Device: "vnet0"})
			if got := r.knob("ipv6/conf/vnet0/disable_ipv6"); got != "1\n" {
				t.Errorf("IPv6 is on: %q", got)
			}
			for range 2 {
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Read(0, new(vswitch.Batch)); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			if n := p.Write(0, []*vswitch.Frame{{Buf: make([]byte, 60)}}); n != 0 {
				t.Error("a closed port took a frame")
			}
			r.do(func() error {
				if after := describe("vnet0"); after != before {
					t.Errorf("before %s, after %s", before, after)
				}
				return nil
			})
			settle(t, fds)
		})
	}
}

// TestShield has the host's own stack and the instance try to reach each other past the switch.
func TestShield(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	held := r.hold("vnet0", tap.Config{})
	r.do(func() error { // the host answers for all of its addresses on every device, and forwards
		return errors.Join(r.link("lo", netlink.LinkSetUp), r.address("lo", "10.8.0.1/32"), r.link("vnet0", netlink.LinkSetUp),
			os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte("0"), 0),
			os.WriteFile("/proc/sys/net/ipv4/conf/vnet0/rp_filter", []byte("0"), 0))
	})
	var mac packet.MAC
	r.do(func() error {
		return r.link("vnet0", func(l netlink.Link) error { mac = packet.MAC(l.Attrs().HardwareAddr); return nil })
	})
	them, us := netip.MustParseAddr("10.9.0.9"), netip.MustParseAddr("10.8.0.1")
	arp := &vswitch.Frame{Buf: packet.ARPRequest(nil, packet.MAC{2, 0, 0, 0, 0, 9}, packet.AddrFrom(them), packet.AddrFrom(us))}
	datagram := &vswitch.Frame{Buf: packettest.UDP{Src: netip.AddrPortFrom(them, 1), Dst: netip.AddrPortFrom(us, 5000), SrcMAC: packet.MAC{2, 0, 0, 0, 0, 9}, DstMAC: mac, Payload: []byte("hello")}.Bytes()}
	fromHost := read(t, held)
	var listener net.PacketConn
	r.do(func() (err error) { listener, err = net.ListenPacket("udp4", "10.8.0.1:5000"); return err })
	defer listener.Close()
	hears := func() bool {
		listener.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, _, err := listener.ReadFrom(make([]byte, 100))
		return err == nil
	}
	arpReply := func(_ vswitch.Frame, h *packet.Headers) bool { return h.Kind == packet.ARP && h.ARPOp == 2 }

	// Without the shield both go: else the rest of the test proves nothing.
	held.Write(0, []*vswitch.Frame{arp, datagram})
	fromHost.next("ARP reply", arpReply)
	if !hears() {
		t.Fatal("the host does not hear the instance even without the port")
	}

	p := r.attach(Config{Device: "vnet0"})
	ready(t, p)
	frames := read(t, p)
	held.Write(0, []*vswitch.Frame{arp, datagram})
	frames.next("the instance's datagram", udpTo(5000))
	if hears() {
		t.Error("the host hears the instance")
	}
	r.do(func() error {
		// A static route without an address: what a careless administrator may set up.
		index := 0
		err := r.link("vnet0", func(l netlink.Link) error { index = l.Attrs().Index; return nil })
		to := &net.IPNet{IP: them.AsSlice(), Mask: net.CIDRMask(32, 32)}
		err = errors.Join(err, netlink.RouteAdd(&netlink.Route{LinkIndex: index, Dst: to, Scope: netlink.SCOPE_LINK, Src: us.AsSlice()}),
			netlink.NeighSet(&netlink.Neigh{LinkIndex: index, IP: them.AsSlice(), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}, State: netlink.NUD_PERMANENT}))
		if err != nil {
			return err
		}
		c, err := net.Dial("udp4", "10.9.0.9:6000")
		if err != nil {
			return err
		}
		defer c.Close()
		c.Write([]byte("past the switch"))
		return nil
	})
	if n := p.Write(0, []*vswitch.Frame{{Buf: packettest.UDP{Src: netip.AddrPortFrom(us, 1), Dst: netip.AddrPortFrom(them, 6001)}.Bytes()}}); n != 1 {
		t.Fatal("not taken")
	}
	for { // the switch's frame was sent after the host's
		f := fromHost.next("the switch's datagram", func(vswitch.Frame, *packet.Headers) bool { return true })
		var h packet.Headers
		h.Parse(f.Buf)
		if h.DstPort == 6001 {
			break
		}
		t.Errorf("from the host: %v %v port %d", h.Kind, h.Proto, h.DstPort)
	}
	frames.none("what the switch itself sent", udpTo(6001))
}

// TestKeepsOthersFilters: a clsact of somebody else stays, ours goes.
func TestKeepsOthersFilters(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	r.hold("vnet0", tap.Config{})
	var index int
	r.do(func() error {
		err := r.link("vnet0", func(l netlink.Link) error { index = l.Attrs().Index; return nil })
		return errors.Join(err, netlink.QdiscAdd(clsact(index)))
	})
	p := r.attach(Config{Device: "vnet0"})
	p.Close()
	r.do(func() error {
		l, err := netlink.LinkByIndex(index)
		if err != nil {
			return err
		}
		filters, err := netlink.FilterList(l, netlink.HANDLE_MIN_INGRESS)
		if len(filters) != 0 || !strings.Contains(describe("vnet0"), "clsact") {
			t.Errorf("%v, %s", filters, describe("vnet0"))
		}
		return err
	})
}

// TestRestore is what clears up after a process that died: its sockets are gone, the shield is not.
func TestRestore(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	r.hold("vnet0", tap.Config{})
	r.do(func() error {
		before := describe("vnet0")
		d, err := inspect("vnet0")
		if err != nil {
			return err
		}
		if err := shield("vnet0", d.index); err != nil {
			return err
		}
		if describe("vnet0") == before {
			t.Error("the shield changes nothing")
		}
		for range 2 {
			if err := Restore("vnet0"); err != nil {
				return err
			}
		}
		if after := describe("vnet0"); after != before {
			t.Errorf("before %s, after %s", before, after)
		}
		return Restore("no-such-device")
	})
}

func TestFramesBothWays(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	held := r.hold("vnet0", tap.Config{})
	p := r.attach(Config{Device: "vnet0"})
	ready(t, p)
	in, out := read(t, p), read(t, held)
	a, b := netip.MustParseAddrPort("10.9.0.1:1"), netip.MustParseAddrPort("10.9.0.2:2")
	send := func(port uint16, n int) *vswitch.Frame {
		u := packettest.UDP{Src: a, Dst: netip.AddrPortFrom(b.Addr(), port), SrcMAC: packet.MAC{2, 0, 0, 0, 0, 1}, DstMAC: packet.MAC{2, 0xec, 2, 0, 0, 1}, Payload: make([]byte, n)}
		return &vswitch.Frame{Buf: u.Bytes()}
	}
	// What goes to the router's MAC is seen although the device has another; a tagged frame is not taken for an untagged one.
	tagged := &vswitch.Frame{Buf: packettest.VLAN(send(99, 10).Buf, 5)}
	if n := held.Write(0, []*vswitch.Frame{send(1, 10), tagged, send(2, 1400)}); n != 3 {
		t.Fatal(n)
	}
	in.next("first", udpTo(1))
	f := in.next("anything after the first", func(vswitch.Frame, *packet.Headers) bool { return true })
	if h := new(packet.Headers); !udpTo(2)(f, parsed(h, f)) {
		t.Errorf("then came a frame for port %d: the tagged one passes", h.DstPort)
	}
	if err := packettest.Check(f.Buf); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s != (Stats{VLAN: 1}) {
		t.Errorf("%+v", s)
	}
	// The other way, with one frame in pieces, and some that are invalid between.
	whole := send(4, 1000)
	pieces := &vswitch.Frame{Buf: whole.Buf[:200], Tail: [][]byte{whole.Buf[200:201], nil, whole.Buf[201:]}}
	frames := []*vswitch.Frame{send(3, 10), {}, {Buf: make([]byte, 5)}, {Buf: make([]byte, vswitch.MaxFrame+1)}, send(9, 3000),
		{Buf: whole.Buf, GSO: packet.GSO{NeedsCsum: true, CsumStart: 60000, CsumOffset: 16}}, pieces}
	if n := p.Write(7, frames); n != len(frames) {
		t.Fatalf("%d taken", n)
	}
	out.next("third", udpTo(3))
	f = out.next("fourth", udpTo(4))
	if string(f.Buf) != string(whole.Buf) {
		t.Error("the frame in pieces is another one")
	}
	if s := p.Stats(); s != (Stats{VLAN: 1, Refused: 4, TooLarge: 1}) {
		t.Errorf("%+v", s)
	}
	if n := s2n(p.Stats().Named()); n != 6 {
		t.Errorf("%v", p.Stats().Named())
	}
	// More frames at once than fit one call.
	var many []*vswitch.Frame
	for i := range 3*writeAtOnce + 5 {
		many = append(many, send(uint16(1000+i), 10))
	}
	if n := p.Write(0, many); n != len(many) {
		t.Fatalf("%d taken", n)
	}
	for i := range many {
		out.next("one of many", udpTo(uint16(1000+i)))
	}
}

func parsed(h *packet.Headers, f vswitch.Frame) *packet.Headers {
	h.Parse(f.Buf)
	return h
}

func s2n(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// TestManyFrames mixes small frames and large ones, in order, more than one batch and one recvmmsg hold.
func TestManyFrames(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	held := r.hold("vnet0", tap.Config{MTU: 60000})
	p := r.attach(Config{Device: "vnet0"})
	ready(t, p)
	src := netip.MustParseAddrPort("10.9.0.1:1")
	const count = 400
	for i := range count {
		size := 20
		switch { // runs of small ones with large ones among them
		case i%37 == 36, i%100 > 90:
			size = 59000
		case i%5 == 0:
			size = 5000
		}
		u := packettest.UDP{Src: src, Dst: netip.AddrPortFrom(netip.MustParseAddr("10.9.0.2"), uint16(1+i)), Payload: make([]byte, size)}
		if held.Write(0, []*vswitch.Frame{{Buf: u.Bytes()}}) != 1 {
			t.Fatal("not taken")
		}
	}
	var b vswitch.Batch
	for i := 0; i < count; {
		if err := p.Read(0, &b); err != nil {
			t.Fatal(err)
		}
		for k := range b.Len() {
			var h packet.Headers
			h.Parse(b.Frame(k).Buf)
			if int(h.DstPort) != 1+i || packettest.Check(b.Frame(k).Buf) != nil {
				t.Fatalf("frame %d is for port %d: %v", i, h.DstPort, packettest.Check(b.Frame(k).Buf))
			}
			i++
		}
		b.Release()
	}
	if s := p.Stats(); s != (Stats{}) {
		t.Errorf("%+v", s)
	}
	if p.reader.spare != nil {
		t.Error("room is held while nothing is there")
	}
}

// TestKernelDrops fills the socket's buffer, which nobody reads.
func TestKernelDrops(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	held := r.hold("vnet0", tap.Config{})
	p := r.attach(Config{Device: "vnet0"})
	ready(t, p)
	frame := &vswitch.Frame{Buf: packettest.UDP{Src: netip.MustParseAddrPort("10.9.0.1:1"), Dst: netip.MustParseAddrPort("10.9.0.2:2"), Payload: make([]byte, 1400)}.Bytes()}
	for i := 0; p.Stats().KernelDrops == 0; i++ {
		for range 1000 {
			held.Write(0, []*vswitch.Frame{frame})
		}
		if i > 100 {
			t.Fatal("100,000 frames and none dropped")
		}
	}
	before := p.Stats().KernelDrops
	if after := p.Stats().KernelDrops; after < before {
		t.Errorf("%d after %d", after, before)
	}
	// The other way: the holder does not read.
	for range 200 {
		p.Write(0, []*vswitch.Frame{frame, frame, frame, frame, frame, frame, frame, frame})
	}
	if p.Stats().DeviceDrops == 0 {
		t.Error("the device dropped none of 1600 frames")
	}
	last := p.Stats()
	for range 100 { // the last ones are counted when the device is let go of
		held.Write(0, []*vswitch.Frame{frame})
		p.Write(0, []*vswitch.Frame{frame})
	}
	p.Close()
	if s := p.Stats(); s.KernelDrops <= last.KernelDrops || s.DeviceDrops <= last.DeviceDrops {
		t.Errorf("%+v, before it was closed %+v", s, last)
	}
}

func TestLearn(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	held := r.hold("vnet0", tap.Config{})
	macs := make(chan packet.MAC, 4)
	noted := make(chan struct{})
	p := r.attach(Config{Device: "vnet0", Learn: func(m packet.MAC) { macs <- m; <-noted }})
	ready(t, p)
	frame := func(src packet.MAC, port uint16) *vswitch.Frame {
		return &vswitch.Frame{Buf: packettest.UDP{Src: netip.MustParseAddrPort("10.9.0.1:1"), Dst: netip.AddrPortFrom(netip.MustParseAddr("10.9.0.2"), port), SrcMAC: src}.Bytes()}
	}
	in := read(t, p)
	held.Write(0, []*vswitch.Frame{frame(packet.MAC{1, 0, 0, 0, 0, 1}, 1)}) // multicast: never a source
	in.next("a frame without a source", udpTo(1))
	held.Write(0, []*vswitch.Frame{frame(packet.MAC{2, 0, 0, 0, 0, 1}, 2), frame(packet.MAC{2, 0, 0, 0, 0, 2}, 3)})
	if m := <-macs; m != (packet.MAC{2, 0, 0, 0, 0, 1}) {
		t.Fatal(m)
	}
	in.none("a frame before its source was noted", udpTo(2))
	close(noted)
	in.next("the first frame", udpTo(2))
	in.next("the next frame", udpTo(3))
	if len(macs) != 0 {
		t.Error("learnt a second source")
	}
}

// TestCloseWhileLearning: whoever notes the source may wait for who closes the port.
func TestCloseWhileLearning(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	held := r.hold("vnet0", tap.Config{})
	called, closed := make(chan struct{}), make(chan struct{})
	p := r.attach(Config{Device: "vnet0", Learn: func(packet.MAC) { close(called); <-closed }})
	ready(t, p)
	in := read(t, p)
	held.Write(0, []*vswitch.Frame{{Buf: packettest.UDP{Src: netip.MustParseAddrPort("10.9.0.1:1"), Dst: netip.MustParseAddrPort("10.9.0.2:2"), SrcMAC: packet.MAC{2, 0, 0, 0, 0, 1}}.Bytes()}})
	<-called
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-in.end; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	close(closed)
}

func TestStateNames(t *testing.T) {
	if len(stateNames) != int(Closed)+1 {
		t.Fatalf("%d names", len(stateNames))
	}
	if got := (Event{"vnet3", Bridged, "why"}).String(); got != "vnet3 bridged: why" {
		t.Error(got)
	}
}

func TestNamedStats(t *testing.T) {
	s := Stats{1, 2, 3, 4, 5, 6, 7}
	if n := s.Named(); len(n) != 7 || s2n(n) != 28 {
		t.Errorf("%v", n)
	}
	if n := (Stats{}).Named(); len(n) != 0 {
		t.Errorf("%v", n)
	}
}
