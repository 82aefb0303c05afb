package vpc

import (
	"encoding/binary"
	"net/netip"
)

// services6 is where AWS's own services live in every VPC (DNS fd00:ec2::253, metadata fd00:ec2::254).
var services6 = netip.MustParsePrefix("fd00:ec2::/32")

// restricted4 are the IPv4 ranges that no VPC may have (VPC user guide, "VPC CIDR blocks").
var restricted4 = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
}

// anywhere4 and anywhere6 are all addresses of a family.
var (
	anywhere4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	anywhere6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// ParseCIDR reads an IPv4 or IPv6 CIDR block and clears its host bits, as AWS does. The error is AWS's.
func ParseCIDR(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fail("InvalidParameterValue", "", "Value (%s) for parameter cidrBlock is invalid. "+
			"This is not a valid CIDR block.", s).hint("write an address and a prefix length, such as 10.0.0.0/16")
	}
	return p.Masked(), nil
}

// ParseAddr reads an IPv4 or IPv6 address without a zone. The error is AWS's.
func ParseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, fail("InvalidParameterValue", "", "Value (%s) for parameter privateIpAddress is invalid. "+
			"This is not a valid IP address.", s).hint("write an address such as 10.0.1.10")
	}
	return a, nil
}

// cidr4 checks an IPv4 block of a VPC or subnet: given, IPv4, /16 to /28. It gives the canonical form.
func cidr4(p netip.Prefix, rangeCode string) (netip.Prefix, error) {
	if !p.IsValid() {
		return p, fail("MissingParameter", "CIDR", "The request must contain the parameter cidrBlock").
			hint("give an IPv4 block of /16 to /28, such as 10.0.0.0/16")
	}
	p = p.Masked()
	if !p.Addr().Is4() {
		return p, fail("InvalidParameterValue", "CIDR", "Value (%s) for parameter cidrBlock is invalid. "+
			"This is not a valid IPv4 CIDR block.", p)
	}
	if p.Bits() < 16 || p.Bits() > 28 {
		return p, fail(rangeCode, "CIDR", "The CIDR '%s' is invalid.", p).hint("use a block of /16 to /28")
	}
	return p, nil
}

// cidr6 checks an IPv6 block of exactly the given length. It gives the canonical form.
func cidr6(p netip.Prefix, bits int, rangeCode string) (netip.Prefix, error) {
	p = p.Masked()
	a := p.Addr()
	switch {
	case !a.Is6() || a.Is4In6():
		return p, fail("InvalidParameterValue", "CIDR6", "Value (%s) for parameter ipv6CidrBlock is invalid. "+
			"This is not a valid IPv6 CIDR block.", p)
	case p.Bits() != bits:
		return p, fail(rangeCode, "CIDR6", "The CIDR '%s' is invalid.", p).hint("use a block of /%d", bits)
	case !a.IsGlobalUnicast() || p.Overlaps(services6):
		return p, fail(rangeCode, "CIDR6", "The CIDR '%s' is invalid.", p).
			hint("use global or unique local addresses outside fd00:ec2::/32")
	}
	return p, nil
}

// covers says whether outer holds all of inner.
func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// lastAddr is a block's highest address: for IPv4 its broadcast address.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As16()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	for i := range b {
		switch {
		case bits <= i*8:
			b[i] = 0xff
		case bits < i*8+8:
			b[i] |= 0xff >> (bits - i*8)
		}
	}
	a := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		a = a.Unmap()
	}
	return a
}

// addrAt is the address n after the block's first one. n must lie inside the block.
func addrAt(p netip.Prefix, n uint64) netip.Addr {
	if p.Addr().Is4() {
		b := p.Masked().Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
		return netip.AddrFrom4(b)
	}
	b := p.Masked().Addr().As16()
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])+n)
	return netip.AddrFrom16(b)
}

// Usable gives the first and last address of a subnet's block that an interface may have. AWS keeps the first four
// (network, router, DNS, future use) and the last.
func Usable(p netip.Prefix) (first, last netip.Addr) {
	return addrAt(p, 4), lastAddr(p).Prev()
}

// Router is the implicit router's address in the subnet: the first after the network's own.
func (s *Subnet) Router() netip.Addr { return addrAt(s.CIDR, 1) }

// Router6 is the implicit router's address in the subnet's IPv6 block, zero if it has none.
func (s *Subnet) Router6() netip.Addr {
	if !s.CIDR6.IsValid() {
		return netip.Addr{}
	}
	return addrAt(s.CIDR6, 1)
}
