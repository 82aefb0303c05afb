package agent

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
)

// shownKinds are the kinds of objects a person can name, in the order in which a bare name is looked for.
var shownKinds = []vpc.Kind{
	vpc.KindInstance, vpc.KindSecurityGroup, vpc.KindVPC, vpc.KindSubnet, vpc.KindNetworkInterface, vpc.KindRouteTable,
	vpc.KindPrefixList, vpc.KindFlowLog,
}

// Names lists what a person may type.
func (n *node) Names(_ context.Context, r *api.NamesRequest) ([]api.Name, error) {
	view := n.store.View()
	wanted := func(kind string) bool {
		for _, k := range r.Kinds {
			if k == kind {
				return true
			}
		}
		return len(r.Kinds) == 0
	}
	out := []api.Name{}
	for _, l := range labsOf(view, r.Lab) {
		if l != "" && wanted("lab") {
			out = append(out, api.Name{Kind: "lab", Name: l})
		}
		for _, o := range view.LabObjects(l) {
			if name := objectName(o); name != "" && wanted(string(o.Kind())) {
				out = append(out, nameOf(view, o))
			}
		}
	}
	return out, nil
}

func nameOf(view *vpc.View, o vpc.Object) api.Name {
	m := o.Metadata()
	n := api.Name{Kind: string(o.Kind()), Name: objectName(o), ID: m.ID, Lab: m.Lab}
	switch o := o.(type) {
	case *vpc.VPC:
		n.Detail = o.CIDR.String()
	case *vpc.Subnet:
		n.Detail = o.CIDR.String()
	case *vpc.SecurityGroup:
		n.Detail = o.Description
	case *vpc.Instance:
		if a, err := primaryAddress(view, o); err == nil {
			n.Detail = a.String()
		}
	}
	return n
}

// Show gives one object.
func (n *node) Show(_ context.Context, r *api.ShowRequest) (*api.ShowResult, error) {
	view := n.store.View()
	if name := strings.TrimPrefix(r.Object, "lab/"); n.labFile(name) != nil {
		return &api.ShowResult{Kind: "lab", Lab: n.labDetail(view, name)}, nil
	}
	o, err := n.object(view, r.Lab, r.Object)
	if err != nil {
		return nil, err
	}
	res := &api.ShowResult{Kind: string(o.Kind())}
	switch o := o.(type) {
	case *vpc.VPC:
		res.VPC = vpcDetail(view, o)
	case *vpc.Subnet:
		res.Subnet = subnetDetail(view, o)
	case *vpc.SecurityGroup:
		res.SecurityGroup = n.groupDetail(view, o)
	case *vpc.NetworkInterface:
		d := n.interfaceDetail(view, o)
		res.NetworkInterface = &d
	case *vpc.Instance:
		res.Instance = n.instanceDetail(view, o)
	case *vpc.RouteTable:
		res.RouteTable = routeTableDetail(view, o)
	case *vpc.PrefixList:
		res.PrefixList = prefixListDetail(o)
	case *vpc.FlowLog:
		res.FlowLog, err = n.flowLogDetail(view, o)
	}
	return res, err
}

// object finds what a word means: an id, an address, KIND/NAME, or a name.
func (n *node) object(view *vpc.View, labName, word string) (vpc.Object, error) {
	if o, ok := view.Object(word); ok {
		return o, nil
	}
	if a, err := netip.ParseAddr(word); err == nil {
		return addressOwner(view, a)
	}
	if kind, name, ok := strings.Cut(word, "/"); ok {
		for _, k := range shownKinds {
			if string(k) == kind {
				return named(view, k, labName, name)
			}
		}
	}
	var near []string
	for _, k := range shownKinds {
		o, err := named(view, k, labName, word)
		if err == nil {
			return o, nil
		}
		e, ok := err.(*api.Error)
		if ok && e.Code == api.CodeAmbiguousObject {
			return nil, err
		}
		if ok {
			near = append(near, e.Near...)
		}
	}
	if l, _, ok := strings.Cut(word, "/"); ok && labName == "" {
		labName = l
	}
	if err := knownLab(view, labName); err != nil {
		return nil, err
	}
	return nil, &api.Error{Code: api.CodeUnknownObject, Message: fmt.Sprintf("nothing is called %s", word), Near: near}
}

func addressOwner(view *vpc.View, a netip.Addr) (vpc.Object, error) {
	var found []vpc.Object
	var ways []string
	for _, v := range view.VPCs() {
		if ni, ok := view.NetworkInterfaceByAddr(v.ID, a); ok {
			found, ways = append(found, ni), append(ways, ni.ID)
		}
	}
	switch len(found) {
	case 0:
		return nil, &api.Error{Code: api.CodeUnknownObject, Message: fmt.Sprintf("no network interface has the address %s", a)}
	case 1:
		return found[0], nil
	}
	return nil, &api.Error{Code: api.CodeAmbiguousObject, Message: fmt.Sprintf("%d network interfaces have the address %s", len(found), a), Near: ways}
}

