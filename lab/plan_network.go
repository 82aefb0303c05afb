package lab

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vpclab/vpclab/vpc"
)

// Tags under which the model keeps what AWS's objects have no field for.
const (
	tagMTU          = "vpclab:mtu"
	tagOnRuleChange = "vpclab:on-rule-change"
)

// OnRuleChange is the setting of the lab a VPC belongs to: Persist or Reevaluate.
func OnRuleChange(v *vpc.VPC) string {
	if v.Tags[tagOnRuleChange] == Reevaluate {
		return Reevaluate
	}
	return Persist
}

// matchNetwork finds the VPCs, subnets, prefix lists and groups that can stay. Blocks cannot be changed: a VPC or
// subnet with another one is another one.
func (p *planner) matchNetwork() {
	for _, v := range p.f.VPCs {
		i := slices.IndexFunc(p.existing.vpcs, func(e *vpc.VPC) bool { return e.Name == v.Name })
		if i >= 0 && sameBlocks(p.existing.vpcs[i], v) {
			p.keepVPC(v, p.existing.vpcs[i])
		}
	}
	for _, e := range p.existing.vpcs {
		if !p.keeps(e.ID) {
			p.goneVPCs[e.ID] = true
		}
	}
	kept := map[string]bool{}
	for _, e := range p.subnets {
		kept[e.ID] = true
	}
	for _, e := range p.existing.subnets {
		if !kept[e.ID] {
			p.goneSubnets[e.ID] = true
		}
	}
	for _, l := range p.f.PrefixLists {
		i := slices.IndexFunc(p.existing.lists, func(e *vpc.PrefixList) bool { return e.Name == l.Name && e.Family == l.Family })
		if i >= 0 {
			p.lists[l.Name] = p.existing.lists[i]
			p.out.PrefixLists[l.Name] = p.existing.lists[i].ID
		}
	}
}

func sameBlocks(e *vpc.VPC, v *VPC) bool {
	var want []netip.Prefix
	if v.CIDR6.IsValid() {
		want = []netip.Prefix{v.CIDR6}
	}
	return e.CIDR == v.CIDR && slices.Equal(e.CIDRs6, want)
}

func (p *planner) keepVPC(v *VPC, e *vpc.VPC) {
	p.vpcs[v] = e
	p.out.VPCs[v.Name] = e.ID
	p.setGroup(groupKey{v.Name, defaultGroup}, e.DefaultSecurityGroup)
	for _, g := range p.f.Groups {
		if made, ok := p.view.SecurityGroupNamed(e.ID, g.Name); ok && g.VPC == v && made.GroupName == g.Name && made.Lab == p.f.Lab {
			p.setGroup(groupKey{v.Name, g.Name}, made.ID)
		}
	}
	for _, s := range v.Subnets {
		i := slices.IndexFunc(p.existing.subnets, func(x *vpc.Subnet) bool { return x.VPCID == e.ID && x.Name == s.Name })
		if i < 0 {
			continue
		}
		x := p.existing.subnets[i]
		if x.CIDR == s.CIDR && x.CIDR6 == s.CIDR6 && x.AvailabilityZone == p.zone(s) {
			p.subnets[s] = x
			p.out.Subnets[v.Name+"/"+s.Name] = x.ID
		}
	}
}

func (p *planner) setGroup(k groupKey, id string) {
	p.groups[k] = id
	p.out.Groups[k.vpc+"/"+k.group] = id
}

func (p *planner) keeps(vpcID string) bool {
	for _, e := range p.vpcs {
		if e.ID == vpcID {
			return true
		}
	}
	return false
}

// zone gives the whole name of a subnet's Availability Zone.
func (p *planner) zone(s *Subnet) string {
	switch {
	case s.Zone == "":
		return vpc.Zones(p.view.Region())[0]
	case len(s.Zone) == 1:
		return p.view.Region() + s.Zone
	}
	return s.Zone
}

// vpcName is the name of one of the lab's VPCs, else its id.
func (p *planner) vpcName(id string) string {
	if v, ok := p.view.VPC(id); ok && v.Name != "" {
		return v.Name
	}
	return id
}

