package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func newStore() *vpc.MemoryStore { return vpc.NewMemoryStore(vpc.Config{Seed: 1}) }

// apply applies a file, checks that the plan before said just that and that the plan after is empty.
func apply(t testing.TB, s *vpc.MemoryStore, f *File) *Applied {
	t.Helper()
	planned, err := Plan(s.View(), f)
	if err != nil {
		t.Fatal(err)
	}
	var out *Applied
	if _, err := s.Update(context.Background(), func(tx *vpc.Tx) error {
		out, err = Apply(tx, f)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if lines(planned) != lines(out.Changes) {
		t.Errorf("planned:\n%s\ndone:\n%s", lines(planned), lines(out.Changes))
	}
	again, err := Plan(s.View(), f)
	if err != nil || len(again) != 0 {
		t.Errorf("a second apply would do %s, %v", lines(again), err)
	}
	rev := s.View().Revision()
	if _, err := s.Update(context.Background(), func(tx *vpc.Tx) error { _, err := Apply(tx, f); return err }); err != nil || s.View().Revision() != rev {
		t.Errorf("a second apply made revision %d of %d, %v", s.View().Revision(), rev, err)
	}
	return out
}

func lines(changes []Change) string {
	texts := make([]string, len(changes))
	for i, c := range changes {
		texts[i] = c.String()
	}
	return strings.Join(texts, "\n")
}

const planBase = `lab: shop
vpcs:
  main:
    cidr: 10.0.0.0/16
    subnets: { a: 10.0.1.0/24, b: 10.0.2.0/24 }
prefix-lists:
  partners: [192.0.2.0/24]
security-groups:
  web: { ingress: [http from anywhere, ssh from prefix-list partners] }
  app: { ingress: [tcp 8080 from web], egress: [] }
instances:
  web-1: { subnet: a, ip: 10.0.1.10, groups: [web], listen: [80] }
  app-1: { subnet: b, groups: [app] }
  any-1: { subnet: b }
`

func TestApplyNew(t *testing.T) {
	s := newStore()
	out := apply(t, s, parseText(t, planBase))
	want := `+ vpc main 10.0.0.0/16
+ subnet main/a 10.0.1.0/24
+ subnet main/b 10.0.2.0/24
+ prefix-list partners 1 entry
+ security-group web
+ security-group app
+ rule web ingress http from anywhere
+ rule web ingress ssh from prefix-list partners
+ rule app ingress tcp 8080 from web
+ instance web-1 10.0.1.10 in a
+ instance app-1 in b
+ instance any-1 in b
+ vpc-flow-log main ALL`
	if got := lines(out.Changes); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	v := s.View()
	web, _ := v.SecurityGroup(out.Groups["main/web"])
	if r := web.Rules[1]; r.Words != "http from anywhere" || r.Where != "lab.yaml:9" || r.Direction != vpc.Ingress || web.Lab != "shop" {
		t.Errorf("rule: %+v", r)
	}
	if app, _ := v.SecurityGroup(out.Groups["main/app"]); len(app.Rules) != 1 || app.Rules[0].GroupID != app.ID || app.Rules[0].Permission.GroupID != web.ID {
		t.Errorf("app: %+v", app.Rules)
	}
	in, ok := v.Instance(out.Instances["web-1"])
	n, _ := v.NetworkInterface(out.Interfaces["web-1"])
	if !ok || in.InterfaceIDs[0] != n.ID || n.Addresses[0] != netip.MustParseAddr("10.0.1.10") || !slices.Equal(n.Groups, []string{web.ID}) || in.Listen[0] != "tcp/80" {
		t.Errorf("web-1: %+v %+v", in, n)
	}
	if n, _ := v.NetworkInterface(out.Interfaces["any-1"]); !slices.Equal(n.Groups, []string{out.Groups["main/default"]}) || n.Addresses[0] != netip.MustParseAddr("10.0.2.5") {
		t.Errorf("any-1: %+v", n)
	}
	if len(out.New) != 3 || out.New[0] != (Ref{"web-1", in.ID}) || len(out.Removed)+len(out.Changed) != 0 {
		t.Errorf("instances: %+v", out)
	}
}

// TestApplyChanges: each edit of the file makes these changes and no others.
func TestApplyChanges(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"nothing", "x", "x", ""},
		{"a line above", "prefix-lists:", "\n# new\nprefix-lists:", ""},
		{"other words, same permission", "http from anywhere", "tcp 80 from 0.0.0.0/0",
			"- rule web ingress http from anywhere\n+ rule web ingress tcp 80 from 0.0.0.0/0"},
		{"another port", "tcp 8080 from web", "tcp 8081 from web", "- rule app ingress tcp 8080 from web\n+ rule app ingress tcp 8081 from web"},
		{"a second peer", "tcp 8080 from web]", "'tcp 8080 from web', http from app]", "+ rule app ingress http from app"},
		{"egress by default", ", egress: []", "", "+ rule app egress all to anywhere"},
		{"ingress of none", "ingress: [tcp 8080 from web], ", "", "- rule app ingress tcp 8080 from web"},
		{"egress written out", "partners] }", "partners], egress: all to anywhere }", "- rule web egress all to anywhere\n+ rule web egress all to anywhere"},
		{"default group", "security-groups:", "security-groups:\n  default: { ingress: [ssh from anywhere] }",
			"- rule default ingress all from default\n+ rule default ingress ssh from anywhere"},
		{"prefix list", "partners: [192.0.2.0/24]", "partners: [192.0.2.0/25, 198.51.100.0/24]",
			"~ prefix-list partners (+ 192.0.2.0/25; + 198.51.100.0/24; - 192.0.2.0/24; max-entries: 1 -> 2)"},
		{"prefix list of the other family", "partners: [192.0.2.0/24]", "partners: ['2001:db8::/32']",
			"- rule web ingress ssh from prefix-list partners\n+ prefix-list partners 1 entry\n+ rule web ingress ssh from prefix-list partners\n- prefix-list partners"},
		{"groups of an instance", "groups: [app]", "groups: [app, web]", "~ instance app-1 (groups: app -> app, web)"},
		{"default groups", ", groups: [app]", "", "~ instance app-1 (groups: app -> default)"},
		{"source-dest-check", "ip: 10.0.1.10", "ip: 10.0.1.10, source-dest-check: false", "~ instance web-1 (source-dest-check: true -> false)"},
		{"secondary addresses", "ip: 10.0.1.10", "ip: 10.0.1.10, secondary-ips: [10.0.1.20, 10.0.1.21]", "~ instance web-1 (secondary-ips: none -> 10.0.1.20, 10.0.1.21)"},
		{"timeouts", "lab: shop", "lab: shop\ntimeouts: { udp: 60s }",
			"~ instance web-1 (timeouts)\n~ instance app-1 (timeouts)\n~ instance any-1 (timeouts)"},
		{"on-rule-change", "lab: shop", "lab: shop\non-rule-change: reevaluate", "~ vpc main (on-rule-change: persist -> reevaluate)"},
		{"another address", "ip: 10.0.1.10", "ip: 10.0.1.11", "- instance web-1 10.0.1.10\n+ instance web-1 10.0.1.11 in a"},
		{"another subnet", "app-1: { subnet: b", "app-1: { subnet: a", "- instance app-1 10.0.2.4\n+ instance app-1 in a"},
		{"another server", "listen: [80]", "listen: [81]", "- instance web-1 10.0.1.10\n+ instance web-1 10.0.1.10 in a"},
		{"driver", "lab: shop", "lab: shop\ndriver: netstack",
			"- instance any-1 10.0.2.5\n- instance app-1 10.0.2.4\n- instance web-1 10.0.1.10\n+ instance web-1 10.0.1.10 in a\n+ instance app-1 in b\n+ instance any-1 in b"},
		{"address taken from one that chose it", "any-1: { subnet: b }", "any-1: { subnet: b, ip: 10.0.2.4 }",
			"- instance any-1 10.0.2.5\n- instance app-1 10.0.2.4\n+ instance any-1 10.0.2.4 in b\n+ instance app-1 in b"},
		{"an instance less", "  any-1: { subnet: b }\n", "", "- instance any-1 10.0.2.5"},
		{"a new group", ", groups: [app]", ", groups: [new]", "+ security-group new\n~ instance app-1 (groups: app -> new)"},
		{"another subnet block", "b: 10.0.2.0/24", "b: 10.0.2.0/25",
			"- instance any-1 10.0.2.5\n- instance app-1 10.0.2.4\n- subnet main/b 10.0.2.0/24\n+ subnet main/b 10.0.2.0/25\n+ instance app-1 in b\n+ instance any-1 in b"},
		{"no flow logs", "lab: shop", "lab: shop\nflow-logs: []", "- vpc-flow-log main ALL"},
		{"another format", "lab: shop", "lab: shop\nflow-logs: [{ resource: main, format: [version] }]", "- vpc-flow-log main ALL\n+ vpc-flow-log main ALL"},
		{"another flow log", "lab: shop", "lab: shop\nflow-logs: [{ resource: main, traffic: reject }, { resource: web-1 }]",
			"- vpc-flow-log main ALL\n+ vpc-flow-log main REJECT\n+ vpc-flow-log web-1 ALL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore()
			before := apply(t, s, parseText(t, planBase))
			old := s.View()
			after := apply(t, s, parseText(t, edited(planBase, c.old, c.new)))
			if got := lines(after.Changes); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
			keptIDs(t, old, s.View(), before, after, c.want)
		})
	}
}

