package vpc

import "slices"

// Kind is the type of an object, in the words of AWS's tag specifications.
type Kind string

// The kinds of objects.
const (
	KindVPC              Kind = "vpc"
	KindSubnet           Kind = "subnet"
	KindRouteTable       Kind = "route-table"
	KindNetworkInterface Kind = "network-interface"
	KindSecurityGroup    Kind = "security-group"
	KindPrefixList       Kind = "prefix-list"
	KindInstance         Kind = "instance"
	KindFlowLog          Kind = "vpc-flow-log"
)

// Kinds lists every kind, owners before what they own: an order in which objects can be created.
var Kinds = []Kind{
	KindVPC, KindRouteTable, KindSubnet, KindPrefixList, KindSecurityGroup, KindNetworkInterface, KindInstance, KindFlowLog,
}

// kindNumber is the place of a kind in Kinds.
func kindNumber(k Kind) int { return slices.Index(Kinds, k) }

// Object is a *VPC, *Subnet, *RouteTable, *NetworkInterface, *SecurityGroup, *PrefixList, *Instance or *FlowLog.
// It is immutable once it came out of a View.
type Object interface {
	Kind() Kind
	Metadata() Meta
	label() string // the name people know it by
	withMeta(Meta) Object
}

// Metadata gives what every object has: id, name, lab, tags.
func (m *Meta) Metadata() Meta { return *m }

func (m *Meta) label() string { return m.Name }

// label is the group's own name: its Name tag is another thing.
func (g *SecurityGroup) label() string { return g.GroupName }

// Kind gives KindVPC.
func (*VPC) Kind() Kind { return KindVPC }

// Kind gives KindSubnet.
func (*Subnet) Kind() Kind { return KindSubnet }

// Kind gives KindRouteTable.
func (*RouteTable) Kind() Kind { return KindRouteTable }

// Kind gives KindNetworkInterface.
func (*NetworkInterface) Kind() Kind { return KindNetworkInterface }

// Kind gives KindSecurityGroup.
func (*SecurityGroup) Kind() Kind { return KindSecurityGroup }

// Kind gives KindPrefixList.
func (*PrefixList) Kind() Kind { return KindPrefixList }

// Kind gives KindInstance.
func (*Instance) Kind() Kind { return KindInstance }

// Kind gives KindFlowLog.
func (*FlowLog) Kind() Kind { return KindFlowLog }

func (o *VPC) withMeta(m Meta) Object              { c := *o; c.Meta = m; return &c }
func (o *Subnet) withMeta(m Meta) Object           { c := *o; c.Meta = m; return &c }
func (o *RouteTable) withMeta(m Meta) Object       { c := *o; c.Meta = m; return &c }
func (o *NetworkInterface) withMeta(m Meta) Object { c := *o; c.Meta = m; return &c }
func (g *SecurityGroup) withMeta(m Meta) Object    { c := *g; c.Meta = m; return &c }
func (o *PrefixList) withMeta(m Meta) Object       { c := *o; c.Meta = m; return &c }
func (o *Instance) withMeta(m Meta) Object         { c := *o; c.Meta = m; return &c }
func (o *FlowLog) withMeta(m Meta) Object          { c := *o; c.Meta = m; return &c }
