package vpc_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestAuthorize(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	specs := []vpc.RuleSpec{
		{Permission: tcp(443, peerCIDR("10.0.0.5/8")), Description: "clients", Words: "https from 10.0.0.0/8", Where: "lab.yaml:7"},
		{Permission: tcp(443, peerCIDR("2001:db8::/32"))},
		{Permission: tcp(443, peerList(f.list.ID))},
		{Permission: tcp(443, peerGroup(f.web.ID))},
		{Permission: vpc.Permission{Protocol: 47, FromPort: 1, ToPort: 1, CIDR: pfx("10.0.0.0/8")}},
	}
	var made []vpc.SecurityGroupRule
	f.do(t, func(tx *vpc.Tx) (err error) {
		made, err = tx.AuthorizeSecurityGroupIngress(vpc.AuthorizeSecurityGroupInput{GroupID: f.web.ID, Rules: specs})
		return err
	})
	v := f.store.View()
	g, _ := v.SecurityGroup(f.web.ID)
	if len(made) != len(specs) || !reflect.DeepEqual(g.Rules[len(g.Rules)-len(specs):], made) || len(g.Rules) != 2+len(specs) {
		t.Fatalf("made %d rules, the group has %d", len(made), len(g.Rules))
	}
	for i, r := range made {
		want := specs[i]
		if p, err := want.Normalize(); err != nil || r.Permission != p {
			t.Errorf("rule %d is %s", i, r.Message())
		}
		if r.GroupID != f.web.ID || r.Direction != vpc.Ingress || r.Default || r.Description != want.Description || r.Words != want.Words || r.Where != want.Where {
			t.Errorf("rule %d is %+v", i, r)
		}
		if got, in, ok := v.SecurityGroupRule(r.ID); !ok || *got != r || in != g {
			t.Errorf("rule %d is not found by its id", i)
		}
	}
	if made[0].CIDR != pfx("10.0.0.0/8") || made[4].FromPort != -1 {
		t.Errorf("not in normal form: %s, %s", made[0].Message(), made[4].Message())
	}
	refs := v.GroupsReferencing(f.web.ID)
	slices.SortFunc(refs, func(a, b *vpc.SecurityGroup) int { return strings.Compare(a.GroupName, b.GroupName) })
	if len(refs) != 2 || refs[0].GroupName != "app" || refs[1] != g {
		t.Errorf("%d groups reference web", len(refs))
	}
	if using := v.GroupsUsingPrefixList(f.list.ID); len(using) != 1 || using[0] != g {
		t.Errorf("%d groups use the list", len(using))
	}
}

func TestAuthorizeIsPerDirection(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	in := vpc.AuthorizeSecurityGroupInput{GroupID: f.web.ID, Rules: []vpc.RuleSpec{{Permission: tcp(80, peerCIDR("0.0.0.0/0"))}}}
	f.do(t, func(tx *vpc.Tx) error {
		if _, err := tx.AuthorizeSecurityGroupIngress(in); err != nil {
			return err
		}
		rules, err := tx.AuthorizeSecurityGroupEgress(in)
		if err == nil && rules[0].Direction != vpc.Egress {
			t.Errorf("direction %s", rules[0].Direction)
		}
		return err
	})
}

// many makes n rules for tcp ports from 1 on.
func many(n int, peer func(*vpc.Permission)) []vpc.RuleSpec {
	var out []vpc.RuleSpec
	for i := range n {
		out = append(out, vpc.RuleSpec{Permission: tcp(i+1, peer)})
	}
	return out
}

