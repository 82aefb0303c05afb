package vswitch

import (
	"net/netip"

	"github.com/gaissmai/bart"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/sg"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// Snapshot is a whole revision of the model in the form that workers run on. It and all it points to
// are immutable once published; parts that a revision left alone are shared with the one before.
type Snapshot struct {
	Revision vpc.Revision
	enis     []*eni // by number; nil where the interface is gone
	byID     map[string]*eni
	networks map[string]*network // by VPC id
}

// eni is a network interface as the data plane sees it.
type eni struct {
	num             uint32 // never used again, so that a flow of a deleted interface matches nothing
	id              string
	mac             packet.MAC
	net             *network
	subnet          *subnet
	addrs           []packet.Addr // primary first
	linkLocal       packet.Addr   // derived from the MAC (RFC 4291, appendix A)
	groups          []uint32      // registry numbers, sorted
	policy          *policy
	sourceDestCheck bool
	timeouts        *conntrack.Timeouts
	link            *link // nil while not attached

	model *vpc.NetworkInterface
}

// policy is a compiled set of groups with the generation at which cached verdicts must stand.
type policy struct {
	*sg.Policy
	gen uint32
}

// network is one VPC: an address space with its interfaces and routes.
type network struct {
	id    string
	gen   uint32 // path generation: raised when a route changes or an address leaves its interface
	addrs map[packet.Addr]*eni
	macs  map[packet.MAC]*eni
	vpc   *vpc.VPC

	reevaluate bool // tracked connections do not outlive their rules (TagOnRuleChange)
}

// TagOnRuleChange is the tag of a VPC that says what tracked connections do when rules change: live on, as
// in AWS, or with the value "reevaluate" be judged anew.
const TagOnRuleChange = "vpclab:on-rule-change"

// subnet is where an interface's frames enter the implicit router.
type subnet struct {
	id         string
	router     packet.Addr // IPv4 base + 1
	router6    packet.Addr // IPv6 base + 1; zero without IPv6
	routes     *bart.Table[route]
	routeTable string
	model      *vpc.Subnet
	table      *vpc.RouteTable
}

// route is where a route table sends a prefix.
type route struct {
	target string
	dead   bool // blackhole
}

// RouterMAC is the address of every subnet's implicit router. AWS gives each subnet's its own; since
// no frame ever passes between subnets unrouted, one serves all.
var RouterMAC = packet.MAC{0x02, 0x76, 0x70, 0x63, 0x00, 0x01}

// routerLinkLocal is the implicit router's link-local address (AWS: fe80:ec2::1).
var routerLinkLocal = packet.AddrFrom(netip.MustParseAddr("fe80:ec2::1"))

// linkLocal derives an interface's link-local address from its MAC.
func linkLocal(m packet.MAC) packet.Addr {
	return packet.Addr{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]}
}

// owns tells whether a is one of the interface's addresses.
func (e *eni) owns(a packet.Addr) bool {
	for i := range e.addrs {
		if e.addrs[i] == a {
			return true
		}
	}
	return false
}

// isRouter tells whether a is the address of the subnet's implicit router.
func (s *subnet) isRouter(a packet.Addr) bool {
	return a == s.router || a == routerLinkLocal || a == s.router6 && s.router6 != packet.Addr{}
}

// eni returns the interface with the number, or nil.
func (s *Snapshot) eni(num uint32) *eni {
	if int(num) < len(s.enis) {
		return s.enis[num]
	}
	return nil
}

// neighbor returns the interface of the same subnet that answers for an address, or nil.
func (e *eni) neighbor(a packet.Addr) *eni {
	if n := e.net.addrs[a]; n != nil && n.subnet == e.subnet {
		return n
	}
	return nil
}