// removeNetwork removes subnets and whole VPCs now, and what others may still name last.
func (p *planner) removeNetwork() {
	for _, e := range p.existing.subnets {
		if p.goneSubnets[e.ID] {
			p.add(op{change: Change{Action: Delete, Kind: vpc.KindSubnet, Name: p.vpcName(e.VPCID) + "/" + e.Name, ID: e.ID, Detail: e.CIDR.String()},
				do: func(tx *vpc.Tx) error { return tx.DeleteSubnet(e.ID) }})
		}
	}
	for _, e := range p.goneGroups() {
		o := op{change: Change{Action: Delete, Kind: vpc.KindSecurityGroup, Name: e.GroupName, ID: e.ID},
			do: func(tx *vpc.Tx) error { return tx.DeleteSecurityGroup(e.ID) }}
		if p.goneVPCs[e.VPCID] {
			p.add(o)
		} else {
			p.last = append(p.last, o)
		}
	}
	for _, e := range p.existing.vpcs {
		if p.goneVPCs[e.ID] {
			p.add(op{change: Change{Action: Delete, Kind: vpc.KindVPC, Name: e.Name, ID: e.ID, Detail: e.CIDR.String()},
				do: func(tx *vpc.Tx) error { return tx.DeleteVpc(e.ID) }})
		}
	}
	for _, e := range p.existing.lists {
		if p.lists[e.Name] != e {
			p.last = append(p.last, op{change: Change{Action: Delete, Kind: vpc.KindPrefixList, Name: e.Name, ID: e.ID},
				do: func(tx *vpc.Tx) error { return tx.DeleteManagedPrefixList(e.ID) }})
		}
	}
}

// goneGroups are the lab's groups that the file has no more; default groups go with their VPC.
func (p *planner) goneGroups() []*vpc.SecurityGroup {
	kept := map[string]bool{}
	for _, id := range p.groups {
		kept[id] = true
	}
	var gone []*vpc.SecurityGroup
	for _, e := range p.existing.groups {
		if !kept[e.ID] && e.GroupName != defaultGroup {
			gone = append(gone, e)
		}
	}
	return gone
}

func (p *planner) owner(name string, tags map[string]string) vpc.Owner {
	return vpc.Owner{Name: name, Lab: p.f.Lab, Tags: tags}
}

// makeNetwork makes the VPCs, subnets, prefix lists and groups that are missing, and changes those that differ.
func (p *planner) makeNetwork() {
	for _, v := range p.f.VPCs {
		if e, ok := p.vpcs[v]; ok {
			p.alterVPC(v, e)
		} else {
			p.makeVPC(v)
		}
		for _, s := range v.Subnets {
			if _, ok := p.subnets[s]; !ok {
				p.makeSubnet(v, s)
			}
		}
	}
	for _, l := range p.f.PrefixLists {
		if e, ok := p.lists[l.Name]; ok {
			p.alterPrefixList(l, e)
		} else {
			p.makePrefixList(l)
		}
	}
	for _, g := range p.f.Groups {
		if _, ok := p.groups[groupKey{g.VPC.Name, g.Name}]; !ok && g.Name != defaultGroup {
			p.makeGroup(g)
		}
	}
}

// vpcTags are a VPC's tags: what differs from AWS.
func (p *planner) vpcTags() map[string]string {
	if p.f.OnRuleChange == Reevaluate {
		return map[string]string{tagOnRuleChange: Reevaluate}
	}
	return nil
}

func (p *planner) makeVPC(v *VPC) {
	p.add(op{change: Change{Action: Add, Kind: vpc.KindVPC, Name: v.Name, Detail: blocks(v.CIDR, v.CIDR6), Where: v.Pos}, at: v.Pos, path: child("vpcs", v.Name),
		do: func(tx *vpc.Tx) error {
			made, err := tx.CreateVpc(vpc.CreateVpcInput{Owner: p.owner(v.Name, p.vpcTags()), CIDR: v.CIDR, CIDR6: v.CIDR6})
			if err != nil {
				return err
			}
			p.out.VPCs[v.Name] = made.ID
			p.setGroup(groupKey{v.Name, defaultGroup}, made.DefaultSecurityGroup)
			return nil
		}})
}

func (p *planner) alterVPC(v *VPC, e *vpc.VPC) {
	was, is := OnRuleChange(e), orElse(p.f.OnRuleChange, Persist)
	if was == is {
		return
	}
	in := vpc.SetTagsInput{ResourceID: e.ID, Set: p.vpcTags()}
	if in.Set == nil {
		in.Remove = []string{tagOnRuleChange}
	}
	p.add(op{change: Change{Action: Alter, Kind: vpc.KindVPC, Name: v.Name, ID: e.ID, Fields: []string{fromTo("on-rule-change", was, is)}, Where: v.Pos}, at: v.Pos,
		path: child("vpcs", v.Name), do: func(tx *vpc.Tx) error { return tx.SetTags(in) }})
}

