package vswitch

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/sg"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// generations run in 24 bits of a verdict word (conntrack.Verdict).
const maxGen = 1<<24 - 1

// compiler turns views of the model into snapshots. It keeps what it compiled, and compiles again only
// what the new view changed: stored objects are immutable, so the same pointer means the same value.
// It is not safe for concurrent use.
type compiler struct {
	rules    *sg.Registry
	timeouts conntrack.Timeouts
	gen      uint32 // the last generation given out; each is given once
	nextENI  uint32

	prev     *Snapshot
	policies map[string]*compiled // by set of group ids
	subnets  map[string]*subnet
	links    map[string]*link // by interface id; set by Attach
	nums     map[string]uint32
}

// compiled is a policy and what it was made of.
type compiled struct {
	policy  *policy
	groups  []*vpc.SecurityGroup
	lists   map[string]*vpc.PrefixList
	members map[uint32]string // of every group that it names: the addresses of its members
	used    bool
}

func newCompiler(rules *sg.Registry, t conntrack.Timeouts) *compiler {
	return &compiler{
		rules: rules, timeouts: t, nextENI: 1, prev: &Snapshot{},
		policies: map[string]*compiled{}, subnets: map[string]*subnet{}, links: map[string]*link{}, nums: map[string]uint32{},
	}
}

func (c *compiler) nextGen() uint32 {
	c.gen = c.gen%maxGen + 1
	return c.gen
}

// compile makes the snapshot of a view. Subnets and policies that did not change are taken over as they are.
func (c *compiler) compile(v *vpc.View) *Snapshot {
	s := &Snapshot{Revision: v.Revision(), byID: map[string]*eni{}, networks: map[string]*network{}}
	members := c.membership(v)
	for _, p := range c.policies {
		p.used = false
	}
	c.name(v)
	for _, w := range v.VPCs() {
		c.network(s, v, w, members)
	}
	for key, p := range c.policies {
		if !p.used {
			delete(c.policies, key)
		}
	}
	c.prev = s
	return s
}

// name tells the registry what groups and prefix lists are called, for the words of rules.
func (c *compiler) name(v *vpc.View) {
	for _, g := range v.SecurityGroups("") {
		c.rules.SetName(g.ID, g.GroupName)
	}
	for _, l := range v.PrefixLists() {
		c.rules.SetName(l.ID, l.Name)
	}
}

// membership lists each group's addresses, as text to compare.
func (c *compiler) membership(v *vpc.View) map[uint32]string {
	lists := map[uint32]*strings.Builder{}
	for _, ni := range v.NetworkInterfaces("") {
		for _, g := range ni.Groups {
			n := c.rules.Group(g)
			b := lists[n]
			if b == nil {
				b = &strings.Builder{}
				lists[n] = b
			}
			for _, a := range addresses(ni) {
				b.WriteString(a.String())
				b.WriteByte(' ')
			}
		}
	}
	out := make(map[uint32]string, len(lists))
	for n, b := range lists {
		out[n] = b.String()
	}
	return out
}

// network compiles one VPC into s.
func (c *compiler) network(s *Snapshot, v *vpc.View, w *vpc.VPC, members map[uint32]string) {
	n := &network{id: w.ID, vpc: w, reevaluate: w.Tags[TagOnRuleChange] == "reevaluate", addrs: map[packet.Addr]*eni{}, macs: map[packet.MAC]*eni{}}
	old := c.prev.networks[w.ID]
	changed := old == nil || old.reevaluate != n.reevaluate // what it decided before must be asked again
	subnets := map[string]*subnet{}
	for _, sn := range v.Subnets(w.ID) {
		sub, moved := c.subnet(v, sn)
		subnets[sn.ID] = sub
		changed = changed || moved
	}
	for _, ni := range v.NetworkInterfaces(w.ID) {
		e := c.eni(v, ni, n, subnets[ni.SubnetID], members)
		n.add(e)
		s.add(e)
	}
	n.gen = c.pathGen(old, n, changed)
	s.networks[w.ID] = n
}

// pathGen keeps the generation of the VPC's paths unless one changed, or an address left its interface.
// A new address changes no path: nothing could have been cached for it but drops, which are not cached.
func (c *compiler) pathGen(old, n *network, changed bool) uint32 {
	if !changed {
		for a, e := range old.addrs {
			if now := n.addrs[a]; now == nil || now.num != e.num || now.subnet != e.subnet {
				changed = true
				break
			}
		}
	}
	if changed {
		return c.nextGen()
	}
	return old.gen
}

func (n *network) add(e *eni) {
	for _, a := range e.addrs {
		n.addrs[a] = e
	}
	n.macs[e.mac] = e
}

func (s *Snapshot) add(e *eni) {
	for int(e.num) >= len(s.enis) {
		s.enis = append(s.enis, nil)
	}
	s.enis[e.num] = e
	s.byID[e.id] = e
}

// routeTable is the one that a subnet uses: its VPC's main table.
func (c *compiler) routeTable(v *vpc.View, sn *vpc.Subnet) *vpc.RouteTable {
	w, ok := v.VPC(sn.VPCID)
	if !ok {
		return nil
	}
	rt, _ := v.RouteTable(w.MainRouteTableID)
	return rt
}

