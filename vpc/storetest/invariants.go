package storetest

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// Invariants says what is wrong with a state of a model; nil if nothing is. It uses nothing but plain scans, and holds
// the view's indexed look-ups against them.
func Invariants(v *vpc.View) error {
	c := checker{View: v, ids: map[string]bool{}}
	for _, o := range v.Objects() {
		id := o.Metadata().ID
		c.is(!c.ids[id], "%s exists twice", id)
		c.ids[id] = true
		kind, ok := vpc.KindOf(id)
		c.is(ok && kind == o.Kind(), "%s is no id of a %s", id, o.Kind())
		got, ok := v.Object(id)
		c.is(ok && got == o, "%s is not found by its id", id)
	}
	for _, net := range v.VPCs() {
		c.vpc(net)
	}
	for _, s := range v.Subnets("") {
		c.subnet(s)
	}
	for _, g := range v.SecurityGroups("") {
		c.group(g)
	}
	for _, n := range v.NetworkInterfaces("") {
		c.networkInterface(n)
	}
	for _, i := range v.Instances("") {
		c.instance(i)
	}
	for _, l := range v.PrefixLists() {
		c.is(len(l.Entries) <= l.MaxEntries, "%s has more entries than its maximum", l.ID)
		c.is(reflect.DeepEqual(v.GroupsUsingPrefixList(l.ID), c.groupsWith(func(p vpc.Permission) bool { return p.PrefixListID == l.ID })),
			"the groups that use %s are not those with such a rule", l.ID)
	}
	for _, f := range v.FlowLogs() {
		c.is(c.ids[f.ResourceID], "%s watches %s, which does not exist", f.ID, f.ResourceID)
		c.is(slices.Contains(v.FlowLogsOf(f.ResourceID), f), "%s is not found by its resource", f.ID)
	}
	return c.err
}

type checker struct {
	*vpc.View
	ids map[string]bool
	err error
}

// is records the first thing that is not so.
func (c *checker) is(ok bool, format string, args ...any) {
	if !ok && c.err == nil {
		c.err = fmt.Errorf("revision %d: "+format, append([]any{c.Revision()}, args...)...)
	}
}

func (c *checker) vpc(v *vpc.VPC) {
	c.is(v.CIDR.IsValid() && v.CIDR == v.CIDR.Masked() && v.CIDR.Bits() >= 16 && v.CIDR.Bits() <= 28, "%s has the block %s", v.ID, v.CIDR)
	g, ok := c.SecurityGroup(v.DefaultSecurityGroup)
	c.is(ok && g.VPCID == v.ID && g.GroupName == "default", "%s has no default group", v.ID)
	var mains []*vpc.RouteTable
	for _, t := range c.RouteTables(v.ID) {
		if t.Main {
			mains = append(mains, t)
		}
	}
	c.is(len(mains) == 1 && mains[0].ID == v.MainRouteTableID, "%s has %d main route tables", v.ID, len(mains))
	if c.err != nil {
		return
	}
	var local []netip.Prefix
	for _, r := range mains[0].Routes {
		if r.Target == "local" && r.State == "active" {
			local = append(local, r.Destination)
		}
	}
	c.is(reflect.DeepEqual(local, append([]netip.Prefix{v.CIDR}, v.CIDRs6...)), "%s has the local routes %v", v.ID, local)
}

func (c *checker) subnet(s *vpc.Subnet) {
	v, ok := c.VPC(s.VPCID)
	c.is(ok, "%s is in no VPC", s.ID)
	if !ok {
		return
	}
	c.is(inside(s.CIDR, v.CIDR), "%s: %s is not inside %s", s.ID, s.CIDR, v.CIDR)
	if s.CIDR6.IsValid() {
		c.is(s.CIDR6.Bits() == 64 && slices.ContainsFunc(v.CIDRs6, func(p netip.Prefix) bool { return inside(s.CIDR6, p) }),
			"%s: %s is not a /64 inside its VPC's", s.ID, s.CIDR6)
	}
	listed := false
	for _, o := range c.Subnets(s.VPCID) {
		if o.ID == s.ID {
			listed = true
			continue
		}
		c.is(!o.CIDR.Overlaps(s.CIDR) && (!s.CIDR6.IsValid() || s.CIDR6 != o.CIDR6), "%s and %s overlap", s.ID, o.ID)
	}
	c.is(listed, "%s is not in its VPC's list", s.ID)
	if s.Name != "" {
		named, ok := c.SubnetNamed(s.VPCID, s.Name)
		c.is(ok && strings.EqualFold(named.Name, s.Name), "%s is not found by name", s.ID)
	}
}

func inside(inner, outer netip.Prefix) bool {
	return inner == inner.Masked() && inner.Bits() >= outer.Bits() && outer.Contains(inner.Addr())
}

