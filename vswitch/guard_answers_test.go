package vswitch

import (
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
)

var zeroMAC packet.MAC

func TestARP(t *testing.T) {
	w, a, n, b := guarded(t)
	request := func(sender netip.Addr, target string) packettest.ARP {
		return packettest.ARP{SenderMAC: a.mac, Sender: sender, Target: addr(target)}
	}
	unicast := request(a.addr, "10.0.1.11")
	unicast.SrcMAC, unicast.DstMAC = a.mac, n.mac
	otherSender := request(a.addr, "10.0.1.11")
	otherSender.SrcMAC, otherSender.SenderMAC = a.mac, n.mac
	otherSource := request(a.addr, "10.0.1.11")
	otherSource.SrcMAC = n.mac
	reply := packettest.ARP{Op: packet.ARPReplyOp, SrcMAC: a.mac, DstMAC: n.mac, SenderMAC: a.mac, TargetMAC: n.mac, Sender: a.addr, Target: n.addr}
	for _, test := range []struct {
		name   string
		arp    packettest.ARP
		reason Reason
		mac    packet.MAC // that answers
	}{
		{"neighbour", request(a.addr, "10.0.1.11"), ReasonARP, n.mac},
		{"neighbour, unicast", unicast, ReasonARP, n.mac},
		{"router", request(a.addr, "10.0.1.1"), ReasonARP, RouterMAC},
		{"probe of a neighbour", request(addr("0.0.0.0"), "10.0.1.11"), ReasonARP, n.mac},
		{"probe of its own", request(addr("0.0.0.0"), "10.0.1.10"), ReasonARPUnanswered, zeroMAC},
		{"gratuitous", request(a.addr, "10.0.1.10"), ReasonARPUnanswered, zeroMAC},
		{"gratuitous of a neighbour's", request(n.addr, "10.0.1.11"), ReasonSpoofedIP, zeroMAC},
		{"nobody", request(a.addr, "10.0.1.99"), ReasonARPUnanswered, zeroMAC},
		{"another subnet", request(a.addr, "10.0.2.10"), ReasonARPUnanswered, zeroMAC},
		{"router of another subnet", request(a.addr, "10.0.2.1"), ReasonARPUnanswered, zeroMAC},
		{"outside", request(a.addr, "8.8.8.8"), ReasonARPUnanswered, zeroMAC},
		{"foreign sender address", request(addr("10.0.1.77"), "10.0.1.11"), ReasonSpoofedIP, zeroMAC},
		{"foreign sender MAC", otherSender, ReasonSpoofedMAC, zeroMAC},
		{"foreign source MAC", otherSource, ReasonSpoofedMAC, zeroMAC},
		{"reply", reply, ReasonARPUnanswered, zeroMAC},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			for _, f := range [][]byte{test.arp.Bytes(), packettest.Pad(test.arp.Bytes())} {
				a.expect(test.reason, f)
				if test.reason == ReasonARP {
					checkARPReply(t, a.take(), a, test.arp, test.mac)
				}
				w.silent()
				w.untouched()
			}
			w.balanced()
		})
	}
	_ = b
}

func checkARPReply(t *testing.T, out [][]byte, a *stubPort, q packettest.ARP, mac packet.MAC) {
	t.Helper()
	if len(out) != 1 {
		t.Fatalf("%d answers", len(out))
	}
	var h packet.Headers
	h.Parse(out[0])
	target := packet.AddrFrom(q.Target)
	if h.Kind != packet.ARP || h.ARPOp != packet.ARPReplyOp || h.ARPSenderMAC != mac || h.Src != target ||
		h.Dst != packet.AddrFrom(q.Sender) || h.DstMAC != a.mac || h.SrcMAC != mac {
		t.Errorf("answer %+v; want %v is at %v, to %v", h, target, mac, a.mac)
	}
}

// TestARPWithoutCheck: an interface that forwards may ask with any sender address.
func TestARPWithoutCheck(t *testing.T) {
	w, a, _, _ := guarded(t)
	w.sourceDestCheck("a-1", false)
	a.expect(ReasonARP, packettest.ARP{SenderMAC: a.mac, Sender: addr("192.0.2.1"), Target: addr("10.0.1.11")}.Bytes())
}

