package sg

import "slices"

// noOrder is above every order: nothing matches.
const noOrder = ^uint32(0)

// emptyPorts is the port set that matches nothing.
const emptyPorts uint32 = 0

// ports holds many port sets. A set maps each of the 65,536 points (Query.point) to the lowest order
// that admits it; it contains the set that it extends. A small set is a list, a larger one a tree.
type ports struct {
	sets   []portSet
	spans  []span
	nodes  []node
	bounds []uint16 // where the leaves of every tree begin, without the first, which begins at 0
}

// portSet is a list of spans, or the tree at root if that is not 0.
type portSet struct {
	from, to uint32 // of ports.spans, by ascending order
	root     uint32 // of ports.nodes
	least    uint32 // the lowest order in it
}

// span is a range of points that a rule admits.
type span struct {
	lo, hi uint16
	order  uint32
}

// node is a node of a segment tree: order admits every point below it, noOrder none. Trees share
// nodes: a set's tree is its parent's with new nodes only where it adds something.
type node struct {
	left, right uint32 // of ports.nodes; 0: nothing there
	order       uint32
}

// listMax is how many spans a set may have as a list: with 8 bytes each, a cache line or two.
const listMax = 8

// find gives the lowest order that admits a point in a set, or at any point at all.
func (p *ports) find(set uint32, point uint16, anyPoint bool) uint32 {
	s := &p.sets[set]
	if anyPoint {
		return s.least
	}
	if s.root != 0 {
		return p.walk(s.root, point)
	}
	for _, sp := range p.spans[s.from:s.to] {
		if sp.lo <= point && point <= sp.hi {
			return sp.order
		}
	}
	return noOrder
}

// walk goes from a root to the leaf of a point and gives the lowest order on its way.
func (p *ports) walk(n uint32, point uint16) uint32 {
	best := noOrder
	lo, hi := 0, len(p.bounds) // leaves
	for n != 0 {
		node := &p.nodes[n]
		best = min(best, node.order)
		if lo == hi {
			break
		}
		mid := int(uint(lo+hi) / 2)
		if point < p.bounds[mid] {
			n, hi = node.left, mid
		} else {
			n, lo = node.right, mid+1
		}
	}
	return best
}

// portsBuilder makes ports.
type portsBuilder struct {
	ports
	entries []entry  // for the bounds, which are wanted only if there is a tree
	roots   []uint32 // of sets that are lists and have been extended to a tree; 0: not yet
	fresh   uint32   // the first node of the set that is being made: it and later ones may be changed
}

func newPortsBuilder(entries []entry) *portsBuilder {
	b := &portsBuilder{entries: entries}
	b.addSet(portSet{least: noOrder})
	return b
}

func (b *portsBuilder) finish() ports {
	b.sets, b.spans = slices.Clip(b.sets), slices.Clip(b.spans)
	b.nodes, b.bounds = slices.Clip(b.nodes), slices.Clip(b.bounds)
	return b.ports
}

func (b *portsBuilder) addSet(s portSet) uint32 {
	b.sets, b.roots = append(b.sets, s), append(b.roots, 0)
	return uint32(len(b.sets) - 1)
}

// extend makes the set that has all of parent's and the ranges of entries as well, or gives parent
// where they add nothing. The orders of entries ascend and are above all of parent's.
func (b *portsBuilder) extend(parent uint32, entries []entry) uint32 {
	old := b.sets[parent]
	set := portSet{least: min(old.least, entries[0].order)}
	if old.root == 0 {
		if list, ok := b.extendList(old, entries); ok {
			if len(list) == int(old.to-old.from) {
				return parent
			}
			set.from = uint32(len(b.spans))
			b.spans = append(b.spans, list...)
			set.to = uint32(len(b.spans))
			return b.addSet(set)
		}
	}
	root := b.treeOf(parent)
	b.fresh = uint32(len(b.nodes))
	set.root = root
	for _, e := range entries {
		set.root = b.insert(set.root, 0, len(b.bounds), b.leaf(e.lo), b.leaf(e.hi), e.order)
	}
	if set.root == root {
		return parent
	}
	return b.addSet(set)
}

// extendList gives a set's spans and those of entries that no other covers, if they are few enough.
func (b *portsBuilder) extendList(old portSet, entries []entry) ([]span, bool) {
	list := slices.Clone(b.spans[old.from:old.to])
	for _, e := range entries {
		if slices.ContainsFunc(list, func(s span) bool { return s.lo <= e.lo && e.hi <= s.hi }) {
			continue
		}
		if len(list) == listMax {
			return nil, false
		}
		list = append(list, span{e.lo, e.hi, e.order})
	}
	return list, true
}

// treeOf gives the root of a set's tree, 0 for the empty one. For a list it makes the tree once.
func (b *portsBuilder) treeOf(set uint32) uint32 {
	s := b.sets[set]
	if s.root != 0 {
		return s.root
	}
	if len(b.nodes) == 0 {
		b.nodes = append(b.nodes, node{order: noOrder})
		b.bounds = leafBounds(b.entries)
	}
	if b.roots[set] == 0 {
		b.fresh = uint32(len(b.nodes))
		root := uint32(0)
		for _, sp := range b.spans[s.from:s.to] {
			root = b.insert(root, 0, len(b.bounds), b.leaf(sp.lo), b.leaf(sp.hi), sp.order)
		}
		b.roots[set] = root
	}
	return b.roots[set]
}

// leafBounds are the points where some entry begins or where the one after its end is.
func leafBounds(entries []entry) []uint16 {
	bounds := make([]uint16, 0, 2*len(entries))
	for _, e := range entries {
		if e.lo > 0 {
			bounds = append(bounds, e.lo)
		}
		if e.hi < 0xffff {
			bounds = append(bounds, e.hi+1)
		}
	}
	slices.Sort(bounds)
	return slices.Compact(bounds)
}

// leaf gives the leaf that a point lies in.
func (b *portsBuilder) leaf(point uint16) int {
	i, ok := slices.BinarySearch(b.bounds, point)
	if ok {
		return i + 1
	}
	return i
}

// insert admits the leaves from to to below node n, which spans the leaves lo to hi, by order, and gives
// the node that stands for n then. Orders come in ascending, so what a node already admits stays.
func (b *portsBuilder) insert(n uint32, lo, hi, from, to int, order uint32) uint32 {
	if to < lo || hi < from || n != 0 && b.nodes[n].order != noOrder {
		return n
	}
	if from <= lo && hi <= to {
		c := b.change(n)
		b.nodes[c].order = order
		return c
	}
	mid := int(uint(lo+hi) / 2)
	var old node
	if n != 0 {
		old = b.nodes[n]
	}
	left := b.insert(old.left, lo, mid, from, to, order)
	right := b.insert(old.right, mid+1, hi, from, to, order)
	if left == old.left && right == old.right {
		return n
	}
	c := b.change(n)
	b.nodes[c].left, b.nodes[c].right = left, right
	return c
}

// change gives a node like n that may be changed: n itself if it belongs to no finished set.
func (b *portsBuilder) change(n uint32) uint32 {
	switch {
	case n == 0:
		b.nodes = append(b.nodes, node{order: noOrder})
	case n < b.fresh:
		b.nodes = append(b.nodes, b.nodes[n])
	default:
		return n
	}
	return uint32(len(b.nodes) - 1)
}
