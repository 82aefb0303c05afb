package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func (c *checker) vpcs() {
	seen := folded{}
	for _, v := range c.f.VPCs {
		path := child("vpcs", v.Name)
		c.plainName(path, "VPC", v.Name)
		c.twice(path, v.Name, seen)
		c.vpcCIDRs(v, path)
		c.subnets(v, path)
	}
}

// servicesV6 is AWS's own space, which no VPC may have (EC2 User Guide: instance metadata, DNS, time).
var servicesV6 = netip.MustParsePrefix("fd00:ec2::/32")

func (c *checker) vpcCIDRs(v *VPC, path string) {
	if p := child(path, "cidr"); c.ok(p) {
		c.blockSize(p, v.CIDR, "VPC", 16, 28)
	}
	p := child(path, "cidr6")
	switch {
	case !v.CIDR6.IsValid() || !c.ok(p):
	case v.CIDR6.Bits() != 56:
		c.fail(p, "write an IPv6 /56 such as fd00:1::/56", "%s cannot be a VPC's IPv6 block", v.CIDR6)
	case v.CIDR6.Overlaps(servicesV6):
		c.fail(p, "choose another /56, such as fd00:1::/56", "%s is in %s, where AWS's own services are", v.CIDR6, servicesV6)
	case !v.CIDR6.Addr().IsGlobalUnicast():
		c.fail(p, "choose a /56 such as fd00:1::/56", "%s has no addresses for hosts", v.CIDR6)
	}
}

// blockSize checks an IPv4 block by AWS's bounds (VPC User Guide, "VPC CIDR blocks").
func (c *checker) blockSize(path string, p netip.Prefix, what string, least, most int) {
	switch {
	case p.Addr().Is6():
		c.fail(path, "write the IPv4 block here, and the IPv6 one as cidr6", "%s is IPv6", p)
	case p.Bits() < least || p.Bits() > most:
		c.fail(path, fmt.Sprintf("AWS allows /%d to /%d", least, most), "a %s cannot be a /%d", what, p.Bits())
	case !hostBlock(p):
		c.fail(path, "use a private block such as 10.0.0.0/16", "%s has no addresses for hosts", p)
	}
}

// hostBlock says whether hosts can have the addresses of an IPv4 block of /16 or smaller.
func hostBlock(p netip.Prefix) bool {
	a := p.Addr()
	return !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast() && a.As4()[0] != 0 && a.As4()[0] < 240
}

// maxSubnets of a VPC (VPC User Guide, quotas).
const maxSubnets = 200

func (c *checker) subnets(v *VPC, path string) {
	if path := child(path, "subnets"); c.broken[path] {
		c.broken["vpcs"] = true
		return
	} else if len(v.Subnets) > maxSubnets {
		c.fail(path, fmt.Sprintf("AWS allows %d", maxSubnets), "the VPC has %d subnets", len(v.Subnets))
		return
	}
	seen := folded{}
	for _, s := range v.Subnets {
		s.VPC = v
		at := child(child(path, "subnets"), s.Name)
		c.plainName(at, "subnet", s.Name)
		c.twice(at, s.Name, seen)
		c.subnetCIDR(s, at)
		c.subnetCIDR6(s, at)
		c.zone(s, at)
	}
	c.overlaps(v, path)
}

func (c *checker) subnetCIDR(s *Subnet, path string) {
	p := child(path, "cidr")
	if !c.ok(p) || !c.ok(child(child("vpcs", s.VPC.Name), "cidr")) {
		return
	}
	c.blockSize(p, s.CIDR, "subnet", 16, 28)
	if c.ok(p) && !contains(s.VPC.CIDR, s.CIDR) {
		c.fail(p, fmt.Sprintf("use a part of %s", s.VPC.CIDR), "%s is not inside VPC %s (%s)", s.CIDR, s.VPC.Name, s.VPC.CIDR)
	}
}

func (c *checker) subnetCIDR6(s *Subnet, path string) {
	p := child(path, "cidr6")
	if !s.CIDR6.IsValid() || !c.ok(p) || !c.ok(child(child("vpcs", s.VPC.Name), "cidr6")) {
		return
	}
	switch v := s.VPC; {
	case !v.CIDR6.IsValid():
		c.fail(p, "give the VPC a cidr6 first", "VPC %s has no IPv6 block", v.Name)
	case s.CIDR6.Bits() != 64:
		c.fail(p, fmt.Sprintf("write a /64 of %s", v.CIDR6), "%s cannot be a subnet's IPv6 block", s.CIDR6)
	case !contains(v.CIDR6, s.CIDR6):
		c.fail(p, fmt.Sprintf("write a /64 of %s", v.CIDR6), "%s is not inside VPC %s (%s)", s.CIDR6, v.Name, v.CIDR6)
	}
}

