package vpc

import (
	"fmt"
	"slices"
)

// Names resolves what a rule calls by name. A nil function knows no name.
type Names struct {
	Group, PrefixList func(name string) (id string, ok bool)
}

// ParseRule is Names{Group: names}.ParseRule(text, d).
func ParseRule(text string, d Direction, names func(group string) (id string, ok bool)) ([]Permission, error) {
	return Names{Group: names}.ParseRule(text, d)
}

// ParseRule reads a rule as a person writes it:
//
//	TYPE [PORTS] from|to PEER[, PEER ...]
//
//	tcp 8080 from web                  a port; the peer is a group by name
//	udp 5000-5100 from 10.0.0.0/8      a range of ports
//	all tcp from sg-0123456789abcdef0  every port
//	http from anywhere                 a type of the AWS console; anywhere is 0.0.0.0/0 alone
//	ping from anywhere-v6              ::/0
//	icmp 3/4 from 10.0.0.0/8           an ICMP type and code; without them, all
//	icmpv6 packet-too-big from ::/0    or their name
//	gre from prefix-list partners      another protocol, by name or number; it has no ports
//	all to anywhere                    everything; an egress rule says "to"
//
// It gives one normalized permission for each peer. Words and names of types are the same in
// upper and lower case; names of groups are not. A name with a space, a comma, or the form of
// another peer stands in quotes. A bare address means that one host. "ping" and "icmp" alone
// follow the family of the peer's CIDR and mean IPv4 for a group or prefix list; ping6 and icmpv6
// say IPv6.
//
// The error is a *RuleError.
func (n Names) ParseRule(text string, d Direction) ([]Permission, error) {
	tokens, err := tokenizeRule(text)
	if err != nil {
		return nil, err
	}
	r := ruleText{text: text, names: n}
	at := slices.IndexFunc(tokens, func(t ruleToken) bool { return t.is("from") || t.is("to") })
	if err := r.checkFrame(tokens, at, d); err != nil {
		return nil, err
	}
	m, err := r.parseMatch(tokens[:at])
	if err != nil {
		return nil, err
	}
	return r.parsePeers(m, tokens[at], tokens[at+1:])
}

// ruleText is a rule on its way from text to permissions.
type ruleText struct {
	text  string
	names Names
}

func (r *ruleText) errorf(at int, want, format string, args ...any) error {
	return ruleError(r.text, at, fmt.Sprintf(format, args...), want)
}

// preposition is the word before the peers.
func preposition(d Direction) string {
	if d == Egress {
		return "to"
	}
	return "from"
}

// checkFrame checks the parts of "TYPE from PEER"; at is the index of from or to, or -1.
func (r *ruleText) checkFrame(tokens []ruleToken, at int, d Direction) error {
	word := preposition(d)
	example := "write it as: tcp 8080 " + word + " web"
	switch {
	case len(tokens) == 0:
		return r.errorf(0, example, "the rule is empty")
	case at < 0:
		return r.errorf(len(r.text), example, "%q and the peers are missing", word)
	case at == 0:
		return r.errorf(tokens[0].at, example, "the type is missing before %q", tokens[0].text)
	case !tokens[at].is(word):
		return r.errorf(tokens[at].at, fmt.Sprintf("an %s rule says %q", d, word), "%q is for the other direction", tokens[at].text)
	}
	return nil
}

// parsePeers gives a permission for each peer after the preposition.
func (r *ruleText) parsePeers(m ruleMatch, prep ruleToken, tokens []ruleToken) ([]Permission, error) {
	var perms []Permission
	for more := true; more; {
		peer := tokens
		comma := slices.IndexFunc(tokens, ruleToken.isComma)
		if more = comma >= 0; more {
			peer, tokens = tokens[:comma], tokens[comma+1:]
		}
		if len(peer) == 0 {
			return nil, r.errorf(len(r.text), wantPeer, "a peer is missing after %q", lastText(prep, perms))
		}
		p, err := r.parsePeer(peer)
		if err != nil {
			return nil, err
		}
		if p, err = r.combine(m, p, peer[0]); err != nil {
			return nil, err
		}
		if slices.Contains(perms, p) {
			return nil, r.errorf(peer[0].at, "name each peer once", "the peer %s stands here twice", joinTokens(peer, " "))
		}
		perms = append(perms, p)
	}
	return perms, nil
}

func lastText(prep ruleToken, perms []Permission) string {
	if len(perms) == 0 {
		return prep.text
	}
	return ","
}

// combine puts a match and a peer together; "ping" and "icmp" take the family of the peer's CIDR.
func (r *ruleText) combine(m ruleMatch, peer Permission, at ruleToken) (Permission, error) {
	if v6 := peer.CIDR.Addr().Is6(); peer.CIDR.IsValid() && m.v6 != nil && *m.v6 != v6 {
		if m.other == nil {
			return Permission{}, r.errorf(at.at, m.otherWant, "%s never matches an %s peer", ProtocolName(m.proto), familyName(v6))
		}
		m = *m.other
	}
	peer.Protocol, peer.FromPort, peer.ToPort = m.proto, m.from, m.to
	p, err := peer.Normalize()
	if err != nil {
		return Permission{}, r.errorf(0, "see the other messages of AWS's API", "%v", err)
	}
	return p, nil
}

func familyName(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}