func head(o vpc.Object) api.Head {
	m := o.Metadata()
	return api.Head{ID: m.ID, Name: objectName(o), Lab: m.Lab, Tags: m.Tags}
}

func (n *node) labDetail(view *vpc.View, name string) *api.LabDetail {
	d := &api.LabDetail{Name: name, VPCs: []api.Name{}, Groups: []api.Name{}, Instances: n.instanceRows(view, name)}
	if f := n.labFile(name); f != nil {
		d.About, d.File = f.About, f.Name()
	}
	for _, o := range view.LabObjects(name) {
		switch o.Kind() {
		case vpc.KindVPC:
			d.VPCs = append(d.VPCs, nameOf(view, o))
		case vpc.KindSecurityGroup:
			d.Groups = append(d.Groups, nameOf(view, o))
		}
	}
	return d
}

func vpcDetail(view *vpc.View, v *vpc.VPC) *api.VPCDetail {
	d := &api.VPCDetail{Head: head(v), CIDRs: prefixes(v.CIDR, v.CIDRs6...), Default: v.IsDefault}
	for _, s := range view.Subnets(v.ID) {
		d.Subnets = append(d.Subnets, nameOf(view, s))
	}
	for _, g := range view.SecurityGroups(v.ID) {
		d.Groups = append(d.Groups, nameOf(view, g))
	}
	for _, r := range view.RouteTables(v.ID) {
		d.RouteTables = append(d.RouteTables, nameOf(view, r))
	}
	for _, f := range view.FlowLogsOf(v.ID) {
		d.FlowLogs = append(d.FlowLogs, nameOf(view, f))
	}
	return d
}

func prefixes(first netip.Prefix, more ...netip.Prefix) []string {
	out := []string{first.String()}
	for _, p := range more {
		if p.IsValid() {
			out = append(out, p.String())
		}
	}
	return out
}

func subnetDetail(view *vpc.View, s *vpc.Subnet) *api.SubnetDetail {
	d := &api.SubnetDetail{
		Head: head(s), VPC: objectWord(view, s.VPCID), CIDRs: prefixes(s.CIDR, s.CIDR6), Zone: s.AvailabilityZone, ZoneID: s.ZoneID,
		Router: s.CIDR.Addr().Next(), Available: view.AvailableAddresses(s.ID),
	}
	if v, ok := view.VPC(s.VPCID); ok {
		if rt, ok := view.RouteTable(v.MainRouteTableID); ok {
			d.RouteTable = nameOf(view, rt)
		}
	}
	for _, ni := range view.InterfacesInSubnet(s.ID) {
		d.Interfaces = append(d.Interfaces, interfaceRow(view, ni))
	}
	return d
}

func interfaceRow(view *vpc.View, ni *vpc.NetworkInterface) api.Interface {
	return api.Interface{
		ID: ni.ID, Instance: instanceAt(view, ni.ID), Subnet: objectWord(view, ni.SubnetID), MAC: ni.MAC,
		Addresses: append(append([]netip.Addr{}, ni.Addresses...), ni.Addresses6...), Groups: groupNames(view, ni.Groups),
	}
}

func routeTableDetail(view *vpc.View, r *vpc.RouteTable) *api.RouteTableDetail {
	d := &api.RouteTableDetail{Head: head(r), VPC: objectWord(view, r.VPCID), Main: r.Main}
	for _, x := range r.Routes {
		d.Routes = append(d.Routes, api.Route{Destination: x.Destination.String(), Target: x.Target, State: x.State, Origin: x.Origin})
	}
	if r.Main {
		for _, s := range view.Subnets(r.VPCID) {
			d.Subnets = append(d.Subnets, nameOf(view, s))
		}
	}
	return d
}

func prefixListDetail(l *vpc.PrefixList) *api.PrefixListDetail {
	d := &api.PrefixListDetail{Head: head(l), Family: l.Family, Version: l.Version, MaxEntries: l.MaxEntries}
	for _, e := range l.Entries {
		d.Entries = append(d.Entries, api.PrefixEntry{CIDR: e.CIDR.String(), Description: e.Description})
	}
	return d
}

func (n *node) flowLogDetail(view *vpc.View, f *vpc.FlowLog) (*api.FlowLogDetail, error) {
	files, err := n.flowLogFiles(view, &api.FlowLogsRequest{FlowLog: f.ID})
	return &api.FlowLogDetail{
		Head: head(f), Resource: objectWord(view, f.ResourceID), ResourceID: f.ResourceID, TrafficType: f.TrafficType,
		Destination: f.LogDestination, Format: f.LogFormat, Interval: f.MaxAggregationInterval, Created: f.CreationTime, Files: files,
	}, err
}

