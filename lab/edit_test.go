package lab

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestEdit(t *testing.T) {
	s := newStore()
	out := apply(t, s, parseText(t, planBase))
	web := func() *vpc.SecurityGroup { g, _ := s.View().SecurityGroup(out.Groups["main/web"]); return g }
	before := len(web().Rules)

	var added, removed []vpc.SecurityGroupRule
	update(t, s, func(tx *vpc.Tx) (err error) {
		added, err = Edit{Group: "web", Rule: "https from app, prefix-list partners", Where: "lab.yaml:99"}.Authorize(tx, "shop")
		return err
	})
	if len(added) != 2 || len(web().Rules) != before+2 || added[0].Words != "https from app, prefix-list partners" || added[0].Where != "lab.yaml:99" ||
		added[0].Permission.GroupID != out.Groups["main/app"] || added[1].PrefixListID != out.PrefixLists["partners"] {
		t.Errorf("added %+v", added)
	}
	update(t, s, func(tx *vpc.Tx) (err error) { // in other words
		removed, err = Edit{Group: "web", Rule: "tcp 443 from app"}.Revoke(tx, "shop")
		return err
	})
	if len(removed) != 1 || removed[0].ID != added[0].ID || len(web().Rules) != before+1 {
		t.Errorf("removed %+v", removed)
	}
	update(t, s, func(tx *vpc.Tx) (err error) { // by id
		removed, err = Edit{Group: "web", Rule: added[1].ID}.Revoke(tx, "shop")
		return err
	})
	if len(removed) != 1 || removed[0].ID != added[1].ID || len(web().Rules) != before {
		t.Errorf("removed %+v", removed)
	}
	update(t, s, func(tx *vpc.Tx) (err error) { // egress, by the group's id
		removed, err = Edit{Group: web().ID, Rule: "all to anywhere", Direction: vpc.Egress}.Revoke(tx, "shop")
		return err
	})
	if len(removed) != 1 || !removed[0].Default {
		t.Errorf("removed %+v", removed)
	}
}

func TestEditErrors(t *testing.T) {
	s := newStore()
	apply(t, s, parseText(t, planBase))
	apply(t, s, parseText(t, "lab: two\nvpcs:\n  a: { cidr: 10.0.0.0/16 }\n  b: { cidr: 10.0.0.0/16 }\n"))
	update(t, s, func(tx *vpc.Tx) error { // in a default VPC AWS says nothing about a rule that is not there
		_, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: netip.MustParsePrefix("172.31.0.0/16"), IsDefault: true, Owner: vpc.Owner{Lab: "dflt"}})
		return err
	})
	for _, c := range []struct {
		name, lab string
		edit      Edit
		revoke    bool
		code      string
		want      string // message and hint
	}{
		{"no such group", "shop", Edit{Group: "wbe", Rule: "http from anywhere"}, false, "InvalidGroup.NotFound",
			"there is no security group wbe; did you mean web?"},
		{"group of another lab", "two", Edit{Group: "web", Rule: "http from anywhere"}, false, "InvalidGroup.NotFound",
			"there is no security group web; the security groups are default"},
		{"two groups", "two", Edit{Group: "default", Rule: "http from anywhere"}, false, "InvalidParameterValue",
			"several VPCs have a security group default; give its id"},
		{"bad rule", "shop", Edit{Group: "web", Rule: "http form anywhere"}, false, "InvalidPermission.Malformed", ""},
		{"peer unknown", "shop", Edit{Group: "web", Rule: "http from nobody"}, false, "InvalidPermission.Malformed", ""},
		{"there already", "shop", Edit{Group: "web", Rule: "tcp 80 from anywhere"}, false, "InvalidPermission.Duplicate", ""},
		{"not there", "shop", Edit{Group: "web", Rule: "https from anywhere"}, true, "InvalidPermission.NotFound",
			`group web has no ingress rule "https from anywhere"; it has http from anywhere; ssh from prefix-list partners`},
		{"none there", "shop", Edit{Group: "app", Rule: "https to anywhere", Direction: vpc.Egress}, true, "InvalidPermission.NotFound",
			`group app has no egress rule "https to anywhere"; it has none`},
		{"not there, default VPC", "dflt", Edit{Group: "default", Rule: "https from anywhere"}, true, "InvalidPermission.NotFound",
			`group default has no ingress rule "https from anywhere"; it has all from default`},
		{"id not there", "shop", Edit{Group: "web", Rule: "sgr-0123456789abcdef0"}, true, "InvalidSecurityGroupRuleId.NotFound", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Update(context.Background(), func(tx *vpc.Tx) (err error) {
				if c.revoke {
					_, err = c.edit.Revoke(tx, c.lab)
				} else {
					_, err = c.edit.Authorize(tx, c.lab)
				}
				return err
			})
			e, ok := errors.AsType[*vpc.Error](err)
			if !ok || e.Code != c.code || c.want != "" && e.Message+"; "+e.Hint != c.want || strings.TrimSpace(err.Error()) == "" {
				t.Errorf("got %v (%+v)", err, e)
			}
		})
	}
}
