package conntrack

import (
	"sync/atomic"
	"unsafe"
)

// A shard's index is extendible hashing over pages: a directory of segments, each an open-addressing
// table of 1024 entries with linear probing. A segment that is full is split in two, so that growth
// never moves more than one page's entries under the lock, and memory follows the number of halves.
//
// An entry is 4 bytes: 12 bits of the hash, which tell an entry's home and spare most visits to slots
// of other keys, and the slot's number in the shard. 0 is empty. Readers take no lock: an insert is one
// store; a delete that moves entries counts in shard.moves, by which a reader whose search failed
// knows that it may have missed one on its way; a split leaves the old page as it is.

const (
	segmentSlots = pageSize / 4
	homeMask     = segmentSlots - 1
	segmentFull  = segmentSlots * 7 / 8

	// Of a hash, the lowest 12 bits are the tag, the next ones lead through the directory, the highest to the shard.
	tagBits = 32 - localBits
	tagMask = 1<<tagBits - 1
)

type segment [segmentSlots]atomic.Uint32

// directory is replaced when it doubles; its entries when their segments split.
type directory struct {
	mask  uint64
	depth uint8
	part  []part
}

// part is a segment as the directory has it. used and depth are shared by all parts of the segment and
// belong to the holder of the shard's lock.
type part struct {
	segment atomic.Pointer[segment]
	meta    *meta
}

type meta struct {
	used  int
	depth uint8
}

func (d *directory) at(hash uint64) *part { return &d.part[hash>>tagBits&d.mask] }

// search looks for the key. Without the lock, nil may be wrong: see Table.Lookup.
func (s *shard) search(w *words, hash uint64) *Half {
	d := s.dir.Load()
	if d == nil {
		return nil
	}
	seg := d.at(hash).segment.Load()
	tag := uint32(hash & tagMask)
	for i := tag; ; i++ {
		e := seg[i&homeMask].Load()
		if e>>localBits == tag {
			if e == 0 {
				return nil
			}
			if h := s.slot(e); h.is(w) {
				return h
			}
		} else if e == 0 {
			return nil
		}
	}
}

// slot is the half of a local number; higher bits are ignored.
func (s *shard) slot(local uint32) *Half {
	b := (*s.blocks.Load())[local&(1<<localBits-1)>>placeBits]
	return &b.hot[local&(1<<placeBits-1)-1]
}

// The rest is for the holder of the shard's lock.

// enter adds a slot to the index. There must be room.
func (s *shard) enter(local uint32, hash uint64) {
	p := s.dir.Load().at(hash)
	p.segment.Load().add(local, uint32(hash&tagMask))
	p.meta.used++
}

func (g *segment) add(local, tag uint32) {
	i := tag
	for g[i&homeMask].Load() != 0 {
		i++
	}
	g[i&homeMask].Store(tag<<localBits | local)
}

// leave takes a slot out of the index. Entries that a probe would no longer reach move up; each is
// there twice for a moment rather than not at all, but a reader that has passed the one place before it
// came and reaches the other after it went finds neither.
func (s *shard) leave(local uint32, hash uint64) {
	p := s.dir.Load().at(hash)
	g := p.segment.Load()
	hole := uint32(hash & tagMask)
	for g[hole&homeMask].Load()&(1<<localBits-1) != local {
		hole++
	}
	moved := false
	for i := hole + 1; ; i++ {
		e := g[i&homeMask].Load()
		if e == 0 {
			break
		}
		if away := (i - e>>localBits) & homeMask; away < (i-hole)&homeMask {
			continue // its home lies behind the hole
		}
		if !moved {
			moved = true
			s.moves.Add(1)
		}
		g[hole&homeMask].Store(e)
		hole = i
	}
	g[hole&homeMask].Store(0)
	if moved {
		s.moves.Add(1)
	}
	p.meta.used--
}

// room makes sure that enter has room. It returns false if it needs a page and there is none.
func (s *shard) room(t *Table, hash uint64) bool {
	for {
		d := s.dir.Load()
		if d == nil {
			g := t.pages.take(&t.epochs)
			if g == nil {
				return false
			}
			d = &directory{part: make([]part, 1)}
			d.part[0].segment.Store((*segment)(g))
			d.part[0].meta = &meta{}
			s.dir.Store(d)
			return true
		}
		p := d.at(hash)
		if p.meta.used < segmentFull {
			return true
		}
		if !s.split(t, d, hash) {
			return false
		}
	}
}

// split replaces a segment by two new ones, of which the second has the hashes with one more bit set.
func (s *shard) split(t *Table, d *directory, hash uint64) bool {
	a, b := t.pages.take(&t.epochs), t.pages.take(&t.epochs)
	if a == nil || b == nil {
		t.pages.retire(a, 0)
		t.pages.retire(b, 0)
		return false
	}
	p := d.at(hash)
	old, depth := p.segment.Load(), p.meta.depth
	if depth == d.depth {
		d = d.double()
	}
	low, high := &meta{depth: depth + 1}, &meta{depth: depth + 1}
	for i := range old {
		e := old[i].Load()
		if e == 0 {
			continue
		}
		g, m := (*segment)(a), low
		if s.slot(e).hash(&t.seed)>>tagBits>>depth&1 == 1 {
			g, m = (*segment)(b), high
		}
		g.add(e&(1<<localBits-1), e>>localBits)
		m.used++
	}
	// All parts of the segment agree in the lowest depth bits.
	for i := hash >> tagBits & (1<<depth - 1); i < uint64(len(d.part)); i += 1 << depth {
		g, m := (*segment)(a), low
		if i>>depth&1 == 1 {
			g, m = (*segment)(b), high
		}
		d.part[i].meta = m
		d.part[i].segment.Store(g)
	}
	s.dir.Store(d)
	t.pages.retire(unsafe.Pointer(old), t.epochs.stamp())
	return true
}

func (d *directory) double() *directory {
	n := uint64(len(d.part))
	next := &directory{mask: 2*n - 1, depth: d.depth + 1, part: make([]part, 2*n)}
	for i := range next.part {
		old := &d.part[uint64(i)&d.mask]
		next.part[i].segment.Store(old.segment.Load())
		next.part[i].meta = old.meta
	}
	return next
}
