package lab

import (
	"net/netip"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

// File is a lab file that was found right. The yaml tags are the file's fields: the decoder reads them and a test
// holds them equal to schema.json. Objects stand in the order in which the file has them. Read only, except for
// Driver (see there); safe for concurrent use.
type File struct {
	Lab   string `yaml:"lab,required"`
	About string `yaml:"about"`
	// Driver runs the instances that name none: "netns", "netstack", or "" for what the agent prefers. The agent may
	// set it before Apply.
	Driver string `yaml:"driver"`
	MTU    int    `yaml:"mtu"` // of every instance: the largest IP packet in bytes; DefaultMTU if the file has none
	// OnRuleChange says what a tracked connection does when the rules change: Persist (as AWS) or Reevaluate.
	OnRuleChange string        `yaml:"on-rule-change"`
	Timeouts     Timeouts      `yaml:"timeouts"` // of every instance
	VPCs         []*VPC        `yaml:"vpcs,required,map"`
	PrefixLists  []*PrefixList `yaml:"prefix-lists,map"`
	Groups       []*Group      `yaml:"security-groups,map"`
	Instances    []*Instance   `yaml:"instances,map"`
	FlowLogs     []*FlowLog    `yaml:"flow-logs"` // nil: the file says nothing, and each VPC has one
	Tests        []*Test       `yaml:"tests"`
	// Dir is where relative paths in the file are looked for; "" is the working directory. Like Driver, the agent
	// may set it before Apply.
	Dir    string
	source *source         // of the lab
	spans  map[string]span // of each value by path
}

// Name of the file as the person typed it.
func (f *File) Name() string { return f.source.name }

// What a file's OnRuleChange may say.
const (
	Persist    = "persist"    // tracked connections live on, as in AWS
	Reevaluate = "reevaluate" // tracked connections are judged anew
)

// DefaultMTU of an instance is AWS's jumbo frame.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network_mtu.html
const DefaultMTU = 9001

// Timeouts are idle timeouts of connection tracking; zero means AWS's default. AWS's bounds hold (EC2 API,
// ConnectionTrackingSpecificationRequest).
type Timeouts struct {
	TCPEstablished time.Duration `yaml:"tcp-established"` // 60 s to 432000 s
	UDPStream      time.Duration `yaml:"udp-stream"`      // 60 s to 180 s
	UDP            time.Duration `yaml:"udp"`             // 30 s to 60 s
}

// VPC is one VPC of the lab.
type VPC struct {
	Name    string       `yaml:",key"`
	CIDR    netip.Prefix `yaml:"cidr,required"`
	CIDR6   netip.Prefix `yaml:"cidr6"` // a /56
	Subnets []*Subnet    `yaml:"subnets,map"`
	Pos     Pos
}

// Subnet is short in the file (NAME: CIDR) or long.
type Subnet struct {
	Name  string       `yaml:",key"`
	CIDR  netip.Prefix `yaml:"cidr,required"`
	CIDR6 netip.Prefix `yaml:"cidr6"` // a /64
	Zone  string       `yaml:"zone"`  // "us-east-1b"; "": the Region's first
	VPC   *VPC
	Pos   Pos
}

// PrefixList is a customer-managed prefix list: short (a list of CIDRs) or long.
type PrefixList struct {
	Name       string            `yaml:",key"`
	MaxEntries int               `yaml:"max-entries"` // 0 in the file: as many as there are entries, at least 1
	Entries    []PrefixListEntry `yaml:"entries"`
	Family     int               // 4 or 6, by the entries
	Pos        Pos
}

// PrefixListEntry is short (CIDR) or long.
type PrefixListEntry struct {
	CIDR        netip.Prefix `yaml:"cidr,required"`
	Description string       `yaml:"description"`
}

// Group is a security group. The group named default is the VPC's own; the file then has its rules.
type Group struct {
	Name    string `yaml:",key"`
	VPCName string `yaml:"vpc"`          // may be left out where the lab has one VPC
	Ingress []Rule `yaml:"ingress,list"` // nil: AWS's: none (of the default group: all from itself)
	Egress  []Rule `yaml:"egress,list"`  // nil: AWS's: all to anywhere; empty: none
	VPC     *VPC
	Pos     Pos
}

// Rule is one rule as written: short, or long in AWS's fields. It can stand for several of AWS's rules.
type Rule struct {
	ruleFields
	Direction vpc.Direction
	Words     string // as written if short, else the canonical words
	// Permissions name groups and prefix lists by their names in the lab file, not by ids.
	Permissions []vpc.Permission
	Pos         Pos
}

// ruleFields is the long form of a rule: AWS's fields, and Short for a short rule that needs a description.
type ruleFields struct {
	Short       string        `yaml:"rule"`
	Protocol    protocolField `yaml:"protocol"`  // name, number, or -1 for all
	FromPort    *int          `yaml:"from-port"` // TCP, UDP: first port; ICMP: type or -1
	ToPort      *int          `yaml:"to-port"`   // TCP, UDP: last port; ICMP: code or -1
	CIDR        netip.Prefix  `yaml:"cidr"`      // IPv4 or IPv6
	Group       string        `yaml:"group"`
	PrefixList  string        `yaml:"prefix-list"`
	Description string        `yaml:"description"`
}

// Instance is one instance with one network interface.
type Instance struct {
	Name            string       `yaml:",key"`
	SubnetName      string       `yaml:"subnet,required"`   // NAME, or VPC/NAME where several VPCs have it
	IP              netip.Addr   `yaml:"ip"`                // zero: one is chosen
	IP6             netip.Addr   `yaml:"ip6"`               // zero: none
	Secondary       []netip.Addr `yaml:"secondary-ips"`     // IPv4 and IPv6
	GroupNames      []string     `yaml:"groups,list"`       // none: the VPC's default group
	Listen          []Listen     `yaml:"listen,list"`       // ports with a built-in server
	Run             []string     `yaml:"run,list"`          // shell commands that are started with it, in a sandbox
	Driver          string       `yaml:"driver"`            // "": the lab's
	SourceDestCheck *bool        `yaml:"source-dest-check"` // nil: true
	vmFields
	tapFields
	Subnet *Subnet
	Pos    Pos
}

// Listen is a port with a built-in server: 80, tcp/80 or 80/tcp.
type Listen struct {
	Port     uint16
	Protocol string // "tcp" or "udp"
}

// FlowLog is a flow-log subscription. Its records go to files below the data directory.
type FlowLog struct {
	Resource      string     `yaml:"resource,required"` // a VPC, a subnet (NAME or VPC/NAME) or an instance
	Traffic       string     `yaml:"traffic"`           // "all" (the default), "accept" or "reject"
	Format        formatText `yaml:"format"`            // "${version} ..." or a list of fields; "": AWS's default
	Destination   string     `yaml:"destination"`       // BUCKET[/PREFIX]; "": DefaultBucket
	Interval      int        `yaml:"interval"`          // 60 or 600 seconds (600), as AWS's MaxAggregationInterval
	Hive          bool       `yaml:"hive-compatible"`
	PerHour       bool       `yaml:"per-hour"`
	resourceType  string     // "VPC", "Subnet", "NetworkInterface"
	resourceNames [2]string  // VPC and subnet, or instance
	Pos           Pos
}

// DefaultBucket is where flow logs go that name no destination.
const DefaultBucket = "vpclab"

// Test is a single check, or steps.
type Test struct {
	Name string `yaml:"name"`
	Check
	Steps []*Step `yaml:"steps"`
	Pos   Pos
	// problem: what makes the test impossible in this lab, in a file of tests that was written for another.
	problem string
}

// Check is one flow to try and what should come of it.
type Check struct {
	From    string `yaml:"from"` // INSTANCE[:PORT]
	To      string `yaml:"to"`   // INSTANCE[:PORT[/PROTO]], or an address instead of the instance
	Expect  Expect `yaml:"expect"`
	Because string `yaml:"because"` // "": not checked; else see Matches
	// Records are the flow-log records, exactly: no more and no fewer. nil: not checked.
	Records []Record `yaml:"records"`
	Traffic Traffic
}

// Step is one step of a test: a check, or exactly one of the others. Open and Send are checks, too.
type Step struct {
	Check
	Open      string        `yaml:"open"` // name of the connection
	Send      string        `yaml:"send"`
	Close     string        `yaml:"close"`
	Authorize string        `yaml:"authorize"` // a short rule; Group says where
	Revoke    string        `yaml:"revoke"`
	Group     string        `yaml:"group"`
	Wait      time.Duration `yaml:"wait"`
	Direction vpc.Direction // of the rule to authorize or revoke
	Pos       Pos
	problem   string
}

// Expect is what should come of a check.
type Expect string

// What a check may expect.
const (
	ExpectAccept   Expect = "accept"   // the far end was reached: it answered or refused
	ExpectAnswered Expect = "answered" // it answered
	ExpectRefused  Expect = "refused"  // it refused: no rule said no, but nothing listens there
	ExpectReject   Expect = "reject"   // a security group said no
	ExpectLost     Expect = "lost"     // no rule said no, but nothing came back (no route, no answer)
)

var expectations = []string{string(ExpectAccept), string(ExpectReject), string(ExpectAnswered), string(ExpectRefused), string(ExpectLost)}
