package vpc

import (
	"fmt"
	"strings"
)

// ruleMatch is the part of a rule before the peers.
type ruleMatch struct {
	proto, from, to int

	v6        *bool      // the family it is for; nil: both
	other     *ruleMatch // what it means for a peer of the other family
	otherWant string     // where other is nil: what would be right
}

// ruleType is what the first words of a rule stand for.
type ruleType struct {
	name  string // as it is printed
	match ruleMatch
	args  ruleArgs
}

// ruleArgs says what may follow a type.
type ruleArgs uint8

const (
	noArgs       ruleArgs = iota
	portArgs              // a port or a range; needed
	icmpArgs              // an ICMP type, type/code or name; optional
	protocolArgs          // a protocol by number or name; needed
)

// ruleTypes finds a type by typeKey of its name.
var ruleTypes = map[string]ruleType{}

func init() {
	add := func(t ruleType, names ...string) {
		for _, n := range append(names, t.name) {
			ruleTypes[typeKey(n)] = t
		}
	}
	all := ruleMatch{proto: AllProtocols, from: -1, to: -1}
	add(ruleType{name: "all", match: all}, "all traffic")
	for _, p := range ruleProtocols[4:] {
		add(ruleType{name: p.name, match: ruleMatch{proto: p.number, from: -1, to: -1}})
	}
	for _, p := range ruleProtocols[:2] {
		add(ruleType{name: "all " + p.name, match: ruleMatch{proto: p.number, to: maxPort}})
		add(ruleType{name: p.name, match: ruleMatch{proto: p.number}, args: portArgs},
			"custom "+p.name, "custom "+p.name+" rule")
	}
	for _, s := range services {
		add(ruleType{name: s.name, match: ruleMatch{proto: s.proto, from: s.port, to: s.port}}, s.aliases...)
	}
	add(ruleType{name: "custom protocol", args: protocolArgs}, "custom", "protocol")
	addICMPTypes(add)
}

func addICMPTypes(add func(t ruleType, names ...string)) {
	v4, v6 := new(false), new(true)
	all4 := ruleMatch{proto: protoICMP, from: -1, to: -1, v6: v4, otherWant: "for IPv6 write icmpv6"}
	all6 := ruleMatch{proto: protoICMPv6, from: -1, to: -1, v6: v6, otherWant: "for IPv4 write icmp"}
	ping4 := ruleMatch{proto: protoICMP, from: 8, to: -1, v6: v4}
	ping6 := ruleMatch{proto: protoICMPv6, from: 128, to: 0, v6: v6, otherWant: "for IPv4 write ping"}
	either := all4
	either.other = &all6
	pingEither := ping4
	pingEither.other = &ping6

	add(ruleType{name: "ping", match: pingEither})
	add(ruleType{name: "ping6", match: ping6})
	add(ruleType{name: "icmp", match: either, args: icmpArgs}, "custom icmp")
	add(ruleType{name: "icmpv6", match: all6, args: icmpArgs}, "custom icmp - ipv6", "custom icmpv6")
	add(ruleType{name: "icmpv4", match: all4, args: icmpArgs}, "custom icmp - ipv4")
	add(ruleType{name: "all icmp", match: either})
	add(ruleType{name: "all icmp - ipv4", match: all4}, "all icmpv4")
	add(ruleType{name: "all icmp - ipv6", match: all6}, "all icmpv6")
}

// typeKey makes the console's "All ICMP - IPv4" and a person's all-icmp-ipv4 one.
func typeKey(name string) string { return typeReplacer.Replace(strings.ToLower(name)) }

var typeReplacer = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "")

// parseMatch reads "TYPE [PORTS]"; tokens is not empty.
func (r *ruleText) parseMatch(tokens []ruleToken) (ruleMatch, error) {
	for _, t := range tokens {
		if t.quoted {
			return ruleMatch{}, r.errorf(t.at, "only names of peers stand in quotes", "%q is in quotes", t.text)
		}
		if t.isComma() {
			return ruleMatch{}, r.errorf(t.at, "a rule has one port or one range; write a rule for each", "there is a comma before the peers")
		}
	}
	if m, ok, err := r.parseNumericProtocol(tokens); ok || err != nil {
		return m, err
	}
	typ, rest := findRuleType(tokens)
	switch {
	case typ == nil:
		return ruleMatch{}, r.unknownType(tokens[0])
	case typ.args == portArgs:
		return r.parsePorts(typ.match, typ.name, tokens[0], rest)
	case typ.args == icmpArgs && len(rest) > 0:
		return r.parseICMP(typ.match, rest)
	case typ.args == protocolArgs:
		return r.parseProtocolArg(typ.name, tokens[0], rest)
	case len(rest) > 0:
		return ruleMatch{}, r.errorf(rest[0].at, "leave it out, or write a protocol with ports: tcp 8080", "%s takes no ports", typ.name)
	}
	return typ.match, nil
}

