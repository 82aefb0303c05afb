package vswitch

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
)

// guarded is a world that would let everything pass: what does not is the guard's or the route's doing.
func guarded(t testing.TB) (w *world, a, n, b *stubPort) {
	w = newWorld(t)
	w.group("g", open...)
	return w, w.instance("a-1", "a", "10.0.1.10", "g"), w.instance("a-2", "a", "10.0.1.11", "g"), w.instance("b-1", "b", "10.0.2.10", "g")
}

// udpTo is a datagram of p's to any address by any next hop.
func (p *stubPort) udpTo(dst string, hop packet.MAC) []byte {
	return p.udpFrom(p.addrLike(dst), dst, p.mac, hop)
}

func (p *stubPort) addrLike(dst string) netip.Addr {
	if addr(dst).Is6() {
		return p.addr6
	}
	return p.addr
}

func (p *stubPort) udpFrom(src netip.Addr, dst string, from, hop packet.MAC) []byte {
	return packettest.UDP{
		SrcMAC: from, DstMAC: hop, Src: netip.AddrPortFrom(src, 5000), Dst: netip.AddrPortFrom(addr(dst), 53), Payload: []byte("query"),
	}.Bytes()
}

func TestGuard(t *testing.T) {
	w, a, n, b := guarded(t)
	vlan := packettest.VLAN(a.udp(b, 1, 2, "x"), 7)
	allNodes := packet.MAC{0x33, 0x33, 0, 0, 0, 1}
	mdns := packet.MAC{0x01, 0, 0x5e, 0, 0, 0xfb}
	unknown := packet.MAC{2, 9, 9, 9, 9, 9}
	for _, test := range []struct {
		name   string
		reason Reason
		frame  []byte
	}{
		{"VLAN tag", ReasonVLAN, vlan},
		{"two VLAN tags", ReasonVLAN, packettest.VLAN(vlan, 8)},
		{"ethertype LLDP", ReasonEtherType, packettest.Ethernet(a.mac, RouterMAC, 0x88cc, make([]byte, 60))},
		{"802.3 length", ReasonEtherType, packettest.Ethernet(a.mac, RouterMAC, 60, make([]byte, 60))},
		{"source MAC of a neighbour", ReasonSpoofedMAC, a.udpFrom(a.addr, "10.0.2.10", n.mac, RouterMAC)},
		{"source MAC of the router", ReasonSpoofedMAC, a.udpFrom(a.addr, "10.0.2.10", RouterMAC, RouterMAC)},
		{"source MAC, IPv6", ReasonSpoofedMAC, a.udpFrom(a.addr6, "2001:db8:0:2::10", n.mac, RouterMAC)},
		{"source address of a neighbour", ReasonSpoofedIP, a.udpFrom(n.addr, "10.0.2.10", a.mac, RouterMAC)},
		{"source address of nobody", ReasonSpoofedIP, a.udpFrom(addr("10.0.1.99"), "10.0.2.10", a.mac, RouterMAC)},
		{"source address 0.0.0.0", ReasonSpoofedIP, a.udpFrom(addr("0.0.0.0"), "10.0.2.10", a.mac, RouterMAC)},
		{"source address of a neighbour, IPv6", ReasonSpoofedIP, a.udpFrom(n.addr6, "2001:db8:0:2::10", a.mac, RouterMAC)},
		{"source address ::", ReasonSpoofedIP, a.udpFrom(addr("::"), "2001:db8:0:2::10", a.mac, RouterMAC)},
		{"spoofed to the router", ReasonSpoofedIP, a.udpFrom(n.addr, "10.0.1.1", a.mac, RouterMAC)},
		{"one byte too large", ReasonOversize, a.udp(b, 1, 2, string(make([]byte, 9001-28+1)))},
		{"one byte too large, IPv6", ReasonOversize, a.udp6(b, 1, 2, string(make([]byte, 9001-48+1)))},
		{"broadcast MAC", ReasonMulticast, a.udpTo("10.0.2.10", packet.Broadcast)},
		{"broadcast address", ReasonMulticast, a.udpTo("255.255.255.255", packet.Broadcast)},
		{"broadcast address to the router's MAC", ReasonMulticast, a.udpTo("255.255.255.255", RouterMAC)},
		{"multicast", ReasonMulticast, a.udpTo("224.0.0.251", mdns)},
		{"multicast address to the router's MAC", ReasonMulticast, a.udpTo("224.0.0.251", RouterMAC)},
		{"multicast address to a neighbour's MAC", ReasonMulticast, a.udpTo("239.1.1.1", n.mac)},
		{"multicast IPv6", ReasonMulticast, a.udpTo("ff02::fb", allNodes)},
		{"multicast IPv6 to the router's MAC", ReasonMulticast, a.udpTo("ff05::2", RouterMAC)},
		{"broadcast of the subnet", ReasonNoDestination, a.udpTo("10.0.1.255", RouterMAC)},
		{"unknown MAC", ReasonUnknownMAC, a.udpTo("10.0.1.11", unknown)},
		{"zero MAC", ReasonUnknownMAC, a.udpTo("10.0.1.11", packet.MAC{4})},
		{"its own MAC", ReasonUnknownMAC, a.udpTo("10.0.1.10", a.mac)},
		{"MAC of another subnet", ReasonUnknownMAC, a.udpTo("10.0.2.10", b.mac)},
		{"neighbour's MAC, not its address", ReasonSourceDestCheck, a.udpTo("10.0.2.10", n.mac)},
		{"neighbour's MAC, not its address, IPv6", ReasonSourceDestCheck, a.udpTo("2001:db8:0:2::10", n.mac)},
		{"nobody there", ReasonNoDestination, a.udpTo("10.0.2.99", RouterMAC)},
		{"nobody there, IPv6", ReasonNoDestination, a.udpTo("2001:db8:0:2::99", RouterMAC)},
		{"itself through the router", ReasonNoDestination, a.udpTo("10.0.1.10", RouterMAC)},
		{"router of another subnet", ReasonNoDestination, a.udpTo("10.0.2.1", RouterMAC)},
		{"outside the VPC", ReasonNoRoute, a.udpTo("192.0.2.1", RouterMAC)},
		{"outside the VPC, IPv6", ReasonNoRoute, a.udpTo("2001:db8:1::1", RouterMAC)},
		{"link-local destination", ReasonLinkLocal, a.udpTo("169.254.10.1", RouterMAC)},
		{"link-local source", ReasonLinkLocal, a.udpFrom(addr("169.254.10.1"), "10.0.2.10", a.mac, RouterMAC)},
		{"link-local of a neighbour", ReasonLinkLocal, a.udpFrom(a.linkLocal(), n.linkLocal().String(), a.mac, n.mac)},
		{"link-local source to a global address", ReasonLinkLocal, a.udpFrom(a.linkLocal(), "2001:db8:0:1::11", a.mac, n.mac)},
		{"router's address to a neighbour's MAC", ReasonSourceDestCheck, a.udpTo("10.0.1.1", n.mac)},
		{"router's address to an unknown MAC", ReasonUnknownMAC, a.udpTo("10.0.1.1", unknown)},
		{"UDP to the router", ReasonRouterAddress, a.udpTo("10.0.1.1", RouterMAC)},
		{"UDP to the router, IPv6", ReasonRouterAddress, a.udpTo("2001:db8:0:1::1", RouterMAC)},
		{"UDP to the router's link-local address", ReasonRouterAddress, a.udpFrom(a.linkLocal(), "fe80:ec2::1", a.mac, RouterMAC)},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			a.expect(test.reason, test.frame)
			w.untouched()
			w.balanced()
		})
	}
}

