package vpc_test

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vpc/storetest"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// launch is the time on the fixture's clock.
var launch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is a small world: VPC shop with subnets public and private (also IPv6) and tiny; other beside it.
type fixture struct {
	store                            *vpc.MemoryStore
	shop, other                      *vpc.VPC
	public, private, tiny, elsewhere *vpc.Subnet
	web, app, foreign                *vpc.SecurityGroup
	list, list6                      *vpc.PrefixList
	inst                             *vpc.Instance         // 10.0.1.10 in public, groups web and app
	eni                              *vpc.NetworkInterface // its interface
	free                             *vpc.NetworkInterface // 10.0.1.20 and .21, available, default group
	log                              *vpc.FlowLog          // of shop
}

// absent gives a well-formed id that nothing has.
func absent(prefix string) string { return prefix + "-0123456789abcdef0" }

func newFixture(t testing.TB, cfg vpc.Config) *fixture {
	t.Helper()
	if cfg.Seed == 0 {
		cfg.Seed = 7
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return launch }
	}
	f := &fixture{store: vpc.NewMemoryStore(cfg)}
	if _, err := f.store.Update(context.Background(), f.build); err != nil {
		t.Fatalf("fixture: %v", err)
	}
	f.check(t)
	return f
}

func (f *fixture) build(tx *vpc.Tx) error {
	lab := func(name string) vpc.Owner { return vpc.Owner{Name: name, Lab: "lab"} }
	var errs []error
	keep := func(err error) { errs = append(errs, err) }
	var err error
	f.shop, err = tx.CreateVpc(vpc.CreateVpcInput{Owner: lab("shop"), CIDR: pfx("10.0.0.0/16"), CIDR6: pfx("2001:db8:1234::/56")})
	keep(err)
	f.other, err = tx.CreateVpc(vpc.CreateVpcInput{Owner: lab("other"), CIDR: pfx("10.0.0.0/16")})
	keep(err)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	subnet := func(v *vpc.VPC, name, cidr, cidr6 string) *vpc.Subnet {
		in := vpc.CreateSubnetInput{Owner: lab(name), VPCID: v.ID, CIDR: pfx(cidr)}
		if cidr6 != "" {
			in.CIDR6 = pfx(cidr6)
		}
		s, err := tx.CreateSubnet(in)
		keep(err)
		return s
	}
	f.public = subnet(f.shop, "public", "10.0.1.0/24", "2001:db8:1234:1::/64")
	f.private = subnet(f.shop, "private", "10.0.2.0/24", "2001:db8:1234:2::/64")
	f.tiny = subnet(f.shop, "tiny", "10.0.3.0/28", "")
	f.elsewhere = subnet(f.other, "elsewhere", "10.0.1.0/24", "")
	group := func(v *vpc.VPC, name string) *vpc.SecurityGroup {
		g, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{
			Owner: vpc.Owner{Lab: "lab"}, VPCID: v.ID, GroupName: name, Description: "the " + name,
		})
		keep(err)
		return g
	}
	f.web, f.app, f.foreign = group(f.shop, "web"), group(f.shop, "app"), group(f.other, "web")
	f.list, err = tx.CreateManagedPrefixList(vpc.CreateManagedPrefixListInput{
		Owner: lab("offices"), Family: 4, MaxEntries: 10, Entries: []vpc.PrefixListEntry{{CIDR: pfx("198.51.100.0/24"), Description: "one"}},
	})
	keep(err)
	f.list6, err = tx.CreateManagedPrefixList(vpc.CreateManagedPrefixListInput{Owner: lab("offices6"), Family: 6, MaxEntries: 3})
	keep(err)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	f.inst, err = tx.RunInstance(vpc.RunInstanceInput{Owner: lab("web-1"), Driver: "netns", Listen: []string{"tcp/80"}, Run: []string{"echo hello"},
		Interfaces: []vpc.InterfaceSpec{{SubnetID: f.public.ID, Addresses: addrs("10.0.1.10"), Addresses6: addrs("2001:db8:1234:1::10"),
			Groups: []string{f.web.ID, f.app.ID, f.web.ID}}}})
	keep(err)
	f.free, err = tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{Owner: lab("spare"),
		InterfaceSpec: vpc.InterfaceSpec{SubnetID: f.public.ID, Addresses: addrs("10.0.1.20", "10.0.1.21")}})
	keep(err)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	f.eni, _ = tx.NetworkInterface(f.inst.InterfaceIDs[0])
	logs, err := tx.CreateFlowLogs(f.flowLogs())
	if err != nil {
		return err
	}
	f.log = logs[0]
	_, err = tx.AuthorizeSecurityGroupIngress(vpc.AuthorizeSecurityGroupInput{GroupID: f.app.ID, Rules: []vpc.RuleSpec{
		{Permission: tcp(8080, peerGroup(f.web.ID)), Words: "tcp 8080 from web", Where: "lab.yaml:11"},
		{Permission: tcp(22, peerCIDR("198.51.100.0/24"))},
	}})
	return err
}

