package packet

import "encoding/binary"

// SetMACs writes both Ethernet addresses of frame, which is at least EthernetLen long.
func SetMACs(frame []byte, dst, src MAC) {
	b := frame[:EthernetLen]
	copy(b[0:6], dst[:])
	copy(b[6:12], src[:])
}

func appendEthernet(b []byte, dst, src MAC, etherType uint16) []byte {
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	return binary.BigEndian.AppendUint16(b, etherType)
}

// ARPRequest appends a broadcast frame in which mac, with the IPv4 address sender, asks who has
// target. Like all builders it returns the extended dst and allocates only where dst has no room.
func ARPRequest(dst []byte, mac MAC, sender, target Addr) []byte {
	return appendARP(dst, Broadcast, ARPRequestOp, mac, sender, MAC{}, target)
}

// ARPReply appends the frame that tells the sender of request, a parsed ARP request, that the address
// it asks for is at mac.
func ARPReply(dst []byte, request *Headers, mac MAC) []byte {
	return appendARP(dst, request.ARPSenderMAC, ARPReplyOp, mac, request.Dst, request.ARPSenderMAC, request.Src)
}

func appendARP(b []byte, to MAC, op uint16, mac MAC, sender Addr, targetMAC MAC, target Addr) []byte {
	b = appendEthernet(b, to, mac, EtherTypeARP)
	b = append(b, 0, 1, EtherTypeIPv4>>8, EtherTypeIPv4&0xff, 6, 4)
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(b, mac[:]...)
	b = append(b, sender[12:]...)
	b = append(b, targetMAC[:]...)
	return append(b, target[12:]...)
}

// EchoTTL is the TTL of an echo reply (RFC 1700, as Linux has it).
const EchoTTL = 64

// EchoReply turns frame, an ICMP or ICMPv6 echo request that h was parsed from, into its reply, in
// place: MAC and IP addresses swapped, TTL renewed, checksums updated rather than computed, so that a
// damaged request gives a damaged reply. It reports false, and changes nothing, if h is no whole echo
// request, or one to or from a multicast address. h no longer describes frame afterwards.
func EchoReply(frame []byte, h *Headers) bool {
	if int(h.End) > len(frame) || h.Frag != NotFragment || h.routed || h.ICMPCode != 0 ||
		h.SrcMAC.IsMulticast() || h.DstMAC.IsMulticast() || h.Src.IsMulticast() || h.Dst.IsMulticast() {
		return false
	}
	switch {
	case h.Kind == IPv4 && h.Proto == ProtoICMP && h.ICMPType == ICMPEchoRequest:
		echoReply4(frame[h.L3:h.L4])
		setEchoType(frame[h.L4:], ICMPEchoReply)
	case h.Kind == IPv6 && h.Proto == ProtoICMPv6 && h.ICMPType == ICMPv6EchoRequest:
		ip := frame[h.L3:]
		ip[7] = EchoTTL
		copy(ip[8:24], h.Dst[:])
		copy(ip[24:40], h.Src[:])
		setEchoType(frame[h.L4:], ICMPv6EchoReply)
	default:
		return false
	}
	SetMACs(frame, h.SrcMAC, h.DstMAC)
	return true
}

// echoReply4 turns the IPv4 header round. Swapping addresses leaves its sum as it was.
func echoReply4(ip []byte) {
	src, dst := [4]byte(ip[12:]), [4]byte(ip[16:])
	copy(ip[12:], dst[:])
	copy(ip[16:], src[:])
	old := binary.BigEndian.Uint16(ip[8:])
	ip[8] = EchoTTL
	sum := binary.BigEndian.Uint16(ip[10:])
	binary.BigEndian.PutUint16(ip[10:], UpdateChecksum16(sum, old, binary.BigEndian.Uint16(ip[8:])))
}

func setEchoType(icmp []byte, typ uint8) {
	old := binary.BigEndian.Uint16(icmp)
	icmp[0] = typ
	sum := binary.BigEndian.Uint16(icmp[2:])
	binary.BigEndian.PutUint16(icmp[2:], UpdateChecksum16(sum, old, binary.BigEndian.Uint16(icmp)))
}

// Neighbour discovery options and flags (RFC 4861 sections 4.3, 4.4 and 4.6.1).
const (
	ndSourceLinkAddr = 1
	ndTargetLinkAddr = 2

	naRouter    = 0x80
	naSolicited = 0x40
	naOverride  = 0x20

	ndMessageLen = 32 // solicitation or advertisement with one link-layer address option
)

// AllNodes is ff02::1, every node of the link.
var AllNodes = Addr{0: 0xff, 1: 0x02, 15: 1}

// SolicitedNode is the multicast address that solicitations for a are sent to (RFC 4291 section 2.7.1).
func SolicitedNode(a Addr) Addr {
	return Addr{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]}
}

// MulticastMAC is the Ethernet address of an IPv6 multicast address (RFC 2464 section 7).
func MulticastMAC(a Addr) MAC { return MAC{0x33, 0x33, a[12], a[13], a[14], a[15]} }

// NeighborSolicitation appends the frame in which mac, with the IPv6 address sender, asks who has
// target.
func NeighborSolicitation(dst []byte, mac MAC, sender, target Addr) []byte {
	to := SolicitedNode(target)
	return appendND(dst, MulticastMAC(to), mac, sender, to, ICMPv6NeighborSolicitation, 0, target, ndSourceLinkAddr)
}

// NeighborAdvertisement appends the frame that tells the sender of a parsed neighbour solicitation
// that its target is at mac. A solicitation from the unspecified address (duplicate address detection)
// is answered to all nodes (RFC 4861 section 7.2.4). router sets the flag of a router.
func NeighborAdvertisement(dst []byte, solicitation *Headers, mac MAC, router bool) []byte {
	to, toMAC, flags := solicitation.Src, solicitation.SrcMAC, byte(naSolicited|naOverride)
	if to.IsZero() {
		to, toMAC, flags = AllNodes, MulticastMAC(AllNodes), naOverride
	}
	if router {
		flags |= naRouter
	}
	target := solicitation.NDTarget
	return appendND(dst, toMAC, mac, target, to, ICMPv6NeighborAdvert, flags, target, ndTargetLinkAddr)
}

func appendND(b []byte, toMAC, mac MAC, from, to Addr, typ, flags byte, target Addr, option byte) []byte {
	b = appendEthernet(b, toMAC, mac, EtherTypeIPv6)
	b = append(b, 6<<4, 0, 0, 0, 0, ndMessageLen, ProtoICMPv6, 255)
	b = append(b, from[:]...)
	b = append(b, to[:]...)
	start := len(b)
	b = append(b, typ, 0, 0, 0, flags, 0, 0, 0)
	b = append(b, target[:]...)
	b = append(b, option, 1) // length in units of 8 bytes
	b = append(b, mac[:]...)
	sum := Checksum(b[start:], PseudoSum(from, to, ProtoICMPv6, ndMessageLen))
	binary.BigEndian.PutUint16(b[start+2:], sum)
	return b
}