func (p *stubPort) linkLocal() netip.Addr { return linkLocal(p.mac).Netip() }

// TestLargestFrame passes what is exactly as large as the port's MTU, on an odd number of bytes.
func TestLargestFrame(t *testing.T) {
	_, a, _, b := guarded(t)
	a.passes(b, a.udp(b, 1, 2, string(make([]byte, 9001-28))))
	a.passes(b, a.udp6(b, 1, 2, string(make([]byte, 9001-48))))
}

// TestPaddingIsNotForwarded: what lies behind the IP packet is neither judged nor counted, so it must not travel.
func TestPaddingIsNotForwarded(t *testing.T) {
	w, a, _, b := guarded(t)
	f := a.udp(b, 1, 2, "x")
	for _, tail := range []int{1, 17, 5000} {
		a.send(append(append([]byte(nil), f...), make([]byte, tail)...))
		if got := b.delivered(1)[0]; len(got) != len(f) {
			t.Errorf("%d bytes behind the packet: %d bytes arrived, want %d", tail, len(got), len(f))
		}
	}
	if c := w.sw.Totals(); c.SentBytes != 3*uint64(len(f)-packet.EthernetLen) {
		t.Errorf("%d bytes sent", c.SentBytes)
	}
}

// kinds is a valid frame of every kind that passes or is answered.
func kinds(w *world, a, n, b *stubPort) map[string][]byte {
	v6ext := packettest.UDP{
		SrcMAC: a.mac, DstMAC: RouterMAC, Src: netip.AddrPortFrom(a.addr6, 1), Dst: netip.AddrPortFrom(b.addr6, 2),
		IP: packettest.IP{Extensions: []packettest.Extension{{Proto: packet.ProtoDstOptions, Body: make([]byte, 6)}}},
	}.Bytes()
	v4opt := packettest.TCP{
		SrcMAC: a.mac, DstMAC: RouterMAC, Src: netip.AddrPortFrom(a.addr, 1), Dst: netip.AddrPortFrom(b.addr, 2), Flags: packet.SYN,
		IP: packettest.IP{Options: []byte{1, 1, 1, 0}}, Options: []byte{2, 4, 5, 0xb4},
	}.Bytes()
	return map[string][]byte{
		"arp":                packettest.ARP{SenderMAC: a.mac, Sender: a.addr, Target: n.addr}.Bytes(),
		"tcp":                a.tcp(b, 1, 2, packet.SYN),
		"tcp with options":   v4opt,
		"udp":                a.udp(b, 1, 2, "payload"),
		"ping":               a.ping(b, 1, 2),
		"gre":                a.other(b, 47, 4),
		"tcp6":               a.tcp6(b, 1, 2, packet.SYN),
		"udp6":               a.udp6(b, 1, 2, "payload"),
		"udp6 with options":  v6ext,
		"ping6":              a.ping6(b, 1, 2),
		"solicitation":       packet.NeighborSolicitation(nil, a.mac, packet.AddrFrom(a.addr6), packet.AddrFrom(n.addr6)),
		"ping of the router": routerPing(a, a.addr, "10.0.1.1"),
	}
}

