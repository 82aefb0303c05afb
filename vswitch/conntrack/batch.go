package conntrack

import "github.com/vpclab/vpclab/packet"

// lookupGroup is how many look-ups LookupBatch has under way at once.
const lookupGroup = 32

// LookupBatch is Lookup for several keys, of which hashes has the hashes; it stores what it finds, or
// nil, to halves. In a large table nearly every step of a look-up waits for memory, and each waits for
// the step before it. The steps of a batch's look-ups are taken together, so that they wait once for
// all. All slices have the length of keys.
func (t *Table) LookupBatch(keys []packet.Key, hashes []uint64, halves []*Half) {
	for len(keys) > 0 {
		n := min(len(keys), lookupGroup)
		t.lookupGroup(keys[:n], hashes[:n], halves[:n])
		keys, hashes, halves = keys[n:], hashes[n:], halves[n:]
	}
}

func (t *Table) lookupGroup(keys []packet.Key, hashes []uint64, halves []*Half) {
	var segments [lookupGroup]*segment
	for i, hash := range hashes {
		if d := t.shard(hash).dir.Load(); d != nil {
			segments[i] = d.at(hash).segment.Load()
			segments[i][hash&homeMask].Load() // for the cache
		}
	}
	for i, hash := range hashes {
		if segments[i] == nil {
			continue
		}
		if e := segments[i].likely(uint32(hash & tagMask)); e != 0 {
			h := t.shard(hash).slot(e)
			h.inc.Load()
			h.dir[In].verdict.Load()
		}
	}
	for i := range keys {
		halves[i] = t.Lookup(&keys[i], hashes[i])
	}
}

// likely is the first entry with the tag, 0 if there is none.
func (g *segment) likely(tag uint32) uint32 {
	for i := tag; ; i++ {
		if e := g[i&homeMask].Load(); e == 0 || e>>localBits == tag {
			return e
		}
	}
}
