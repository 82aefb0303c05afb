package vpc

import "strconv"

// icmpName names an ICMP type, or one code of a type.
type icmpName struct {
	typ, code int // code -1: every code of the type
	name      string
}

// The first name of a type and code is the one that is printed. What ping needs is written as AWS's
// pages write it: type 8 with any code, and in IPv6 type 128 with code 0.
//
// Sources: IANA, ICMP Parameters and ICMPv6 Parameters; EC2 User Guide, "Security group rules for
// different use cases".
var (
	icmp4Names = []icmpName{
		{8, -1, "ping"},
		{0, -1, "echo-reply"},
		{3, -1, "destination-unreachable"},
		{3, 0, "network-unreachable"},
		{3, 1, "host-unreachable"},
		{3, 2, "protocol-unreachable"},
		{3, 3, "port-unreachable"},
		{3, 4, "fragmentation-needed"},
		{4, -1, "source-quench"},
		{5, -1, "redirect"},
		{8, -1, "echo-request"},
		{9, -1, "router-advertisement"},
		{10, -1, "router-solicitation"},
		{11, -1, "time-exceeded"},
		{12, -1, "parameter-problem"},
		{13, -1, "timestamp-request"},
		{14, -1, "timestamp-reply"},
		{17, -1, "address-mask-request"},
		{18, -1, "address-mask-reply"},
		{30, -1, "traceroute"},
	}
	icmp6Names = []icmpName{
		{128, 0, "ping"},
		{1, -1, "destination-unreachable"},
		{1, 0, "no-route"},
		{1, 1, "administratively-prohibited"},
		{1, 3, "address-unreachable"},
		{1, 4, "port-unreachable"},
		{2, -1, "packet-too-big"},
		{3, -1, "time-exceeded"},
		{4, -1, "parameter-problem"},
		{128, -1, "echo-request"},
		{129, -1, "echo-reply"},
		{133, -1, "router-solicitation"},
		{134, -1, "router-advertisement"},
		{135, -1, "neighbor-solicitation"},
		{136, -1, "neighbor-advertisement"},
		{137, -1, "redirect"},
	}
)

func icmpNames(v6 bool) []icmpName {
	if v6 {
		return icmp6Names
	}
	return icmp4Names
}

// ICMPName is the name of an ICMP (if v6, an ICMPv6) type and code, where code -1 means every code
// of the type; "" if it has none. The echo request is "ping".
func ICMPName(v6 bool, typ, code int) string {
	for _, n := range icmpNames(v6) {
		if n.typ == typ && n.code == code {
			return n.name
		}
	}
	return ""
}

// parseICMPName is the inverse of ICMPName; it knows the second names too.
func parseICMPName(v6 bool, name string) (typ, code int, ok bool) {
	for _, n := range icmpNames(v6) {
		if n.name == name {
			return n.typ, n.code, true
		}
	}
	return 0, 0, false
}

// formatICMP writes type and code as a rule does: a name, "3/4", "3", or "" for all.
func formatICMP(v6 bool, typ, code int) string {
	if name := ICMPName(v6, typ, code); name != "" {
		return name
	}
	switch {
	case typ == -1:
		return ""
	case code == -1:
		return strconv.Itoa(typ)
	}
	return strconv.Itoa(typ) + "/" + strconv.Itoa(code)
}
