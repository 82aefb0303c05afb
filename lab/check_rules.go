package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// defaultGroup is the name of the group that each VPC is made with.
const defaultGroup = "default"

// groupNames lists the security groups of the file, and default.
func (f *File) groupNames() []string {
	names := []string{}
	for _, g := range f.Groups {
		names = append(names, g.Name)
	}
	if !slices.Contains(names, defaultGroup) {
		names = append(names, defaultGroup)
	}
	return names
}

func (f *File) group(name string) *Group {
	i := slices.IndexFunc(f.Groups, func(g *Group) bool { return g.Name == name })
	if i < 0 {
		return nil
	}
	return f.Groups[i]
}

// peerWords mean something else in a short rule and cannot be the name of a group.
var peerWords = []string{"anywhere", "anywhere-v4", "anywhere-v6", "anywhere-ipv4", "anywhere-ipv6", "any", "everywhere", "from", "to", "prefix-list"}

func (c *checker) securityGroups() {
	seen := folded{}
	for _, g := range c.f.Groups {
		path := child("security-groups", g.Name)
		c.groups[g.Name] = g
		switch low := strings.ToLower(g.Name); {
		case slices.Contains(peerWords, low):
			c.fail(path, "choose another", "in a rule %s has a meaning of its own and cannot be the name of a security group", g.Name)
		case low == defaultGroup && g.Name != defaultGroup:
			c.fail(path, "write default if the VPC's own group is meant, or choose another", "%s is a name that AWS keeps for itself", g.Name)
		default:
			c.plainName(path, "security group", g.Name)
		}
		c.twice(path, g.Name, seen)
		c.vpcOf(g, path)
	}
	for _, g := range c.f.Groups {
		c.rules(g, g.Ingress, vpc.Ingress)
		c.rules(g, g.Egress, vpc.Egress)
	}
}

// vpcOf finds the VPC a group belongs to; the lab's only one where the file names none.
func (c *checker) vpcOf(g *Group, path string) {
	var names []string
	for _, v := range c.f.VPCs {
		names = append(names, v.Name)
		if v.Name == g.VPCName {
			g.VPC = v
		}
	}
	switch p := child(path, "vpc"); {
	case g.VPC != nil || !c.ok(p):
	case g.VPCName != "":
		c.fail(p, oneOf("VPCs", g.VPCName, names), "there is no VPC %s", short(g.VPCName))
	case len(names) == 1:
		g.VPC = c.f.VPCs[0]
	case len(names) > 1:
		c.fail(path, "write vpc: "+or(names), "the lab has several VPCs, and group %s says none", g.Name)
	}
}

// rulePath is the path of a group's rule.
func rulePath(g *Group, d vpc.Direction, i int) string {
	return element(child(child("security-groups", g.Name), d.String()), i)
}

func (c *checker) rules(g *Group, rules []Rule, d vpc.Direction) {
	seen := map[vpc.Permission]int{}
	for i := range rules {
		r := &rules[i]
		path := rulePath(g, d, i)
		r.Direction = d
		if !c.ok(path) {
			continue
		}
		if r.Short != "" {
			c.shortRule(g, r, path)
		} else {
			c.longRule(g, r, path)
		}
		for _, p := range r.Permissions {
			if line, twice := seen[p]; twice {
				c.fail(path, "take one of them out", "this is the same rule as the one on line %d", line)
				break
			}
			seen[p] = r.Pos.Line
		}
	}
}

// peers resolves the names of a rule's peers to themselves, and collects what keeps them from being peers.
type peers struct {
	c           *checker
	g           *Group
	wrong, hint string
	name        string // that is wrong
}

func (p *peers) set(name, hint, wrong string, args ...any) {
	if p.wrong == "" {
		p.name, p.wrong, p.hint = name, fmt.Sprintf(wrong, args...), hint
	}
}