func (c *checker) group(g *vpc.SecurityGroup) {
	c.is(c.ids[g.VPCID], "%s is in no VPC", g.ID)
	named, ok := c.SecurityGroupNamed(g.VPCID, strings.ToUpper(g.GroupName))
	c.is(ok && named == g, "%s is not the only %q in its VPC", g.ID, g.GroupName)
	type key struct {
		vpc.Direction
		vpc.Permission
	}
	seen := map[key]bool{}
	for i := range g.Rules {
		r := &g.Rules[i]
		c.is(!c.ids[r.ID], "rule %s exists twice", r.ID)
		c.ids[r.ID] = true
		got, in, ok := c.SecurityGroupRule(r.ID)
		c.is(ok && in == g && got == r && r.GroupID == g.ID, "rule %s of %s is not found", r.ID, g.ID)
		k := key{r.Direction, r.Permission}
		c.is(!seen[k], "%s has the rule %s twice", g.ID, r.Message())
		seen[k] = true
		n, err := r.Normalize()
		c.is(err == nil && n == r.Permission, "rule %s is not in normal form: %v", r.ID, err)
		c.peer(g, r)
	}
	c.is(reflect.DeepEqual(c.GroupsReferencing(g.ID), c.groupsWith(func(p vpc.Permission) bool { return p.GroupID == g.ID })),
		"the groups that reference %s are not those with such a rule", g.ID)
	c.is(reflect.DeepEqual(c.InterfacesInGroup(g.ID), c.members(g.ID)), "the members of %s are not the interfaces with it", g.ID)
}

func (c *checker) peer(g *vpc.SecurityGroup, r *vpc.SecurityGroupRule) {
	if r.PrefixListID != "" {
		_, ok := c.PrefixList(r.PrefixListID)
		c.is(ok, "rule %s names %s, which does not exist", r.ID, r.PrefixListID)
	}
	if r.Permission.GroupID != "" {
		p, ok := c.SecurityGroup(r.Permission.GroupID)
		c.is(ok && p.VPCID == g.VPCID, "rule %s names %s, which is not in the VPC", r.ID, r.Permission.GroupID)
	}
}

func (c *checker) groupsWith(has func(vpc.Permission) bool) []*vpc.SecurityGroup {
	var out []*vpc.SecurityGroup
	for _, g := range c.SecurityGroups("") {
		if slices.ContainsFunc(g.Rules, func(r vpc.SecurityGroupRule) bool { return has(r.Permission) }) {
			out = append(out, g)
		}
	}
	return out
}

func (c *checker) members(groupID string) []*vpc.NetworkInterface {
	var out []*vpc.NetworkInterface
	for _, n := range c.NetworkInterfaces("") {
		if slices.Contains(n.Groups, groupID) {
			out = append(out, n)
		}
	}
	return out
}

func (c *checker) networkInterface(n *vpc.NetworkInterface) {
	s, ok := c.Subnet(n.SubnetID)
	c.is(ok && s.VPCID == n.VPCID, "%s is in no subnet of its VPC", n.ID)
	if !ok {
		return
	}
	c.is(slices.Contains(c.InterfacesInSubnet(s.ID), n), "%s is not in its subnet's list", n.ID)
	c.is(len(n.Groups) > 0 && slices.IsSorted(n.Groups) && len(slices.Compact(slices.Clone(n.Groups))) == len(n.Groups),
		"%s has the groups %v", n.ID, n.Groups)
	for _, id := range n.Groups {
		g, ok := c.SecurityGroup(id)
		c.is(ok && g.VPCID == n.VPCID, "%s has %s, which is not in its VPC", n.ID, id)
	}
	c.is(len(n.Addresses) > 0, "%s has no primary address", n.ID)
	c.addresses(n, n.Addresses, s.CIDR)
	c.addresses(n, n.Addresses6, s.CIDR6)
	for _, o := range c.NetworkInterfacesByMAC(n.MAC) {
		c.is(o == n || o.VPCID != n.VPCID, "%s and %s have one MAC", n.ID, o.ID)
	}
	c.is((n.Status == "in-use") == (n.InstanceID != ""), "%s is %s with instance %q", n.ID, n.Status, n.InstanceID)
	if n.InstanceID != "" {
		i, ok := c.Instance(n.InstanceID)
		c.is(ok && n.DeviceIndex < len(i.InterfaceIDs) && i.InterfaceIDs[n.DeviceIndex] == n.ID, "%s is not its instance's", n.ID)
	}
}

func (c *checker) addresses(n *vpc.NetworkInterface, list []netip.Addr, block netip.Prefix) {
	for _, a := range list {
		first, last := vpc.Usable(block)
		c.is(block.Contains(a) && !a.Less(first) && !last.Less(a), "%s has %s, not one of %s to %s", n.ID, a, first, last)
		got, ok := c.NetworkInterfaceByAddr(n.VPCID, a)
		c.is(ok && got == n, "%s is not the only holder of %s", n.ID, a)
	}
}

func (c *checker) instance(i *vpc.Instance) {
	c.is(len(i.InterfaceIDs) > 0, "%s has no interface", i.ID)
	for device, id := range i.InterfaceIDs {
		n, ok := c.NetworkInterface(id)
		c.is(ok && n.InstanceID == i.ID && n.DeviceIndex == device && n.VPCID == i.VPCID, "%s does not have %s as its device %d", i.ID, id, device)
		if ok && device == 0 {
			c.is(n.SubnetID == i.SubnetID, "%s and its primary interface are in different subnets", i.ID)
		}
	}
}