func TestAuthorizeErrors(t *testing.T) {
	ingress := func(rules func(f *fixture) []vpc.RuleSpec) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			return errOf(tx.AuthorizeSecurityGroupIngress(vpc.AuthorizeSecurityGroupInput{GroupID: f.app.ID, Rules: rules(f)}))
		}
	}
	rules := func(ps ...vpc.Permission) func(*fixture, *vpc.Tx) error {
		return ingress(func(*fixture) (out []vpc.RuleSpec) {
			for _, p := range ps {
				out = append(out, vpc.RuleSpec{Permission: p})
			}
			return out
		})
	}
	good := tcp(9, peerCIDR("0.0.0.0/0"))
	duplicate := func(peer string) string { return `the specified rule "peer: ` + peer + `, ALLOW" already exists` }
	quota := say("The maximum number of rules per security group has been reached.")
	refuse(t, vpc.Config{}, []refusal{
		{"duplicate", rules(good, tcp(22, peerCIDR("198.51.100.0/24"))), "InvalidPermission.Duplicate",
			say(duplicate("198.51.100.0/24, TCP, from port: 22, to port: 22")), "Rules[1]", ""},
		{"duplicate, CIDR not canonical", rules(tcp(22, peerCIDR("198.51.100.77/24"))), "InvalidPermission.Duplicate",
			say(duplicate("198.51.100.0/24, TCP, from port: 22, to port: 22")), "Rules[0]", ""},
		{"duplicate of a group", ingress(func(f *fixture) []vpc.RuleSpec {
			return []vpc.RuleSpec{{Permission: tcp(8080, peerGroup(f.web.ID)), Description: "another description"}}
		}), "InvalidPermission.Duplicate", func(f *fixture) string { return duplicate(f.web.ID + ", TCP, from port: 8080, to port: 8080") }, "Rules[0]", ""},
		{"duplicate of all", func(f *fixture, tx *vpc.Tx) error {
			p := vpc.Permission{Protocol: vpc.AllProtocols, FromPort: 1, ToPort: 2, CIDR: pfx("0.0.0.0/0")} // the ports do not matter
			return errOf(tx.AuthorizeSecurityGroupEgress(vpc.AuthorizeSecurityGroupInput{GroupID: f.app.ID, Rules: []vpc.RuleSpec{{Permission: p}}}))
		}, "InvalidPermission.Duplicate", say(duplicate("0.0.0.0/0, ALL")), "Rules[0]", ""},
		{"twice in one call", rules(good, good), "InvalidParameterValue", say("The same permission must not appear multiple times"), "Rules[1]", "TCP, from port: 9"},
		{"no peer", rules(vpc.Permission{Protocol: 6, FromPort: 1, ToPort: 1}), "InvalidParameterValue",
			say("exactly one of remote-security-group, remote-ip-range, remote-ipv6-range, or prefix-list-id must be present"), "Rules[0]", ""},
		{"a bad port in the middle", rules(good, tcp(70000, peerCIDR("0.0.0.0/0")), tcp(10, peerCIDR("0.0.0.0/0"))), "InvalidParameterValue",
			say("TCP/UDP (from) port (70000) out of range"), "Rules[1].FromPort", ""},
		{"no such group as peer", rules(tcp(1, peerGroup(absent("sg")))), "InvalidGroup.NotFound",
			say("The security group 'sg-0123456789abcdef0' does not exist"), "Rules[0].GroupID", ""},
		{"a name as peer", rules(tcp(1, peerGroup("web"))), "InvalidGroupId.Malformed", say(`Invalid id: "web" (expecting "sg-...")`), "Rules[0].GroupID", ""},
		{"a group of another VPC as peer", ingress(func(f *fixture) []vpc.RuleSpec {
			return []vpc.RuleSpec{{Permission: tcp(1, peerGroup(f.foreign.ID))}}
		}), "InvalidGroup.NotFound", say("You have specified two resources that belong to different networks."), "Rules[0].GroupID", "(web)"},
		{"no such prefix list", rules(tcp(1, peerList(absent("pl")))), "InvalidPrefixListID.NotFound",
			say("The prefix list ID 'pl-0123456789abcdef0' does not exist"), "Rules[0].PrefixListID", ""},
		{"a bad prefix list id", rules(tcp(1, peerList("offices"))), "InvalidPrefixListId.Malformed",
			say(`Invalid id: "offices" (expecting "pl-...")`), "Rules[0].PrefixListID", ""},
		{"an ampersand in the description", ingress(func(*fixture) []vpc.RuleSpec { return []vpc.RuleSpec{{Permission: good, Description: "a & b"}} }),
			"InvalidParameterValue", say("Invalid rule description. Valid descriptions are strings less than 256 characters from the following set: " +
				"a-zA-Z0-9. _-:/()#,@[]+=;{}!$*"), "Rules[0].Description", ""},
		{"no rules", rules(), "MissingParameter", say("The request must contain the parameter ipPermissions"), "Rules", ""},
		{"no such group", func(_ *fixture, tx *vpc.Tx) error {
			return errOf(tx.AuthorizeSecurityGroupIngress(vpc.AuthorizeSecurityGroupInput{GroupID: absent("sg"), Rules: []vpc.RuleSpec{{Permission: good}}}))
		}, "InvalidGroup.NotFound", say("The security group 'sg-0123456789abcdef0' does not exist"), "GroupID", ""},
		// The app group has one IPv4 rule and one group reference already.
		{"the 61st for IPv4", ingress(func(*fixture) []vpc.RuleSpec { return many(59, peerCIDR("0.0.0.0/0")) }),
			"RulesPerSecurityGroupLimitExceeded", quota, "Rules", "61 ingress rules for IPv4 and 1 for IPv6"},
		{"the 61st for IPv6", ingress(func(*fixture) []vpc.RuleSpec { return many(60, peerCIDR("::/0")) }),
			"RulesPerSecurityGroupLimitExceeded", quota, "Rules", "2 ingress rules for IPv4 and 61 for IPv6"},
		{"a group counts in both families", ingress(func(f *fixture) []vpc.RuleSpec { return many(59, peerGroup(f.app.ID)) }),
			"RulesPerSecurityGroupLimitExceeded", quota, "Rules", "61 ingress rules for IPv4 and 60 for IPv6"},
		{"a prefix list counts as its maximum", ingress(func(f *fixture) []vpc.RuleSpec { return many(6, peerList(f.list.ID)) }),
			"RulesPerSecurityGroupLimitExceeded", quota, "Rules", "62 ingress rules for IPv4 and 1 for IPv6"},
	})
}