func (p *peers) group(name string) (string, bool) {
	other, known := p.c.groups[name]
	switch {
	case !known && name != defaultGroup:
		p.set(name, oneOf("security groups", name, p.c.f.groupNames()), "there is no security group %s", short(name))
	case known && p.g.VPC != nil && other.VPC != nil && other.VPC != p.g.VPC && name != defaultGroup:
		p.set(name, "name a group of the same VPC, or write a CIDR", "group %s is in VPC %s and cannot be named in VPC %s", name, other.VPC.Name, p.g.VPC.Name)
	}
	return name, true
}

func (p *peers) prefixList(name string) (string, bool) {
	if _, known := p.c.lists[name]; !known {
		var names []string
		for _, l := range p.c.f.PrefixLists {
			names = append(names, l.Name)
		}
		p.set(name, oneOf("prefix lists", name, names), "there is no prefix list %s", short(name))
	}
	return name, true
}

// shortRule reads a rule in the short grammar. Its error points at the word that is wrong.
func (c *checker) shortRule(g *Group, r *Rule, path string) {
	if f := r.ruleFields; f.Protocol != "" || f.FromPort != nil || f.ToPort != nil || f.CIDR.IsValid() || f.Group != "" || f.PrefixList != "" {
		c.fail(path, "write either rule, or AWS's fields", "the rule is written twice, short and long")
		return
	}
	ps := peers{c: c, g: g}
	perms, err := vpc.Names{Group: ps.group, PrefixList: ps.prefixList}.ParseRule(r.Short, r.Direction)
	at := c.shortRuleSpan(r, path)
	if e, ok := errors.AsType[*vpc.RuleError](err); ok {
		wrong, right := splitList(r.Short, e.Problem, e.Want)
		c.badAt(within(at, r.Short, e.Column-1, ""), path, wrong, right)
		return
	}
	if ps.wrong != "" {
		c.badAt(within(at, r.Short, -1, ps.name), path, ps.wrong, ps.hint)
		return
	}
	if id := firstID(perms); id != "" {
		c.badAt(within(at, r.Short, -1, id), path, id+" is an id, and ids are made anew in each lab", "write the name that the lab file gives it")
		return
	}
	r.Words, r.Permissions = r.Short, perms
	c.description(r, path)
}

// splitList explains the piece of a rule that a comma cut off inside [ ].
func splitList(text, wrong, right string) (string, string) {
	if !strings.ContainsAny(text, " \t") {
		right += `; a rule with a comma stands in quotes inside [ ]`
	}
	return wrong, right
}

func (c *checker) shortRuleSpan(r *Rule, path string) span {
	if at, ok := c.spans[child(path, "rule")]; ok {
		return at
	}
	return c.at(path)
}

// within narrows a scalar's span to the word at a character offset, or to a given word (offset -1). A scalar that
// does not stand in the file as it is read (quotes inside, several lines) keeps its span.
func within(at span, text string, offset int, word string) span {
	runes := []rune(text)
	quotes := at.length - len(runes)
	if quotes != 0 && quotes != 2 {
		return at
	}
	if offset < 0 {
		i := strings.LastIndex(text, word)
		if i < 0 {
			return at
		}
		offset = len([]rune(text[:i]))
	}
	length := len([]rune(word))
	if word == "" {
		for offset+length < len(runes) && !strings.ContainsRune(" ,", runes[offset+length]) {
			length++
		}
	}
	return span{at.line, at.col + quotes/2 + offset, max(1, length)}
}

func firstID(perms []vpc.Permission) string {
	for _, p := range perms {
		if strings.HasPrefix(p.GroupID, "sg-") {
			return p.GroupID
		}
		if strings.HasPrefix(p.PrefixListID, "pl-") {
			return p.PrefixListID
		}
	}
	return ""
}

