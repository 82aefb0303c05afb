package packet

import "encoding/binary"

// Plain describes a frame without options and payload: the smallest that its protocol allows, as a
// question to a switch or a test would send it. Src and Dst are of one family.
type Plain struct {
	SrcMAC, DstMAC   MAC
	Src, Dst         Addr
	Proto            uint8
	SrcPort, DstPort uint16 // ICMP and ICMPv6: SrcPort is the identifier
	TCPFlags         uint8
	Reply            bool // ICMP and ICMPv6: an echo reply, not a request
}

// Append appends the frame, checksums complete.
func (p *Plain) Append(b []byte) []byte {
	var buf [20]byte
	l4 := buf[:p.transport(buf[:])]
	if !p.Src.Is4() {
		b = appendEthernet(b, p.DstMAC, p.SrcMAC, EtherTypeIPv6)
		b = append(b, 0x60, 0, 0, 0, 0, byte(len(l4)), p.Proto, EchoTTL)
		b = append(b, p.Src[:]...)
		b = append(b, p.Dst[:]...)
		return append(b, l4...)
	}
	b = appendEthernet(b, p.DstMAC, p.SrcMAC, EtherTypeIPv4)
	ip := len(b)
	b = append(b, 0x45, 0, 0, byte(20+len(l4)), 0, 0, 0x40, 0, EchoTTL, p.Proto, 0, 0)
	b = append(b, p.Src[12:]...)
	b = append(b, p.Dst[12:]...)
	binary.BigEndian.PutUint16(b[ip+10:], Checksum(b[ip:], 0))
	return append(b, l4...)
}

// transport writes the transport header into b and returns its length.
func (p *Plain) transport(b []byte) int {
	n, sum := 8, 6
	binary.BigEndian.PutUint16(b, p.SrcPort)
	binary.BigEndian.PutUint16(b[2:], p.DstPort)
	switch p.Proto {
	case ProtoTCP:
		n, sum = 20, 16
		b[12], b[13] = 5<<4, p.TCPFlags
		binary.BigEndian.PutUint16(b[14:], 65535)
	case ProtoUDP:
		binary.BigEndian.PutUint16(b[4:], 8)
	case ProtoICMP, ProtoICMPv6:
		p.echo(b)
		sum = 2
	default:
		clear(b[:8])
		return 8
	}
	seed := PseudoSum(p.Src, p.Dst, p.Proto, uint32(n))
	if p.Proto == ProtoICMP {
		seed = 0 // RFC 792: no pseudo-header
	}
	putChecksum(b[sum:], Checksum(b[:n], seed))
	return n
}

func (p *Plain) echo(b []byte) {
	types := [4]byte{ICMPEchoRequest, ICMPEchoReply, ICMPv6EchoRequest, ICMPv6EchoReply}
	i := 0
	if p.Proto == ProtoICMPv6 {
		i = 2
	}
	if p.Reply {
		i++
	}
	binary.BigEndian.PutUint32(b, uint32(types[i])<<24)
	binary.BigEndian.PutUint16(b[4:], p.SrcPort)
	binary.BigEndian.PutUint16(b[6:], 1)
}