// subnet compiles a subnet and its routes, or takes the one of before; moved tells which.
func (c *compiler) subnet(v *vpc.View, sn *vpc.Subnet) (_ *subnet, moved bool) {
	rt := c.routeTable(v, sn)
	if old := c.subnets[sn.ID]; old != nil && old.model == sn && old.table == rt {
		return old, false
	}
	sub := &subnet{id: sn.ID, model: sn, table: rt, routes: &bart.Table[route]{}}
	sub.router = packet.AddrFrom(sn.CIDR.Addr().Next())
	if sn.CIDR6.IsValid() {
		sub.router6 = packet.AddrFrom(sn.CIDR6.Addr().Next())
	}
	if rt != nil {
		sub.routeTable = rt.ID
		for _, r := range rt.Routes {
			sub.routes.Insert(r.Destination, route{target: r.Target, dead: r.State == "blackhole"})
		}
	}
	c.subnets[sn.ID] = sub
	return sub, true
}

// eni makes the data plane's form of an interface.
func (c *compiler) eni(v *vpc.View, ni *vpc.NetworkInterface, n *network, sub *subnet, members map[uint32]string) *eni {
	mac, _ := packet.ParseMAC(ni.MAC) // valid: the model made or checked it
	e := &eni{
		num: c.number(ni.ID), id: ni.ID, mac: mac, net: n, subnet: sub, linkLocal: linkLocal(mac),
		policy: c.policy(v, ni.Groups, members), sourceDestCheck: ni.SourceDestCheck,
		timeouts: c.trackingTimeouts(ni), link: c.links[ni.ID], model: ni,
	}
	for _, a := range addresses(ni) {
		e.addrs = append(e.addrs, packet.AddrFrom(a))
	}
	for _, g := range ni.Groups {
		e.groups = append(e.groups, c.rules.Group(g))
	}
	slices.Sort(e.groups)
	return e
}

func addresses(ni *vpc.NetworkInterface) []netip.Addr {
	return slices.Concat(ni.Addresses, ni.Addresses6)
}

// number gives an interface its number for life.
func (c *compiler) number(id string) uint32 {
	n, ok := c.nums[id]
	if !ok {
		n = c.nextENI
		c.nextENI++
		c.nums[id] = n
	}
	return n
}

// trackingTimeouts are the interface's own idle timeouts over the switch's.
func (c *compiler) trackingTimeouts(ni *vpc.NetworkInterface) *conntrack.Timeouts {
	if old := c.prev.byID[ni.ID]; old != nil && old.model == ni {
		return old.timeouts
	}
	t := c.timeouts
	if ni.Tracking.TCPEstablished != 0 {
		t.TCPEstablished = ni.Tracking.TCPEstablished
	}
	if ni.Tracking.UDPStream != 0 {
		t.UDPStream = ni.Tracking.UDPStream
	}
	if ni.Tracking.UDP != 0 {
		t.UDP = ni.Tracking.UDP
	}
	return &t
}

// policy returns the compiled form of a set of groups, shared by all interfaces with that set.
// Its generation rises with its rules, the membership of the groups that they name, and their prefix lists.
func (c *compiler) policy(v *vpc.View, ids []string, members map[uint32]string) *policy {
	key := strings.Join(ids, " ")
	old := c.policies[key]
	if old != nil && old.used {
		return old.policy
	}
	groups := make([]*vpc.SecurityGroup, 0, len(ids))
	for _, id := range ids {
		if g, ok := v.SecurityGroup(id); ok {
			groups = append(groups, g)
		}
	}
	if old != nil && old.current(v, groups, members) {
		old.used = true
		return old.policy
	}
	fresh := c.compilePolicy(v, groups, members)
	if old != nil && slices.Equal(old.groups, groups) && old.sameLists(v) {
		fresh.policy.Policy = old.policy.Policy // only membership moved
	}
	c.policies[key] = fresh
	return fresh.policy
}

func (c *compiler) compilePolicy(v *vpc.View, groups []*vpc.SecurityGroup, members map[uint32]string) *compiled {
	p := sg.Compile(c.rules, groups, v.PrefixList)
	out := &compiled{
		policy: &policy{Policy: p, gen: c.nextGen()}, groups: groups, used: true,
		lists: map[string]*vpc.PrefixList{}, members: map[uint32]string{},
	}
	for _, g := range p.References() {
		out.members[g] = members[g]
	}
	for _, id := range p.PrefixLists() {
		out.lists[id], _ = v.PrefixList(id)
	}
	return out
}

// current tells whether nothing that the policy was made of has changed.
func (p *compiled) current(v *vpc.View, groups []*vpc.SecurityGroup, members map[uint32]string) bool {
	if !slices.Equal(p.groups, groups) || !p.sameLists(v) {
		return false
	}
	for g, was := range p.members {
		if members[g] != was {
			return false
		}
	}
	return true
}

func (p *compiled) sameLists(v *vpc.View) bool {
	for id, was := range p.lists {
		if now, _ := v.PrefixList(id); now != was {
			return false
		}
	}
	return true
}