// TestTruncated cuts every kind of frame at every length.
func TestTruncated(t *testing.T) {
	w, a, n, b := guarded(t)
	known := 0
	for name, frame := range kinds(w, a, n, b) {
		for length := range frame {
			got := w.during(func() { a.send(frame[:length]) })
			var sum uint64
			for reason, k := range got {
				sum += k
				if r := reasonNamed(t, reason); !r.Dropped() {
					t.Errorf("%s cut at %d of %d: %s", name, length, len(frame), reason)
				}
			}
			if sum != 1 {
				t.Errorf("%s cut at %d of %d counts as %v", name, length, len(frame), got)
			}
			w.silent()
		}
		if n := len(w.records()); n != known {
			t.Errorf("%s cut short left %d records", name, n-known)
		}
		got := w.during(func() { a.send(frame) })
		for reason := range got {
			if !reasonNamed(t, reason).Answered() {
				t.Errorf("%s as a whole counts as %v", name, got)
			}
		}
		if len(a.take())+len(b.take()) != 1 {
			t.Errorf("%s as a whole is not answered or delivered", name)
		}
		known = len(w.records())
	}
	w.balanced()
}

func reasonNamed(t *testing.T, name string) Reason {
	t.Helper()
	for r := range numReasons {
		if r.String() == name {
			return r
		}
	}
	t.Fatalf("no reason is called %q", name)
	return 0
}