// TestARPSecondary: every address of a neighbour is answered for, from the moment it has it.
func TestARPSecondary(t *testing.T) {
	w, a, n, _ := guarded(t)
	q := packettest.ARP{SenderMAC: a.mac, Sender: a.addr, Target: addr("10.0.1.50")}
	a.expect(ReasonARPUnanswered, q.Bytes())
	w.update(func(tx *vpc.Tx) error {
		_, err := tx.AssignPrivateIpAddresses(vpc.AssignAddressesInput{ID: n.eni, Addresses: []netip.Addr{q.Target}})
		return err
	})
	a.expect(ReasonARP, q.Bytes())
	checkARPReply(t, a.take(), a, q, n.mac)
}

func TestNeighborDiscovery(t *testing.T) {
	w, a, n, _ := guarded(t)
	solicit := func(src netip.Addr, target string) []byte {
		return packet.NeighborSolicitation(nil, a.mac, packet.AddrFrom(src), packet.AddrFrom(addr(target)))
	}
	spoofed := solicit(a.addr6, "2001:db8:0:1::11")
	packet.SetMACs(spoofed, packet.MAC(spoofed[:6]), n.mac)
	icmp := func(typ uint8, payload int) []byte {
		return packettest.ICMP{
			SrcMAC: a.mac, DstMAC: packet.MAC{0x33, 0x33, 0, 0, 0, 2}, Src: a.linkLocal(), Dst: addr("ff02::2"), Type: typ, IP: packettest.IP{TTL: 255}, Payload: make([]byte, payload),
		}.Bytes()
	}
	for _, test := range []struct {
		name   string
		frame  []byte
		reason Reason
		mac    packet.MAC
	}{
		{"neighbour", solicit(a.addr6, "2001:db8:0:1::11"), ReasonNeighbor, n.mac},
		{"neighbour, from link-local", solicit(a.linkLocal(), "2001:db8:0:1::11"), ReasonNeighbor, n.mac},
		{"router, link-local", solicit(a.linkLocal(), "fe80:ec2::1"), ReasonNeighbor, RouterMAC},
		{"router, of the subnet", solicit(a.addr6, "2001:db8:0:1::1"), ReasonNeighbor, RouterMAC},
		{"its own", solicit(a.addr6, "2001:db8:0:1::10"), ReasonNDUnanswered, zeroMAC},
		{"detection of duplicates", solicit(addr("::"), "2001:db8:0:1::10"), ReasonNDUnanswered, zeroMAC},
		{"detection of duplicates, link-local", solicit(addr("::"), a.linkLocal().String()), ReasonNDUnanswered, zeroMAC},
		{"nobody", solicit(a.addr6, "2001:db8:0:1::99"), ReasonNDUnanswered, zeroMAC},
		{"router of another subnet", solicit(a.addr6, "2001:db8:0:2::1"), ReasonNDUnanswered, zeroMAC},
		{"another subnet", solicit(a.addr6, "2001:db8:0:2::10"), ReasonNDUnanswered, zeroMAC},
		{"spoofed address", solicit(n.addr6, "2001:db8:0:1::1"), ReasonSpoofedIP, zeroMAC},
		{"spoofed MAC", spoofed, ReasonSpoofedMAC, zeroMAC},
		{"router solicitation", icmp(packet.ICMPv6RouterSolicitation, 0), ReasonNDUnanswered, zeroMAC},
		{"router advertisement", icmp(packet.ICMPv6RouterAdvertisement, 8), ReasonNDUnanswered, zeroMAC},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			a.expect(test.reason, test.frame)
			if test.reason == ReasonNeighbor {
				checkAdvertisement(t, a.take(), a, test.frame, test.mac)
			}
			w.silent()
			w.untouched()
			w.balanced()
		})
	}
}