func fromTo(field, was, is string) string { return fmt.Sprintf("%s: %s -> %s", field, was, is) }

func blocks(v4, v6 netip.Prefix) string {
	if v6.IsValid() {
		return v4.String() + ", " + v6.String()
	}
	return v4.String()
}

func (p *planner) makeSubnet(v *VPC, s *Subnet) {
	name := v.Name + "/" + s.Name
	p.add(op{change: Change{Action: Add, Kind: vpc.KindSubnet, Name: name, Detail: blocks(s.CIDR, s.CIDR6), Where: s.Pos}, at: s.Pos,
		path: child(child(child("vpcs", v.Name), "subnets"), s.Name),
		do: func(tx *vpc.Tx) error {
			made, err := tx.CreateSubnet(vpc.CreateSubnetInput{
				Owner: p.owner(s.Name, nil), VPCID: p.out.VPCs[v.Name], CIDR: s.CIDR, CIDR6: s.CIDR6, AvailabilityZone: p.zone(s),
			})
			if err == nil {
				p.out.Subnets[name] = made.ID
			}
			return err
		}})
}

func (p *planner) makeGroup(g *Group) {
	p.add(op{change: Change{Action: Add, Kind: vpc.KindSecurityGroup, Name: g.Name, Where: g.Pos}, at: g.Pos, path: child("security-groups", g.Name),
		do: func(tx *vpc.Tx) error {
			made, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{
				Owner: p.owner(g.Name, nil), GroupName: g.Name, Description: "group " + g.Name + " of lab " + p.f.Lab, VPCID: p.out.VPCs[g.VPC.Name],
			})
			if err == nil {
				p.setGroup(groupKey{g.VPC.Name, g.Name}, made.ID)
			}
			return err
		}})
}

func entriesOf(l *PrefixList) []vpc.PrefixListEntry {
	out := make([]vpc.PrefixListEntry, len(l.Entries))
	for i, e := range l.Entries {
		out[i] = vpc.PrefixListEntry{CIDR: e.CIDR, Description: e.Description}
	}
	return out
}

func (p *planner) makePrefixList(l *PrefixList) {
	p.add(op{change: Change{Action: Add, Kind: vpc.KindPrefixList, Name: l.Name, Detail: count(len(l.Entries), "entry", "entries"), Where: l.Pos}, at: l.Pos,
		path: child("prefix-lists", l.Name),
		do: func(tx *vpc.Tx) error {
			made, err := tx.CreateManagedPrefixList(vpc.CreateManagedPrefixListInput{
				Owner: p.owner(l.Name, nil), Family: l.Family, MaxEntries: l.MaxEntries, Entries: entriesOf(l),
			})
			if err == nil {
				p.out.PrefixLists[l.Name] = made.ID
			}
			return err
		}})
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// alterPrefixList changes entries and their maximum: room first, if it grows, and last, if it shrinks.
func (p *planner) alterPrefixList(l *PrefixList, e *vpc.PrefixList) {
	in := vpc.ModifyManagedPrefixListInput{ID: e.ID, CurrentVersion: e.Version}
	var fields []string
	want := entriesOf(l)
	for _, w := range want {
		if !slices.Contains(e.Entries, w) {
			in.Add = append(in.Add, w)
			fields = append(fields, "+ "+w.CIDR.String())
		}
	}
	for _, h := range e.Entries {
		if !slices.ContainsFunc(want, func(w vpc.PrefixListEntry) bool { return w.CIDR == h.CIDR }) {
			in.Remove = append(in.Remove, h.CIDR)
			fields = append(fields, "- "+h.CIDR.String())
		}
	}
	if l.MaxEntries != e.MaxEntries {
		in.MaxEntries = l.MaxEntries
		fields = append(fields, fromTo("max-entries", fmt.Sprint(e.MaxEntries), fmt.Sprint(l.MaxEntries)))
	}
	if len(fields) > 0 {
		p.add(op{change: Change{Action: Alter, Kind: vpc.KindPrefixList, Name: l.Name, ID: e.ID, Fields: fields, Where: l.Pos}, at: l.Pos, path: child("prefix-lists", l.Name),
			do: func(tx *vpc.Tx) error { _, err := tx.ModifyManagedPrefixList(in); return err }})
	}
}
