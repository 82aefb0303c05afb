package packet

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
)

// Addr is an IP address of either family in 16 bytes, network order; IPv4 stands as ::ffff:a.b.c.d
// (RFC 4291 section 2.5.5.2). It is comparable and free of pointers. The zero value is the IPv6
// unspecified address and stands for "none".
type Addr [16]byte

// v4Prefix are bytes 8 to 15 of an IPv4 address 0.0.0.0, as a little-endian number.
const v4Prefix = 0xffff0000

// AddrFrom converts a, ignoring its zone. The zero netip.Addr gives the zero Addr.
func AddrFrom(a netip.Addr) Addr {
	if !a.IsValid() {
		return Addr{}
	}
	return a.As16()
}

// set4 makes a the IPv4 address in b, 4 bytes in network order. It writes in place, since returning an
// Addr that was just written in halves stalls the processor's store forwarding for 5 ns.
func (a *Addr) set4(b []byte) {
	binary.LittleEndian.PutUint64(a[:8], 0)
	binary.LittleEndian.PutUint64(a[8:], v4Prefix|uint64(binary.LittleEndian.Uint32(b))<<32)
}

// Netip returns the address, IPv4 unmapped; the zero Addr is "::".
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// Is4 reports whether a is an IPv4 address. Parse refuses IPv6 packets that carry a mapped one, so
// the two families never meet.
func (a Addr) Is4() bool {
	return binary.LittleEndian.Uint64(a[:8]) == 0 && uint32(binary.LittleEndian.Uint64(a[8:])) == v4Prefix
}

// IsMulticast reports whether a is in 224.0.0.0/4 or ff00::/8.
func (a Addr) IsMulticast() bool {
	if a.Is4() {
		return a[12]&0xf0 == 0xe0
	}
	return a[0] == 0xff
}

// IsZero reports whether a is the zero Addr, "::". 0.0.0.0 is not zero.
func (a Addr) IsZero() bool { return a == Addr{} }

// String is the usual text, IPv4 as a.b.c.d.
func (a Addr) String() string { return a.Netip().String() }

// MAC is an Ethernet address in wire order.
type MAC [6]byte

// Broadcast is the Ethernet broadcast address.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ParseMAC reads a 48-bit address in any form of net.ParseMAC: colons, hyphens or dots.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, fmt.Errorf("MAC address %q: want six bytes as in 02:00:0a:00:01:05", s)
	}
	if len(hw) != 6 {
		return MAC{}, fmt.Errorf("MAC address %q has %d bytes: want six", s, len(hw))
	}
	return MAC(hw), nil
}

// String is lower-case hexadecimal with colons.
func (m MAC) String() string {
	var b [17]byte
	for i := range m {
		hex.Encode(b[3*i:], m[i:i+1])
		if i < 5 {
			b[3*i+2] = ':'
		}
	}
	return string(b[:])
}

// IsMulticast reports the I/G bit, which broadcast has too.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// IsZero reports whether m is 00:00:00:00:00:00.
func (m MAC) IsZero() bool { return m == MAC{} }
