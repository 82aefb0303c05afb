package vpc_test

import (
	"reflect"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

// revokeAll takes all ingress rules of app away and gives them.
func revokeAll(t *testing.T, f *fixture) []vpc.SecurityGroupRule {
	t.Helper()
	g, _ := f.store.View().SecurityGroup(f.app.ID)
	var res *vpc.RevokeResult
	f.do(t, func(tx *vpc.Tx) (err error) {
		res, err = tx.RevokeSecurityGroupIngress(vpc.RevokeSecurityGroupInput{GroupID: g.ID, RuleIDs: []string{g.Rules[2].ID, g.Rules[3].ID}})
		return err
	})
	return res.Revoked
}

func TestRestoreRules(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	before, _ := f.store.View().SecurityGroup(f.app.ID)
	gone := revokeAll(t, f)
	f.do(t, func(tx *vpc.Tx) error { return tx.RestoreSecurityGroupRules(f.app.ID, gone) })
	after, _ := f.store.View().SecurityGroup(f.app.ID)
	if !reflect.DeepEqual(after.Rules, before.Rules) {
		t.Errorf("have %+v\nwant %+v", after.Rules, before.Rules)
	}
	rev := f.store.View().Revision()
	f.do(t, func(tx *vpc.Tx) error { return tx.RestoreSecurityGroupRules(f.app.ID, gone) })
	if now := f.store.View().Revision(); now != rev {
		t.Errorf("restoring what is there made revision %d after %d", now, rev)
	}
}

func TestRestoreLeavesOutWhatIsThereAgain(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	gone := revokeAll(t, f)
	var again []vpc.SecurityGroupRule
	f.do(t, func(tx *vpc.Tx) (err error) {
		again, err = tx.AuthorizeSecurityGroupIngress(vpc.AuthorizeSecurityGroupInput{GroupID: f.app.ID, Rules: []vpc.RuleSpec{{Permission: gone[1].Permission}}})
		return err
	})
	f.do(t, func(tx *vpc.Tx) error { return tx.RestoreSecurityGroupRules(f.app.ID, gone) })
	g, _ := f.store.View().SecurityGroup(f.app.ID)
	if want := []vpc.SecurityGroupRule{again[0], gone[0]}; !reflect.DeepEqual(g.Rules[2:], want) {
		t.Errorf("have %+v\nwant %+v", g.Rules[2:], want)
	}
}

func TestRestoreErrors(t *testing.T) {
	f := newFixture(t, vpc.Config{Quotas: vpc.Quotas{RulesPerGroup: 2}})
	gone := revokeAll(t, f)
	try := func(id string, rules []vpc.SecurityGroupRule, code string) {
		t.Helper()
		before := f.store.View()
		_, err := f.store.Update(t.Context(), func(tx *vpc.Tx) error { return tx.RestoreSecurityGroupRules(id, rules) })
		if vpc.ErrorCode(err) != code || f.store.View() != before {
			t.Errorf("error %v, want %s", err, code)
		}
	}
	try(absent("sg"), gone, "InvalidGroup.NotFound")
	f.do(t, func(tx *vpc.Tx) error {
		return errOf(tx.AuthorizeSecurityGroupIngress(vpc.AuthorizeSecurityGroupInput{GroupID: f.app.ID, Rules: many(2, peerCIDR("0.0.0.0/0"))}))
	})
	try(f.app.ID, gone, "RulesPerSecurityGroupLimitExceeded")
	f.do(t, func(tx *vpc.Tx) error {
		if _, err := tx.ModifyNetworkInterface(vpc.ModifyNetworkInterfaceInput{ID: f.eni.ID, Groups: []string{f.app.ID}}); err != nil {
			return err
		}
		return tx.DeleteSecurityGroup(f.web.ID)
	})
	try(f.app.ID, gone[:1], "InvalidGroup.NotFound") // its peer is gone
}