// edited replaces text once; a file that names the group new gets one.
func edited(text, from, to string) string {
	text = strings.Replace(text, from, to, 1)
	if strings.Contains(text, "[new]") {
		text = strings.Replace(text, "security-groups:", "security-groups:\n  new: {}", 1)
	}
	return text
}

// keptIDs checks that what no change names has the id it had.
func keptIDs(t *testing.T, old, now *vpc.View, before, after *Applied, changes string) {
	t.Helper()
	for name, id := range before.Instances {
		if !strings.Contains(changes, "- instance "+name+" ") && after.Instances[name] != id {
			t.Errorf("instance %s has another id", name)
		}
	}
	for name, id := range before.Groups {
		if after.Groups[name] != id {
			t.Errorf("group %s has another id", name)
		}
		was, _ := old.SecurityGroup(id)
		is, _ := now.SecurityGroup(id)
		for _, r := range was.Rules {
			stays := slices.ContainsFunc(is.Rules, func(q vpc.SecurityGroupRule) bool { return q.ID == r.ID && q.Permission == r.Permission })
			if gone := strings.Contains(changes, "- rule "+was.GroupName+" "+r.Direction.String()+" "+RuleWords(old, &r)); gone == stays {
				t.Errorf("rule %q of %s: stays %v", RuleWords(old, &r), was.GroupName, stays)
			}
		}
	}
}

