package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

func (c *checker) instances() {
	owners := map[vpcAddr]string{}
	for _, in := range c.f.Instances {
		path := child("instances", in.Name)
		c.label(path, "instance", in.Name)
		c.driver(child(path, "driver"), in.Driver)
		c.tap(in, path)
		c.vm(in, path)
		c.listens(in, path)
		c.commands(in, path)
		if in.Subnet = c.subnetOf(in, path); in.Subnet == nil {
			continue
		}
		c.memberships(in, path)
		c.addresses(in, path, owners)
	}
	c.devices()
	c.room(owners)
}

// vpcAddr is an address within a VPC: two VPCs may have the same.
type vpcAddr struct {
	vpc  *VPC
	addr netip.Addr
}

// findSubnets gives the subnets that NAME or VPC/NAME can mean.
func (f *File) findSubnets(name string) []*Subnet {
	vpcName, subnetName, both := strings.Cut(name, "/")
	if !both {
		vpcName, subnetName = "", name
	}
	var found []*Subnet
	for _, v := range f.VPCs {
		for _, s := range v.Subnets {
			if s.Name == subnetName && (vpcName == "" || vpcName == v.Name) {
				found = append(found, s)
			}
		}
	}
	return found
}

// subnetNames lists all subnets as a file can name them.
func (f *File) subnetNames() []string {
	var names []string
	for _, v := range f.VPCs {
		for _, s := range v.Subnets {
			name := s.Name
			if len(f.findSubnets(name)) > 1 {
				name = v.Name + "/" + s.Name
			}
			names = append(names, name)
		}
	}
	return names
}

func (c *checker) subnetOf(in *Instance, path string) *Subnet {
	p := child(path, "subnet")
	if !c.ok(p) {
		return nil
	}
	found := c.f.findSubnets(in.SubnetName)
	switch len(found) {
	case 1:
		return found[0]
	case 0:
		c.fail(p, oneOf("subnets", in.SubnetName, c.f.subnetNames()), "there is no subnet %s", short(in.SubnetName))
	default:
		var names []string
		for _, s := range found {
			names = append(names, s.VPC.Name+"/"+s.Name)
		}
		c.fail(p, "write "+or(names), "several VPCs have a subnet %s", in.SubnetName)
	}
	return nil
}

func (c *checker) listens(in *Instance, path string) {
	for i, l := range in.Listen {
		p := element(child(path, "listen"), i)
		if c.ok(p) && slices.Contains(in.Listen[:i], l) {
			c.fail(p, "take it out", "%s stands here a second time", l)
		}
	}
}

// maxGroups is how many groups an interface may have at most after AWS raised the quota.
const maxGroups = 16

// memberships checks that an instance's groups exist, in its own VPC.
func (c *checker) memberships(in *Instance, path string) {
	if p := child(path, "groups"); in.GroupNames != nil && len(in.GroupNames) == 0 && c.ok(p) {
		c.fail(p, "leave it out for the VPC's default group, or name one that admits nothing", "an interface has at least one group")
	}
	for i, name := range in.GroupNames {
		p := element(child(path, "groups"), i)
		g := c.groups[name]
		switch {
		case !c.ok(p):
		case slices.Contains(in.GroupNames[:i], name):
			c.fail(p, "take it out", "group %s stands here a second time", name)
		case i == maxGroups:
			c.fail(p, "put several rules into one group", "an interface has at most %d groups", maxGroups)
		case g == nil && name == defaultGroup:
		case g == nil:
			c.fail(p, oneOf("security groups", name, c.f.groupNames()), "there is no security group %s", short(name))
		case g.VPC != nil && g.VPC != in.Subnet.VPC && name != defaultGroup:
			c.fail(p, "groups hold in one VPC; make one there", "group %s is in VPC %s, and %s in %s", name, g.VPC.Name, in.Name, in.Subnet.VPC.Name)
		}
	}
}

// addresses checks each address an instance is given.
func (c *checker) addresses(in *Instance, path string, owners map[vpcAddr]string) {
	if p := child(path, "ip"); in.IP.IsValid() && c.ok(p) {
		if in.IP.Is6() {
			c.fail(p, "write the IPv4 address here, and the IPv6 one as ip6", "%s is IPv6", in.IP)
		} else {
			c.address(in, p, in.IP, owners)
		}
	}
	if p := child(path, "ip6"); in.IP6.IsValid() && c.ok(p) {
		if in.IP6.Is4() {
			c.fail(p, "write the IPv4 address as ip", "%s is IPv4", in.IP6)
		} else {
			c.address(in, p, in.IP6, owners)
		}
	}
	for i, a := range in.Secondary {
		if p := element(child(path, "secondary-ips"), i); c.ok(p) {
			c.address(in, p, a, owners)
		}
	}
}

// reservedFor says what AWS keeps an address of a subnet for, "" if it does not.
func reservedFor(p netip.Prefix, a netip.Addr) string {
	uses := []string{"the network itself", "the VPC's router", "the DNS server", "future use"}
	at := p.Addr()
	for _, use := range uses {
		if a == at {
			return use
		}
		at = at.Next()
	}
	if a == lastAddr(p) {
		return "broadcast"
	}
	return ""
}

func (c *checker) address(in *Instance, path string, a netip.Addr, owners map[vpcAddr]string) {
	s, block := in.Subnet, in.Subnet.CIDR
	if a.Is6() {
		if block = s.CIDR6; !block.IsValid() {
			c.fail(path, "give the subnet a cidr6 first", "subnet %s has no IPv6 block", s.Name)
			return
		}
	}
	if !block.IsValid() || !c.ok(child("vpcs."+s.VPC.Name+".subnets."+s.Name, "cidr")) || block.Bits() > block.Addr().BitLen()-4 {
		return // said of the subnet
	}
	first, last := vpc.Usable(block)
	right := fmt.Sprintf("use %s to %s", first, last)
	switch owner := owners[vpcAddr{s.VPC, a}]; {
	case !block.Contains(a):
		c.fail(path, right, "%s is outside subnet %s (%s)", a, s.Name, block)
	case reservedFor(block, a) != "":
		c.fail(path, right, "%s is reserved in subnet %s (%s) for %s", a, s.Name, block, reservedFor(block, a))
	case owner == in.Name:
		c.fail(path, "take it out", "%s has %s already", in.Name, a)
	case owner != "":
		c.fail(path, "give each instance an address of its own", "%s is the address of %s already", a, owner)
	default:
		owners[vpcAddr{s.VPC, a}] = in.Name
	}
}

// room checks that each subnet has an address for every instance that names none.
func (c *checker) room(owners map[vpcAddr]string) {
	taken := map[*Subnet]int{}
	for _, v := range c.f.VPCs {
		for _, s := range v.Subnets {
			for o := range owners {
				if o.vpc == v && s.CIDR.IsValid() && s.CIDR.Contains(o.addr) {
					taken[s]++
				}
			}
		}
	}
	for _, in := range c.f.Instances {
		path := child(child("instances", in.Name), "subnet")
		if in.Subnet == nil || in.IP.IsValid() || !in.Subnet.CIDR.IsValid() || in.Subnet.CIDR.Bits() > 28 || !c.ok(path) {
			continue
		}
		s := in.Subnet
		taken[s]++
		if most := 1<<(32-s.CIDR.Bits()) - 5; taken[s] > most {
			c.fail(path, "make the subnet larger", "subnet %s (%s) has %d addresses, and they are all taken", s.Name, s.CIDR, most)
		}
	}
}
