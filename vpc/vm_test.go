package vpc_test

import (
	"reflect"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

// TestVMEqual: every field counts.
func TestVMEqual(t *testing.T) {
	var none *vpc.VM
	if !none.Equal(nil) || none.Equal(&vpc.VM{}) || (&vpc.VM{}).Equal(nil) {
		t.Error("none is equal to none only")
	}
	typ := reflect.TypeFor[vpc.VM]()
	for i := range typ.NumField() {
		a, b := &vpc.VM{}, &vpc.VM{}
		f := reflect.ValueOf(b).Elem().Field(i)
		switch f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Int:
			f.SetInt(7)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"x"}))
		default:
			t.Fatalf("field %s is of a kind that this test does not know", typ.Field(i).Name)
		}
		if a.Equal(b) || b.Equal(a) || !b.Equal(b) {
			t.Errorf("%s does not count", typ.Field(i).Name)
		}
	}
}

// TestInstanceKeepsItsVM: what the caller changes later is not the model's.
func TestInstanceKeepsItsVM(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	given := &vpc.VM{Kernel: "/boot/vmlinuz", Args: []string{"-snapshot"}}
	var made *vpc.Instance
	if _, err := f.store.Update(t.Context(), func(tx *vpc.Tx) (err error) {
		made, err = tx.RunInstance(vpc.RunInstanceInput{Driver: "qemu", VM: given, Interfaces: []vpc.InterfaceSpec{{SubnetID: f.public.ID}}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	given.Args[0], given.Kernel = "-daemonize", "/etc/passwd"
	got, _ := f.store.View().Instance(made.ID)
	if want := (&vpc.VM{Kernel: "/boot/vmlinuz", Args: []string{"-snapshot"}}); !want.Equal(got.VM) {
		t.Errorf("%+v", got.VM)
	}
}
