package lab

import (
	"fmt"
	"slices"

	"github.com/vpclab/vpclab/vpc"
)

// anywhere is what a group's default egress rules permit.
var anywhere = []vpc.Permission{
	{Protocol: vpc.AllProtocols, FromPort: -1, ToPort: -1, CIDR: prefixOf("0.0.0.0/0")},
	{Protocol: vpc.AllProtocols, FromPort: -1, ToPort: -1, CIDR: prefixOf("::/0")},
}

// groupRules is how a group's rules differ from the file's.
type groupRules struct {
	key    groupKey
	at     Pos
	path   string
	gone   bool                    // the group goes, too
	revoke []vpc.SecurityGroupRule // by id
	retext []vpc.SecurityGroupRule // with their new words and place
	add    []*wantedRule
	// clear are directions of a group not made yet whose rules by AWS have to go.
	clear []vpc.Direction
}

// wantedRule is a rule of the file, or one that a group has by default.
type wantedRule struct {
	*Rule
	path  string
	perms []vpc.Permission // by name, those that are missing
}

// matchRules compares the rules of every group of the lab: the file's, the default groups of its VPCs, and those that
// go, which lose all rules so that they can name each other.
func (p *planner) matchRules() []*groupRules {
	var all []*groupRules
	for _, v := range p.f.VPCs {
		if g := p.f.group(defaultGroup); g == nil || g.VPC != v {
			all = append(all, p.matchGroup(&Group{Name: defaultGroup, VPC: v, Pos: v.Pos}))
		}
	}
	for _, g := range p.f.Groups {
		all = append(all, p.matchGroup(g))
	}
	goneGroups := p.goneGroups()
	for _, e := range p.existing.groups {
		if p.goneVPCs[e.VPCID] || slices.Contains(goneGroups, e) {
			all = append(all, &groupRules{key: groupKey{p.vpcName(e.VPCID), e.GroupName}, gone: true, revoke: e.Rules})
		}
	}
	return all
}

func (p *planner) matchGroup(g *Group) *groupRules {
	out := &groupRules{key: groupKey{g.VPC.Name, g.Name}, at: g.Pos, path: child("security-groups", g.Name)}
	if e, ok := p.view.SecurityGroup(p.groups[out.key]); ok {
		p.matchDirection(out, g, vpc.Ingress, e.Rules)
		p.matchDirection(out, g, vpc.Egress, e.Rules)
		return out
	}
	if g.Ingress != nil {
		out.clear = append(out.clear, vpc.Ingress)
	}
	if g.Egress != nil {
		out.clear = append(out.clear, vpc.Egress)
	}
	out.add = append(p.written(g, vpc.Ingress), p.written(g, vpc.Egress)...)
	return out
}

// written are a group's rules in one direction as the file has them.
func (p *planner) written(g *Group, d vpc.Direction) []*wantedRule {
	rules := g.Ingress
	if d == vpc.Egress {
		rules = g.Egress
	}
	var out []*wantedRule
	for i := range rules {
		path := rulePath(g, d, i)
		out = append(out, &wantedRule{Rule: &rules[i], path: path, perms: rules[i].Permissions})
	}
	return out
}

// matchDirection compares a group that stays. A rule with the same permission and words stays; where only the place
// in the file is another, it gets that and keeps its id.
func (p *planner) matchDirection(out *groupRules, g *Group, d vpc.Direction, have []vpc.SecurityGroupRule) {
	if (d == vpc.Ingress && g.Ingress == nil) || (d == vpc.Egress && g.Egress == nil) {
		p.matchDefaults(out, g, d, have)
		return
	}
	matched := map[string]bool{} // ids
	for _, w := range p.written(g, d) {
		w.perms = nil
		for _, perm := range w.Permissions {
			i := slices.IndexFunc(have, func(r vpc.SecurityGroupRule) bool {
				return r.Direction == d && r.Words == w.Words && p.samePermission(out.key.vpc, perm, r.Permission)
			})
			if i < 0 {
				w.perms = append(w.perms, perm)
				continue
			}
			matched[have[i].ID] = true
			if r := have[i]; r.Where != w.Pos.String() || r.Description != w.Description {
				r.Where, r.Description = w.Pos.String(), w.Description
				out.retext = append(out.retext, r)
			}
		}
		if len(w.perms) > 0 {
			out.add = append(out.add, w)
		}
	}
	for _, r := range have {
		if r.Direction == d && !matched[r.ID] {
			out.revoke = append(out.revoke, r)
		}
	}
}

