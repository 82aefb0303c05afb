package agent

import (
	"net/netip"
	"time"
)

// NamesRequest asks for the names a person may type, for shell completion.
type NamesRequest struct {
	Lab   string   `json:"lab,omitempty"`
	Kinds []string `json:"kinds,omitempty"` // "lab", "instance", "security-group", "vpc", ...; empty: all
}

// Name is a name of an object, for completion and "did you mean".
type Name struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	ID   string `json:"id,omitempty"`
	Lab  string `json:"lab,omitempty"`
	// Detail helps to choose: an address, a CIDR, a description.
	Detail string `json:"detail,omitempty"`
}

// ShowRequest asks for one object.
type ShowRequest struct {
	Lab    string `json:"lab,omitempty"`
	Object string `json:"object"` // a name, an id, an address, or KIND/NAME where a name is not unique
}

// ShowResult is one object whole. Exactly one of the pointers is set: the one that Kind names.
type ShowResult struct {
	Kind string `json:"kind"` // "lab", "vpc", "subnet", "security-group", "network-interface", "instance", "route-table", "prefix-list", "vpc-flow-log"

	Lab              *LabDetail        `json:"lab,omitempty"`
	VPC              *VPCDetail        `json:"vpc,omitempty"`
	Subnet           *SubnetDetail     `json:"subnet,omitempty"`
	SecurityGroup    *GroupDetail      `json:"security_group,omitempty"`
	NetworkInterface *InterfaceDetail  `json:"network_interface,omitempty"`
	Instance         *InstanceDetail   `json:"instance,omitempty"`
	RouteTable       *RouteTableDetail `json:"route_table,omitempty"`
	PrefixList       *PrefixListDetail `json:"prefix_list,omitempty"`
	FlowLog          *FlowLogDetail    `json:"flow_log,omitempty"`
}

// Head is what every object has.
type Head struct {
	ID   string            `json:"id"`
	Name string            `json:"name,omitempty"`
	Lab  string            `json:"lab,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
}

// LabDetail is a lab.
type LabDetail struct {
	Name      string        `json:"name"`
	About     string        `json:"about,omitempty"`
	File      string        `json:"file,omitempty"`
	VPCs      []Name        `json:"vpcs"`
	Groups    []Name        `json:"security_groups"`
	Instances []InstanceRow `json:"instances"`
}

// VPCDetail is a VPC.
type VPCDetail struct {
	Head
	CIDRs       []string `json:"cidrs"` // the primary first
	Default     bool     `json:"default,omitempty"`
	Subnets     []Name   `json:"subnets"`
	Groups      []Name   `json:"security_groups"`
	RouteTables []Name   `json:"route_tables"`
	FlowLogs    []Name   `json:"flow_logs,omitempty"`
}

// SubnetDetail is a subnet.
type SubnetDetail struct {
	Head
	VPC        string      `json:"vpc"`
	CIDRs      []string    `json:"cidrs"`
	Zone       string      `json:"availability_zone"`
	ZoneID     string      `json:"availability_zone_id"`
	Router     netip.Addr  `json:"router"`              // the implicit router's address
	Available  int         `json:"available_addresses"` // IPv4, as AWS counts
	RouteTable Name        `json:"route_table"`
	Interfaces []Interface `json:"network_interfaces"`
}

// Interface is a network interface in a list.
type Interface struct {
	ID        string       `json:"id"`
	Instance  string       `json:"instance,omitempty"`
	Subnet    string       `json:"subnet"`
	MAC       string       `json:"mac"`
	Addresses []netip.Addr `json:"addresses"`
	Groups    []string     `json:"security_groups"`
}

// GroupDetail is a security group with its rules and how often each was used.
type GroupDetail struct {
	Head
	VPC         string      `json:"vpc"`
	Description string      `json:"description"`
	Rules       []GroupRule `json:"rules"` // ingress first
	Members     []Interface `json:"members"`
	// ReferencedBy names the groups whose rules have this one as their peer.
	ReferencedBy []Name `json:"referenced_by,omitempty"`
}

// GroupRule is one rule and its use.
type GroupRule struct {
	RuleRef
	Protocol    string     `json:"protocol"` // AWS's form: "tcp", "-1", "47"
	Ports       string     `json:"ports"`    // "8080", "8000-8100", "all", ICMP "8/0"
	Peer        string     `json:"peer"`     // CIDR, group or prefix list, by name
	Description string     `json:"description,omitempty"`
	Hits        uint64     `json:"hits"`               // flows admitted by it since the agent started
	Connections int        `json:"connections"`        // halves it admitted that are open now
	LastHit     *time.Time `json:"last_hit,omitempty"` // nil: never
}

// InterfaceDetail is a network interface.
type InterfaceDetail struct {
	Interface
	Name            string            `json:"name,omitempty"`
	Lab             string            `json:"lab,omitempty"`
	Tags            map[string]string `json:"tags,omitempty"`
	VPC             string            `json:"vpc"`
	DeviceIndex     int               `json:"device_index"`
	Status          string            `json:"status"`
	SourceDestCheck bool              `json:"source_dest_check"`
	Description     string            `json:"description,omitempty"`
	Timeouts        []Timeout         `json:"connection_tracking"`
	Halves          int               `json:"halves"`
	Rx              FlowCount         `json:"rx"` // to the instance
	Tx              FlowCount         `json:"tx"` // from the instance
	Drops           []Counter         `json:"drops"`
}

// Timeout is an idle timeout of connection tracking.
type Timeout struct {
	Name    string  `json:"name"` // "tcp established"
	Seconds Seconds `json:"seconds"`
	Default bool    `json:"default"`
}

// InstanceDetail is an instance.
type InstanceDetail struct {
	InstanceRow
	Tags       map[string]string `json:"tags,omitempty"`
	Launched   time.Time         `json:"launched"`
	Interfaces []InterfaceDetail `json:"network_interfaces"`
	Rules      []GroupRule       `json:"rules"` // of all its groups together
	Info       map[string]string `json:"info"`  // the driver's own: namespace, MTU, offload
}

// RouteTableDetail is a route table.
type RouteTableDetail struct {
	Head
	VPC     string  `json:"vpc"`
	Main    bool    `json:"main"`
	Routes  []Route `json:"routes"`
	Subnets []Name  `json:"subnets"` // that use it
}

// Route is one route.
type Route struct {
	Destination string `json:"destination"`
	Target      string `json:"target"`
	State       string `json:"state"`
	Origin      string `json:"origin"`
}

// PrefixListDetail is a managed prefix list.
type PrefixListDetail struct {
	Head
	Family     int           `json:"family"`
	Version    int           `json:"version"`
	MaxEntries int           `json:"max_entries"`
	Entries    []PrefixEntry `json:"entries"`
}

// PrefixEntry is an entry of a prefix list.
type PrefixEntry struct {
	CIDR        string `json:"cidr"`
	Description string `json:"description,omitempty"`
}

// FlowLogDetail is a flow-log subscription.
type FlowLogDetail struct {
	Head
	Resource    string        `json:"resource"`
	ResourceID  string        `json:"resource_id"`
	TrafficType string        `json:"traffic_type"`
	Destination string        `json:"destination"`
	Format      string        `json:"format"`
	Interval    int           `json:"max_aggregation_interval"` // seconds
	Created     time.Time     `json:"created"`
	Files       []FlowLogFile `json:"files"`
}
