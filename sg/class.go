package sg

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"github.com/vpclab/vpclab/packet"
)

// class holds the rules of one direction for one protocol, or for all protocols.
type class struct {
	least uint32 // the lowest order in it
	ports ports

	// The ports that each prefix admits, by itself or because a wider prefix does: /0 apart, as
	// the commonest, and the others in table, nil if there are none. They are indexes of ports.sets.
	any4, any6 uint32
	table      *bart.Table[uint32]

	groups     []uint32 // sorted
	groupPorts []uint32 // of groups
}

// find gives the lowest order that matches q and is below best, else best.
func (c *class) find(q *Query, point uint16, best uint32) uint32 {
	if c.least >= best {
		return best
	}
	best = min(best, c.ports.find(c.prefixPorts(q.Remote), point, q.NoPorts))
	if len(c.groups) == 0 {
		return best
	}
	for _, g := range q.RemoteGroups {
		if i, ok := slices.BinarySearch(c.groups, g); ok {
			best = min(best, c.ports.find(c.groupPorts[i], point, q.NoPorts))
		}
	}
	return best
}

// prefixPorts finds the ports that the prefixes around an address admit.
func (c *class) prefixPorts(a packet.Addr) uint32 {
	if c.table != nil {
		if ports, ok := c.table.Lookup(a.Netip()); ok {
			return ports
		}
	}
	if a.Is4() {
		return c.any4
	}
	return c.any6
}

// newClass compiles entries, which are sorted by order.
func newClass(entries []entry) *class {
	c := &class{least: entries[0].order}
	b := newPortsBuilder(entries)
	var prefixes, groups []entry
	for _, e := range entries {
		if e.group != 0 {
			groups = append(groups, e)
		} else {
			prefixes = append(prefixes, e)
		}
	}
	c.addPrefixes(b, prefixes)
	c.addGroups(b, groups)
	c.ports = b.finish()
	return c
}

// addPrefixes gives each prefix its own ports on top of those of the narrowest prefix around it. Sorted
// by address and then length, a prefix comes after those that contain it, and path holds these.
func (c *class) addPrefixes(b *portsBuilder, entries []entry) {
	slices.SortStableFunc(entries, func(x, y entry) int { return comparePrefixes(x.prefix, y.prefix) })
	type step struct {
		prefix netip.Prefix
		ports  uint32
	}
	var path []step
	for run := range runs(entries, func(x, y *entry) bool { return x.prefix == y.prefix }) {
		prefix := run[0].prefix
		for len(path) > 0 && !path[len(path)-1].prefix.Contains(prefix.Addr()) {
			path = path[:len(path)-1]
		}
		around := emptyPorts
		if len(path) > 0 {
			around = path[len(path)-1].ports
		}
		ports := b.extend(around, run)
		path = append(path, step{prefix, ports})
		if ports != around {
			c.setPrefix(prefix, ports)
		}
	}
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func (c *class) setPrefix(p netip.Prefix, ports uint32) {
	switch {
	case p.Bits() > 0:
		if c.table == nil {
			c.table = new(bart.Table[uint32])
		}
		c.table.Insert(p, ports)
	case p.Addr().Is4():
		c.any4 = ports
	default:
		c.any6 = ports
	}
}

func (c *class) addGroups(b *portsBuilder, entries []entry) {
	slices.SortStableFunc(entries, func(x, y entry) int { return cmp.Compare(x.group, y.group) })
	for run := range runs(entries, func(x, y *entry) bool { return x.group == y.group }) {
		c.groups = append(c.groups, run[0].group)
		c.groupPorts = append(c.groupPorts, b.extend(emptyPorts, run))
	}
}

// runs yields the maximal runs of neighbours that are the same.
func runs(entries []entry, same func(x, y *entry) bool) iter.Seq[[]entry] {
	return func(yield func([]entry) bool) {
		for len(entries) > 0 {
			n := 1
			for n < len(entries) && same(&entries[0], &entries[n]) {
				n++
			}
			if !yield(entries[:n]) {
				return
			}
			entries = entries[n:]
		}
	}
}