// matchDefaults compares a direction that the file leaves to AWS.
func (p *planner) matchDefaults(out *groupRules, g *Group, d vpc.Direction, have []vpc.SecurityGroupRule) {
	var want []vpc.Permission
	switch {
	case d == vpc.Egress && g.VPC.CIDR6.IsValid():
		want = anywhere
	case d == vpc.Egress:
		want = anywhere[:1]
	case g.Name == defaultGroup:
		want = []vpc.Permission{{Protocol: vpc.AllProtocols, FromPort: -1, ToPort: -1, GroupID: defaultGroup}}
	}
	missing := slices.Clone(want)
	for _, r := range have {
		if r.Direction != d {
			continue
		}
		same := func(w vpc.Permission) bool { return p.samePermission(out.key.vpc, w, r.Permission) }
		if r.Words == "" && slices.ContainsFunc(want, same) {
			missing = slices.DeleteFunc(missing, same)
			continue
		}
		out.revoke = append(out.revoke, r)
	}
	if len(missing) > 0 {
		r := &Rule{Direction: d, Pos: Pos{}}
		out.add = append(out.add, &wantedRule{Rule: r, path: out.path, perms: missing})
	}
}

// samePermission compares a permission of the file, by name, with one of the model, by id.
func (p *planner) samePermission(vpcName string, want, have vpc.Permission) bool {
	named, ok := p.resolve(vpcName, want)
	return ok && named == have
}

// resolve puts ids for the names of a permission; false if there is no such object yet.
func (p *planner) resolve(vpcName string, perm vpc.Permission) (vpc.Permission, bool) {
	ok := true
	if perm.GroupID != "" {
		perm.GroupID, ok = p.groups[groupKey{vpcName, perm.GroupID}]
	}
	if perm.PrefixListID != "" {
		perm.PrefixListID, ok = p.out.PrefixLists[perm.PrefixListID]
	}
	return perm, ok
}

func ruleChange(a Action, key groupKey, d vpc.Direction, words string, at Pos) Change {
	return Change{Action: a, Kind: KindRule, Name: key.group + " " + d.String(), Detail: words, Where: at}
}

// revokeRules takes rules away, and gives those that stay their new place in the file.
func (p *planner) revokeRules(all []*groupRules) {
	for _, g := range all {
		for _, r := range g.revoke {
			c := ruleChange(Delete, g.key, r.Direction, RuleWords(p.view, &r), Pos{})
			c.ID = r.ID
			p.add(op{change: c, silent: g.gone, do: func(tx *vpc.Tx) error { return revoke(tx, r) }})
		}
		for _, r := range g.retext {
			p.add(op{change: Change{Kind: KindRule, Name: g.key.group}, silent: true, at: g.at, path: g.path, do: func(tx *vpc.Tx) error {
				if err := revoke(tx, r); err != nil {
					return err
				}
				return tx.RestoreSecurityGroupRules(r.GroupID, []vpc.SecurityGroupRule{r})
			}})
		}
	}
}

func revoke(tx *vpc.Tx, r vpc.SecurityGroupRule) error {
	call := tx.RevokeSecurityGroupIngress
	if r.Direction == vpc.Egress {
		call = tx.RevokeSecurityGroupEgress
	}
	_, err := call(vpc.RevokeSecurityGroupInput{GroupID: r.GroupID, RuleIDs: []string{r.ID}})
	return err
}

// authorizeRules adds the missing rules, once all groups exist.
func (p *planner) authorizeRules(all []*groupRules) {
	for _, g := range all {
		if len(g.clear) > 0 {
			p.add(op{change: Change{Kind: vpc.KindSecurityGroup, Name: g.key.group}, silent: true, at: g.at, path: g.path,
				do: func(tx *vpc.Tx) error { return p.clear(tx, g) }})
		}
		for _, w := range g.add {
			at := w.Pos
			if at.Line == 0 {
				at = g.at
			}
			p.add(op{change: ruleChange(Add, g.key, w.Direction, p.wantedWords(w), w.Pos), at: at, path: w.path,
				do: func(tx *vpc.Tx) error { return p.authorize(tx, g.key, w) }})
		}
	}
}

// wantedWords of a rule that the file leaves to AWS are the canonical ones.
func (p *planner) wantedWords(w *wantedRule) string {
	if w.Words != "" {
		return w.Words
	}
	return w.perms[0].Words(w.Direction, func(name string) string { return name })
}

// clear takes the rules away that AWS gave a new group in the directions in which the file has its own.
func (p *planner) clear(tx *vpc.Tx, g *groupRules) error {
	made, ok := tx.SecurityGroup(p.groups[g.key])
	if !ok {
		return fmt.Errorf("group %s was not made", g.key.group)
	}
	for _, r := range made.Rules {
		if slices.Contains(g.clear, r.Direction) {
			if err := revoke(tx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *planner) authorize(tx *vpc.Tx, key groupKey, w *wantedRule) error {
	in := vpc.AuthorizeSecurityGroupInput{GroupID: p.groups[key]}
	for _, perm := range w.perms {
		named, ok := p.resolve(key.vpc, perm)
		if !ok {
			return fmt.Errorf("the peer of rule %q was not made", w.Words)
		}
		in.Rules = append(in.Rules, vpc.RuleSpec{Permission: named, Description: w.Description, Words: w.Words, Where: w.Pos.String()})
	}
	call := tx.AuthorizeSecurityGroupIngress
	if w.Direction == vpc.Egress {
		call = tx.AuthorizeSecurityGroupEgress
	}
	_, err := call(in)
	return err
}
