package vpc

import (
	"net/netip"
	"strings"

	"github.com/hashicorp/go-memdb"
)

// View is the whole model at one revision: immutable, consistent, safe for concurrent use. Objects in it are shared
// and must not be changed; slices that a method returns are the caller's. Lists are sorted by id.
//
// A look-up costs the logarithm of the model; a list costs its own length.
type View struct {
	db  *memdb.MemDB
	txn *memdb.Txn // of db: read-only, except in a Tx
	rev Revision
	cfg *Config
	// counts holds how many objects there are of each kind, in the order of Kinds.
	counts [8]int
}

// Revision is the number of the state that the view shows.
func (v *View) Revision() Revision { return v.rev }

// Account is the AWS account id of everything in the model.
func (v *View) Account() string { return v.cfg.Account }

// Region is the AWS Region of everything in the model.
func (v *View) Region() string { return v.cfg.Region }

// VPC looks up by id.
func (v *View) VPC(id string) (*VPC, bool) { return get[*VPC](v, KindVPC, id) }

// Subnet looks up by id.
func (v *View) Subnet(id string) (*Subnet, bool) { return get[*Subnet](v, KindSubnet, id) }

// RouteTable looks up by id.
func (v *View) RouteTable(id string) (*RouteTable, bool) {
	return get[*RouteTable](v, KindRouteTable, id)
}

// NetworkInterface looks up by id.
func (v *View) NetworkInterface(id string) (*NetworkInterface, bool) {
	return get[*NetworkInterface](v, KindNetworkInterface, id)
}

// SecurityGroup looks up by id.
func (v *View) SecurityGroup(id string) (*SecurityGroup, bool) {
	return get[*SecurityGroup](v, KindSecurityGroup, id)
}

// SecurityGroupRule looks up a rule, and its group, by the rule's id.
func (v *View) SecurityGroupRule(id string) (*SecurityGroupRule, *SecurityGroup, bool) {
	raw, err := v.txn.First(ruleTable, byID, id)
	if err != nil || raw == nil {
		return nil, nil, false
	}
	g, ok := v.SecurityGroup(raw.(*ruleRow).GroupID)
	if !ok {
		return nil, nil, false
	}
	for i := range g.Rules {
		if g.Rules[i].ID == id {
			return &g.Rules[i], g, true
		}
	}
	return nil, nil, false
}

// PrefixList looks up by id.
func (v *View) PrefixList(id string) (*PrefixList, bool) {
	return get[*PrefixList](v, KindPrefixList, id)
}

// Instance looks up by id.
func (v *View) Instance(id string) (*Instance, bool) { return get[*Instance](v, KindInstance, id) }

// FlowLog looks up by id.
func (v *View) FlowLog(id string) (*FlowLog, bool) { return get[*FlowLog](v, KindFlowLog, id) }

// Object looks up an object of any kind by its id.
func (v *View) Object(id string) (Object, bool) {
	kind, ok := KindOf(id)
	if !ok {
		return nil, false
	}
	return get[Object](v, kind, id)
}

// VPCs lists all VPCs.
func (v *View) VPCs() []*VPC { return list[*VPC](v, KindVPC, byID) }

// DefaultVPC is the Region's default VPC, if there is one.
func (v *View) DefaultVPC() (*VPC, bool) { return only(list[*VPC](v, KindVPC, byTenant, "yes")) }

// Subnets lists the subnets of a VPC; "" lists all.
func (v *View) Subnets(vpcID string) []*Subnet { return inVPC[*Subnet](v, KindSubnet, vpcID) }

// RouteTables lists the route tables of a VPC; "" lists all.
func (v *View) RouteTables(vpcID string) []*RouteTable {
	return inVPC[*RouteTable](v, KindRouteTable, vpcID)
}

// NetworkInterfaces lists the interfaces of a VPC; "" lists all.
func (v *View) NetworkInterfaces(vpcID string) []*NetworkInterface {
	return inVPC[*NetworkInterface](v, KindNetworkInterface, vpcID)
}

// InterfacesInSubnet lists the interfaces of a subnet.
func (v *View) InterfacesInSubnet(subnetID string) []*NetworkInterface {
	return list[*NetworkInterface](v, KindNetworkInterface, bySubnet, subnetID)
}

// InterfacesInGroup lists the members of a security group.
func (v *View) InterfacesInGroup(groupID string) []*NetworkInterface {
	return list[*NetworkInterface](v, KindNetworkInterface, byGroup, groupID)
}