func (f *fixture) flowLogs() vpc.CreateFlowLogsInput {
	return vpc.CreateFlowLogsInput{Owner: vpc.Owner{Lab: "lab"}, ResourceType: "VPC", ResourceIDs: []string{f.shop.ID}, TrafficType: "ALL",
		LogDestination: "arn:aws:s3:::logs/lab"}
}

func (f *fixture) check(t testing.TB) {
	t.Helper()
	if err := storetest.Invariants(f.store.View()); err != nil {
		t.Error(err)
	}
}

// do runs commands that must work.
func (f *fixture) do(t testing.TB, fn func(tx *vpc.Tx) error) {
	t.Helper()
	if _, err := f.store.Update(context.Background(), fn); err != nil {
		t.Fatalf("%v", err)
	}
	f.check(t)
}

// refusal is a command and the error that AWS gives.
type refusal struct {
	name string
	run  func(f *fixture, tx *vpc.Tx) error
	code string
	want func(f *fixture) string // the message, or with a final "..." its beginning
	at   string                  // Error.Field
	hint string                  // a part of Error.Hint
}

func say(message string) func(*fixture) string { return func(*fixture) string { return message } }

// refuse runs each command alone: it must give its error and leave no trace, in its transaction and in the store.
func refuse(t *testing.T, cfg vpc.Config, tests []refusal) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, cfg)
			before := f.store.View()
			_, err := f.store.Update(t.Context(), func(tx *vpc.Tx) error {
				err := tt.run(f, tx)
				if !reflect.DeepEqual(tx.Objects(), before.Objects()) || len(tx.Changes()) != 0 {
					t.Error("the refused command left a trace in its transaction")
				}
				return err
			})
			var e *vpc.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want %s", err, tt.code)
			}
			want := tt.want(f)
			matches := e.Message == want
			if start, ok := strings.CutSuffix(want, "..."); ok {
				matches = strings.HasPrefix(e.Message, start)
			}
			if e.Code != tt.code || !matches || e.Field != tt.at || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("have code %s, field %q, hint %q\n%s\nwant code %s, field %q, hint with %q\n%s",
					e.Code, e.Field, e.Hint, e.Message, tt.code, tt.at, tt.hint, want)
			}
			if e.Error() != e.Code+": "+e.Message {
				t.Errorf("Error() is %q", e.Error())
			}
			if f.store.View() != before {
				t.Error("the refused command made a revision")
			}
		})
	}
}

func tcp(port int, peer func(*vpc.Permission)) vpc.Permission {
	p := vpc.Permission{Protocol: 6, FromPort: port, ToPort: port}
	peer(&p)
	return p
}

func all(peer func(*vpc.Permission)) vpc.Permission {
	p := vpc.Permission{Protocol: vpc.AllProtocols, FromPort: -1, ToPort: -1}
	peer(&p)
	return p
}

func peerGroup(id string) func(*vpc.Permission) { return func(p *vpc.Permission) { p.GroupID = id } }
func peerList(id string) func(*vpc.Permission) {
	return func(p *vpc.Permission) { p.PrefixListID = id }
}
func peerCIDR(s string) func(*vpc.Permission) { return func(p *vpc.Permission) { p.CIDR = pfx(s) } }
