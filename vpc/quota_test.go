package vpc_test

import (
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

// TestQuotasFollowDeletes: what was deleted, or undone, counts no more, in this store and in one that mirrors it.
func TestQuotasFollowDeletes(t *testing.T) {
	cfg := vpc.Config{Quotas: vpc.Quotas{VPCs: 3}}
	f := newFixture(t, cfg) // has two
	create := func(tx *vpc.Tx) (*vpc.VPC, error) {
		return tx.CreateVpc(vpc.CreateVpcInput{CIDR: pfx("10.0.0.0/16")})
	}
	for range 4 {
		var v *vpc.VPC
		f.do(t, func(tx *vpc.Tx) (err error) { v, err = create(tx); return err })
		f.do(t, func(tx *vpc.Tx) error { return tx.DeleteVpc(v.ID) })
		_, _ = f.store.Update(t.Context(), func(tx *vpc.Tx) error {
			if _, err := create(tx); err != nil {
				t.Errorf("the third: %v", err)
			}
			_, err := create(tx)
			return err // the fourth is refused, so the third goes too
		})
	}
	mirror := vpc.NewModel(cfg)
	sets, _ := f.store.Changes(0)
	for _, set := range sets {
		mirror.Apply(set.Revision, set.Changes)
	}
	tx := mirror.Begin()
	if _, err := create(tx); err != nil {
		t.Errorf("the third in the mirror: %v", err)
	}
	if _, err := create(tx); vpc.ErrorCode(err) != "VpcLimitExceeded" {
		t.Errorf("the fourth in the mirror: %v", err)
	}
}
