//go:build linux

package e2e

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/vpclab/vpclab/api/agent"
)

// everything is a lab with an object of each kind.
const everything = `
lab: everything
about: One object of each kind.
vpcs:
  main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24, b: 10.0.2.0/24 } }
prefix-lists:
  offices: [192.0.2.0/24, 198.51.100.0/24]
security-groups:
  web: { ingress: [http from anywhere, ssh from prefix-list offices] }
  app: { ingress: [tcp 8080 from web] }
instances:
  web-1: { subnet: a, ip: 10.0.1.10, groups: [web], listen: [80] }
  app-1: { subnet: b, ip: 10.0.2.10, groups: [app], listen: [8080, 53/udp] }
`

// each runs a test with both drivers, on a host where a lab is up.
func each(t *testing.T, lab string, f func(t *testing.T, h *host, driver string)) {
	for _, driver := range []string{"netns", "netstack"} {
		t.Run(driver, func(t *testing.T) {
			if driver == "netns" {
				needsRoot(t)
			}
			h := newHost(t)
			h.up(h.lab(lab), "--driver", driver)
			f(t, h, driver)
		})
	}
}

func TestExec(t *testing.T) {
	each(t, everything, func(t *testing.T, h *host, driver string) {
		expect := func(code int, stdin, out string, argv ...string) {
			t.Helper()
			if r := h.feed(stdin, append([]string{"exec", "web-1", "--"}, argv...)...); r.code != code || !strings.Contains(r.out, out) {
				t.Errorf("want exit code %d and %q\n%v", code, out, r)
			}
		}
		expect(127, "", "", "no-such-program")
		if driver == "netns" {
			expect(0, "", "web-1\n", "hostname")
			expect(7, "", "seven\n", "sh", "-c", "echo seven; exit 7")
			expect(0, "one\ntwo\n", "one\ntwo\n", "cat")
			expect(1, "", "", "sh", "-c", "test -t 0")
			expect(0, "", "10.0.2.10", "cat", "/etc/hosts")
			expect(126, "", "", "/etc/hosts")
			if r := h.run("exec", "web-1", "--", "sh", "-c", "kill -9 $$"); r.code != -1 && r.code != 137 {
				t.Errorf("killed by a signal: %v", r)
			}
			if r := h.run("exec", "web-1", "--", "sh", "-c", "echo out; echo err >&2"); r.out != "out\n" || r.err != "err\n" {
				t.Errorf("%v", r)
			}
			return
		}
		h.must("authorize", "app", "all from web")
		expect(0, "", "app-1 10.0.2.10:8080", "curl", "-s", "http://10.0.2.10:8080/")
		expect(0, "", "1 packets transmitted, 1 ", "ping", "-c", "1", "app-1")
		expect(0, "hello\n", "hello\n", "nc", "-w", "1", "10.0.2.10", "8080")
		if r := h.run("exec", "web-1", "--", "ping", "-c", "1", "-W", "1", "10.0.1.99"); r.code == 0 {
			t.Errorf("a ping of nobody: %v", r)
		}
	})
}

func TestExecOfNobody(t *testing.T) {
	h := newHost(t)
	h.up(three, "--driver", "netstack", "--no-tests")
	h.fails(2, "web-1", "exec", "web-2", "--", "true")
	h.fails(2, "", "probe", "web-2", "app-1:80")
	h.fails(2, "", "probe", "web-1", "app-2:80")
	h.fails(2, "", "explain", "web-1", "app-2:80")
	h.fails(2, "", "show", "web-2")
	h.fails(2, "", "authorize", "wbe", "http from anywhere")
	h.fails(2, "", "flows", "--at", "web-2")
}

func TestExitCodesOfVerdicts(t *testing.T) {
	h := newHost(t)
	h.up(three, "--driver", "netstack", "--no-tests")
	for _, command := range []string{"probe", "explain"} {
		for target, code := range map[string]int{"app-1:8080": 0, "db-1:5432": 1, "192.0.2.1:80": 1} {
			if r := h.run(command, "--exit-code", "--", "web-1", target); r.code != code {
				t.Errorf("want %d\n%v", code, r)
			}
			if r := h.run(command, "web-1", target); r.code != 0 {
				t.Errorf("without --exit-code: %v", r)
			}
		}
	}
	if out := h.must("probe", "-c", "3", "web-1", "app-1:8080"); strings.Count(out, "answered") < 3 && !strings.Contains(out, "3 of 3") {
		t.Errorf("three probes:\n%s", out)
	}
}