// TestRuleQuota is SG-04 of the AWS reference: 60 rules for IPv4 and 60 for IPv6 in each direction.
func TestRuleQuota(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		for _, cidr := range []string{"0.0.0.0/0", "::/0"} {
			in := vpc.AuthorizeSecurityGroupInput{GroupID: f.web.ID, Rules: many(60, peerCIDR(cidr))}
			if _, err := tx.AuthorizeSecurityGroupIngress(in); err != nil {
				return err
			}
			in.Rules = in.Rules[:59] // egress has a default rule for each family
			if _, err := tx.AuthorizeSecurityGroupEgress(in); err != nil {
				return err
			}
			one := vpc.AuthorizeSecurityGroupInput{GroupID: f.web.ID, Rules: []vpc.RuleSpec{{Permission: tcp(61, peerCIDR(cidr))}}}
			if _, err := tx.AuthorizeSecurityGroupIngress(one); vpc.ErrorCode(err) != "RulesPerSecurityGroupLimitExceeded" {
				t.Errorf("the 61st ingress rule of %s: %v", cidr, err)
			}
			if _, err := tx.AuthorizeSecurityGroupEgress(one); vpc.ErrorCode(err) != "RulesPerSecurityGroupLimitExceeded" {
				t.Errorf("the 61st egress rule of %s: %v", cidr, err)
			}
		}
		return nil
	})
}

func TestRevokeByPermission(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		res, err := tx.RevokeSecurityGroupIngress(vpc.RevokeSecurityGroupInput{GroupID: f.app.ID, Permissions: []vpc.Permission{
			tcp(22, peerCIDR("198.51.100.1/24")), tcp(8080, peerGroup(f.web.ID)),
		}})
		if err != nil {
			return err
		}
		if len(res.Revoked) != 2 || len(res.Unknown) != 0 || res.Revoked[0].Words != "tcp 8080 from web" {
			t.Errorf("result %+v", res)
		}
		if _, _, ok := tx.SecurityGroupRule(res.Revoked[0].ID); ok {
			t.Error("a revoked rule is still found")
		}
		// As Terraform does with every new group: ports 0 to 0 with protocol -1 match the rule without ports.
		p := vpc.Permission{Protocol: vpc.AllProtocols, FromPort: 0, ToPort: 0, CIDR: pfx("0.0.0.0/0")}
		res, err = tx.RevokeSecurityGroupEgress(vpc.RevokeSecurityGroupInput{GroupID: f.app.ID, Permissions: []vpc.Permission{p}})
		if err == nil && len(res.Revoked) != 1 {
			t.Errorf("result %+v", res)
		}
		return err
	})
	g, _ := f.store.View().SecurityGroup(f.app.ID)
	if len(g.Rules) != 1 || g.Rules[0].CIDR != pfx("::/0") {
		t.Errorf("left: %+v", g.Rules)
	}
	if len(f.store.View().GroupsReferencing(f.web.ID)) != 0 {
		t.Error("web is still referenced")
	}
}

func TestRevokeByRuleID(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	g, _ := f.store.View().SecurityGroup(f.app.ID)
	f.do(t, func(tx *vpc.Tx) error {
		res, err := tx.RevokeSecurityGroupIngress(vpc.RevokeSecurityGroupInput{GroupID: g.ID, RuleIDs: []string{g.Rules[3].ID, g.Rules[3].ID}})
		if err == nil && (len(res.Revoked) != 1 || res.Revoked[0] != g.Rules[3]) {
			t.Errorf("result %+v", res)
		}
		return err
	})
	now, _ := f.store.View().SecurityGroup(f.app.ID)
	if !reflect.DeepEqual(now.Rules, g.Rules[:3]) || len(g.Rules) != 4 {
		t.Errorf("left: %+v", now.Rules)
	}
}

