package vpc

import (
	"net/netip"
	"strings"
)

const wantPeer = "a peer is anywhere, anywhere-v6, a CIDR such as 10.0.0.0/8, the name of a security group, " +
	"sg-..., pl-... or prefix-list NAME"

// ruleKeywords are the peers that are words.
var ruleKeywords = map[string]netip.Prefix{
	"anywhere":      anywhere4,
	"anywhere-v4":   anywhere4,
	"anywhere-ipv4": anywhere4,
	"anywhere-v6":   anywhere6,
	"anywhere-ipv6": anywhere6,
}

const prefixListWord = "prefix-list"

// parsePeer reads one peer and gives a permission with only that field set.
func (r *ruleText) parsePeer(tokens []ruleToken) (Permission, error) {
	first := tokens[0]
	if first.is(prefixListWord) {
		return r.parsePrefixList(first, tokens[1:])
	}
	if len(tokens) > 1 {
		return Permission{}, r.errorf(tokens[1].at, `put a comma between peers, and a name with spaces in quotes: "my group"`,
			"%q stands directly after %q", tokens[1].text, first.text)
	}
	if first.quoted {
		return r.namedGroup(first)
	}
	if cidr, ok := ruleKeywords[strings.ToLower(first.text)]; ok {
		return Permission{CIDR: cidr}, nil
	}
	switch {
	case strings.HasPrefix(first.text, "sg-"):
		return Permission{GroupID: first.text}, nil
	case strings.HasPrefix(first.text, "pl-"):
		return Permission{PrefixListID: first.text}, nil
	}
	if cidr, ok := parseRuleCIDR(first.text); ok {
		return Permission{CIDR: cidr}, nil
	}
	return r.namedGroup(first)
}

func (r *ruleText) parsePrefixList(word ruleToken, rest []ruleToken) (Permission, error) {
	if len(rest) != 1 {
		return Permission{}, r.errorf(word.at, `write prefix-list NAME, with a name with spaces in quotes`,
			"prefix-list needs one name")
	}
	name := rest[0]
	if strings.HasPrefix(name.text, "pl-") && !name.quoted {
		return Permission{PrefixListID: name.text}, nil
	}
	if r.names.PrefixList != nil {
		if id, ok := r.names.PrefixList(name.text); ok && id != "" {
			return Permission{PrefixListID: id}, nil
		}
	}
	return Permission{}, r.errorf(name.at, "name one that exists, or give its id pl-...",
		"there is no prefix list %q", name.text)
}

func (r *ruleText) namedGroup(t ruleToken) (Permission, error) {
	if r.names.Group != nil {
		if id, ok := r.names.Group(t.text); ok && id != "" {
			return Permission{GroupID: id}, nil
		}
	}
	switch {
	case t.quoted:
		return Permission{}, r.errorf(t.at, "name one that exists, or give its id sg-...", "there is no security group %q", t.text)
	case strings.Trim(t.text, "0123456789./") == "" || strings.Contains(t.text, ":"):
		return Permission{}, r.errorf(t.at, "write an address and a prefix length, such as 10.0.0.0/8 or 2001:db8::/32",
			"%q is not a CIDR", t.text)
	case strings.EqualFold(t.text, "any"), strings.EqualFold(t.text, "everywhere"), t.text == "*":
		return Permission{}, r.errorf(t.at, "write anywhere (0.0.0.0/0) or anywhere-v6 (::/0)", "%q is not a peer", t.text)
	}
	return Permission{}, r.errorf(t.at, wantPeer, "there is no security group %q", t.text)
}

// parseRuleCIDR reads a CIDR, or an address as a CIDR of one host.
func parseRuleCIDR(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), a.Zone() == "" && !a.Is4In6()
	}
	p, err := netip.ParsePrefix(s)
	return p, err == nil && !p.Addr().Is4In6()
}