// TestReasonNames: every reason has a name of its own, and what parsing finds wrong maps to the right one.
func TestReasonNames(t *testing.T) {
	seen := map[string]Reason{}
	for r := range numReasons {
		name := r.String()
		if was, twice := seen[name]; twice || name == "" {
			t.Errorf("reasons %d and %d are both called %q", was, r, name)
		}
		seen[name] = r
	}
	for why, want := range map[packet.Malformed]Reason{
		packet.Truncated: ReasonTruncated, packet.VLAN: ReasonVLAN, packet.EtherType: ReasonEtherType, packet.BadARP: ReasonBadARP,
		packet.BadIPv4: ReasonBadIPv4, packet.BadIPv6: ReasonBadIPv6, packet.BadTCP: ReasonBadTCP, packet.BadUDP: ReasonBadUDP,
		packet.BadICMP: ReasonBadICMP, packet.TinyFragment: ReasonTinyFragment,
	} {
		if got := malformedReason(why); got != want {
			t.Errorf("%v is counted as %v, want %v", why, got, want)
		}
	}
	if last := malformedReason(packet.Malformed(packet.MalformedCount - 1)); last >= ReasonOversize {
		t.Errorf("the last malformation is counted as %v", last)
	}
}

// TestBadOffloadMetadata is dropped and counted as one frame, whatever it pretends to stand for.
func TestBadOffloadMetadata(t *testing.T) {
	w, a, _, b := guarded(t)
	tcp, udp := a.tcp(b, 1, 2, packet.ACK), a.udp(b, 1, 2, "payload")
	for i, test := range []struct {
		frame []byte
		g     packet.GSO
		want  Reason
	}{
		{tcp, packet.GSO{Type: packet.GSOTCP4, SegSize: 100, NeedsCsum: true, CsumStart: 34, CsumOffset: 16}, ReasonBadGSO}, // no payload
		{tcp, packet.GSO{Type: packet.GSOTCP6, SegSize: 100}, ReasonBadGSO},
		{tcp, packet.GSO{Type: packet.GSOUDP, SegSize: 100}, ReasonBadGSO},
		{udp, packet.GSO{Type: packet.GSOUDP}, ReasonBadGSO},
		{udp, packet.GSO{Type: 77, SegSize: 1}, ReasonBadGSO},
		{udp, packet.GSO{NeedsCsum: true, CsumStart: 34, CsumOffset: 0}, ReasonBadGSO}, // would write over the source port
		{udp, packet.GSO{NeedsCsum: true, CsumStart: 0, CsumOffset: 6}, ReasonBadGSO},
		{udp, packet.GSO{NeedsCsum: true, CsumStart: 65000, CsumOffset: 65000}, ReasonBadGSO},
		{udp[:20], packet.GSO{Type: packet.GSOUDP, SegSize: 10}, ReasonTruncated},
		{packettest.ARP{SenderMAC: a.mac, Sender: a.addr, Target: b.addr}.Bytes(), packet.GSO{NeedsCsum: true, CsumStart: 20}, ReasonBadGSO},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			w.t = t
			got := w.during(func() { a.sendGSO(test.frame, test.g) })
			if len(got) != 1 || got[test.want.String()] != 1 {
				t.Errorf("%+v counts as %v, want one %v", test.g, got, test.want)
			}
			w.silent()
			w.balanced()
		})
	}
}

