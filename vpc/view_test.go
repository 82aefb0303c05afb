package vpc_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func ids[T vpc.Object](list []T) []string {
	var out []string
	for _, o := range list {
		out = append(out, o.Metadata().ID)
	}
	return out
}

func TestViewLists(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	v := f.store.View()
	for _, tt := range []struct {
		name string
		have []string
		want []string
	}{
		{"VPCs", ids(v.VPCs()), []string{f.shop.ID, f.other.ID}},
		{"Subnets of shop", ids(v.Subnets(f.shop.ID)), []string{f.public.ID, f.private.ID, f.tiny.ID}},
		{"Subnets of all", ids(v.Subnets("")), []string{f.public.ID, f.private.ID, f.tiny.ID, f.elsewhere.ID}},
		{"Subnets of none", ids(v.Subnets(absent("vpc"))), nil},
		{"RouteTables", ids(v.RouteTables(f.other.ID)), []string{f.other.MainRouteTableID}},
		{"NetworkInterfaces", ids(v.NetworkInterfaces(f.shop.ID)), []string{f.eni.ID, f.free.ID}},
		{"NetworkInterfaces of other", ids(v.NetworkInterfaces(f.other.ID)), nil},
		{"InterfacesInSubnet", ids(v.InterfacesInSubnet(f.public.ID)), []string{f.eni.ID, f.free.ID}},
		{"InterfacesInGroup", ids(v.InterfacesInGroup(f.app.ID)), []string{f.eni.ID}},
		{"SecurityGroups", ids(v.SecurityGroups(f.shop.ID)), []string{f.web.ID, f.app.ID, f.shop.DefaultSecurityGroup}},
		{"GroupsReferencing", ids(v.GroupsReferencing(f.web.ID)), []string{f.app.ID}},
		{"GroupsReferencing default", ids(v.GroupsReferencing(f.shop.DefaultSecurityGroup)), []string{f.shop.DefaultSecurityGroup}},
		{"PrefixLists", ids(v.PrefixLists()), []string{f.list.ID, f.list6.ID}},
		{"Instances", ids(v.Instances(f.shop.ID)), []string{f.inst.ID}},
		{"FlowLogs", ids(v.FlowLogs()), []string{f.log.ID}},
		{"FlowLogsOf", ids(v.FlowLogsOf(f.shop.ID)), []string{f.log.ID}},
		{"FlowLogsOf other", ids(v.FlowLogsOf(f.other.ID)), nil},
		{"Find", ids(v.Find("lab", vpc.KindSecurityGroup, "web")), []string{f.web.ID, f.foreign.ID}},
		{"Find in no lab", ids(v.Find("", vpc.KindSecurityGroup, "web")), nil},
	} {
		if !slices.IsSorted(tt.have) {
			t.Errorf("%s is not sorted by id", tt.name)
		}
		slices.Sort(tt.want)
		if !reflect.DeepEqual(tt.have, tt.want) {
			t.Errorf("%s: have %v, want %v", tt.name, tt.have, tt.want)
		}
	}
}

func TestViewNames(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	v := f.store.View()
	name := func(o vpc.Object, ok bool) string {
		if !ok {
			return ""
		}
		return o.Metadata().ID
	}
	found := func(want string, o vpc.Object, ok bool) {
		t.Helper()
		if got := name(o, ok); got != want {
			t.Errorf("have %q, want %q", got, want)
		}
	}
	a, ok := v.VPCNamed("lab", "shop")
	found(f.shop.ID, a, ok)
	a, ok = v.VPCNamed("other-lab", "shop")
	found("", a, ok)
	a, ok = v.VPCNamed("lab", "sho") // no prefix of a name
	found("", a, ok)
	b, ok := v.SubnetNamed(f.shop.ID, "Public")
	found(f.public.ID, b, ok)
	b, ok = v.SubnetNamed(f.other.ID, "public")
	found("", b, ok)
	c, ok := v.SecurityGroupNamed(f.other.ID, "WEB")
	found(f.foreign.ID, c, ok)
	d, ok := v.InstanceNamed("lab", "web-1")
	found(f.inst.ID, d, ok)
	e, ok := v.NetworkInterfaceNamed("lab", "spare")
	found(f.free.ID, e, ok)
	l, ok := v.PrefixListNamed("lab", "offices")
	found(f.list.ID, l, ok)
}

