package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// MTU is the MTU of an instance that a lab made: the largest IP packet, in bytes.
func MTU(in *vpc.Instance) int {
	if n, err := strconv.Atoi(in.Tags[tagMTU]); err == nil {
		return n
	}
	return DefaultMTU
}

func (p *planner) instanceTags() map[string]string {
	if p.f.MTU != 0 && p.f.MTU != DefaultMTU {
		return map[string]string{tagMTU: strconv.Itoa(p.f.MTU)}
	}
	return nil
}

func (p *planner) driver(in *Instance) string { return orElse(in.Driver, p.f.Driver) }

// matchInstances finds the instances that can stay. What an instance is started with cannot be changed: subnet,
// primary address, driver, built-in servers, commands, MTU.
func (p *planner) matchInstances() {
	for _, in := range p.f.Instances {
		for _, a := range append([]netip.Addr{in.IP}, in.Secondary...) {
			if a.IsValid() {
				p.claimed[vpcAddr{in.Subnet.VPC, a}] = in
			}
		}
	}
	for _, in := range p.f.Instances {
		i := slices.IndexFunc(p.existing.instances, func(e *vpc.Instance) bool { return e.Name == in.Name })
		if i < 0 {
			continue
		}
		e := p.existing.instances[i]
		n := p.interfaceOf(e)
		if n == nil || !p.sameInstance(in, e, n) {
			continue
		}
		if other := p.claimed[vpcAddr{in.Subnet.VPC, n.Addresses[0]}]; other != nil && other != in {
			continue // its address was chosen, and now the file gives it to another
		}
		p.instances[in] = e
		p.out.Instances[in.Name], p.out.Interfaces[in.Name] = e.ID, n.ID
	}
}

func (p *planner) interfaceOf(e *vpc.Instance) *vpc.NetworkInterface {
	if len(e.InterfaceIDs) == 0 {
		return nil
	}
	n, _ := p.view.NetworkInterface(e.InterfaceIDs[0])
	return n
}

func (p *planner) sameInstance(in *Instance, e *vpc.Instance, n *vpc.NetworkInterface) bool {
	s := p.subnets[in.Subnet]
	driver := p.driver(in)
	mtu := p.f.MTU
	if mtu == 0 {
		mtu = DefaultMTU
	}
	return s != nil && s.ID == n.SubnetID && (driver == "" || driver == e.Driver) && (!in.IP.IsValid() || in.IP == n.Addresses[0]) &&
		slices.Equal(listens(in), e.Listen) && slices.Equal(in.Run, e.Run) && mtu == MTU(e) && p.vmOf(in).Equal(e.VM) && p.tapOf(in).Equal(e.TAP) &&
		(in.MAC == "" || in.MAC == n.MAC)
}

func listens(in *Instance) []string {
	var out []string
	for _, l := range in.Listen {
		out = append(out, l.String())
	}
	return out
}

