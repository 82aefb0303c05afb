package vpc_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestCreateSecurityGroup(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		g, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{
			Owner: vpc.Owner{Name: "tag", Lab: "lab"}, VPCID: f.shop.ID, GroupName: "Test Security Group ", Description: "a ._-:/()#,@[]+=&;{}!$* z",
		})
		if err != nil {
			return err
		}
		if g.GroupName != "Test Security Group" || g.Name != "tag" || g.Lab != "lab" || g.VPCID != f.shop.ID {
			t.Errorf("group %+v", g)
		}
		wantRules(t, g, []vpc.SecurityGroupRule{
			{Direction: vpc.Egress, Permission: all(peerCIDR("0.0.0.0/0"))},
			{Direction: vpc.Egress, Permission: all(peerCIDR("::/0"))},
		})
		return nil
	})
	g, _ := f.store.View().SecurityGroup(f.foreign.ID)
	wantRules(t, g, []vpc.SecurityGroupRule{{Direction: vpc.Egress, Permission: all(peerCIDR("0.0.0.0/0"))}})
}

func TestSecurityGroupErrors(t *testing.T) {
	create := func(name, description string) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			return errOf(tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{VPCID: f.shop.ID, GroupName: name, Description: description}))
		}
	}
	in := func(vpcID string) func(*fixture, *vpc.Tx) error {
		return func(_ *fixture, tx *vpc.Tx) error {
			return errOf(tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{VPCID: vpcID, GroupName: "x", Description: "x"}))
		}
	}
	remove := func(id func(*fixture) string) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error { return tx.DeleteSecurityGroup(id(f)) }
	}
	dependent := func(id func(*fixture) string) func(*fixture) string {
		return func(f *fixture) string { return "resource " + id(f) + " has a dependent object" }
	}
	web := func(f *fixture) string { return f.web.ID }
	refuse(t, vpc.Config{}, []refusal{
		{"duplicate", create("web", "d"), "InvalidGroup.Duplicate",
			func(f *fixture) string {
				return fmt.Sprintf("The security group 'web' already exists for VPC '%s'", f.shop.ID)
			}, "GroupName", ""},
		{"duplicate in another case, with blanks", create("WeB  ", "d"), "InvalidGroup.Duplicate", say("The security group 'WeB' already exists for VPC 'vpc-..."), "GroupName", ""},
		{"default", create("default", "d"), "InvalidGroup.Reserved", say("The security group 'default' is reserved"), "GroupName", ""},
		{"Default", create("Default", "d"), "InvalidGroup.Reserved", say("The security group 'Default' is reserved"), "GroupName", ""},
		{"sg-", create("sg-1", "d"), "InvalidParameterValue", say("Value (sg-1) for parameter GroupName is invalid. Group names may not be in the format sg-*."), "GroupName", ""},
		{"no name", create("", "d"), "MissingParameter", say("The request must contain the parameter GroupName"), "GroupName", ""},
		{"a blank name", create("  ", "d"), "MissingParameter", say("The request must contain the parameter GroupName"), "GroupName", ""},
		{"an umlaut", create("wäb", "d"), "InvalidParameterValue", say("Value (wäb) for parameter GroupName is invalid. ..."), "GroupName", ""},
		{"a long name", create(strings.Repeat("n", 256), "d"), "InvalidParameterValue", say("Value (nnn..."), "GroupName", ""},
		{"no description", create("x", ""), "MissingParameter", say("The request must contain the parameter GroupDescription"), "Description", ""},
		{"a long description", create("x", strings.Repeat("d", 256)), "InvalidParameterValue", say("Value (ddd..."), "Description", ""},
		{"a quote in the description", create("x", "web's"), "InvalidParameterValue", say("Value (web's) for parameter GroupDescription is invalid. " +
			"Invalid security group description. Valid descriptions are strings less than 256 characters from the following set: " +
			"a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"), "Description", ""},
		{"no VPC", in(""), "VPCIdNotSpecified", say("No default VPC for this user"), "VPCID", ""},
		{"no such VPC", in(absent("vpc")), "InvalidVpcID.NotFound", say("The vpc ID 'vpc-0123456789abcdef0' does not exist"), "VPCID", ""},
		{"delete the default group", remove(func(f *fixture) string { return f.shop.DefaultSecurityGroup }), "CannotDelete",
			func(f *fixture) string {
				return fmt.Sprintf(`the specified group: "%s" name: "default" cannot be deleted by a user`, f.shop.DefaultSecurityGroup)
			}, "ID", ""},
		{"delete one with members", remove(web), "DependencyViolation", dependent(web), "ID", "delete eni-"},
		{"delete what is not there", remove(func(*fixture) string { return absent("sg") }),
			"InvalidGroup.NotFound", say("The security group 'sg-0123456789abcdef0' does not exist"), "ID", ""},
		{"delete a name", remove(func(*fixture) string { return "web" }),
			"InvalidGroupId.Malformed", say(`Invalid id: "web" (expecting "sg-...")`), "ID", ""},
	})
	refuse(t, vpc.Config{Quotas: vpc.Quotas{SecurityGroups: 5}}, []refusal{
		{"one too many", create("x", "x"), "SecurityGroupLimitExceeded", say("The maximum number of security groups has been reached."), "", "the quota is 5"},
	})
}

func TestDeleteSecurityGroupThatNamesItself(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		g, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{VPCID: f.shop.ID, GroupName: "self", Description: "d"})
		if err != nil {
			return err
		}
		in := vpc.AuthorizeSecurityGroupInput{GroupID: g.ID, Rules: []vpc.RuleSpec{{Permission: all(peerGroup(g.ID))}}}
		rules, err := tx.AuthorizeSecurityGroupIngress(in)
		if err != nil {
			return err
		}
		if err := tx.DeleteSecurityGroup(g.ID); err != nil {
			return err
		}
		if _, _, ok := tx.SecurityGroupRule(rules[0].ID); ok {
			t.Error("the rule of the deleted group is still found")
		}
		return nil
	})
}

func TestDeleteSecurityGroupThatIsNamed(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		if _, err := tx.ModifyNetworkInterface(vpc.ModifyNetworkInterfaceInput{ID: f.eni.ID, Groups: []string{f.app.ID}}); err != nil {
			return err
		}
		err := tx.DeleteSecurityGroup(f.web.ID)
		if vpc.ErrorCode(err) != "DependencyViolation" || !strings.Contains(err.(*vpc.Error).Hint, "(app)") {
			t.Errorf("app names web: %v", err)
		}
		_, err = tx.RevokeSecurityGroupIngress(vpc.RevokeSecurityGroupInput{GroupID: f.app.ID, Permissions: []vpc.Permission{tcp(8080, peerGroup(f.web.ID))}})
		if err != nil {
			return err
		}
		return tx.DeleteSecurityGroup(f.web.ID)
	})
}