// A rule that moves in its file keeps its id and gets its new line.
func TestApplyMovesRules(t *testing.T) {
	s := newStore()
	out := apply(t, s, parseText(t, planBase))
	group := func() *vpc.SecurityGroup { g, _ := s.View().SecurityGroup(out.Groups["main/web"]); return g }
	ids := map[string]string{}
	for _, r := range group().Rules {
		ids[r.ID] = r.Where
	}
	apply(t, s, parseText(t, strings.Replace(planBase, "security-groups:", "\n\nsecurity-groups:", 1)))
	for _, r := range group().Rules {
		was, ok := ids[r.ID]
		if !ok || was == "lab.yaml:9" && r.Where != "lab.yaml:11" || was == "" && r.Where != "" {
			t.Errorf("rule %q: was at %q, is at %q", r.Words, was, r.Where)
		}
	}
}

// A rule that was added or taken away live is put right by the next apply.
func TestApplyAfterLiveEdits(t *testing.T) {
	s := newStore()
	f := parseText(t, planBase)
	apply(t, s, f)
	update(t, s, func(tx *vpc.Tx) error {
		if _, err := (Edit{Group: "web", Rule: "ssh from anywhere"}).Authorize(tx, "shop"); err != nil {
			return err
		}
		_, err := (Edit{Group: "web", Rule: "all to anywhere", Direction: vpc.Egress}).Revoke(tx, "shop")
		return err
	})
	out := apply(t, s, f)
	if got := lines(out.Changes); got != "- rule web ingress ssh from anywhere\n+ rule web egress all to anywhere" {
		t.Errorf("got:\n%s", got)
	}
}

