package packettest

import (
	"net/netip"

	"github.com/vpclab/vpclab/packet"
)

// Default addresses of a frame that names none.
var (
	DefaultSrcMAC = packet.MAC{0x02, 0, 0, 0, 0, 0x01}
	DefaultDstMAC = packet.MAC{0x02, 0, 0, 0, 0, 0x02}
)

// IP is what all IP packets have besides addresses. The zero value is an unfragmented packet with
// TTL 64 (255 for neighbour discovery).
type IP struct {
	TTL          uint8
	NoTTL        bool // TTL 0 is meant
	TOS          uint8
	ID           uint16      // IPv4 identification
	DontFragment bool        // IPv4
	Options      []byte      // IPv4, padded to 4 bytes with zeros
	Extensions   []Extension // IPv6, in order
}

// Extension is an IPv6 extension header. Body is all after the first two bytes (next header and
// length) and is padded with zeros to the header's unit.
type Extension struct {
	Proto uint8
	Body  []byte
}

// TCP is a TCP segment; the family is that of Src.
type TCP struct {
	SrcMAC, DstMAC packet.MAC
	Src, Dst       netip.AddrPort
	IP             IP
	Flags          uint8
	Seq, Ack       uint32
	Window, Urgent uint16
	Options        []byte // padded to 4 bytes with zeros
	Payload        []byte
}

// Bytes returns the frame.
func (t TCP) Bytes() []byte {
	opts := pad(t.Options, 4)
	b := be16(nil, t.Src.Port())
	b = be16(b, t.Dst.Port())
	b = be32(b, t.Seq)
	b = be32(b, t.Ack)
	b = append(b, byte((20+len(opts))/4)<<4, t.Flags)
	b = be16(b, t.Window)
	b = be16(b, 0)
	b = be16(b, t.Urgent)
	b = append(append(b, opts...), t.Payload...)
	putChecksum(b, 16, t.Src.Addr(), t.Dst.Addr(), packet.ProtoTCP)
	return frame(t.SrcMAC, t.DstMAC, t.Src.Addr(), t.Dst.Addr(), t.IP, packet.ProtoTCP, b)
}

// UDP is a UDP datagram; the family is that of Src.
type UDP struct {
	SrcMAC, DstMAC packet.MAC
	Src, Dst       netip.AddrPort
	IP             IP
	NoChecksum     bool // the checksum field is 0, which IPv4 allows
	Payload        []byte
}

// Bytes returns the frame.
func (u UDP) Bytes() []byte {
	b := be16(nil, u.Src.Port())
	b = be16(b, u.Dst.Port())
	b = be16(b, uint16(8+len(u.Payload)))
	b = append(be16(b, 0), u.Payload...)
	if !u.NoChecksum {
		putChecksum(b, 6, u.Src.Addr(), u.Dst.Addr(), packet.ProtoUDP)
	}
	return frame(u.SrcMAC, u.DstMAC, u.Src.Addr(), u.Dst.Addr(), u.IP, packet.ProtoUDP, b)
}

// ICMP is an ICMP message: ICMPv6 if Src is an IPv6 address. ID and Seq are bytes 4 to 7 of its
// header, whatever the type makes of them.
type ICMP struct {
	SrcMAC, DstMAC packet.MAC
	Src, Dst       netip.Addr
	IP             IP
	Type, Code     uint8
	ID, Seq        uint16
	Payload        []byte
}

// Bytes returns the frame.
func (m ICMP) Bytes() []byte {
	b := be16([]byte{m.Type, m.Code}, 0)
	b = be16(b, m.ID)
	b = append(be16(b, m.Seq), m.Payload...)
	proto := uint8(packet.ProtoICMP)
	if m.Src.Is4() {
		put16(b[2:], ^sum(b, 0))
	} else {
		proto = packet.ProtoICMPv6
		putChecksum(b, 2, m.Src, m.Dst, proto)
		if m.Type >= packet.ICMPv6RouterSolicitation && m.Type <= packet.ICMPv6Redirect && m.IP.TTL == 0 {
			m.IP.TTL = 255
		}
	}
	return frame(m.SrcMAC, m.DstMAC, m.Src, m.Dst, m.IP, proto, b)
}

// Ping is an echo request of the family of src.
func Ping(src, dst netip.Addr, id, seq uint16) ICMP {
	m := ICMP{Src: src, Dst: dst, ID: id, Seq: seq, Type: packet.ICMPEchoRequest, Payload: []byte("abcdefghijklmnopqrstuvwxyz")}
	if !src.Is4() {
		m.Type = packet.ICMPv6EchoRequest
	}
	return m
}

// Pong is the reply to the echo request m.
func Pong(m ICMP) ICMP {
	m.Src, m.Dst, m.SrcMAC, m.DstMAC = m.Dst, m.Src, m.DstMAC, m.SrcMAC
	m.Type = packet.ICMPEchoReply
	if !m.Src.Is4() {
		m.Type = packet.ICMPv6EchoReply
	}
	return m
}

// ICMPError is an ICMP error of the given type and code from src to the sender of about, a frame with
// an IP packet. It quotes at most quote bytes of it.
func ICMPError(src netip.Addr, typ, code uint8, about []byte, quote int) ICMP {
	ip := about[packet.EthernetLen:]
	m := ICMP{Src: src, Type: typ, Code: code, Payload: ip[:min(quote, len(ip))]}
	m.Dst, _ = addresses(ip)
	return m
}

// Other is a packet of any other protocol.
type Other struct {
	SrcMAC, DstMAC packet.MAC
	Src, Dst       netip.Addr
	IP             IP
	Proto          uint8
	Payload        []byte
}

// Bytes returns the frame.
func (o Other) Bytes() []byte {
	return frame(o.SrcMAC, o.DstMAC, o.Src, o.Dst, o.IP, o.Proto, o.Payload)
}

// ARP is an ARP packet for IPv4 over Ethernet; Op 0 means a request.
type ARP struct {
	SrcMAC, DstMAC       packet.MAC // of the Ethernet header; zero: SenderMAC and broadcast
	Op                   uint16
	SenderMAC, TargetMAC packet.MAC
	Sender, Target       netip.Addr
}

// Bytes returns the frame, without padding.
func (a ARP) Bytes() []byte {
	if a.Op == 0 {
		a.Op = packet.ARPRequestOp
	}
	if a.SenderMAC.IsZero() {
		a.SenderMAC = DefaultSrcMAC
	}
	if a.SrcMAC.IsZero() {
		a.SrcMAC = a.SenderMAC
	}
	if a.DstMAC.IsZero() {
		a.DstMAC = packet.Broadcast
	}
	b := Ethernet(a.SrcMAC, a.DstMAC, packet.EtherTypeARP, []byte{0, 1, 8, 0, 6, 4})
	b = be16(b, a.Op)
	b = append(append(b, a.SenderMAC[:]...), a.Sender.AsSlice()...)
	return append(append(b, a.TargetMAC[:]...), a.Target.AsSlice()...)
}
