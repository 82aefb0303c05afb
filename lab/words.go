package lab

import (
	"net/netip"

	"github.com/vpclab/vpclab/vpc"
)

// RuleWords are the words of a rule for people: those it was written in, else the canonical ones, with the names that
// groups and prefix lists have in the view.
func RuleWords(view *vpc.View, r *vpc.SecurityGroupRule) string {
	if r.Words != "" {
		return r.Words
	}
	return r.Permission.Words(r.Direction, func(id string) string {
		if g, ok := view.SecurityGroup(id); ok {
			return g.GroupName
		}
		if l, ok := view.PrefixList(id); ok {
			return l.Name
		}
		return ""
	})
}

func prefixOf(s string) netip.Prefix { return netip.MustParsePrefix(s) }