func update(t testing.TB, s *vpc.MemoryStore, fn func(*vpc.Tx) error) {
	t.Helper()
	if _, err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// Groups that name each other, and whole VPCs, go in one step.
func TestApplyReplacesAll(t *testing.T) {
	s := newStore()
	one := "lab: shop\nvpcs: { main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24 } } }\n" +
		"security-groups: { x: { ingress: [all from y] }, y: { ingress: [all from x], egress: [all to y] } }\ninstances: { i: { subnet: a, groups: [x, y] } }\n"
	apply(t, s, parseText(t, one))
	out := apply(t, s, parseText(t, strings.Replace(one, "10.0.0.0/16", "10.0.0.0/20", 1)))
	want := `- vpc-flow-log main ALL
- instance i 10.0.1.4
- subnet main/a 10.0.1.0/24
- security-group x
- security-group y
- vpc main 10.0.0.0/16
+ vpc main 10.0.0.0/20
+ subnet main/a 10.0.1.0/24
+ security-group x
+ security-group y
+ rule x ingress all from y
+ rule y ingress all from x
+ rule y egress all to y
+ instance i in a
+ vpc-flow-log main ALL`
	if got := strings.ReplaceAll(lines(out.Changes), "- security-group y\n- security-group x", "- security-group x\n- security-group y"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if len(out.Removed) != 1 || len(out.New) != 1 || out.New[0].Name != "i" || out.New[0].ID == out.Removed[0].ID {
		t.Errorf("instances: %+v", out)
	}
	apply(t, s, parseText(t, "lab: shop\nvpcs: { main: { cidr: 10.0.0.0/20, subnets: { a: 10.0.1.0/24 } } }\nsecurity-groups: { z: {} }\ninstances: { i: { subnet: a, groups: z } }\n"))
	if groups := s.View().SecurityGroups(""); len(groups) != 2 {
		t.Errorf("%d groups are left; want default and z", len(groups))
	}
}

// TestApplyEverything applies the file that has every field, on top of each other one.
func TestApplyEverything(t *testing.T) {
	s := newStore()
	f := parseFile(t, "testdata/good/everything.yaml")
	out := apply(t, s, f)
	n, _ := s.View().NetworkInterface(out.Interfaces["app-1"])
	if len(n.Addresses6) != 1 || n.Tracking.TCPEstablished.Minutes() != 10 {
		t.Errorf("app-1: %+v", n)
	}
	if in, _ := s.View().Instance(out.Instances["app-1"]); in.Driver != "netns" || MTU(in) != 1500 {
		t.Errorf("app-1: %+v", in)
	}
	if v, _ := s.View().VPC(out.VPCs["shop"]); OnRuleChange(v) != Reevaluate {
		t.Errorf("shop: %+v", v)
	}
	if sub, _ := s.View().Subnet(out.Subnets["shop/private"]); sub.AvailabilityZone != "us-east-1b" {
		t.Errorf("private: %+v", sub)
	}
	data, err := os.ReadFile("testdata/good/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range [][2]string{
		{"on-rule-change: reevaluate", "on-rule-change: persist"},
		{"[10.0.1.11, 10.0.1.12]", "[10.0.1.12, 10.0.1.13]"},
		{`ip6: "fd00:1::10"`, `ip6: "fd00:1::11"`},
		{"mtu: 1500", "mtu: 9001"},
		{"max-entries: 5", "max-entries: 6"},
	} {
		text := strings.Replace(string(data), edit[0], edit[1], 1)
		if apply(t, s, parseText(t, text)); t.Failed() {
			t.Fatal(edit)
		}
		apply(t, s, f)
	}
}

// An address that goes from one instance to another goes in one step.
func TestApplyMovesAddresses(t *testing.T) {
	const head = "lab: l\nvpcs: { v: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24 } } }\ninstances:\n"
	s := newStore()
	for i, instances := range []string{
		"  x: { subnet: a, ip: 10.0.1.10, secondary-ips: [10.0.1.20, 10.0.1.21] }\n  y: { subnet: a, ip: 10.0.1.11 }\n",
		"  x: { subnet: a, ip: 10.0.1.11, secondary-ips: [10.0.1.20] }\n  y: { subnet: a, ip: 10.0.1.10, secondary-ips: [10.0.1.21] }\n",
		"  x: { subnet: a, ip: 10.0.1.11, secondary-ips: [10.0.1.21] }\n  y: { subnet: a, ip: 10.0.1.10, secondary-ips: [10.0.1.20] }\n  z: { subnet: a, secondary-ips: [10.0.1.4, 10.0.1.5] }\n",
		"  z: { subnet: a, secondary-ips: [10.0.1.11] }\n  y: { subnet: a, ip: 10.0.1.20 }\n",
	} {
		out := apply(t, s, parseText(t, head+instances))
		if n, _ := s.View().NetworkInterface(out.Interfaces["z"]); i == 2 && n.Addresses[0] != netip.MustParseAddr("10.0.1.6") {
			t.Errorf("z chose %s, which the file gives away", n.Addresses[0])
		}
	}
}

// TestRemove: a lab goes whole and alone.
func TestRemove(t *testing.T) {
	s := newStore()
	update(t, s, func(tx *vpc.Tx) error { // not of a lab
		v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: netip.MustParsePrefix("10.0.0.0/16"), Owner: vpc.Owner{Name: "main"}})
		if err == nil {
			_, err = tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{VPCID: v.ID, GroupName: "web", Description: "x"})
		}
		return err
	})
	before := objects(s.View())
	other := strings.Replace(planBase, "lab: shop", "lab: other", 1)
	apply(t, s, parseText(t, planBase))
	withOne := objects(s.View())
	apply(t, s, parseText(t, other))
	remove := func(lab string) *Applied {
		var out *Applied
		update(t, s, func(tx *vpc.Tx) (err error) { out, err = Remove(tx, lab); return err })
		return out
	}
	out := remove("other")
	if got := objects(s.View()); got != withOne {
		t.Errorf("left:\n%s\nwant:\n%s", got, withOne)
	}
	if len(out.Removed) != 3 || out.Removed[0].Name != "any-1" {
		t.Errorf("removed: %+v", out.Removed)
	}
	remove("shop")
	if got := objects(s.View()); got != before {
		t.Errorf("left:\n%s\nwant:\n%s", got, before)
	}
	if out := remove("shop"); len(out.Changes) != 0 {
		t.Errorf("a lab that is gone: %s", lines(out.Changes))
	}
}