func TestShow(t *testing.T) {
	h := newHost(t)
	h.up(h.lab(everything), "--driver", "netstack")
	show := func(object, kind string, words ...string) *agent.ShowResult {
		t.Helper()
		var s agent.ShowResult
		h.json(&s, "show", object)
		if s.Kind != kind {
			t.Errorf("show %s gave a %s", object, s.Kind)
		}
		out := h.must("show", object)
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("show %s does not print %q:\n%s", object, w, out)
			}
		}
		var any map[string]any
		if err := yaml.Unmarshal([]byte(h.must("-o", "yaml", "show", object)), &any); err != nil || any["kind"] != kind {
			t.Errorf("show %s -o yaml: %v %v", object, err, any["kind"])
		}
		return &s
	}
	h.must("probe", "web-1", "app-1:8080")
	show("lab/everything", "lab", "One object of each kind", "main", "web-1")
	v := show("vpc/main", "vpc", "10.0.0.0/16", "web", "app")
	show("subnet/b", "subnet", "10.0.2.0/24", "10.0.2.1", "app-1")
	show("security-group/app", "security-group", "tcp 8080 from web", "all to anywhere", "app-1")
	show("app", "security-group", "tcp 8080 from web")
	show("prefix-list/offices", "prefix-list", "192.0.2.0/24", "198.51.100.0/24")
	i := show("web-1", "instance", "10.0.1.10", "80(http)", "web")
	show("10.0.1.10", "network-interface")
	show("instance/web-1", "instance")
	show(i.Instance.ID, "instance")
	show(i.Instance.Interfaces[0].ID, "network-interface", "10.0.1.10", i.Instance.Interfaces[0].MAC)
	show(v.VPC.ID, "vpc")
	if len(v.VPC.RouteTables) == 0 || len(v.VPC.FlowLogs) == 0 {
		t.Fatalf("%+v", v.VPC)
	}
	show(v.VPC.RouteTables[0].ID, "route-table", "10.0.0.0/16", "local")
	show(v.VPC.FlowLogs[0].ID, "vpc-flow-log", "ALL", "main")
	g := show("security-group/app", "security-group")
	k := slices.IndexFunc(g.SecurityGroup.Rules, func(r agent.GroupRule) bool { return r.Words == "tcp 8080 from web" })
	if k < 0 || g.SecurityGroup.Rules[k].Hits != 1 || g.SecurityGroup.Rules[k].LastHit == nil {
		t.Errorf("one flow passed by a rule: %+v", g.SecurityGroup.Rules)
	}
}

// TestForms wants all lists in all forms to be what they say.
func TestForms(t *testing.T) {
	h := newHost(t)
	h.up(three, "--driver", "netstack")
	lists := map[string][]string{
		"status": {"status"}, "flows": {"flows"}, "conntrack": {"conntrack", "--rejected"}, "apply": {"apply", three},
		"test": {"test", three}, "flowlogs": {"flowlogs", "list"}, "validate": {"validate", three},
		"authorize": {"authorize", "web", "tcp 81 from 10.0.0.0/8"}, "revoke": {"revoke", "web", "tcp 81 from 10.0.0.0/8"},
	}
	for _, name := range []string{"status", "flows", "conntrack", "apply", "test", "flowlogs", "validate"} {
		args := lists[name]
		var v any
		if out := h.must(append([]string{"-o", "json"}, args...)...); json.Unmarshal([]byte(out), &v) != nil || v == nil {
			t.Errorf("%s -o json:\n%s", name, out)
		}
		v = nil
		if out := h.must(append([]string{"-o", "yaml"}, args...)...); yaml.Unmarshal([]byte(out), &v) != nil || v == nil {
			t.Errorf("%s -o yaml:\n%s", name, out)
		}
		out := h.must(append([]string{"-o", "csv"}, args...)...)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil || len(rows) == 0 || name == "flows" && len(rows) < 20 || name == "status" && len(rows) != 5 {
			t.Errorf("%s -o csv: %v, %d rows\n%s", name, err, len(rows), out)
		}
	}
	for _, name := range []string{"authorize", "revoke"} {
		var v agent.RuleResult
		h.json(&v, lists[name]...)
		if v.Group != "web" || len(v.Rules) != 1 {
			t.Errorf("%s: %+v", name, v)
		}
	}
	aws := regexp.MustCompile(`^2 123456789012 eni-[0-9a-f]{17} [0-9.]+ [0-9.]+ \d+ \d+ 6 \d+ \d+ \d+ \d+ (ACCEPT|REJECT) OK$`)
	lines := strings.Split(strings.TrimSpace(h.must("-o", "aws", "flows")), "\n")
	for _, l := range lines {
		if !aws.MatchString(l) {
			t.Errorf("flows -o aws: %q", l)
		}
	}
	if len(lines) < 20 {
		t.Errorf("flows -o aws: only %d lines", len(lines))
	}
	if out := h.must("-o", "aws", "flows", "--format", "${srcaddr} ${dstport} ${tcp-flags}", "--header"); !strings.HasPrefix(out, "srcaddr dstport tcp-flags\n10.") {
		t.Errorf("%s", out)
	}
}

