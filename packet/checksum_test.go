package packet_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/vpclab/vpclab/packet"
)

// naiveSum is RFC 1071 as it is written: 16-bit words, end-around carry.
func naiveSum(b []byte, seed uint32) uint16 {
	sum := uint64(seed)
	for i := 0; i < len(b); i += 2 {
		word := uint64(b[i]) << 8
		if i+1 < len(b) {
			word |= uint64(b[i+1])
		}
		sum += word
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// The example of RFC 1071 section 3.
func TestSumExample(t *testing.T) {
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := packet.Sum(b, 0); got != 0xddf2 {
		t.Errorf("sum %#x, want 0xddf2", got)
	}
	if got := packet.Checksum(b, 0); got != 0x220d {
		t.Errorf("checksum %#x, want 0x220d", got)
	}
}

func TestSumAgainstNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 600)
	for round := range 200 {
		for i := range data {
			data[i] = byte(rng.Uint32())
			if round%4 == 0 {
				data[i] = 0xff // carries everywhere
			}
		}
		for n := range data {
			seed := rng.Uint32() >> (round % 32)
			at := rng.IntN(len(data) - n)
			b := data[at : at+n]
			if got, want := packet.Sum(b, seed), uint32(naiveSum(b, seed)); got != want {
				t.Fatalf("%d bytes, seed %#x: %#x, want %#x", n, seed, got, want)
			}
		}
	}
}

func FuzzChecksum(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint32(0), uint16(3))
	f.Add(make([]byte, 64), ^uint32(0), uint16(64))
	f.Fuzz(func(t *testing.T, b []byte, seed uint32, cut uint16) {
		if got, want := packet.Sum(b, seed), uint32(naiveSum(b, seed)); got != want {
			t.Fatalf("%#x, want %#x", got, want)
		}
		at := min(int(cut)&^1, len(b)&^1)
		if got, want := packet.Sum(b[at:], packet.Sum(b[:at], seed)), uint32(naiveSum(b, seed)); got != want {
			t.Fatalf("chained at %d: %#x, want %#x", at, got, want)
		}
	})
}

func TestPseudoSum(t *testing.T) {
	for _, ends := range [][2]packet.Addr{
		{packet.AddrFrom(a4), packet.AddrFrom(b4)},
		{packet.AddrFrom(a6), packet.AddrFrom(b6)},
		{packet.AddrFrom(ip("255.255.255.255")), packet.AddrFrom(ip("255.255.255.255"))},
		{packet.AddrFrom(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), packet.AddrFrom(ip("::1"))},
		{{}, packet.AllNodes},
	} {
		for _, length := range []uint32{0, 8, 65535, 65575} {
			b := append(ends[0].Netip().AsSlice(), ends[1].Netip().AsSlice()...)
			b = binary.BigEndian.AppendUint32(b, length)
			b = append(b, 0, 0, 0, 17)
			if got, want := packet.PseudoSum(ends[0], ends[1], 17, length), uint32(naiveSum(b, 0)); got != want {
				t.Errorf("%s to %s, %d bytes: %#x, want %#x", ends[0], ends[1], length, got, want)
			}
		}
	}
}

// An updated checksum verifies wherever the computed one does.
func TestUpdateChecksum(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		b := make([]byte, 40)
		for i := range b {
			b[i] = byte(rng.Uint32()) | byte(-rng.IntN(2)) // many 0xff
		}
		old := packet.Checksum(b, 0)
		at := rng.IntN(20) * 2
		from, to := binary.BigEndian.Uint16(b[at:]), uint16(rng.Uint32()|-(rng.Uint32()&1))
		binary.BigEndian.PutUint16(b[at:], to)
		got := packet.UpdateChecksum16(old, from, to)
		if naiveSum(b, uint32(got)) != 0xffff {
			t.Fatalf("%#x with %#x for %#x gives %#x, does not verify", old, to, from, got)
		}
	}
	// RFC 1624 section 4: the old method of RFC 1141 gives 0xffff here.
	if got := packet.UpdateChecksum16(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("RFC 1624's example gives %#04x", got)
	}
}

func TestUpdateChecksumAddr(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 5000 {
		var from, to, peer packet.Addr
		for i := range from {
			from[i], to[i], peer[i] = byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())
		}
		if round%2 == 0 {
			from, to, peer = packet.AddrFrom(a4), packet.AddrFrom(a4), packet.AddrFrom(b4)
			binary.BigEndian.PutUint32(to[12:], rng.Uint32())
			binary.BigEndian.PutUint32(from[12:], rng.Uint32())
		}
		data := []byte{1, 2, 3, 4, byte(round), byte(round >> 8)}
		old := packet.Checksum(data, packet.PseudoSum(from, peer, 6, 6))
		got := packet.UpdateChecksumAddr(old, from, to)
		if s := packet.Sum(data, packet.PseudoSum(to, peer, 6, 6)+uint32(got)); s != 0xffff {
			t.Fatalf("%s to %s: sums to %#x", from, to, s)
		}
	}
}
