package vpc_test

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestSetTagsOnEveryKind(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	seen := map[vpc.Kind]bool{}
	for _, o := range f.store.View().Objects() {
		id := o.Metadata().ID
		seen[o.Kind()] = true
		f.do(t, func(tx *vpc.Tx) error {
			return tx.SetTags(vpc.SetTagsInput{ResourceID: id, Set: map[string]string{"Name": "n", "env": "test", "Env": ""}, Remove: []string{"nothing"}})
		})
		got, _ := f.store.View().Object(id)
		if m := got.Metadata(); m.Name != "n" || m.Lab != o.Metadata().Lab || !reflect.DeepEqual(m.Tags, map[string]string{"env": "test", "Env": ""}) {
			t.Errorf("%s: %+v", id, m)
		}
		if reflect.TypeOf(got) != reflect.TypeOf(o) || o.Metadata().Tags["env"] != "" {
			t.Errorf("%s: the stored object was mutated or changed its type", id)
		}
	}
	if len(seen) != len(vpc.Kinds) {
		t.Errorf("the fixture has %d of %d kinds", len(seen), len(vpc.Kinds))
	}
}

func TestSetTagsRemoves(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	tag := func(set map[string]string, remove ...string) {
		f.do(t, func(tx *vpc.Tx) error {
			return tx.SetTags(vpc.SetTagsInput{ResourceID: f.shop.ID, Set: set, Remove: remove})
		})
	}
	tag(map[string]string{"a": "1", "b": "2"})
	tag(map[string]string{"c": "3"}, "a", "Name")
	v, _ := f.store.View().VPC(f.shop.ID)
	if v.Name != "" || !reflect.DeepEqual(v.Tags, map[string]string{"b": "2", "c": "3"}) {
		t.Errorf("name %q, tags %v", v.Name, v.Tags)
	}
	if _, ok := f.store.View().VPCNamed("lab", "shop"); ok {
		t.Error("still found by its old name")
	}
	rev := f.store.View().Revision()
	tag(map[string]string{"b": "2"}, "x")
	if now := f.store.View().Revision(); now != rev {
		t.Errorf("setting what is set made revision %d after %d", now, rev)
	}
}

func TestOwnerTags(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	mine := map[string]string{"Name": "x", "k": "v"}
	f.do(t, func(tx *vpc.Tx) error {
		v, err := tx.CreateVpc(vpc.CreateVpcInput{Owner: vpc.Owner{Tags: mine}, CIDR: pfx("10.0.0.0/16")})
		mine["k"] = "changed"
		if err == nil && (v.Name != "x" || !maps.Equal(v.Tags, map[string]string{"k": "v"})) {
			t.Errorf("name %q, tags %v", v.Name, v.Tags)
		}
		return err
	})
	mine = map[string]string{"k": "v"}
	f.do(t, func(tx *vpc.Tx) error {
		return errOf(tx.CreateVpc(vpc.CreateVpcInput{Owner: vpc.Owner{Name: "y", Tags: mine}, CIDR: pfx("10.0.0.0/16")}))
	})
	if len(mine) != 1 {
		t.Errorf("the caller's map became %v", mine)
	}
}

func TestTagErrors(t *testing.T) {
	set := func(tags map[string]string) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			return tx.SetTags(vpc.SetTagsInput{ResourceID: f.shop.ID, Set: tags})
		}
	}
	on := func(id string) func(*fixture, *vpc.Tx) error {
		return func(_ *fixture, tx *vpc.Tx) error {
			return tx.SetTags(vpc.SetTagsInput{ResourceID: id, Set: map[string]string{"a": "b"}})
		}
	}
	create := func(o vpc.Owner) func(*fixture, *vpc.Tx) error {
		return func(_ *fixture, tx *vpc.Tx) error {
			return errOf(tx.CreateVpc(vpc.CreateVpcInput{Owner: o, CIDR: pfx("10.0.0.0/16")}))
		}
	}
	fifty := map[string]string{}
	for i := range 50 {
		fifty[fmt.Sprint(i)] = ""
	}
	long, longer := strings.Repeat("ü", 129), strings.Repeat("ü", 257)
	refuse(t, vpc.Config{}, []refusal{
		{"50 and a name", set(fifty), "TagLimitExceeded", say("The maximum number of Tags for a resource has been reached."), "Tags", ""},
		{"AWS's own", set(map[string]string{"aws:x": ""}), "InvalidTagKey.Malformed", say("Tag keys starting with 'aws:' are reserved for internal use"), "Tags", ""},
		{"AWS's own in capitals", set(map[string]string{"AWS:x": ""}), "InvalidTagKey.Malformed", say("Tag keys starting with 'aws:' are reserved for internal use"), "Tags", ""},
		{"no key", set(map[string]string{"": "v"}), "InvalidTagKey.Malformed", say("Tag keys cannot be empty"), "Tags", ""},
		{"a long key", set(map[string]string{long: ""}), "InvalidParameterValue", say("Tag key exceeds the maximum length of 128 characters or is not text: ..."), "Tags", ""},
		{"a long value", set(map[string]string{"k": longer}), "InvalidParameterValue", say("Tag value exceeds the maximum length of 256 characters or is not text: ..."), "Tags", ""},
		{"a NUL", set(map[string]string{"Name": "a\x00"}), "InvalidParameterValue", say("Tag value exceeds the maximum length of 256 characters or is not text: ..."), "Name", ""},
		{"no UTF-8", set(map[string]string{"k": "\xff"}), "InvalidParameterValue", say("Tag value exceeds the maximum length of 256 characters or is not text: ?"), "Tags", ""},
		{"a prefix list without a name", func(f *fixture, tx *vpc.Tx) error {
			return tx.SetTags(vpc.SetTagsInput{ResourceID: f.list.ID, Remove: []string{"Name"}})
		}, "InvalidParameterValue", say("A prefix list must have a name"), "Set", ""},
		{"no id", on("shop"), "InvalidID", say("The ID 'shop' is not valid"), "ResourceID", ""},
		{"a rule", on(absent("sgr")), "InvalidID", say("The ID 'sgr-0123456789abcdef0' is not valid"), "ResourceID", ""},
		{"what is not there", on(absent("rtb")), "InvalidRouteTableID.NotFound", say("The routeTable ID 'rtb-0123456789abcdef0' does not exist"), "ResourceID", ""},
		{"two names", create(vpc.Owner{Name: "a", Tags: map[string]string{"Name": "b"}}), "InvalidParameterCombination", say(`The tag Name is given twice: "a" and "b"`), "Tags", ""},
		{"a bad name", create(vpc.Owner{Name: "a\nb"}), "InvalidParameterValue", say("Tag value exceeds the maximum length of 256 characters or is not text: a\nb"), "Name", ""},
		{"a bad lab", create(vpc.Owner{Lab: "a\x00b"}), "InvalidParameterValue", say("Value (a\x00b) for parameter lab is invalid."), "Lab", ""},
	})
}