func TestFollowFlows(t *testing.T) {
	h := newHost(t)
	h.up(three, "--driver", "netstack", "--no-tests")
	h.must("probe", "guest-1", "web-1:80") // before
	f := h.start(nil, "flows", "-f", "--reject")
	j := h.start(nil, "-o", "json", "flows", "-f", "--at", "db-1")
	time.Sleep(300 * time.Millisecond) // a follower gets what is there by itself; this is about what comes
	// A program's traffic, since a probe looks at the records itself.
	h.start(nil, "exec", "web-1", "--", "nc", "-z", "-w", "1", "10.0.2.20", "5432")
	f.awaitWithin(3*time.Second, &f.out, "db: no rule")
	j.awaitWithin(3*time.Second, &j.out, `"REJECT"`)
	if strings.Contains(f.out.String(), "ACCEPT") {
		t.Errorf("--reject shows\n%s", f.out.String())
	}
	for line := range strings.Lines(j.out.String()) {
		var row agent.FlowRow
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.At != "db-1" {
			t.Errorf("%v: %s", err, line)
		}
	}
	for _, p := range []*process{f, j} {
		p.signal(syscall.SIGINT)
		if code := p.wait(patience); code != 130 && code != 0 || p.err.String() != "" {
			t.Errorf("interrupted: exit code %d, %q", code, p.err.String())
		}
	}
	// One whose reader goes ends by itself, though nothing new comes.
	cmd := h.command("flows", "-f")
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, &p.err
	p.begin()
	w.Close()
	io.ReadFull(r, make([]byte, 100))
	r.Close()
	p.wait(patience)
}

