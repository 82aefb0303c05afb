package conntrack

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/vpclab/vpclab/packet"
)

// Dir is a direction as the instance behind the interface sees it.
type Dir uint8

// Directions.
const (
	In  Dir = iota // enters the instance: ingress
	Out            // leaves the instance: egress
)

// Half is what one network interface knows of one flow: a slot of the table, two cache lines.
//
// A *Half holds from [Table.Lookup], [Table.Insert] or [Table.Resolve] until the caller's
// [Reader.Leave]; to keep one longer, keep its [Ref]. All methods may be called concurrently. The half
// may be removed meanwhile: what is then written to it has no effect, and what is counted on it is
// still drained by Config.OnFree.
type Half struct {
	// the key; never changes while the slot lives
	addr [4]uint64 // inside, outside
	ends uint64    // interface, inside port, outside port

	ident atomic.Uint64 // protocol and passage, which never change, and where the FINs ended (tcp.go)
	state atomic.Uint64 // state.go
	inc   atomic.Uint32 // incarnation: odd while the slot is a half, even while it is free
	born  atomic.Uint32 // tenths of a second

	dir [2]direction
}

// direction is what a half knows of one direction: half a cache line.
type direction struct {
	verdict atomic.Uint64
	next    atomic.Uint64
	bytes   atomic.Uint64 // and TCP flags, see count.go
	packets atomic.Uint32
	last    atomic.Uint32 // milliseconds
}

// cold is what no hit touches.
type cold struct {
	rule  [2]atomic.Uint32
	first [2]atomic.Uint32 // milliseconds
}

// words is a key as it lies in a slot.
type words struct {
	addr     [4]uint64
	ends, id uint64
}

// set takes a key apart. It writes in place: a copy of what was just written in halves would wait for
// the stores.
func (w *words) set(k *packet.Key) {
	w.addr[0], w.addr[1] = binary.LittleEndian.Uint64(k.Inside[:8]), binary.LittleEndian.Uint64(k.Inside[8:])
	w.addr[2], w.addr[3] = binary.LittleEndian.Uint64(k.Outside[:8]), binary.LittleEndian.Uint64(k.Outside[8:])
	w.ends, w.id = endsOf(k), idOf(k)
}

func endsOf(k *packet.Key) uint64 {
	return uint64(k.ENI) | uint64(k.InsidePort)<<32 | uint64(k.OutsidePort)<<48
}

func idOf(k *packet.Key) uint64 { return uint64(k.Proto) | uint64(k.Pass)<<8 }

// identMask covers protocol and passage in Half.ident.
const identMask = 0xffff

func (h *Half) words() words {
	return words{addr: h.addr, ends: h.ends, id: h.ident.Load() & identMask}
}

// hash is the hash of the half's key.
func (h *Half) hash(s *[6]uint64) uint64 {
	return hash(h.addr[0], h.addr[1], h.addr[2], h.addr[3], h.ends, h.ident.Load()&identMask, s)
}

// is reports whether the half has the key.
func (h *Half) is(w *words) bool {
	return h.addr[1] == w.addr[1] && h.addr[3] == w.addr[3] && h.ends == w.ends &&
		h.addr[0] == w.addr[0] && h.addr[2] == w.addr[2] && h.ident.Load()&identMask == w.id
}

// Key returns the half's key.
func (h *Half) Key() packet.Key {
	var k packet.Key
	binary.LittleEndian.PutUint64(k.Inside[:8], h.addr[0])
	binary.LittleEndian.PutUint64(k.Inside[8:], h.addr[1])
	binary.LittleEndian.PutUint64(k.Outside[:8], h.addr[2])
	binary.LittleEndian.PutUint64(k.Outside[8:], h.addr[3])
	k.ENI, k.InsidePort, k.OutsidePort = h.ENI(), uint16(h.ends>>32), uint16(h.ends>>48)
	id := h.ident.Load()
	k.Proto, k.Pass = uint8(id), uint8(id>>8)
	return k
}

// ENI is the interface's number.
func (h *Half) ENI() uint32 { return uint32(h.ends) }

func (h *Half) proto() uint8 { return uint8(h.ident.Load()) }

func (h *Half) live() bool { return h.inc.Load()&1 == 1 }

// Ref names a half without keeping it: its slot and the slot's incarnation. The zero Ref names none.
type Ref uint64

// Ref returns the half's name, or 0 if it was removed.
func (h *Half) Ref() Ref {
	inc := h.inc.Load()
	if inc&1 == 0 {
		return 0
	}
	return Ref(inc)<<32 | Ref(h.block().shard)<<localBits | Ref(h.local())
}

// block is the page the slot lies on.
func (h *Half) block() *block {
	return (*block)(unsafe.Pointer(uintptr(unsafe.Pointer(h)) &^ (pageSize - 1)))
}

// place is the slot's place on its page.
func (h *Half) place() uintptr {
	return (uintptr(unsafe.Pointer(h))&(pageSize-1) - unsafe.Offsetof(block{}.hot)) / unsafe.Sizeof(Half{})
}

// local is the slot's number in its shard.
func (h *Half) local() uint32 { return h.block().number<<placeBits | uint32(h.place()+1) }

func (h *Half) cold() *cold { return &h.block().cold[h.place()] }

func (h *Half) table() *Table { return tableAt(h.block().table) }

// Age is the time since the flow was opened, in steps of a tenth of a second.
func (h *Half) Age(now int64) time.Duration {
	d := int32(tenths(now) - h.born.Load())
	return time.Duration(max(d, 0)) * 100 * time.Millisecond
}

// mix is the core of the hash: both halves of a 128-bit product.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash spreads a key under the table's secret seed, so that no sender can make keys collide.
func hash(a0, a1, b0, b1, ends, id uint64, s *[6]uint64) uint64 {
	x := mix(a0^s[0], a1^s[1]) + mix(b0^s[2], b1^s[3])<<1
	return mix(mix(x^s[5], ends^s[4])^id, s[1])
}