// longRule reads a rule in AWS's fields.
func (c *checker) longRule(g *Group, r *Rule, path string) {
	p, ok := c.longMatch(r, path)
	if !c.longPeer(g, r, &p, path) || !ok {
		return
	}
	p, err := p.Normalize()
	if e, isAWS := errors.AsType[*vpc.Error](err); isAWS {
		right := e.Hint
		switch {
		case right == "" && strings.HasPrefix(e.Message, "ICMP"):
			right = "types and codes are 0 to 255, or -1 for all"
		case right == "":
			right = "ports are 0 to 65535"
		}
		c.fail(child(path, longField[e.Field]), right, "%s", strings.TrimSuffix(e.Message, "."))
		return
	}
	r.Permissions = []vpc.Permission{p}
	r.Words = p.Words(r.Direction, func(name string) string { return name })
	c.description(r, path)
}

// longField names the field of a long rule by that of vpc.Permission.
var longField = map[string]string{"": "protocol", "Protocol": "protocol", "FromPort": "from-port", "ToPort": "to-port", "CIDR": "cidr"}

// longMatch reads protocol and ports. A port alone is a range of one; all protocols and ICMP may leave them out.
func (c *checker) longMatch(r *Rule, path string) (p vpc.Permission, ok bool) {
	if !c.ok(child(path, "protocol")) || !c.ok(child(path, "from-port")) || !c.ok(child(path, "to-port")) {
		return p, false
	}
	if r.Protocol == "" {
		c.fail(path, "write protocol: tcp, udp, icmp, icmpv6, a number, or -1 for all", "protocol is missing")
		return p, false
	}
	number, err := vpc.ParseProtocol(string(r.Protocol))
	if err != nil {
		c.fail(child(path, "protocol"), "write tcp, udp, icmp, icmpv6, a number from 0 to 255, or -1 for all", "there is no protocol %q", short(string(r.Protocol)))
		return p, false
	}
	p = vpc.Permission{Protocol: number, FromPort: -1, ToPort: -1}
	if r.FromPort == nil && r.ToPort == nil {
		if name := vpc.FormatProtocol(number); name == "tcp" || name == "udp" {
			c.fail(path, "write from-port and to-port; 0 and 65535 are all", "a %s rule has no ports", name)
			return p, false
		}
		return p, true
	}
	if r.FromPort == nil {
		c.fail(path, "write from-port, too", "to-port stands alone")
		return p, false
	}
	p.FromPort, p.ToPort = *r.FromPort, *r.FromPort
	if vpc.FormatProtocol(number) == "icmp" || vpc.FormatProtocol(number) == "icmpv6" {
		p.ToPort = -1 // every code of the type
	}
	if r.ToPort != nil {
		p.ToPort = *r.ToPort
	}
	return p, true
}

// longPeer reads the one peer of a long rule.
func (c *checker) longPeer(g *Group, r *Rule, p *vpc.Permission, path string) bool {
	if !c.ok(child(path, "cidr")) || !c.ok(child(path, "group")) || !c.ok(child(path, "prefix-list")) {
		return false
	}
	ps := peers{c: c, g: g}
	n, field := 0, ""
	if r.CIDR.IsValid() {
		n, p.CIDR = n+1, r.CIDR
	}
	if r.Group != "" {
		n, field = n+1, "group"
		p.GroupID, _ = ps.group(r.Group)
	}
	if r.PrefixList != "" {
		n, field = n+1, "prefix-list"
		p.PrefixListID, _ = ps.prefixList(r.PrefixList)
	}
	switch {
	case n == 0:
		c.fail(path, "write one of cidr, group and prefix-list", "the rule has no peer")
	case n > 1:
		c.fail(path, "write one of cidr, group and prefix-list, and a rule for each other", "the rule has %d peers", n)
	case ps.wrong != "":
		c.fail(child(path, field), ps.hint, "%s", ps.wrong)
	default:
		return true
	}
	return false
}

// description checks AWS's rules for the description of a rule (EC2 API, IpRange).
func (c *checker) description(r *Rule, path string) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-:/()#,@[]+=;{}!$*"
	p := child(path, "description")
	if c.ok(p) && (len(r.Description) > 255 || !onlyOf(r.Description, allowed)) {
		c.fail(p, "use at most 255 of a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=;{}!$*", "AWS does not take this description")
	}
}