func (n *node) groupDetail(view *vpc.View, g *vpc.SecurityGroup) *api.GroupDetail {
	d := &api.GroupDetail{Head: head(g), VPC: objectWord(view, g.VPCID), Description: g.Description, Rules: n.groupRules(view, g)}
	for _, ni := range view.InterfacesInGroup(g.ID) {
		d.Members = append(d.Members, interfaceRow(view, ni))
	}
	for _, o := range view.GroupsReferencing(g.ID) {
		d.ReferencedBy = append(d.ReferencedBy, nameOf(view, o))
	}
	return d
}

// groupRules lists a group's rules with their use, ingress first.
func (n *node) groupRules(view *vpc.View, g *vpc.SecurityGroup) []api.GroupRule {
	open := map[string]int{}
	n.sw.Halves(func(h vswitch.HalfState) bool {
		opener := h.In
		if h.Opener == vpc.Egress {
			opener = h.Out
		}
		if !h.Rejected && opener.Rule != nil {
			open[opener.Rule.ID]++
		}
		return true
	})
	out := []api.GroupRule{}
	for _, d := range []vpc.Direction{vpc.Ingress, vpc.Egress} {
		for i := range g.Rules {
			if r := &g.Rules[i]; r.Direction == d {
				out = append(out, n.groupRule(view, g, r, open[r.ID]))
			}
		}
	}
	return out
}

func (n *node) groupRule(view *vpc.View, g *vpc.SecurityGroup, r *vpc.SecurityGroupRule, open int) api.GroupRule {
	hits := n.sw.RuleHits(r.ID)
	out := api.GroupRule{
		RuleRef: ruleRef(view, r, g), Protocol: vpc.FormatProtocol(r.Protocol), Ports: rulePorts(r), Peer: rulePeer(view, r),
		Description: r.Description, Hits: hits.Flows, Connections: open,
	}
	if hits.Flows > 0 {
		last := time.Unix(0, hits.Last)
		out.LastHit = &last
	}
	return out
}

func rulePorts(r *vpc.SecurityGroupRule) string {
	switch {
	case r.FromPort == -1:
		return "all"
	case r.Protocol == 1 || r.Protocol == 58:
		if r.ToPort == -1 {
			return fmt.Sprintf("%d", r.FromPort)
		}
		return fmt.Sprintf("%d/%d", r.FromPort, r.ToPort)
	case r.FromPort == r.ToPort:
		return fmt.Sprint(r.FromPort)
	case r.FromPort == 0 && r.ToPort == 65535:
		return "all"
	}
	return fmt.Sprintf("%d-%d", r.FromPort, r.ToPort)
}

func rulePeer(view *vpc.View, r *vpc.SecurityGroupRule) string {
	switch {
	case r.Permission.GroupID != "":
		return groupName(view, r.Permission.GroupID)
	case r.PrefixListID != "":
		return groupName(view, r.PrefixListID)
	}
	return r.CIDR.String()
}

func (n *node) instanceDetail(view *vpc.View, i *vpc.Instance) *api.InstanceDetail {
	d := &api.InstanceDetail{InstanceRow: n.instanceRow(view, i), Tags: i.Tags, Launched: i.LaunchTime, Info: map[string]string{}}
	if r, ok := n.instance(i.ID); ok {
		d.Info = r.Info()
	}
	for _, id := range i.InterfaceIDs {
		ni, ok := view.NetworkInterface(id)
		if !ok {
			continue
		}
		d.Interfaces = append(d.Interfaces, n.interfaceDetail(view, ni))
		for _, gid := range ni.Groups {
			if g, ok := view.SecurityGroup(gid); ok {
				d.Rules = append(d.Rules, n.groupRules(view, g)...)
			}
		}
	}
	return d
}

func (n *node) interfaceDetail(view *vpc.View, ni *vpc.NetworkInterface) api.InterfaceDetail {
	d := api.InterfaceDetail{
		Interface: interfaceRow(view, ni), Name: ni.Name, Lab: ni.Lab, Tags: ni.Tags, VPC: objectWord(view, ni.VPCID), DeviceIndex: ni.DeviceIndex,
		Status: ni.Status, SourceDestCheck: ni.SourceDestCheck, Description: ni.Description, Drops: []api.Counter{},
	}
	for _, p := range n.sw.Ports() {
		if p.Interface == ni.ID {
			d.Tx = api.FlowCount{Packets: p.Packets, Bytes: p.Bytes}
			d.Rx = api.FlowCount{Packets: p.SentPackets, Bytes: p.SentBytes}
		}
	}
	for _, c := range n.drops(view) {
		if c.Where == instanceAt(view, ni.ID) {
			d.Drops = append(d.Drops, c)
		}
	}
	n.sw.Halves(func(h vswitch.HalfState) bool {
		if h.Interface == ni.ID {
			d.Halves++
		}
		return true
	})
	d.Timeouts = timeouts(ni)
	return d
}