// TestOversizeSegments: a super-frame must not smuggle segments that the port's own wire would not carry.
func TestOversizeSegments(t *testing.T) {
	w, a, _, b := guarded(t)
	a.link.mtu = 1500
	for _, test := range []struct {
		size uint16
		ok   bool
	}{{1460, true}, {1461, false}, {8000, false}} {
		f, g := packettest.Offload(a.seg(b, 1, 2, packet.ACK, 1, 1, 20000), test.size)
		got := w.during(func() { a.sendGSO(f, g) })
		out := b.take()
		if n := (20000 + int(test.size) - 1) / int(test.size); test.ok && len(out) != n || !test.ok && (len(out) != 0 || got["oversize"] != uint64(n)) {
			t.Errorf("segments of %d: %d delivered, %v", test.size, len(out), got)
		}
		w.balanced()
	}
	f, g := packettest.Offload(a.seg(b, 1, 2, packet.ACK, 1, 1, 500), 4000) // one segment, and it fits
	a.sendGSO(f, g)
	b.delivered(1)
}

// TestDetached: neither end may be unplugged.
func TestDetached(t *testing.T) {
	w, a, _, b := guarded(t)
	frame := a.udp(b, 1, 2, "x")
	a.passes(b, frame)
	if err := w.sw.Detach(b.eni); err != nil {
		t.Fatal(err)
	}
	delete(w.ports, "b-1")
	a.expect(ReasonDetached, frame, a.udp(b, 9, 9, "new flow"))
	v := w.sw.view
	ni, _ := v.NetworkInterface(b.eni)
	b = w.plug("b-1", ni)
	a.passes(b, frame)

	// What a worker still reads while its own port is being unplugged.
	w.sw.mu.Lock()
	delete(w.sw.compiler.links, a.eni)
	w.sw.publish()
	w.sw.mu.Unlock()
	a.expect(ReasonDetached, frame, packettest.ARP{SenderMAC: a.mac, Sender: a.addr, Target: b.addr}.Bytes())
	w.balanced()
}

// TestSourceDestCheckOff: an interface may then send what is not its own, and take what is not for it.
func TestSourceDestCheckOff(t *testing.T) {
	w, a, n, b := guarded(t)
	foreign := func() []byte { return a.udpFrom(addr("192.0.2.1"), "10.0.2.10", a.mac, RouterMAC) }
	foreign6 := func() []byte { return a.udpFrom(addr("2001:db8:ffff::1"), "2001:db8:0:2::10", a.mac, RouterMAC) }
	a.expect(ReasonSpoofedIP, foreign(), foreign6())
	w.sourceDestCheck("a-1", false)
	a.passes(b, foreign())
	a.passes(b, foreign6())

	outward := a.udpTo("192.0.2.1", n.mac)
	a.expect(ReasonSourceDestCheck, outward)
	w.sourceDestCheck("a-2", false)
	a.passes(n, outward)
	a.expect(ReasonNoRoute, a.udpTo("192.0.2.1", RouterMAC)) // the check is the interface's, not the route's
	w.sourceDestCheck("a-2", true)
	a.expect(ReasonSourceDestCheck, outward) // also for a flow that passed before
	w.sourceDestCheck("a-1", true)
	a.expect(ReasonSpoofedIP, foreign(), foreign6())
	w.balanced()
}

// TestOtherPathSameFlow: a flow's cached way out must not carry a frame that takes another way.
func TestOtherPathSameFlow(t *testing.T) {
	w, a, n, b := guarded(t)
	w.sourceDestCheck("a-2", false)
	viaNeighbor, viaRouter := a.udpTo("10.0.2.10", n.mac), a.udpTo("10.0.2.10", RouterMAC)
	for range 3 { // the second time round from the cache
		a.passes(n, viaNeighbor)
		a.passes(b, viaRouter)
		a.expect(ReasonUnknownMAC, a.udpTo("10.0.2.10", b.mac)) // b is of another subnet
	}
	outside, router := a.udpTo("10.0.2.99", n.mac), a.udpTo("10.0.2.99", RouterMAC)
	for range 2 {
		a.passes(n, outside)
		a.expect(ReasonNoDestination, router)
	}
	var v vpc.Direction = vpc.Egress
	if h, ok := a.half(viaRouter, v); !ok || h.Rejected {
		t.Errorf("a-1 keeps %+v, %v", h, ok)
	}
	w.balanced()
}
