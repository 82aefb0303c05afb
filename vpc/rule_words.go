package vpc

import (
	"strconv"
	"strings"
)

// Words is the rule in the short grammar, in its canonical form; ParseRule reads it back to p alone.
// groupName (it may be nil) gives the name of a group's or a prefix list's id, "" if it has none;
// then the id stands for itself. p must be normalized.
func (p Permission) Words(d Direction, groupName func(id string) string) string {
	return p.matchWords() + " " + preposition(d) + " " + p.peerWords(groupName)
}

func (p Permission) matchWords() string {
	name := ProtocolName(p.Protocol)
	switch {
	case p.isICMP():
		return p.icmpWords(name)
	case !p.hasPorts():
		return name
	case p.FromPort == 0 && p.ToPort == maxPort:
		return "all " + name
	case p.FromPort != p.ToPort:
		return name + " " + strconv.Itoa(p.FromPort) + "-" + strconv.Itoa(p.ToPort)
	}
	if service := serviceByPort[[2]int{p.Protocol, p.FromPort}]; service != "" {
		return service
	}
	return name + " " + strconv.Itoa(p.FromPort)
}

func (p Permission) icmpWords(name string) string {
	v6 := p.Protocol == protoICMPv6
	args := formatICMP(v6, p.FromPort, p.ToPort)
	known := p.CIDR.IsValid()
	switch {
	case known && p.CIDR.Addr().Is6() != v6: // the name would follow the peer's family
		name = strconv.Itoa(p.Protocol)
		if args == "ping" {
			args = "echo-request"
			if v6 {
				args = "128/0"
			}
		}
	case args == "ping" && v6 && !known:
		return "ping6"
	case args == "ping":
		return "ping"
	}
	return strings.TrimSuffix(name+" "+args, " ")
}

func (p Permission) peerWords(groupName func(id string) string) string {
	switch p.CIDR {
	case anywhere4:
		return "anywhere"
	case anywhere6:
		return "anywhere-v6"
	}
	id := p.peer()
	if p.CIDR.IsValid() || groupName == nil {
		return id
	}
	name := groupName(id)
	switch {
	case name == "" || strings.ContainsAny(name, `"'`):
		return id
	case p.PrefixListID != "":
		return prefixListWord + " " + quoteName(name)
	}
	return quoteName(name)
}

// quoteName puts a name in quotes where it would not be read back as a name.
func quoteName(name string) string {
	_, keyword := ruleKeywords[strings.ToLower(name)]
	_, cidr := parseRuleCIDR(name)
	if keyword || cidr || strings.ContainsAny(name, ruleSpace+",") || strings.EqualFold(name, prefixListWord) ||
		strings.HasPrefix(name, "sg-") || strings.HasPrefix(name, "pl-") {
		return `"` + name + `"`
	}
	return name
}