// findRuleType finds the longest run of words that names a type, and gives what is left.
func findRuleType(tokens []ruleToken) (*ruleType, []ruleToken) {
	longest := 1
	for longest < len(tokens) && longest < 5 && !startsWithDigit(tokens[longest].text) {
		longest++
	}
	for n := longest; n > 0; n-- {
		if t, ok := ruleTypes[typeKey(joinTokens(tokens[:n], ""))]; ok {
			return &t, tokens[n:]
		}
	}
	return nil, nil
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// parseNumericProtocol reads a rule that begins with a protocol's number. It is taken literally:
// 1 and 58 do not follow the family of the peer.
func (r *ruleText) parseNumericProtocol(tokens []ruleToken) (ruleMatch, bool, error) {
	first, rest := tokens[0], tokens[1:]
	n, ok := parseNumber(first.text)
	if first.text == "-1" {
		n, ok = AllProtocols, true
	}
	if !ok {
		return ruleMatch{}, false, nil
	}
	m := ruleMatch{proto: n, from: -1, to: -1}
	var err error
	switch {
	case n > 255:
		err = r.errorf(first.at, "protocols are 0 to 255; for a port write tcp "+first.text, "protocol %d is out of range", n)
	case n == protoTCP || n == protoUDP:
		m, err = r.parsePorts(m, first.text, first, rest)
	case len(rest) > 0 && (n == protoICMP || n == protoICMPv6):
		m, err = r.parseICMP(m, rest)
	case len(rest) > 0:
		err = r.errorf(rest[0].at, "leave it out; only tcp and udp have ports", "protocol %d has no ports", n)
	}
	return m, true, err
}

func (r *ruleText) parseProtocolArg(name string, at ruleToken, rest []ruleToken) (ruleMatch, error) {
	if len(rest) == 0 {
		return ruleMatch{}, r.errorf(at.at, "write custom protocol 47, or gre", "%s needs a protocol", name)
	}
	if m, ok, err := r.parseNumericProtocol(rest); ok || err != nil {
		return m, err
	}
	if n, ok := protocolNumbers[strings.ToLower(rest[0].text)]; ok && len(rest) == 1 && n != protoTCP && n != protoUDP {
		return ruleMatch{proto: n, from: -1, to: -1}, nil
	}
	return ruleMatch{}, r.unknownType(rest[0])
}

func (r *ruleText) parsePorts(m ruleMatch, name string, typ ruleToken, rest []ruleToken) (ruleMatch, error) {
	if len(rest) == 0 {
		return m, r.errorf(typ.at+len(typ.text), fmt.Sprintf("write %s 8080, %[1]s 8000-8100 or, for every port, all %[1]s", ProtocolName(m.proto)),
			"%s needs a port", name)
	}
	low, high, isRange := strings.Cut(joinTokens(rest, ""), "-")
	if !isRange {
		high = low
	}
	var err error
	if m.from, err = r.parsePort(low, rest[0]); err != nil {
		return m, err
	}
	if m.to, err = r.parsePort(high, rest[0]); err != nil {
		return m, err
	}
	if m.from > m.to {
		return m, r.errorf(rest[0].at, fmt.Sprintf("write %d-%d", m.to, m.from), "the range %d-%d runs backwards", m.from, m.to)
	}
	return m, nil
}

func (r *ruleText) parsePort(s string, at ruleToken) (int, error) {
	n, ok := parseNumber(s)
	if !ok {
		return 0, r.errorf(at.at, "write a port such as 8080 or a range such as 8000-8100", "%q is not a port", s)
	}
	if n > maxPort {
		return 0, r.errorf(at.at, "ports are 0 to 65535", "port %d is out of range", n)
	}
	return n, nil
}

// parseICMP reads "TYPE", "TYPE/CODE" or a name. With them, m is of one family only.
func (r *ruleText) parseICMP(m ruleMatch, rest []ruleToken) (ruleMatch, error) {
	m.other = nil
	text, v6 := strings.ToLower(joinTokens(rest, "-")), m.proto == protoICMPv6
	if typ, code, ok := parseICMPName(v6, text); ok {
		m.from, m.to = typ, code
		return m, nil
	}
	typ, code, hasCode := strings.Cut(joinTokens(rest, ""), "/")
	n, ok := parseNumber(typ)
	c, okCode := parseNumber(code)
	if !ok || hasCode && !okCode {
		return m, r.errorf(rest[0].at, "write a type, a type and a code such as 3/4, or a name such as time-exceeded",
			"%q is not an %s type", joinTokens(rest, " "), ProtocolName(m.proto))
	}
	if n > 255 || c > 255 {
		return m, r.errorf(rest[0].at, "types and codes are 0 to 255", "%s is out of range", joinTokens(rest, ""))
	}
	m.from, m.to = n, -1
	if hasCode {
		m.to = c
	}
	return m, nil
}

// unknownType says that a word is no type and names the nearest one.
func (r *ruleText) unknownType(t ruleToken) error {
	want := "a type is tcp, udp, icmp, icmpv6, ping, all, a protocol's number, or a service such as ssh, http, postgres"
	if near := nearestType(t.text); near != "" {
		want = "did you mean " + near + "?"
	}
	return r.errorf(t.at, want, "%q is not a type", t.text)
}
