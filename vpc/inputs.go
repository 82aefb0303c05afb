package vpc

import "net/netip"

// Owner is what every created object may be given: its Name tag, the lab that owns it, further tags.
type Owner struct {
	Name string
	Lab  string
	Tags map[string]string // may hold "Name" instead of the field; copied
}

// CreateVpcInput describes a new VPC.
type CreateVpcInput struct {
	Owner
	CIDR netip.Prefix // IPv4, /16 to /28; host bits are cleared
	// CIDR6 is an IPv6 /56 of the caller's (as one brought by BYOIP). With AmazonProvidedIPv6 a unique one is chosen.
	CIDR6              netip.Prefix
	AmazonProvidedIPv6 bool
	IsDefault          bool // make it the Region's default VPC; at most one
	NoDNSSupport       bool
	EnableDNSHostnames bool
}

// CreateSubnetInput describes a new subnet.
type CreateSubnetInput struct {
	Owner
	VPCID            string
	CIDR             netip.Prefix // IPv4, inside the VPC's; host bits are cleared
	CIDR6            netip.Prefix // IPv6 /64 inside one of the VPC's; zero: none
	AutoCIDR6        bool         // choose the lowest free /64
	AvailabilityZone string       // "us-east-1b"; "": the Region's first
}

// InterfaceSpec describes a network interface to create, or names one that exists (RunInstance).
type InterfaceSpec struct {
	NetworkInterfaceID string // RunInstance only: an available interface; then no other field may be set

	SubnetID        string
	Description     string
	MAC             string       // "": one is made, 02:...
	Addresses       []netip.Addr // IPv4, the first is the primary; none: one is chosen
	SecondaryCount  int          // further IPv4 addresses to choose
	Addresses6      []netip.Addr
	Count6          int      // further IPv6 addresses to choose
	Groups          []string // security group ids; none: the VPC's default group
	SourceDestCheck *bool    // nil: true
	Tracking        ConnectionTracking
}

// CreateNetworkInterfaceInput describes a new network interface.
type CreateNetworkInterfaceInput struct {
	Owner
	InterfaceSpec
}

// ModifyNetworkInterfaceInput changes the fields that are not nil.
type ModifyNetworkInterfaceInput struct {
	ID              string
	Groups          []string // replaces all groups; nil: unchanged; empty and not nil is refused
	SourceDestCheck *bool
	Description     *string
	Tracking        *ConnectionTracking
	// MAC is not AWS's, where it never changes: a virtual machine of somebody else's brings its own.
	MAC *string
}

// AssignAddressesInput adds secondary addresses to an interface: those given, and Count more that are chosen.
type AssignAddressesInput struct {
	ID                string
	Addresses         []netip.Addr
	Count             int
	AllowReassignment bool // IPv4: take a secondary address from the interface that has it
}

// UnassignAddressesInput takes secondary addresses from an interface.
type UnassignAddressesInput struct {
	ID        string
	Addresses []netip.Addr
}

// CreateSecurityGroupInput describes a new security group. AWS demands the description.
type CreateSecurityGroupInput struct {
	Owner       // Name is the Name tag, not the group's name
	GroupName   string
	Description string
	VPCID       string // "": the default VPC
}

// RuleSpec is a rule to add.
type RuleSpec struct {
	Permission
	Description string
	Words       string // as a person wrote it
	Where       string // file and line
}

// AuthorizeSecurityGroupInput adds rules to a group: all of them or, on any error, none.
type AuthorizeSecurityGroupInput struct {
	GroupID string
	Rules   []RuleSpec
}

// RevokeSecurityGroupInput names rules to remove by what they permit, or by id.
type RevokeSecurityGroupInput struct {
	GroupID     string
	Permissions []Permission
	RuleIDs     []string
}

// RevokeResult is what a revoke did. In a default VPC a permission that matches no rule is no error: it is in Unknown.
type RevokeResult struct {
	Revoked []SecurityGroupRule
	Unknown []Permission
}

// CreateManagedPrefixListInput describes a new prefix list; Owner.Name is the list's name.
type CreateManagedPrefixListInput struct {
	Owner
	Family     int // 4 or 6
	MaxEntries int
	Entries    []PrefixListEntry
}

// ModifyManagedPrefixListInput changes a prefix list; each change of entries makes a new version.
type ModifyManagedPrefixListInput struct {
	ID             string
	CurrentVersion int // needed to change entries; 0: not given
	Add            []PrefixListEntry
	Remove         []netip.Prefix
	MaxEntries     int     // 0: unchanged
	Name           *string // nil: unchanged
}

// RunInstanceInput describes a new instance.
type RunInstanceInput struct {
	Owner
	Driver     string
	VM         *VM             // of a virtual machine; else nil
	TAP        *TAP            // of an instance behind a TAP; else nil
	Listen     []string        // "tcp/80", "udp/53"
	Run        []string        // shell commands that are started with it; at most MaxCommands of MaxCommand bytes
	Interfaces []InterfaceSpec // by device index; at least one
}

// CreateFlowLogsInput subscribes to the flow records of one or more resources of one type.
type CreateFlowLogsInput struct {
	Owner
	ResourceType           string // "VPC", "Subnet", "NetworkInterface"
	ResourceIDs            []string
	TrafficType            string // "ACCEPT", "REJECT", "ALL"
	LogDestinationType     string // "s3", the default and the only one here
	LogDestination         string // arn:aws:s3:::bucket/prefix, or bucket/prefix
	LogFormat              string // "": DefaultLogFormat
	MaxAggregationInterval int    // 60 or 600; 0: 600
	HiveCompatible         bool
	PerHourPartition       bool
}

// SetTagsInput sets and removes tags of one object. The key "Name" is the object's name.
type SetTagsInput struct {
	ResourceID string
	Set        map[string]string
	Remove     []string
}

// DefaultLogFormat is the format of flow logs that ask for none: version 2.
const DefaultLogFormat = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} " +
	"${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"
