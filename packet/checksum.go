package packet

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds b to seed in ones' complement arithmetic of 16-bit big-endian words (RFC 1071) and returns
// the sum folded to 16 bits, not complemented. An odd last byte counts as the high half of a word.
// Sums of several pieces may be chained through seed as long as all pieces but the last are of even
// length. A correct header or pseudo-header plus segment sums to 0xffff.
func Sum(b []byte, seed uint32) uint32 {
	// The sum does not depend on byte order but for one final swap (RFC 1071 section 2 (B)), so
	// add little-endian words of 8 bytes with end-around carry.
	var acc, carry uint64
	for len(b) >= 64 {
		w := b[:64]
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[0:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[8:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[16:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[24:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[32:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[40:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[48:]), carry)
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(w[56:]), carry)
		b = b[64:]
	}
	for len(b) >= 8 {
		acc, carry = bits.Add64(acc, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	acc, carry = bits.Add64(acc, tail(b), carry)
	acc += carry // cannot carry again, since the tail is below 2^56
	return fold(uint64(bits.ReverseBytes16(uint16(fold(acc)))) + uint64(seed))
}

// tail is the little-endian number of the last 0 to 7 bytes.
func tail(b []byte) (n uint64) {
	if len(b) >= 4 {
		n = uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
		return n | tail3(b)<<32
	}
	return tail3(b)
}

func tail3(b []byte) (n uint64) {
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	return n
}

// fold brings a sum to 16 bits with end-around carry.
func fold(s uint64) uint32 {
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff // up to 18 bits
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint32(s)
}

// Checksum is the complement of Sum: what a checksum field holds when b has zeros there.
func Checksum(b []byte, seed uint32) uint16 { return ^uint16(Sum(b, seed)) }

// PseudoSum is the sum of the pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200
// section 8.1) for a transport header and data of length bytes, as seed for Sum or Checksum. The
// family is that of src. A frame with NeedsCsum holds exactly this number in its checksum field.
func PseudoSum(src, dst Addr, proto uint8, length uint32) uint32 {
	sum := uint64(proto) + uint64(length) + addrSum(&dst)
	return fold(sum + addrSum(&src))
}

// addrSum is the sum of the address as it stands in a pseudo-header, in fewer than 35 bits.
func addrSum(a *Addr) uint64 {
	lo := binary.BigEndian.Uint64(a[8:])
	if a.Is4() {
		return lo & 0xffffffff
	}
	hi := binary.BigEndian.Uint64(a[:8])
	return hi>>32 + hi&0xffffffff + lo>>32 + lo&0xffffffff
}

// UpdateChecksum16 returns the checksum after one 16-bit word of what it covers changed from from to
// to, by RFC 1624 equation 3. A UDP checksum of 0 means none and must not be updated; an updated one
// that becomes 0 must be sent as 0xffff.
func UpdateChecksum16(old, from, to uint16) uint16 {
	return ^uint16(fold(uint64(^old) + uint64(^from) + uint64(to)))
}

// UpdateChecksumAddr is UpdateChecksum16 for an address of the same family, in an IPv4 header or a
// pseudo-header.
func UpdateChecksumAddr(old uint16, from, to Addr) uint16 {
	return ^uint16(fold(uint64(^old) + uint64(^uint16(fold(addrSum(&from)))) + addrSum(&to)))
}