func TestViewAddresses(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	v := f.store.View()
	for _, tt := range []struct {
		vpc, addr, want string
	}{
		{f.shop.ID, "10.0.1.10", f.eni.ID},
		{f.shop.ID, "10.0.1.20", f.free.ID},
		{f.shop.ID, "10.0.1.21", f.free.ID},
		{f.shop.ID, "2001:db8:1234:1::10", f.eni.ID},
		{f.shop.ID, "10.0.1.1", ""},
		{f.shop.ID, "10.0.1.2", ""}, // the beginning of another address
		{f.other.ID, "10.0.1.10", ""},
	} {
		n, ok := v.NetworkInterfaceByAddr(tt.vpc, netip.MustParseAddr(tt.addr))
		if got := n; (ok && got.ID != tt.want) || (!ok && tt.want != "") {
			t.Errorf("%s in %s: %v", tt.addr, tt.vpc, got)
		}
	}
	if n := v.AvailableAddresses(f.public.ID); n != 251-3 {
		t.Errorf("public has %d free addresses, want 248", n)
	}
	if n := v.AvailableAddresses(absent("subnet")); n != 0 {
		t.Errorf("no subnet has %d free addresses", n)
	}
}

func TestLabs(t *testing.T) {
	f := newFixture(t, vpc.Config{Quotas: vpc.Quotas{VPCs: 20}})
	f.do(t, func(tx *vpc.Tx) error {
		for _, lab := range []string{"", "a", "a-b", "lab2", "z z"} {
			if _, err := tx.CreateVpc(vpc.CreateVpcInput{Owner: vpc.Owner{Lab: lab}, CIDR: pfx("10.0.0.0/16")}); err != nil {
				return err
			}
		}
		return nil
	})
	v := f.store.View()
	if got, want := v.Labs(), []string{"a", "a-b", "lab", "lab2", "z z"}; !slices.Equal(got, want) {
		t.Errorf("labs %q, want %q", got, want)
	}
	mine := v.LabObjects("a")
	if len(mine) != 3 || mine[0].Kind() != vpc.KindVPC || mine[1].Kind() != vpc.KindRouteTable || mine[2].Kind() != vpc.KindSecurityGroup {
		t.Errorf("lab a owns %v", ids(mine))
	}
	all := v.LabObjects("lab")
	if len(all) != 19 {
		t.Errorf("lab owns %d objects: %v", len(all), ids(all))
	}
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; a.Kind() == b.Kind() && a.Metadata().ID >= b.Metadata().ID {
			t.Errorf("%s stands before %s", a.Metadata().ID, b.Metadata().ID)
		}
	}
}

// TestKindsInOrderOfNeed: objects applied in the order of View.Objects never name one that is not there yet, except a
// VPC its own furniture and groups each other.
func TestKindsInOrderOfNeed(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	m := vpc.NewModel(vpc.Config{})
	for i, o := range f.store.View().Objects() {
		m.Apply(vpc.Revision(i+1), []vpc.Change{{After: o}})
	}
	if !reflect.DeepEqual(m.View().Objects(), f.store.View().Objects()) {
		t.Error("the copy differs")
	}
}

// TestObjectsSurviveJSON: a durable store can write objects as JSON, without losing a field to a name they share.
func TestObjectsSurviveJSON(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	for _, o := range f.store.View().Objects() {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatalf("%s: %v", o.Kind(), err)
		}
		back := reflect.New(reflect.TypeOf(o).Elem()).Interface()
		if err := json.Unmarshal(b, back); err != nil {
			t.Fatalf("%s: %v", o.Kind(), err)
		}
		if !reflect.DeepEqual(back, any(o)) {
			t.Errorf("%s: have %+v\nwant %+v\nJSON %s", o.Kind(), back, o, b)
		}
	}
}

func TestErrorCode(t *testing.T) {
	if c := vpc.ErrorCode(nil); c != "" {
		t.Errorf("code %q of nil", c)
	}
	_, err := vpc.ParseCIDR("x")
	if c := vpc.ErrorCode(err); c != "InvalidParameterValue" || !strings.HasPrefix(err.Error(), c+": ") {
		t.Errorf("code %q of %v", c, err)
	}
}

func TestDirectionString(t *testing.T) {
	if vpc.Ingress.String() != "ingress" || vpc.Egress.String() != "egress" {
		t.Error("direction names")
	}
}