func checkAdvertisement(t *testing.T, out [][]byte, a *stubPort, solicitation []byte, mac packet.MAC) {
	t.Helper()
	if len(out) != 1 {
		t.Fatalf("%d answers", len(out))
	}
	if err := packettest.Check(out[0]); err != nil {
		t.Error(err)
	}
	var q, h packet.Headers
	q.Parse(solicitation)
	h.Parse(out[0])
	if h.ICMPType != packet.ICMPv6NeighborAdvert || h.NDTarget != q.NDTarget || h.Src != q.NDTarget || h.Dst != q.Src || h.DstMAC != a.mac || h.SrcMAC != mac || h.TTL != 255 {
		t.Errorf("answer %+v to %+v", h, q)
	}
	option := packet.MAC(out[0][len(out[0])-6:]) // target link-layer address
	if router := out[0][h.L4+4]&0x80 != 0; option != mac || router != (mac == RouterMAC) {
		t.Errorf("answer says %v, router %v; want %v", option, router, mac)
	}
}

// routerPing is an echo request to an address of the router's.
func routerPing(a *stubPort, src netip.Addr, dst string) []byte {
	m := packettest.Ping(src, addr(dst), 7, 9)
	m.SrcMAC, m.DstMAC, m.Payload = a.mac, RouterMAC, []byte("some payload")
	return m.Bytes()
}

func TestRouterAnswersPing(t *testing.T) {
	w, a, n, _ := guarded(t)
	w.groups("a-1", "default") // not subject to security groups
	big := packettest.Ping(a.addr, addr("10.0.1.1"), 7, 9)
	big.SrcMAC, big.DstMAC, big.Payload = a.mac, RouterMAC, make([]byte, 3000)
	for name, f := range map[string][]byte{
		"IPv4": routerPing(a, a.addr, "10.0.1.1"), "IPv6": routerPing(a, a.addr6, "2001:db8:0:1::1"),
		"link-local": routerPing(a, a.linkLocal(), "fe80:ec2::1"), "from global to link-local": routerPing(a, a.addr6, "fe80:ec2::1"), "large": big.Bytes(),
	} {
		a.expect(ReasonRouter, f)
		out := a.delivered(1)[0]
		var q, h packet.Headers
		q.Parse(f)
		h.Parse(out)
		if h.Src != q.Dst || h.Dst != q.Src || h.SrcMAC != RouterMAC || h.DstMAC != a.mac || h.TTL != packet.EchoTTL || h.DstPort != 7 ||
			string(out[h.Payload:h.End]) != string(f[q.Payload:q.End]) {
			t.Errorf("%s: answer %+v", name, h)
		}
	}
	a.expect(ReasonSpoofedIP, routerPing(a, n.addr, "10.0.1.1"), routerPing(a, n.addr6, "fe80:ec2::1"))
	w.untouched()
	w.balanced()
}

// TestRouterTakesNothingElse: neither replies, nor errors, nor fragments of a ping, nor TCP.
func TestRouterTakesNothingElse(t *testing.T) {
	w, a, _, b := guarded(t)
	reply := packettest.Pong(packettest.Ping(addr("10.0.1.1"), a.addr, 1, 1))
	reply.SrcMAC, reply.DstMAC = a.mac, RouterMAC
	unreachable := packettest.ICMPError(a.addr, 3, 3, b.udp(a, 1, 2, "x"), 28)
	unreachable.Dst, unreachable.SrcMAC, unreachable.DstMAC = addr("10.0.1.1"), a.mac, RouterMAC
	large := packettest.Ping(a.addr, addr("10.0.1.1"), 1, 1)
	large.SrcMAC, large.DstMAC, large.Payload = a.mac, RouterMAC, make([]byte, 100)
	tcp := packettest.TCP{SrcMAC: a.mac, DstMAC: RouterMAC, Src: netip.AddrPortFrom(a.addr, 1), Dst: netip.MustParseAddrPort("10.0.1.1:80"), Flags: packet.SYN}
	a.expect(ReasonRouterAddress, reply.Bytes(), unreachable.Bytes(), tcp.Bytes())
	a.expect(ReasonRouterAddress, packettest.Fragments(large.Bytes(), 56, 1)...)
	w.untouched()
	w.balanced()
}
