package vpc

import (
	"strconv"
	"strings"
)

// ruleProtocols are the protocols that have a name in rules, by IANA number. Only the first four
// have a name in AWS's API as well.
// Source: IANA, Assigned Internet Protocol Numbers.
var ruleProtocols = []struct {
	number int
	name   string
}{
	{protoTCP, "tcp"},
	{protoUDP, "udp"},
	{protoICMP, "icmp"},
	{protoICMPv6, "icmpv6"},
	{2, "igmp"},
	{4, "ipip"},
	{46, "rsvp"},
	{47, "gre"},
	{50, "esp"},
	{51, "ah"},
	{88, "eigrp"},
	{89, "ospf"},
	{103, "pim"},
	{108, "ipcomp"},
	{112, "vrrp"},
	{115, "l2tp"},
	{132, "sctp"},
	{136, "udplite"},
}

var (
	protocolNames   = map[int]string{}
	protocolNumbers = map[string]int{}
)

func init() {
	for _, p := range ruleProtocols {
		protocolNames[p.number], protocolNumbers[p.name] = p.name, p.number
	}
}

// ParseProtocol reads the IpProtocol field of AWS's API: tcp, udp, icmp, icmpv6 (in any case),
// a number from 0 to 255, or -1 for all. The error is AWS's.
func ParseProtocol(s string) (int, error) {
	switch strings.ToLower(s) {
	case "tcp":
		return protoTCP, nil
	case "udp":
		return protoUDP, nil
	case "icmp":
		return protoICMP, nil
	case "icmpv6":
		return protoICMPv6, nil
	case "-1":
		return AllProtocols, nil
	}
	n, ok := parseNumber(s)
	if !ok || n > 255 {
		return 0, invalid("Protocol", "Invalid value '%s' for IP protocol. Unknown protocol.", s)
	}
	return n, nil
}

// FormatProtocol writes a protocol as AWS's API describes it: "tcp", "udp", "icmp", "icmpv6", "-1",
// else the number.
func FormatProtocol(n int) string {
	switch n {
	case protoTCP, protoUDP, protoICMP, protoICMPv6:
		return protocolNames[n]
	}
	return strconv.Itoa(n)
}

// ProtocolName is the protocol's name for people: "tcp", "gre", "all" for AllProtocols, else the number.
func ProtocolName(n int) string {
	if n == AllProtocols {
		return "all"
	}
	if name, ok := protocolNames[n]; ok {
		return name
	}
	return strconv.Itoa(n)
}

// parseNumber reads a decimal without sign and without leading zeroes; the largest it reads is 999999999.
func parseNumber(s string) (int, bool) {
	if s == "" || len(s) > 9 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
