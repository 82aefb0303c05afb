package vpc

import (
	"net/netip"
	"time"
)

// Meta is what every object has besides its own attributes.
type Meta struct {
	ID   string            // as AWS makes it: prefix and 17 hexadecimal digits
	Name string            // the Name tag; "" where none was given
	Lab  string            // the lab that owns the object; "" for objects made through the API
	Tags map[string]string // without Name; never mutated once stored
}

// VPC is a virtual private cloud: an address space of its own, isolated from every other.
type VPC struct {
	Meta
	CIDR                 netip.Prefix // primary IPv4 CIDR, canonical, /16 to /28
	CIDRs6               []netip.Prefix
	IsDefault            bool
	MainRouteTableID     string
	DefaultSecurityGroup string
	EnableDNSSupport     bool
	EnableDNSHostnames   bool
}

// Subnet is a range of a VPC's addresses in one Availability Zone.
type Subnet struct {
	Meta
	VPCID            string
	CIDR             netip.Prefix // IPv4, canonical
	CIDR6            netip.Prefix // zero if the subnet has none; else /64
	AvailabilityZone string       // "us-east-1a"
	ZoneID           string       // "use1-az1"
}

// RouteTable decides where packets that leave a subnet go.
type RouteTable struct {
	Meta
	VPCID  string
	Main   bool
	Routes []Route // the local routes first; never mutated once stored
}

// Route is one entry of a route table.
type Route struct {
	Destination netip.Prefix
	Target      string // "local", later igw-, nat-, eni-, pcx-
	State       string // "active" or "blackhole"
	Origin      string // "CreateRouteTable" or "CreateRoute"
}

// NetworkInterface is an ENI: the VPC's end of an instance's link.
type NetworkInterface struct {
	Meta
	VPCID           string
	SubnetID        string
	InstanceID      string // "" while not attached
	DeviceIndex     int
	Description     string
	MAC             string       // "02:...", locally administered
	Addresses       []netip.Addr // IPv4; the first is the primary
	Addresses6      []netip.Addr
	Groups          []string // at least one security group id, sorted
	SourceDestCheck bool
	Tracking        ConnectionTracking
	Status          string // "available" or "in-use"
	// DeleteOnTermination: the interface goes with its instance, since it was made for it.
	DeleteOnTermination bool
}

// ConnectionTracking holds an ENI's idle timeouts; zero means AWS's default.
type ConnectionTracking struct {
	TCPEstablished, UDPStream, UDP time.Duration
}

// Instance is what a user attaches to a subnet through its network interfaces.
type Instance struct {
	Meta
	VPCID        string
	SubnetID     string
	InterfaceIDs []string // by device index
	Driver       string   // "netns", "netstack", "qemu", "" for one that no driver runs
	VM           *VM      // of a virtual machine; else nil
	TAP          *TAP     // of an instance behind a TAP; else nil
	Listen       []string // ports with a built-in server: "tcp/80"
	Run          []string // shell commands that are started with it
	State        string   // "pending", "running", "stopped", "terminated"
	LaunchTime   time.Time
}

// SecurityGroup is a stateful allow-list of its member interfaces.
type SecurityGroup struct {
	Meta        // Name is not used here: a group's name is GroupName
	VPCID       string
	GroupName   string
	Description string
	Rules       []SecurityGroupRule // both directions, in order of creation; never mutated once stored
}

// Direction of a rule, a packet or a flow record, seen from the network interface.
type Direction uint8

const (
	Ingress Direction = iota // towards the instance
	Egress                   // from the instance
)

// String gives "ingress" or "egress".
func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}

// SecurityGroupRule is one rule: a permission for exactly one peer.
type SecurityGroupRule struct {
	ID          string // sgr-...
	GroupID     string
	Direction   Direction
	Permission  // protocol, ports or ICMP type and code, and the peer
	Description string
	Words       string // as a person wrote it: "tcp 8080 from web"; "" if it came in AWS's fields
	Where       string // file and line it was written in: "lab.yaml:12"; "" if none
	Default     bool   // made together with its group, not by a person
}

// Permission is the matching part of a rule. Exactly one peer field is set.
type Permission struct {
	Protocol int // IANA number; AllProtocols for -1
	// FromPort and ToPort are the destination ports of TCP and UDP, or the ICMP type and code
	// (-1: all). They are -1 and mean nothing for any other protocol.
	FromPort, ToPort int

	CIDR         netip.Prefix // IPv4 or IPv6, canonical
	GroupID      string       `json:"PeerGroupID"` // a referenced security group; a rule has a GroupID of its own
	PrefixListID string
}

// AllProtocols is the protocol "-1" of a rule.
const AllProtocols = -1

// PrefixList is a customer-managed prefix list at its latest version.
type PrefixList struct {
	Meta           // Name is the list's name
	Family     int // 4 or 6
	MaxEntries int
	Version    int
	Entries    []PrefixListEntry // never mutated once stored
}

// PrefixListEntry is one CIDR of a prefix list.
type PrefixListEntry struct {
	CIDR        netip.Prefix
	Description string
}

// FlowLog is a subscription to the flow records of a VPC, subnet or network interface.
type FlowLog struct {
	Meta
	ResourceID             string
	TrafficType            string // "ACCEPT", "REJECT" or "ALL"
	LogDestinationType     string // "s3": files below the data directory
	LogDestination         string // arn:aws:s3:::bucket/prefix, or a bucket name
	LogFormat              string // "${version} ${account-id} ..."
	MaxAggregationInterval int    // seconds: 60 or 600
	HiveCompatible         bool
	PerHourPartition       bool
	CreationTime           time.Time
}
