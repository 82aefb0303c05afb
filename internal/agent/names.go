package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/lab"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
)

// protocolNumber gives the IANA number of "tcp", "udp" or "icmp" (also for IPv6).
func protocolNumber(name string) uint8 {
	switch name {
	case "tcp":
		return packet.ProtoTCP
	case "udp":
		return packet.ProtoUDP
	}
	return packet.ProtoICMP
}

// primaryAddress is the address that names an instance.
func primaryAddress(view *vpc.View, i *vpc.Instance) (netip.Addr, error) {
	for _, id := range i.InterfaceIDs {
		if ni, ok := view.NetworkInterface(id); ok {
			for _, a := range slices.Concat(ni.Addresses, ni.Addresses6) {
				return a, nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("instance %s has no address", i.Name)
}

// instanceAt names the instance behind a network interface: its name, or its id; "" for none.
func instanceAt(view *vpc.View, eni string) string {
	ni, ok := view.NetworkInterface(eni)
	if !ok {
		return ""
	}
	if i, ok := view.Instance(ni.InstanceID); ok && i.Name != "" {
		return i.Name
	}
	if ni.InstanceID != "" {
		return ni.InstanceID
	}
	return ni.ID
}

// groupName is a group's name, or the id of one that is gone.
func groupName(view *vpc.View, id string) string {
	if g, ok := view.SecurityGroup(id); ok {
		return g.GroupName
	}
	if l, ok := view.PrefixList(id); ok {
		return l.Name
	}
	return id
}

func groupNames(view *vpc.View, ids []string) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, groupName(view, id))
	}
	return out
}

// named chooses among the objects of a kind that a person's word may mean: an id, LAB/NAME, or a name.
func named(view *vpc.View, kind vpc.Kind, labName, word string) (vpc.Object, error) {
	if o, ok := view.Object(word); ok && o.Kind() == kind {
		return o, nil
	}
	name := word
	l, rest, qualified := strings.Cut(word, "/")
	if qualified && (labName == l || labName == "" && knownLab(view, l) == nil) { // else it is part of the name
		labName, name, qualified = l, rest, false
	}
	if err := knownLab(view, labName); err != nil {
		return nil, err
	}
	var found []vpc.Object
	for _, l := range labsOf(view, labName) {
		found = append(found, view.Find(l, kind, name)...)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if err := knownLab(view, l); qualified && labName == "" && err != nil {
			return nil, err
		}
		return nil, &api.Error{Code: api.CodeUnknownObject, Message: fmt.Sprintf("there is no %s %s", kind, word), Near: nearNames(view, kind, labName, name)}
	}
	return nil, &api.Error{Code: api.CodeAmbiguousObject, Message: fmt.Sprintf("%s is the name of %d objects", word, len(found)), Near: waysTo(found, name)}
}

// waysTo says how each of several objects of one name is meant: LAB/NAME, or its id where that is not enough either.
func waysTo(found []vpc.Object, name string) []string {
	inLab := map[string]int{}
	for _, o := range found {
		inLab[o.Metadata().Lab]++
	}
	var ways []string
	for _, o := range found {
		if m := o.Metadata(); m.Lab == "" || inLab[m.Lab] > 1 {
			ways = append(ways, m.ID)
		} else {
			ways = append(ways, m.Lab+"/"+name)
		}
	}
	return ways
}

// knownLab refuses a lab that is not up. "" is all of them.
func knownLab(view *vpc.View, name string) error {
	if labs := view.Labs(); name != "" && !slices.Contains(labs, name) {
		return &api.Error{Code: api.CodeUnknownObject, Message: fmt.Sprintf("no lab is called %s", name), Near: labs}
	}
	return nil
}

// labsOf is one lab, or all and what belongs to none.
func labsOf(view *vpc.View, labName string) []string {
	if labName != "" {
		return []string{labName}
	}
	return append([]string{""}, view.Labs()...)
}

func (n *node) groupNamed(view *vpc.View, labName, word string) (*vpc.SecurityGroup, error) {
	o, err := named(view, vpc.KindSecurityGroup, labName, word)
	if err != nil {
		return nil, err
	}
	return o.(*vpc.SecurityGroup), nil
}

func (n *node) instanceNamed(view *vpc.View, labName, word string) (*vpc.Instance, error) {
	o, err := named(view, vpc.KindInstance, labName, word)
	if err != nil {
		return nil, err
	}
	return o.(*vpc.Instance), nil
}

// runningNamed is instanceNamed for one that must run.
func (n *node) runningNamed(view *vpc.View, labName, word string) (*running, error) {
	i, err := n.instanceNamed(view, labName, word)
	if err != nil {
		return nil, err
	}
	r, ok := n.instance(i.ID)
	if !ok || r.hasEnded() {
		e := &api.Error{Code: api.CodeUnsupported, Message: fmt.Sprintf("instance %s does not run", word), Fix: fmt.Sprintf("start it with `vpclab start %s`", word)}
		if why := n.problem(i.ID); why != "" {
			e.Message += ": " + why
		}
		return nil, e
	}
	return r, nil
}

// nearNames are names of a kind, in one lab or in all, that were perhaps meant.
func nearNames(view *vpc.View, kind vpc.Kind, labName, word string) []string {
	var near []string
	for _, l := range labsOf(view, labName) {
		for _, o := range view.LabObjects(l) {
			if name := objectName(o); o.Kind() == kind && name != "" && similar(name, word) {
				near = append(near, name)
			}
		}
	}
	slices.Sort(near)
	return slices.Compact(near)
}

// objectName is what people call an object.
func objectName(o vpc.Object) string {
	if g, ok := o.(*vpc.SecurityGroup); ok {
		return g.GroupName
	}
	return o.Metadata().Name
}

// similar tells whether one word can be a slip of the other: few edits away (Levenshtein), or its beginning.
func similar(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) || distance(a, b) <= 1+(len(b)+1)/4
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost++
			}
			prev = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// describeDrop says in words why the switch could not forward a packet.
func describeDrop(r vswitch.Reason) string { return strings.ReplaceAll(r.String(), "_", " ") }

// endpoint gives an address its names.
func endpoint(view *vpc.View, vpcID string, a netip.Addr, port int, proto uint8) api.Endpoint {
	e := api.Endpoint{Address: a}
	if ni, ok := view.NetworkInterfaceByAddr(vpcID, a); ok {
		e.Name = instanceAt(view, ni.ID)
	}
	if proto == packet.ProtoTCP || proto == packet.ProtoUDP {
		e.Port, e.Service = port, vpc.ServiceName(int(proto), port)
	}
	return e
}

func ruleRef(view *vpc.View, r *vpc.SecurityGroupRule, g *vpc.SecurityGroup) api.RuleRef {
	return api.RuleRef{ID: r.ID, GroupID: g.ID, Group: g.GroupName, Direction: r.Direction.String(), Words: lab.RuleWords(view, r), Where: r.Where, Default: r.Default}
}

// joinNames names several groups at once.
func joinNames(view *vpc.View, ids []string) string { return strings.Join(groupNames(view, ids), ", ") }
