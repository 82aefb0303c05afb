package vpc

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Protocols whose rules have ports, or a type and a code.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

const maxPort = 65535

// Normalize gives p in the one form in which AWS stores and describes it: the CIDR canonical
// (100.68.0.18/18 becomes 100.68.0.0/18), ports -1 where the protocol has none. The error is the one
// that AWS answers to AuthorizeSecurityGroupIngress, with the code InvalidParameterValue.
//
// IPv4's ICMP with an IPv6 peer, or the other way round, is a rule to AWS, though one that matches
// next to nothing; so it is here.
//
// Source: EC2 API reference, IpPermission; messages as seen from EC2.
func (p Permission) Normalize() (Permission, error) {
	if err := p.checkPeer(); err != nil {
		return Permission{}, err
	}
	if p.CIDR.IsValid() {
		p.CIDR = p.CIDR.Masked()
	}
	var err error
	switch {
	case p.Protocol == AllProtocols:
		p.FromPort, p.ToPort = -1, -1
	case p.Protocol < 0 || p.Protocol > 255:
		err = invalid("Protocol", "Invalid value '%d' for IP protocol. Unknown protocol.", p.Protocol).
			hint("protocols are 0 to 255, or -1 for all")
	case p.hasPorts():
		err = p.checkPorts()
	case p.isICMP():
		err = p.checkICMP()
	default:
		p.FromPort, p.ToPort = -1, -1
	}
	if err != nil {
		return Permission{}, err
	}
	return p, nil
}

func (p Permission) checkPeer() error {
	peers := 0
	for _, set := range []bool{p.CIDR != netip.Prefix{}, p.GroupID != "", p.PrefixListID != ""} {
		if set {
			peers++
		}
	}
	if peers != 1 {
		return invalid("", "exactly one of remote-security-group, remote-ip-range, remote-ipv6-range, "+
			"or prefix-list-id must be present")
	}
	if p.CIDR != (netip.Prefix{}) && (!p.CIDR.IsValid() || p.CIDR.Addr().Is4In6()) {
		return invalid("CIDR", "CIDR block %s is malformed", p.CIDR)
	}
	return nil
}

func (p Permission) checkPorts() error {
	if p.FromPort == -1 && p.ToPort == -1 {
		return invalid("FromPort", "Invalid value for portRange. Must specify both from and to ports with TCP/UDP.").
			hint("for every port use 0 to 65535")
	}
	if p.FromPort < 0 || p.FromPort > maxPort {
		return invalid("FromPort", "TCP/UDP (from) port (%d) out of range", p.FromPort)
	}
	if p.ToPort < 0 || p.ToPort > maxPort {
		return invalid("ToPort", "TCP/UDP (to) port (%d) out of range", p.ToPort)
	}
	if p.FromPort > p.ToPort {
		return invalid("FromPort", "Invalid TCP/UDP port range (%d:%d)", p.FromPort, p.ToPort).
			hint("the lower port comes first")
	}
	return nil
}

func (p Permission) checkICMP() error {
	if p.FromPort < -1 || p.FromPort > 255 {
		return invalid("FromPort", "ICMP type (%d) out of range", p.FromPort)
	}
	if p.ToPort < -1 || p.ToPort > 255 {
		return invalid("ToPort", "ICMP code (%d) out of range", p.ToPort)
	}
	if p.FromPort == -1 && p.ToPort != -1 {
		return invalid("ToPort", "ICMP code (%d) must be -1 where the ICMP type is -1", p.ToPort).
			hint("-1 as the type means all types and codes")
	}
	return nil
}

// Equal says whether the two are one and the same rule to AWS: adding the one beside the other is
// InvalidPermission.Duplicate. Permissions that Normalize refuses equal nothing.
func (p Permission) Equal(q Permission) bool {
	p, err := p.Normalize()
	if err != nil {
		return false
	}
	q, err = q.Normalize()
	return err == nil && p == q
}

// Message is the permission as AWS's error messages write it, for InvalidPermission.Duplicate:
//
//	peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW
//	peer: 10.0.0.0/19, ALL, ALLOW
//	peer: 0.0.0.0/0, ICMP, type: 8, code: ALL, ALLOW
//	peer: 12.12.12.12/32, protocol: 50, ALLOW
func (p Permission) Message() string {
	if n, err := p.Normalize(); err == nil {
		p = n
	}
	return "peer: " + p.peer() + ", " + p.messageMatch() + ", ALLOW"
}

func (p Permission) messageMatch() string {
	ports := fmt.Sprintf(", from port: %d, to port: %d", p.FromPort, p.ToPort)
	icmp := ", type: " + numberOrAll(p.FromPort) + ", code: " + numberOrAll(p.ToPort)
	switch p.Protocol {
	case AllProtocols:
		return "ALL"
	case protoTCP:
		return "TCP" + ports
	case protoUDP:
		return "UDP" + ports
	case protoICMP:
		return "ICMP" + icmp
	case protoICMPv6:
		return "ICMPV6" + icmp
	}
	return "protocol: " + strconv.Itoa(p.Protocol)
}

// peer is the one peer that is set: a CIDR or an id.
func (p Permission) peer() string {
	switch {
	case p.GroupID != "":
		return p.GroupID
	case p.PrefixListID != "":
		return p.PrefixListID
	}
	return p.CIDR.String()
}

func (p Permission) hasPorts() bool { return p.Protocol == protoTCP || p.Protocol == protoUDP }
func (p Permission) isICMP() bool   { return p.Protocol == protoICMP || p.Protocol == protoICMPv6 }

func numberOrAll(n int) string {
	if n == -1 {
		return "ALL"
	}
	return strconv.Itoa(n)
}

func invalid(field, format string, args ...any) *Error {
	return fail("InvalidParameterValue", field, format, args...)
}