func TestRevokeInDefaultVpc(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx("172.31.0.0/16"), IsDefault: true})
		if err != nil {
			return err
		}
		res, err := tx.RevokeSecurityGroupIngress(vpc.RevokeSecurityGroupInput{GroupID: v.DefaultSecurityGroup,
			Permissions: []vpc.Permission{tcp(22, peerCIDR("10.1.2.3/8")), all(peerGroup(v.DefaultSecurityGroup))}})
		if err == nil && (len(res.Revoked) != 1 || !reflect.DeepEqual(res.Unknown, []vpc.Permission{tcp(22, peerCIDR("10.0.0.0/8"))})) {
			t.Errorf("result %+v", res)
		}
		return err
	})
}

func TestRevokeErrors(t *testing.T) {
	ingress := func(edit func(*fixture, *vpc.RevokeSecurityGroupInput)) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			in := vpc.RevokeSecurityGroupInput{GroupID: f.app.ID}
			edit(f, &in)
			return errOf(tx.RevokeSecurityGroupIngress(in))
		}
	}
	const notFound = "The specified rule does not exist in this security group"
	ssh := tcp(22, peerCIDR("198.51.100.0/24"))
	rule := func(f *fixture, i int) string { g, _ := f.store.View().SecurityGroup(f.app.ID); return g.Rules[i].ID }
	refuse(t, vpc.Config{}, []refusal{
		{"one of two is not there", ingress(func(_ *fixture, in *vpc.RevokeSecurityGroupInput) {
			in.Permissions = []vpc.Permission{ssh, tcp(23, peerCIDR("198.51.100.0/24"))}
		}), "InvalidPermission.NotFound", say(notFound), "Permissions", "from port: 23"},
		{"a wider CIDR", ingress(func(_ *fixture, in *vpc.RevokeSecurityGroupInput) {
			in.Permissions = []vpc.Permission{tcp(22, peerCIDR("198.51.0.0/16"))}
		}), "InvalidPermission.NotFound", say(notFound), "Permissions", ""},
		{"of the other direction", func(f *fixture, tx *vpc.Tx) error {
			return errOf(tx.RevokeSecurityGroupEgress(vpc.RevokeSecurityGroupInput{GroupID: f.app.ID, Permissions: []vpc.Permission{ssh}}))
		}, "InvalidPermission.NotFound", say(notFound), "Permissions", "egress"},
		{"a malformed permission", ingress(func(_ *fixture, in *vpc.RevokeSecurityGroupInput) {
			in.Permissions = []vpc.Permission{ssh, {Protocol: 300, CIDR: pfx("0.0.0.0/0")}}
		}), "InvalidParameterValue", say("Invalid value '300' for IP protocol. Unknown protocol."), "Permissions[1].Protocol", ""},
		{"nothing", ingress(func(*fixture, *vpc.RevokeSecurityGroupInput) {}),
			"MissingParameter", say("The request must contain the parameter ipPermissions"), "Permissions", ""},
		{"both ways", ingress(func(f *fixture, in *vpc.RevokeSecurityGroupInput) {
			in.Permissions, in.RuleIDs = []vpc.Permission{ssh}, []string{rule(f, 2)}
		}), "InvalidParameterCombination", say("Give permissions or security group rule IDs, not both."), "RuleIDs", ""},
		{"no such rule", ingress(func(f *fixture, in *vpc.RevokeSecurityGroupInput) { in.RuleIDs = []string{rule(f, 2), absent("sgr")} }),
			"InvalidSecurityGroupRuleId.NotFound", say("The security group rule ID 'sgr-0123456789abcdef0' does not exist"), "RuleIDs[1]", ""},
		{"a rule of the other direction", ingress(func(f *fixture, in *vpc.RevokeSecurityGroupInput) { in.RuleIDs = []string{rule(f, 0)} }),
			"InvalidSecurityGroupRuleId.NotFound", func(f *fixture) string {
				return fmt.Sprintf("The security group rule ID '%s' does not exist", rule(f, 0))
			}, "RuleIDs[0]", ""},
		{"a bad rule id", ingress(func(_ *fixture, in *vpc.RevokeSecurityGroupInput) { in.RuleIDs = []string{"sg-0123456789abcdef0"} }),
			"InvalidSecurityGroupRuleId.Malformed", say(`Invalid id: "sg-0123456789abcdef0" (expecting "sgr-...")`), "RuleIDs[0]", ""},
		{"no such group", ingress(func(_ *fixture, in *vpc.RevokeSecurityGroupInput) { in.GroupID = absent("sg") }),
			"InvalidGroup.NotFound", say("The security group 'sg-0123456789abcdef0' does not exist"), "GroupID", ""},
	})
}