func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// overlaps reports each subnet that has addresses of an earlier one of its VPC.
func (c *checker) overlaps(v *VPC, path string) {
	for i, s := range v.Subnets {
		for _, t := range v.Subnets[:i] {
			for _, b := range []struct {
				field     string
				mine, its netip.Prefix
			}{{"cidr", s.CIDR, t.CIDR}, {"cidr6", s.CIDR6, t.CIDR6}} {
				p := child(child(child(path, "subnets"), s.Name), b.field)
				if b.mine.IsValid() && b.its.IsValid() && c.ok(p) && b.mine.Overlaps(b.its) {
					c.fail(p, "subnets of a VPC share no address; "+freeBlock(v, s, b.field == "cidr6"), "%s overlaps subnet %s (%s)", b.mine, t.Name, b.its)
				}
			}
		}
	}
}

// freeBlock names a block of the size of a subnet's that no other subnet of the VPC has.
func freeBlock(v *VPC, s *Subnet, v6 bool) string {
	block := func(s *Subnet) netip.Prefix {
		if v6 {
			return s.CIDR6
		}
		return s.CIDR
	}
	all, bits := v.CIDR, s.CIDR.Bits()
	if v6 {
		all, bits = v.CIDR6, 64
	}
	const tries = 4096
	at := all.Addr()
	for range tries {
		p := netip.PrefixFrom(at, bits)
		i := slices.IndexFunc(v.Subnets, func(t *Subnet) bool { return t != s && block(t).IsValid() && block(t).Overlaps(p) })
		if i < 0 {
			return fmt.Sprintf("%s is free", p)
		}
		if at = lastAddr(p).Next(); !all.Contains(at) {
			break
		}
	}
	return "choose another"
}

// lastAddr is the highest address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		if host := len(b)*8 - p.Bits() - (len(b)-1-i)*8; host >= 8 {
			b[i] = 0xff
		} else if host > 0 {
			b[i] |= 1<<host - 1
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// zones are the letters of a Region's Availability Zones.
const zones = "abcdef"

// zone checks an Availability Zone: a letter, or with the Region's name, which only the agent knows.
func (c *checker) zone(s *Subnet, path string) {
	p := child(path, "zone")
	if s.Zone == "" || !c.ok(p) {
		return
	}
	letter := s.Zone[len(s.Zone)-1:]
	region := strings.Split(strings.TrimSuffix(s.Zone, letter), "-")
	whole := len(region) >= 3 && isDigits(region[len(region)-1])
	if !strings.Contains(zones, letter) || len(s.Zone) > 1 && !whole {
		c.fail(p, "write its letter, a to f, or the whole name, us-east-1a", "%q is not an Availability Zone", short(s.Zone))
	}
}

func (c *checker) prefixLists() {
	seen := folded{}
	for _, l := range c.f.PrefixLists {
		path := child("prefix-lists", l.Name)
		c.lists[l.Name] = l
		c.plainName(path, "prefix list", l.Name)
		c.twice(path, l.Name, seen)
		c.prefixList(l, path)
	}
}

func (c *checker) prefixList(l *PrefixList, path string) {
	for i, e := range l.Entries {
		p := fmt.Sprintf("%s.entries[%d].cidr", path, i)
		if !c.ok(p) {
			continue
		}
		family := 4
		if e.CIDR.Addr().Is6() {
			family = 6
		}
		switch j := slices.IndexFunc(l.Entries[:i], func(o PrefixListEntry) bool { return o.CIDR == e.CIDR }); {
		case l.Family == 0:
			l.Family = family
		case l.Family != family:
			c.fail(p, "a prefix list is of one family; make a second one", "%s is IPv%d among IPv%d", e.CIDR, family, l.Family)
		case j >= 0:
			c.fail(p, "take it out", "%s stands here a second time", e.CIDR)
		case len(e.Description) > 255 || strings.ContainsAny(e.Description, "\n\t"):
			c.fail(element(child(path, "entries"), i)+".description", "use at most 255 characters in one line", "AWS does not take this description")
		}
	}
	if l.Family == 0 {
		l.Family = 4
	}
	p := child(path, "max-entries")
	switch {
	case !c.given(p):
		l.MaxEntries = max(1, len(l.Entries))
	case c.ok(p) && (l.MaxEntries < 1 || l.MaxEntries > 1000):
		c.fail(p, "AWS allows 1 to 1000", "a prefix list cannot have room for %d entries", l.MaxEntries)
	case c.ok(p) && l.MaxEntries < len(l.Entries):
		c.fail(p, fmt.Sprintf("write %d or more, or leave it out", len(l.Entries)), "the list has %d entries and room for %d", len(l.Entries), l.MaxEntries)
	}
}
