package instances

import (
	"encoding/binary"
	"net/netip"

	"github.com/vpclab/vpclab/packet"
)

// Echo is an ICMP (RFC 792) or ICMPv6 (RFC 4443) echo request. The drivers share it.
type Echo struct {
	Dst     netip.Addr // decides the version
	ID, Seq uint16
	Payload int // zero bytes after the header
}

const icmpHeaderLen = 8

func (e Echo) types() (request, reply uint8) {
	if e.Dst.Is4() {
		return 8, 0
	}
	return 128, 129
}

// Marshal returns the request's ICMP message. The checksum of an IPv6 one is left to the stack, which
// knows the source address.
func (e Echo) Marshal() []byte {
	b := make([]byte, icmpHeaderLen+e.Payload)
	b[0], _ = e.types()
	binary.BigEndian.PutUint16(b[4:], e.ID)
	binary.BigEndian.PutUint16(b[6:], e.Seq)
	if e.Dst.Is4() {
		binary.BigEndian.PutUint16(b[2:], packet.Checksum(b, 0))
	}
	return b
}

// Match says whether msg, an ICMP message that from sent, answers the request: with its reply (nil), or
// with an error that quotes it (*ICMPError).
func (e Echo) Match(from netip.Addr, msg []byte) (matched bool, err error) {
	if len(msg) < icmpHeaderLen {
		return false, nil
	}
	from = from.Unmap().WithZone("")
	_, reply := e.types()
	if msg[0] == reply {
		return msg[1] == 0 && from == e.Dst.WithZone("") && e.sameEcho(msg), nil
	}
	if e.isError(msg[0]) && e.quoted(msg[icmpHeaderLen:]) {
		return true, &ICMPError{From: from, Type: msg[0], Code: msg[1]}
	}
	return false, nil
}

func (e Echo) sameEcho(msg []byte) bool {
	return binary.BigEndian.Uint16(msg[4:]) == e.ID && binary.BigEndian.Uint16(msg[6:]) == e.Seq
}

func (e Echo) isError(typ uint8) bool {
	if e.Dst.Is4() {
		return typ == 3 || typ == 11 || typ == 12
	}
	return typ >= 1 && typ <= 4
}

// quoted says whether ip, the packet inside an error message, starts as the request did.
func (e Echo) quoted(ip []byte) bool {
	var dst netip.Addr
	var proto uint8
	hdr := 40
	switch {
	case e.Dst.Is4() && len(ip) >= 20 && ip[0]>>4 == 4:
		hdr = int(ip[0]&15) * 4
		proto, dst = ip[9], netip.AddrFrom4([4]byte(ip[16:20]))
	case e.Dst.Is6() && len(ip) >= hdr && ip[0]>>4 == 6:
		proto, dst = ip[6], netip.AddrFrom16([16]byte(ip[24:40]))
	default:
		return false
	}
	if hdr < 20 || len(ip) < hdr+icmpHeaderLen || dst != e.Dst.WithZone("") {
		return false
	}
	request, _ := e.types()
	return (proto == packet.ProtoICMP || proto == packet.ProtoICMPv6) && ip[hdr] == request && e.sameEcho(ip[hdr:])
}