func TestApply(t *testing.T) {
	h := newHost(t)
	file := h.lab(everything)
	h.up(file, "--driver", "netstack")
	apply := func(file string, flags ...string) (changes []string) {
		t.Helper()
		var res agent.ApplyResult
		h.json(&res, append([]string{"apply", file}, flags...)...)
		for _, c := range res.Changes {
			changes = append(changes, c.Action+" "+c.Kind+" "+c.Name)
		}
		return changes
	}
	for range 2 {
		if got := apply(file); len(got) != 0 {
			t.Errorf("the same file again: %q", got)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(everything, "tcp 8080 from web", "tcp 8080 from web, tcp 9090 from web", 1) + "  app-2: { subnet: b, ip: 10.0.2.11, groups: [app], listen: [9090] }\n")
	dry := apply(file, "--dry-run")
	if len(dry) < 2 || !slices.Contains(dry, "add instance app-2") {
		t.Errorf("--dry-run: %q", dry)
	}
	h.fails(2, "", "probe", "web-1", "app-2:9090") // it is not there
	if got := apply(file); !slices.Equal(got, dry) {
		t.Errorf("apply did %q, and --dry-run had said %q", got, dry)
	}
	h.must("probe", "--exit-code", "web-1", "app-2:9090")
	if got := apply(file); len(got) != 0 {
		t.Errorf("the same file again: %q", got)
	}
	write(everything)
	if got := apply(file); !slices.Contains(got, "remove instance app-2") {
		t.Errorf("back again: %q", got)
	}
	h.fails(2, "", "probe", "web-1", "app-2:9090")
	if out := h.must("apply", file); !strings.Contains(strings.ToLower(out), "no change") && !strings.Contains(out, "nothing") {
		t.Errorf("nothing changed, and apply prints:\n%s", out)
	}
}

func TestWithoutAgent(t *testing.T) {
	h := newHost(t)
	for _, name := range examples(t) {
		if out := h.must("validate", "examples/"+name); !strings.Contains(out, name) {
			t.Errorf("validate:\n%s", out)
		}
	}
	if out := h.feed(read(t, filepath.Join(home, three)), "validate", "-"); out.code != 0 {
		t.Errorf("%v", out)
	}
	if out := h.must("version"); !strings.Contains(out, "go1.") || !strings.Contains(out, "linux/") {
		t.Errorf("version: %s", out)
	}
	var v map[string]any
	h.json(&v, "version")
	if v["go"] == nil && v["Go"] == nil {
		t.Errorf("version: %v", v)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out := h.must("completion", shell); len(out) < 1000 || !strings.Contains(out, "vpclab") {
			t.Errorf("completion %s: %d bytes", shell, len(out))
		}
	}
	if out := h.must("help"); !strings.Contains(out, "vpclab up FILE") || !strings.Contains(out, "Exit codes:") {
		t.Errorf("help:\n%s", out)
	}
}

func TestCompletionOfNames(t *testing.T) {
	h := newHost(t)
	h.up(three, "--driver", "netstack", "--no-tests")
	for args, want := range map[string]string{"probe": "web-1", "exec": "db-1", "authorize": "app", "down": "three-tier", "show": "web"} {
		if out := h.must("__complete", args, ""); !strings.Contains(out, want) {
			t.Errorf("completion of %s lacks %s:\n%s", args, want, out)
		}
	}
}

func TestStatusAndConntrack(t *testing.T) {
	h := newHost(t)
	p := h.up(three, "--driver", "netstack", "--no-tests")
	var st agent.Status
	h.json(&st, "status")
	if st.Agent.PID != p.cmd.Process.Pid || st.Agent.DataDir != h.dir || len(st.Labs) != 1 || st.Labs[0].Running != 4 || len(st.Instances) != 4 || st.Conntrack.Halves != 0 {
		t.Errorf("%+v", st)
	}
	h.must("probe", "web-1", "app-1:8080")
	h.must("probe", "web-1", "db-1:5432")
	var rows []agent.ConntrackRow
	h.json(&rows, "conntrack")
	if len(rows) != 3 { // two halves of the one; of the other only its opener's, the rest is a cached reject
		t.Errorf("%d halves: %+v", len(rows), rows)
	}
	h.json(&rows, "conntrack", "--rejected", "--port", "5432")
	if len(rows) != 2 || rows[1].Action != "REJECT" && rows[0].Action != "REJECT" {
		t.Errorf("%+v", rows)
	}
	h.json(&st, "status")
	if st.Conntrack.Halves != 4 || st.Conntrack.Rejected != 1 {
		t.Errorf("%+v", st.Conntrack)
	}
}

// TestTwoLabs takes one of two labs down: the other, which has the same addresses, goes on.
func TestTwoLabs(t *testing.T) {
	needsRoot(t)
	h := newHost(t)
	first := h.up(h.lab(kernelLab), "--driver", "netns")
	second := h.up(h.lab(strings.Replace(kernelLab, "lab: kernel", "lab: other", 1)), "--driver", "netns")
	held, w := h.piped(append([]string{"exec", "--lab", "kernel", "client-1", "--"}, helperArgs("hold", "10.0.2.10:9000")...)...)
	held.await(&held.out, "open 10.0.1.10:")
	io.WriteString(w, "one\n")
	held.await(&held.out, "back one")
	// Each sees its own.
	if rows := h.flows("--lab", "other"); len(rows) != 0 {
		t.Errorf("the other lab has records: %+v", rows)
	}
	if r := h.run("probe", "client-1", "server-1:9000"); r.code != 2 || !strings.Contains(r.err, "other/client-1") {
		t.Errorf("a name that two labs have: %v", r)
	}
	h.must("probe", "--lab", "other", "--exit-code", "client-1", "server-1:9000")
	h.must("down", "other")
	second.wait(patience)
	io.WriteString(w, "two\n")
	held.await(&held.out, "back two")
	var st agent.Status
	h.json(&st, "status")
	if len(st.Labs) != 1 || st.Labs[0].Name != "kernel" || len(st.Instances) != 2 {
		t.Errorf("%+v", st)
	}
	first.stop()
	held.wait(patience)
}

// TestTwoAgents runs one lab twice, in two data directories.
func TestTwoAgents(t *testing.T) {
	needsRoot(t)
	one, two := newHost(t), newHost(t)
	before := devices(t)
	p, q := one.up(three), two.up(three)
	for _, h := range []*host{one, two} {
		h.must("probe", "--exit-code", "web-1", "app-1:8080")
	}
	spaces := one.spaces()
	p.stop()
	one.gone(spaces, before)
	two.must("probe", "--exit-code", "web-1", "app-1:8080")
	two.must("authorize", "db", "postgres from web")
	two.must("probe", "--exit-code", "web-1", "db-1:5432")
	spaces = two.spaces()
	q.stop()
	two.gone(spaces, before)
}

// TestDetach leaves an agent in the background.
func TestDetach(t *testing.T) {
	h := newHost(t)
	if out := h.must("up", "--detach", three, "--driver", "netstack"); !strings.Contains(out, "5 passed") {
		t.Errorf("%s", out)
	}
	if out := h.must("test", three); !strings.Contains(out, "5 passed") {
		t.Errorf("%s", out)
	}
	h.must("probe", "--exit-code", "web-1", "app-1:8080")
	if out := h.must("down"); !strings.Contains(out, "down: three-tier") {
		t.Errorf("%s", out)
	}
	h.checkPublished()
}