// NetworkInterfaceByAddr finds the interface that has an address, primary or secondary, in a VPC.
func (v *View) NetworkInterfaceByAddr(vpcID string, a netip.Addr) (*NetworkInterface, bool) {
	return first[*NetworkInterface](v, KindNetworkInterface, byAddr, vpcID, a.Unmap().String())
}

// NetworkInterfacesByMAC lists the interfaces that have a MAC: at most one in a VPC.
func (v *View) NetworkInterfacesByMAC(mac string) []*NetworkInterface {
	return list[*NetworkInterface](v, KindNetworkInterface, byMAC, mac)
}

// SecurityGroups lists the security groups of a VPC; "" lists all.
func (v *View) SecurityGroups(vpcID string) []*SecurityGroup {
	return inVPC[*SecurityGroup](v, KindSecurityGroup, vpcID)
}

// GroupsReferencing lists the security groups with a rule whose peer is the given group; it may be among them itself.
func (v *View) GroupsReferencing(groupID string) []*SecurityGroup {
	return list[*SecurityGroup](v, KindSecurityGroup, byGroup, groupID)
}

// GroupsUsingPrefixList lists the security groups with a rule whose peer is the given prefix list.
func (v *View) GroupsUsingPrefixList(listID string) []*SecurityGroup {
	return list[*SecurityGroup](v, KindSecurityGroup, byList, listID)
}

// PrefixLists lists all prefix lists.
func (v *View) PrefixLists() []*PrefixList { return list[*PrefixList](v, KindPrefixList, byID) }

// Instances lists the instances of a VPC; "" lists all.
func (v *View) Instances(vpcID string) []*Instance { return inVPC[*Instance](v, KindInstance, vpcID) }

// FlowLogs lists all flow logs.
func (v *View) FlowLogs() []*FlowLog { return list[*FlowLog](v, KindFlowLog, byID) }

// FlowLogsOf lists the flow logs of one resource: a VPC, a subnet or a network interface.
func (v *View) FlowLogsOf(resourceID string) []*FlowLog {
	return list[*FlowLog](v, KindFlowLog, byTarget, resourceID)
}

// VPCNamed finds a lab's VPC by its Name tag; if several have it, the lowest id.
func (v *View) VPCNamed(lab, name string) (*VPC, bool) {
	return first[*VPC](v, KindVPC, byLab, lab, name)
}

// SubnetNamed finds a VPC's subnet by its Name tag, in any case; if several have it, the lowest id.
func (v *View) SubnetNamed(vpcID, name string) (*Subnet, bool) {
	return first[*Subnet](v, KindSubnet, byName, vpcID, strings.ToLower(name))
}

// SecurityGroupNamed finds a VPC's group by its group name, which AWS compares without case.
func (v *View) SecurityGroupNamed(vpcID, name string) (*SecurityGroup, bool) {
	return first[*SecurityGroup](v, KindSecurityGroup, byName, vpcID, strings.ToLower(name))
}

// InstanceNamed finds a lab's instance by its Name tag; if several have it, the lowest id.
func (v *View) InstanceNamed(lab, name string) (*Instance, bool) {
	return first[*Instance](v, KindInstance, byLab, lab, name)
}

// NetworkInterfaceNamed finds a lab's interface by its Name tag; if several have it, the lowest id.
func (v *View) NetworkInterfaceNamed(lab, name string) (*NetworkInterface, bool) {
	return first[*NetworkInterface](v, KindNetworkInterface, byLab, lab, name)
}

// PrefixListNamed finds a lab's prefix list by name; if several have it, the lowest id.
func (v *View) PrefixListNamed(lab, name string) (*PrefixList, bool) {
	return first[*PrefixList](v, KindPrefixList, byLab, lab, name)
}

// Find lists the objects of a kind that a lab owns under a name (a group's own name for groups, else the Name tag).
func (v *View) Find(lab string, kind Kind, name string) []Object {
	return list[Object](v, kind, byLab, lab, name)
}

// LabObjects lists what a lab owns, kinds in the order of Kinds.
func (v *View) LabObjects(lab string) []Object {
	var out []Object
	for _, kind := range Kinds {
		start := len(out)
		out = append(out, list[Object](v, kind, byLab, lab)...)
		sortByID(out[start:]) // the index is sorted by name
	}
	return out
}

// Objects lists everything, kinds in the order of Kinds, each sorted by id.
func (v *View) Objects() []Object {
	var out []Object
	for _, kind := range Kinds {
		out = append(out, list[Object](v, kind, byID)...)
	}
	return out
}

// Labs lists the names of the labs that own anything, sorted; "" is not among them.
func (v *View) Labs() []string { return labs(v) }
