package lab

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

var writeGolden = flag.Bool("write-golden", false, "write the golden files anew")

// golden compares text with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *writeGolden {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}

// TestProblems holds the whole text of what Parse says of every file in testdata/bad.
func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f, err := Parse("lab.yaml", data)
			if err == nil || f != nil {
				t.Fatalf("Parse took the file: %v, %v", f, err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

// TestMessages holds the first line of each message that a person meets most.
func TestMessages(t *testing.T) {
	const head = "lab: shop\nvpcs: { main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24, b: 10.0.2.0/24 } } }\n"
	for _, c := range []struct{ name, text, want string }{
		{"unknown field", head + "instances: { one: { subnet: a, groops: [x] } }",
			"lab.yaml:3:32: instances.one.groops: unknown field groops; did you mean groups?"},
		{"overlapping subnets", "lab: shop\nvpcs: { main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24, b: 10.0.1.0/24 } } }",
			"lab.yaml:2:66: vpcs.main.subnets.b.cidr: 10.0.1.0/24 overlaps subnet a (10.0.1.0/24); subnets of a VPC share no address; 10.0.0.0/24 is free"},
		{"address outside the subnet", head + "instances: { one: { subnet: a, ip: 10.0.2.10 } }",
			"lab.yaml:3:36: instances.one.ip: 10.0.2.10 is outside subnet a (10.0.1.0/24); use 10.0.1.4 to 10.0.1.254"},
		{"reserved address", head + "instances: { one: { subnet: a, ip: 10.0.1.3 } }",
			"lab.yaml:3:36: instances.one.ip: 10.0.1.3 is reserved in subnet a (10.0.1.0/24) for future use; use 10.0.1.4 to 10.0.1.254"},
		{"unknown group", head + "security-groups: { web: {} }\ninstances: { one: { subnet: a, groups: [wep] } }",
			"lab.yaml:4:41: instances.one.groups[0]: there is no security group wep; did you mean web?"},
		{"port 70000 of a rule", head + "security-groups: { web: { ingress: [tcp 70000 from anywhere] } }",
			"lab.yaml:3:41: security-groups.web.ingress[0]: port 70000 is out of range; ports are 0 to 65535"},
		{"port 70000 of a server", head + "instances: { one: { subnet: a, listen: 70000/udp } }",
			"lab.yaml:3:40: instances.one.listen[0]: port 70000 is out of range; ports are 1 to 65535"},
		{"duplicate instances", head + "instances: { one: { subnet: a }, one: { subnet: b } }",
			"lab.yaml:3:34: instances.one: one stands here a second time; the first is on line 3; give each a name of its own"},
		{"not YAML", "lab: [", "lab.yaml:1:6: this is not YAML: sequence end token ']' not found; mend the line, or what it continues"},
		{"not a mapping", "hello",
			`lab.yaml:1:1: this is not a lab: a mapping of fields is expected, and here is "hello"; ` + beginning},
		{"empty file", " \n\n", "lab.yaml: the file is empty; " + beginning},
		{"lab name", strings.Replace(head, "lab: shop", "lab: 1shop", 1),
			`lab.yaml:1:6: lab: "1shop" cannot be the name of a lab; begin it with a letter`},
		{"lab name missing", "vpcs: { main: { cidr: 10.0.0.0/16 } }", "lab.yaml:1:1: lab is missing; add lab: my-lab"},
		{"lab name too long", strings.Replace(head, "lab: shop", "lab: "+strings.Repeat("a", 64), 1),
			`lab.yaml:1:6: lab: "` + strings.Repeat("a", 60) + `..." cannot be the name of a lab; it has 64 characters, and 63 are the most`},
		{"lab name ends", strings.Replace(head, "lab: shop", "lab: shop-", 1),
			`lab.yaml:1:6: lab: "shop-" cannot be the name of a lab; end it with a letter or digit`},
		{"full subnet", "lab: a\nvpcs: { v: { cidr: 10.0.0.0/16, subnets: { s: 10.0.0.0/28 } } }\ninstances: { " + strings.Repeat("i%: { subnet: s }, ", 12) + "}",
			"lab.yaml:3:252: instances.i-12.subnet: subnet s (10.0.0.0/28) has 11 addresses, and they are all taken; make the subnet larger"},
		{"too many groups", head + "security-groups: { " + strings.Repeat("g%: {}, ", 17) + "}\ninstances: { one: { subnet: a, groups: [ " + strings.Repeat("g%, ", 17) + "] } }",
			"lab.yaml:4:129: instances.one.groups[16]: an interface has at most 16 groups; put several rules into one group"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("lab.yaml", []byte(numbered(c.text)))
			ps, ok := errors.AsType[Problems](err)
			if !ok || len(ps) != 1 {
				t.Fatalf("got %v; want one problem", err)
			}
			if got := ps[0].Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// numbered puts numbers for the marks % in each line: i%, i% becomes i-1, i-2.
func numbered(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		switch r {
		case '\n':
			n = 0
			b.WriteRune(r)
		case '%':
			n++
			b.WriteString("-" + strconv.Itoa(n))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"three-tier/lab.yaml", "only/shop.yaml"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("lab: x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ path, name, err string }{
		{"three-tier/lab.yaml", "three-tier/lab.yaml", ""},
		{"three-tier", "three-tier/lab.yaml", ""},
		{"three-tier/lab.yml", "", "three-tier/lab.yml: there is no such file; did you mean three-tier/lab.yaml?"},
		{"only/thing.yaml", "", "only/thing.yaml: there is no such file; did you mean only/shop.yaml?"},
		{"nowhere/at/all.yaml", "", "nowhere/at/all.yaml: there is no such file; give the path of a lab file, such as examples/three-tier/lab.yaml"},
		{"only", "", "only/lab.yaml: there is no such file; did you mean only/shop.yaml?"},
		{"only/shop.yaml/x", "", "only/shop.yaml/x: the file cannot be read: not a directory"},
	} {
		name, data, err := ReadFile(c.path)
		switch {
		case c.err == "" && (err != nil || name != c.name || string(data) != "lab: x"):
			t.Errorf("ReadFile(%q) = %q, %q, %v", c.path, name, data, err)
		case c.err != "" && (err == nil || err.Error() != c.err):
			t.Errorf("ReadFile(%q): got %v; want %s", c.path, err, c.err)
		}
	}
}

func TestParseWholeFile(t *testing.T) {
	f := parseFile(t, "testdata/good/everything.yaml")
	if f.Lab != "everything" || f.Driver != "netstack" || f.MTU != 1500 || f.OnRuleChange != Reevaluate || f.Timeouts.UDP != 45*time.Second {
		t.Errorf("settings: %+v", f)
	}
	web := f.group("web")
	var words []string
	for _, r := range web.Ingress {
		words = append(words, r.Words+" @"+r.Pos.String())
	}
	want := []string{
		"http from anywhere @everything.yaml:36",
		"tcp 8000-8100 from 10.0.0.0/8, app @everything.yaml:37",
		"ping from anywhere-v6 @everything.yaml:38",
		"https from anywhere @everything.yaml:39",
		"tcp 90-99 from app @everything.yaml:40",
		"icmp fragmentation-needed from prefix-list partners @everything.yaml:41",
		"gre from 10.0.0.0/8 @everything.yaml:42",
		"ssh from anywhere @everything.yaml:43",
		"icmpv6 from fd00::/8 @everything.yaml:44",
	}
	if strings.Join(words, "\n") != strings.Join(want, "\n") {
		t.Errorf("rules of web:\n%s\nwant:\n%s", strings.Join(words, "\n"), strings.Join(want, "\n"))
	}
	if app := f.group("app"); app.Ingress == nil || len(app.Ingress) != 1 || app.Egress == nil || len(app.Egress) != 0 || app.Ingress[0].Direction != vpc.Ingress {
		t.Errorf("app: %+v", app)
	}
	if web.Egress != nil {
		t.Error("absent egress is not nil")
	}
	if in := f.instance("web-1"); in.Subnet.Name != "public" || in.Listen[1] != (Listen{53, "udp"}) || in.Listen[2] != (Listen{443, "tcp"}) || in.sourceDestCheck() {
		t.Errorf("web-1: %+v", in)
	}
	if l := f.FlowLogs[1]; l.Format != "${version} ${srcaddr}" || l.resourceType != "Subnet" || l.Destination != DefaultBucket || l.Interval != 600 || l.Traffic != TrafficReject {
		t.Errorf("flow log: %+v", l)
	}
	if s := f.Tests[1].Steps; len(s) != 8 || s[1].Expect != ExpectAccept || s[4].Direction != vpc.Egress || s[5].Wait != 50*time.Millisecond {
		t.Errorf("steps: %+v", s)
	}
	if k := f.Tests[0].Check; k.Traffic != (Traffic{From: "web-1", FromPort: 4000, To: Target{Instance: "app-1", Port: 53, Protocol: "udp"}}) || len(k.Records) != 1 {
		t.Errorf("check: %+v", k)
	}
}

func TestDefaults(t *testing.T) {
	f := parseText(t, "lab: a\nvpcs:\n  v: { cidr: 10.0.0.0/16 }\n  w: { cidr: 10.0.0.0/16 }\nsecurity-groups: { quiet: { vpc: w } }\n")
	if f.MTU != DefaultMTU || f.OnRuleChange != Persist || len(f.FlowLogs) != 2 || f.FlowLogs[1].Resource != "w" {
		t.Errorf("%+v", f)
	}
	if f := parseText(t, "lab: a\nvpcs: { v: { cidr: 10.0.0.0/16 } }\nflow-logs: []\nsecurity-groups: { quiet: }"); len(f.FlowLogs) != 0 || f.FlowLogs == nil || len(f.Groups) != 1 {
		t.Errorf("%+v", f)
	}
}

// An alias stands for its anchor's value, is counted, and cannot go round.
func TestAliases(t *testing.T) {
	f := parseText(t, "lab: a\nvpcs: { v: { cidr: 10.0.0.0/16 } }\nsecurity-groups:\n  one: { ingress: &in [http from anywhere] }\n  two: { ingress: *in }\n")
	if got := f.group("two").Ingress[0].Words; got != "http from anywhere" {
		t.Errorf("got %q", got)
	}
	for _, circle := range []string{"lab: a\nvpcs: &v { v: *v }\n", "lab: &a *a\n", "lab: a\nvpcs: { v: &v { subnets: *v } }\n"} {
		if _, err := Parse("lab.yaml", []byte(circle)); err == nil {
			t.Errorf("%q was taken", circle)
		}
	}
	var b strings.Builder
	b.WriteString("lab: a\nvpcs: { v: { cidr: 10.0.0.0/16 } }\nsecurity-groups:\n  g: { ingress: &in [")
	for i := range 2000 {
		b.WriteString("tcp " + strconv.Itoa(i) + " from anywhere, ")
	}
	b.WriteString("] }\n")
	for i := range 2000 {
		b.WriteString("  g" + strconv.Itoa(i) + ": { ingress: *in }\n")
	}
	if _, err := Parse("lab.yaml", []byte(b.String())); err == nil || !strings.Contains(err.Error(), "the file's aliases stand for too much; write fewer of them") {
		t.Errorf("four million rules: %.200v", err)
	}
}

func TestTooLarge(t *testing.T) {
	_, err := Parse("lab.yaml", make([]byte, maxFile+1))
	if err == nil || err.Error() != "lab.yaml: the file has 4194305 bytes; a lab file has at most 4194304" {
		t.Error(err)
	}
}

func TestWithTests(t *testing.T) {
	f := parseText(t, "lab: a\nvpcs: { v: { cidr: 10.0.0.0/16, subnets: { s: 10.0.0.0/24 } } }\ninstances: { one: { subnet: s } }\ntests: [ { from: one, to: one:80, expect: lost } ]")
	g, err := f.WithTests("grade.yaml", []byte("about: grading\ntests:\n  - { from: one, to: db:80, expect: reject }\n  - steps: [ { authorize: ssh from anywhere, group: web }, { from: one, to: one, expect: accept } ]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Tests) != 2 || len(f.Tests) != 1 || g.Tests[0].Pos.String() != "grade.yaml:3" {
		t.Errorf("%+v", g.Tests)
	}
	if got := g.Tests[0].problem; got != "there is no instance db; the instances are one" {
		t.Errorf("problem of the check: %q", got)
	}
	if s := g.Tests[1].Steps; s[0].problem != "there is no security group web; the security groups are default" || s[1].problem != "" {
		t.Errorf("problems of the steps: %q, %q", s[0].problem, s[1].problem)
	}
	for text, want := range map[string]string{
		"lab: a\ntests: []": "grade.yaml:1:1: lab: unknown field lab; the fields here are about and tests\n  1 | lab: a\n    | ^^^",
		"about: x":          "grade.yaml:1:1: tests is missing; add tests: [ ... ]\n  1 | about: x\n    | ^^^^^",
		"tests: [ { from: one, to: one, expect: x } ]": "grade.yaml:1:40: tests[0].expect: \"x\" is not one of its values; write accept, reject, answered, refused or lost\n  1 | tests: [ { from: one, to: one, expect: x } ]\n    |                                        ^",
	} {
		if _, err := f.WithTests("grade.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func parseFile(t testing.TB, path string) *File {
	t.Helper()
	name, data, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func parseText(t testing.TB, text string) *File {
	t.Helper()
	f, err := Parse("lab.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