// objects lists everything in a model.
func objects(v *vpc.View) string {
	var b strings.Builder
	for _, lab := range append([]string{""}, v.Labs()...) {
		for _, o := range v.LabObjects(lab) {
			fmt.Fprintf(&b, "%s %+v\n", o.Kind(), o.Metadata())
		}
	}
	return b.String()
}

// TestApplyErrors: what only the model knows has its place in the file, and nothing is changed.
func TestApplyErrors(t *testing.T) {
	for _, c := range []struct {
		name, text, code, want string
	}{
		{name: "quota of rules", code: "RulesPerSecurityGroupLimitExceeded",
			text: "lab: l\nvpcs: { v: { cidr: 10.0.0.0/16 } }\nsecurity-groups:\n  g:\n    ingress:\n" + manyRules(61),
			want: "lab.yaml:66:9: security-groups.g.ingress[60]: The maximum number of rules per security group has been reached; " +
				"group g would have 61 ingress rules for IPv4 and 0 for IPv6; the quota is 60"},
		{name: "zone", code: "InvalidParameterValue", text: "lab: l\nvpcs: { v: { cidr: 10.0.0.0/16, subnets: { a: { cidr: 10.0.0.0/24, zone: eu-west-1a } } } }",
			want: "lab.yaml:2:44: vpcs.v.subnets.a: Value (eu-west-1a) for parameter availabilityZone is invalid. Subnets can currently only be created " +
				"in the following availability zones: us-east-1a, us-east-1b, us-east-1c, us-east-1d, us-east-1e, us-east-1f"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore()
			f := parseText(t, c.text)
			_, err := s.Update(context.Background(), func(tx *vpc.Tx) error { _, err := Apply(tx, f); return err })
			p, ok := errors.AsType[*Problem](err)
			if !ok || p.Error() != c.want || vpc.ErrorCode(err) != c.code || p.Excerpt == "" {
				t.Errorf("got  %v (%s)\nwant %s (%s)", err, vpc.ErrorCode(err), c.want, c.code)
			}
			if s.View().Revision() != 0 {
				t.Error("something was changed")
			}
		})
	}
}

func manyRules(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "      - tcp %d from anywhere\n", i+1)
	}
	return b.String()
}

// What others put into a lab's VPC keeps it, and the message says what it is.
func TestRemoveInUse(t *testing.T) {
	s := newStore()
	out := apply(t, s, parseText(t, planBase))
	update(t, s, func(tx *vpc.Tx) error {
		_, err := tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{InterfaceSpec: vpc.InterfaceSpec{SubnetID: out.Subnets["main/a"]}, Owner: vpc.Owner{Name: "foreign"}})
		return err
	})
	_, err := s.Update(context.Background(), func(tx *vpc.Tx) error { _, err := Remove(tx, "shop"); return err })
	if vpc.ErrorCode(err) != "DependencyViolation" || !strings.HasPrefix(err.Error(), "lab shop: subnet main/a: The subnet '") || !strings.Contains(err.Error(), "(foreign) first") {
		t.Error(err)
	}
}

// A group of somebody else's in the lab's VPC is left alone, also if it has the name of one of the lab's.
func TestApplyForeignGroup(t *testing.T) {
	s := newStore()
	out := apply(t, s, parseText(t, planBase))
	update(t, s, func(tx *vpc.Tx) error {
		_, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{VPCID: out.VPCs["main"], GroupName: "new", Description: "mine"})
		return err
	})
	before := objects(s.View())
	f := parseText(t, edited(planBase, ", groups: [app]", ", groups: [new]"))
	_, err := s.Update(context.Background(), func(tx *vpc.Tx) error { _, err := Apply(tx, f); return err })
	if vpc.ErrorCode(err) != "InvalidGroup.Duplicate" || !strings.HasPrefix(err.Error(), "lab.yaml:9:3: security-groups.new: The security group 'new' already exists") {
		t.Error(err)
	}
	if objects(s.View()) != before {
		t.Error("something was changed")
	}
}