// removeInstances terminates the instances that do not stay; interfaces go with them.
func (p *planner) removeInstances() {
	kept := map[string]bool{}
	for _, id := range p.out.Instances {
		kept[id] = true
	}
	gone := slices.DeleteFunc(slices.Clone(p.existing.instances), func(e *vpc.Instance) bool { return kept[e.ID] })
	slices.SortFunc(gone, func(a, b *vpc.Instance) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range gone {
		detail := ""
		if n := p.interfaceOf(e); n != nil {
			detail = n.Addresses[0].String()
		}
		p.add(op{change: Change{Action: Delete, Kind: vpc.KindInstance, Name: e.Name, ID: e.ID, Detail: detail}, do: func(tx *vpc.Tx) error {
			p.out.Removed = append(p.out.Removed, Ref{e.Name, e.ID})
			return tx.TerminateInstance(e.ID)
		}})
	}
	for _, n := range p.existing.interfaces {
		if n.InstanceID == "" {
			p.add(op{change: Change{Action: Delete, Kind: vpc.KindNetworkInterface, Name: orElse(n.Name, n.ID), ID: n.ID},
				do: func(tx *vpc.Tx) error { return tx.DeleteNetworkInterface(n.ID) }})
		}
	}
}

// groupIDs are the ids of an instance's groups, sorted; those not made yet are "".
func (p *planner) groupIDs(in *Instance) []string {
	names := in.GroupNames
	if len(names) == 0 {
		names = []string{defaultGroup}
	}
	var ids []string
	for _, name := range names {
		ids = append(ids, p.groups[groupKey{in.Subnet.VPC.Name, name}])
	}
	slices.Sort(ids)
	return ids
}

func (p *planner) tracking() vpc.ConnectionTracking {
	t := p.f.Timeouts
	return vpc.ConnectionTracking{TCPEstablished: t.TCPEstablished, UDPStream: t.UDPStream, UDP: t.UDP}
}

func (in *Instance) sourceDestCheck() bool { return in.SourceDestCheck == nil || *in.SourceDestCheck }

// addresses4 and addresses6 are an instance's further IPv4 and all its IPv6 addresses.
func (in *Instance) addresses4() []netip.Addr {
	return slices.DeleteFunc(slices.Clone(in.Secondary), netip.Addr.Is6)
}

func (in *Instance) addresses6() []netip.Addr {
	out := slices.DeleteFunc(slices.Clone(in.Secondary), netip.Addr.Is4)
	if in.IP6.IsValid() {
		out = append([]netip.Addr{in.IP6}, out...)
	}
	return out
}

// alterInstances changes what can be changed of the instances that stay: first all addresses that go, since another
// instance may get them.
func (p *planner) alterInstances() {
	var later []op
	for _, in := range p.f.Instances {
		e, ok := p.instances[in]
		if !ok {
			continue
		}
		n := p.interfaceOf(e)
		a := &alteration{p: p, in: in, n: n, mod: vpc.ModifyNetworkInterfaceInput{ID: n.ID}}
		a.settings()
		a.addresses("secondary-ips", n.Addresses[1:], in.addresses4(), false)
		a.addresses("ip6", n.Addresses6, in.addresses6(), true)
		if len(a.fields) == 0 {
			continue
		}
		at, path := in.Pos, child("instances", in.Name)
		if len(a.release) > 0 {
			p.add(op{change: Change{Kind: vpc.KindInstance, Name: in.Name}, silent: true, at: at, path: path, do: all(a.release)})
		}
		later = append(later, op{change: Change{Action: Alter, Kind: vpc.KindInstance, Name: in.Name, ID: e.ID, Fields: a.fields, Where: at}, at: at, path: path,
			do: func(tx *vpc.Tx) error {
				p.out.Changed = append(p.out.Changed, Ref{in.Name, e.ID})
				return all(a.do)(tx)
			}})
	}
	p.ops = append(p.ops, later...)
}

func all(steps []func(*vpc.Tx) error) func(*vpc.Tx) error {
	return func(tx *vpc.Tx) error {
		for _, do := range steps {
			if err := do(tx); err != nil {
				return err
			}
		}
		return nil
	}
}

// alteration is how an interface differs from the file.
type alteration struct {
	p           *planner
	in          *Instance
	n           *vpc.NetworkInterface
	fields      []string
	release, do []func(*vpc.Tx) error
	mod         vpc.ModifyNetworkInterfaceInput
}

// settings compares groups, source/destination check and timeouts.
func (a *alteration) settings() {
	before := len(a.fields)
	groups := false
	if ids := a.p.groupIDs(a.in); !slices.Equal(ids, a.n.Groups) {
		groups = true
		names := a.in.GroupNames
		if len(names) == 0 {
			names = []string{defaultGroup}
		}
		a.fields = append(a.fields, fromTo("groups", a.p.namesOfGroups(a.n.Groups), strings.Join(names, ", ")))
	}
	if check := a.in.sourceDestCheck(); check != a.n.SourceDestCheck {
		a.mod.SourceDestCheck = &check
		a.fields = append(a.fields, fromTo("source-dest-check", fmt.Sprint(a.n.SourceDestCheck), fmt.Sprint(check)))
	}
	if t := a.p.tracking(); t != a.n.Tracking {
		a.mod.Tracking = &t
		a.fields = append(a.fields, "timeouts")
	}
	if len(a.fields) == before {
		return
	}
	a.do = append(a.do, func(tx *vpc.Tx) error {
		mod := a.mod
		if groups {
			mod.Groups = a.p.groupIDs(a.in) // by now all are made
		}
		_, err := tx.ModifyNetworkInterface(mod)
		return err
	})
}

func (p *planner) namesOfGroups(ids []string) string {
	var names []string
	for _, id := range ids {
		if g, ok := p.view.SecurityGroup(id); ok {
			id = g.GroupName
		}
		names = append(names, id)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// addresses compares lists of addresses, whose order counts: all after the first that differs are taken away and
// assigned again.
func (a *alteration) addresses(field string, have, want []netip.Addr, v6 bool) {
	same := 0
	for same < len(have) && same < len(want) && have[same] == want[same] {
		same++
	}
	if same == len(have) && same == len(want) {
		return
	}
	a.fields = append(a.fields, fromTo(field, addrList(have), addrList(want)))
	release := vpc.UnassignAddressesInput{ID: a.n.ID, Addresses: have[same:]}
	assign := vpc.AssignAddressesInput{ID: a.n.ID, Addresses: want[same:]}
	if len(release.Addresses) > 0 {
		a.release = append(a.release, func(tx *vpc.Tx) error {
			call := tx.UnassignPrivateIpAddresses
			if v6 {
				call = tx.UnassignIpv6Addresses
			}
			_, err := call(release)
			return err
		})
	}
	if len(assign.Addresses) > 0 {
		a.do = append(a.do, func(tx *vpc.Tx) error {
			call := tx.AssignPrivateIpAddresses
			if v6 {
				call = tx.AssignIpv6Addresses
			}
			_, err := call(assign)
			return err
		})
	}
}

func addrList(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "none"
	}
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}

// makeInstances makes the missing ones: first those with an address of their own, so that none is chosen for another.
func (p *planner) makeInstances() {
	for _, given := range []bool{true, false} {
		for _, in := range p.f.Instances {
			if _, ok := p.instances[in]; !ok && in.IP.IsValid() == given {
				p.makeInstance(in)
			}
		}
	}
}

func (p *planner) makeInstance(in *Instance) {
	detail := "in " + in.Subnet.Name
	if in.IP.IsValid() {
		detail = in.IP.String() + " " + detail
	}
	p.add(op{change: Change{Action: Add, Kind: vpc.KindInstance, Name: in.Name, Detail: detail, Where: in.Pos}, at: in.Pos, path: child("instances", in.Name),
		do: func(tx *vpc.Tx) error {
			if err := nameFree(tx, p.f.Lab, in.Name); err != nil {
				return err
			}
			made, err := tx.RunInstance(p.runInput(tx, in))
			if err == nil {
				p.out.New = append(p.out.New, Ref{in.Name, made.ID})
				p.out.Instances[in.Name], p.out.Interfaces[in.Name] = made.ID, made.InterfaceIDs[0]
			}
			return err
		}})
}

func (p *planner) runInput(tx *vpc.Tx, in *Instance) vpc.RunInstanceInput {
	check := in.sourceDestCheck()
	primary := in.IP
	if !primary.IsValid() {
		primary = p.chooseAddress(tx, in.Subnet)
	}
	spec := vpc.InterfaceSpec{
		Addresses: append([]netip.Addr{primary}, in.addresses4()...), SubnetID: p.out.Subnets[in.Subnet.VPC.Name+"/"+in.Subnet.Name], Addresses6: in.addresses6(), Groups: p.groupIDs(in),
		SourceDestCheck: &check, Tracking: p.tracking(), MAC: in.MAC,
	}
	return vpc.RunInstanceInput{Owner: p.owner(in.Name, p.instanceTags()), Driver: p.driver(in), VM: p.vmOf(in), TAP: p.tapOf(in), Listen: listens(in), Run: in.Run, Interfaces: []vpc.InterfaceSpec{spec}}
}

// chooseAddress gives the lowest address of a subnet that nobody has and that the file gives to nobody. A subnet that
// is full gives the last one, and the model says so.
func (p *planner) chooseAddress(tx *vpc.Tx, s *Subnet) netip.Addr {
	first, last := vpc.Usable(s.CIDR)
	at, ok := p.next[s]
	if !ok {
		at = first
	}
	for ; at != last; at = at.Next() {
		_, taken := tx.NetworkInterfaceByAddr(p.out.VPCs[s.VPC.Name], at)
		if !taken && p.claimed[vpcAddr{s.VPC, at}] == nil {
			break
		}
	}
	p.next[s] = at
	return at
}
