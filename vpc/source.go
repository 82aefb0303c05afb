package vpc

import (
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
)

// source makes ids, MACs and IPv6 blocks, each at random and checked against what exists. Safe for concurrent use.
type source struct {
	mu  sync.Mutex
	rng *rand.ChaCha8
}

// newSource makes a repeatable source, or for seed 0 one that nobody can foresee.
func newSource(seed uint64) *source {
	var key [32]byte
	if seed == 0 {
		_, _ = crand.Read(key[:]) // never fails: it ends the program instead
	} else {
		binary.LittleEndian.PutUint64(key[:], seed)
	}
	return &source{rng: rand.NewChaCha8(key)}
}

func (s *source) uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Uint64()
}

// id makes a new id: the prefix, a zero as AWS's all have today, and 16 random digits.
func (s *source) id(prefix string, taken func(string) bool) string {
	for {
		if id := fmt.Sprintf("%s0%016x", prefix, s.uint64()); !taken(id) {
			return id
		}
	}
}

// mac makes a new MAC: unicast, locally administered, 02:...
func (s *source) mac(taken func(string) bool) string {
	for {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], s.uint64())
		b[0] = 0x02
		if mac := net.HardwareAddr(b[:6]).String(); !taken(mac) {
			return mac
		}
	}
}

// block6 makes a new /56 of unique local addresses (RFC 4193: fd and 40 random bits; the subnet bits are random too).
// It is never within fd00:ec2::/32, where AWS's own services live.
func (s *source) block6(taken func(netip.Prefix) bool) netip.Prefix {
	for {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], s.uint64())
		b[0] = 0xfd
		b[7] = 0
		p := netip.PrefixFrom(netip.AddrFrom16(b), 56)
		if !p.Overlaps(services6) && !taken(p) {
			return p
		}
	}
}
