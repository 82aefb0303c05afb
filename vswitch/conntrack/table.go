package conntrack

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/vpclab/vpclab/packet"
)

// Config are the settings of a table. The zero value is a small table on the heap.
type Config struct {
	// MaxHalves bounds the table; default 65,536. Memory follows the halves there are, not the bound.
	MaxHalves int

	// MaxPerENI bounds the halves of one interface; 0: by MaxHalves alone.
	MaxPerENI int

	// MaxRejectedShare is the share of both bounds that remembered rejections may use; default 1/4.
	MaxRejectedShare float64

	// Shards is rounded up to a power of two; default 16, and more where MaxHalves needs it.
	Shards int

	Allocator Allocator // default Heap
	Seed      uint64    // of the hash; 0: random

	// OnFree is called once for each half after its removal, when nobody counts on it any more and
	// before its slot is used again, so that it can be drained. It is called by Sweep, Reclaim, Walk,
	// Insert and Close, without locks, possibly from several goroutines at once, and must not keep the
	// half nor insert.
	OnFree func(*Half)
}

// Errors of [Table.Insert]. The counters in [Stats] tell them apart, too.
var (
	ErrFull         = errors.New("flow table is full")
	ErrFullENI      = errors.New("flow table: the network interface has its share")
	ErrFullRejected = errors.New("flow table: rejections have their share")
	ErrTimeouts     = errors.New("flow table: more than 65536 different sets of timeouts")
)

// Table is the flow table. All methods may be called concurrently.
type Table struct {
	shards []shard
	shift  uint8 // of the hash, to the shard
	seed   [6]uint64
	epochs epochs
	pages  pages
	enis   interfaces
	number uint32
	onFree func(*Half)

	max, maxRejected       int64
	maxENI, maxENIRejected int64

	clock                atomic.Int64 // latest time heard of
	halves, rejected     atomic.Int64
	full, evicted, timed atomic.Uint64
	fullENI, fullReject  atomic.Uint64

	house struct { // what sweeps and removes
		mu     sync.Mutex
		reader *Reader
		hand   cursor
	}
	closed atomic.Bool
}

// New makes a table. It takes memory as halves come.
func New(cfg Config) *Table {
	cfg.complete()
	n := 1 << bits.Len(uint(cfg.Shards-1))
	t := &Table{
		shards: make([]shard, n), shift: uint8(64 - bits.TrailingZeros(uint(n))),
		onFree: cfg.OnFree,
		max:    int64(cfg.MaxHalves), maxRejected: share(cfg.MaxHalves, cfg.MaxRejectedShare),
		maxENI: int64(cfg.MaxPerENI), maxENIRejected: share(cfg.MaxPerENI, cfg.MaxRejectedShare),
	}
	for i := range t.shards {
		t.shards[i].number = uint32(i)
	}
	t.pages = pages{alloc: cfg.Allocator, limit: pageLimit(cfg.MaxHalves, n)}
	t.epochs.now.Store(1)
	t.seed = expand(cfg.Seed)
	t.number = register(t)
	t.house.reader = t.NewReader()
	return t
}

func (c *Config) complete() {
	if c.MaxHalves <= 0 {
		c.MaxHalves = 1 << 16
	}
	if c.MaxPerENI <= 0 || c.MaxPerENI > c.MaxHalves {
		c.MaxPerENI = c.MaxHalves
	}
	if c.MaxRejectedShare <= 0 || c.MaxRejectedShare > 1 {
		c.MaxRejectedShare = 0.25
	}
	if c.Shards <= 0 {
		c.Shards = 16
	}
	// A shard numbers its slots in 20 bits; keys do not spread quite evenly.
	const most = maxBlocks * blockSlots * 4 / 5
	c.Shards = min(max(c.Shards, (c.MaxHalves+most-1)/most), 1<<12)
	if c.Allocator == nil {
		c.Allocator = Heap
	}
}

func share(n int, part float64) int64 { return max(int64(float64(n)*part), 1) }

// pageLimit is how many pages a table may take: slots for the bound and, as slots freed by eviction
// wait for readers, an eighth more; index segments at their emptiest; and what shards leave unused.
func pageLimit(halves, shards int) int64 {
	return int64(halves+halves/8)/blockSlots + int64(halves)/(segmentFull/2-64) + int64(shards)*16
}

// expand makes six secret numbers of one (splitmix64).
func expand(seed uint64) (s [6]uint64) {
	if seed == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		seed = binary.LittleEndian.Uint64(b[:])
	}
	for i := range s {
		seed += 0x9e3779b97f4a7c15
		s[i] = mix(seed^0xd6e8feb86659fd93, seed|1) | 1
	}
	return s
}

// Hash is the key's hash under the table's seed.
func (t *Table) Hash(k *packet.Key) uint64 {
	return hash(
		binary.LittleEndian.Uint64(k.Inside[:8]), binary.LittleEndian.Uint64(k.Inside[8:]),
		binary.LittleEndian.Uint64(k.Outside[:8]), binary.LittleEndian.Uint64(k.Outside[8:]),
		endsOf(k), idOf(k), &t.seed)
}

func (t *Table) shard(hash uint64) *shard { return &t.shards[hash>>t.shift] }

// Lookup returns the half with the key, or nil. hash is Hash of the key. It takes no lock and
// allocates nothing. The caller is between Enter and Leave of a [Reader].
func (t *Table) Lookup(k *packet.Key, hash uint64) *Half {
	var w words
	w.set(k)
	s := t.shard(hash)
	for range 8 {
		moves := s.moves.Load()
		if h := s.search(&w, hash); h != nil {
			return h
		}
		if moves&1 == 0 && s.moves.Load() == moves {
			return nil
		}
	}
	s.mu.Lock() // entries keep moving: very rare, and never on a hit that stands still
	defer s.mu.Unlock()
	return s.search(&w, hash)
}

// Resolve returns the half that r names, or nil if it was removed. The caller is between Enter and
// Leave of a [Reader].
func (t *Table) Resolve(r Ref) *Half {
	shard, local := uint32(r)>>localBits, uint32(r)&(1<<localBits-1)
	if r == 0 || int(shard) >= len(t.shards) {
		return nil
	}
	s, place := &t.shards[shard], local&(1<<placeBits-1)
	if local>>placeBits >= s.used.Load() || place == 0 || place > blockSlots {
		return nil
	}
	if h := s.slot(local); h.inc.Load() == uint32(r>>32) {
		return h
	}
	return nil
}

// tables are all tables of the process, by number: slots hold no pointers.
var tables struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*Table]
}

func tableAt(n uint32) *Table { return (*tables.list.Load())[n] }

func register(t *Table) uint32 {
	tables.mu.Lock()
	defer tables.mu.Unlock()
	var list []*Table
	if l := tables.list.Load(); l != nil {
		list = append(list, *l...)
	}
	n := 0
	for n < len(list) && list[n] != nil {
		n++
	}
	if n == len(list) {
		list = append(list, nil)
	}
	list[n] = t
	tables.list.Store(&list)
	return uint32(n)
}

func unregister(n uint32) {
	tables.mu.Lock()
	defer tables.mu.Unlock()
	list := append([]*Table(nil), *tables.list.Load()...)
	list[n] = nil
	tables.list.Store(&list)
}
