//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/netns"
)

// goodLab is made bad by one replacement in each case of TestBadLabFiles. Lines count from 1.
const goodLab = `lab: bad
vpcs:
  main:
    cidr: 10.0.0.0/16
    subnets: { a: 10.0.1.0/24, b: 10.0.2.0/24 }
security-groups:
  web: { ingress: [http from anywhere] }
instances:
  web-1: { subnet: a, ip: 10.0.1.10, groups: [web] }
`

func TestGoodLab(t *testing.T) {
	h := newHost(t)
	h.must("validate", h.lab(goodLab))
}

// TestBadLabFiles wants of each bad file the place, what is wrong and what would be right, and exit code 2 of what would run
// it, 1 of validate. Nothing is started for it.
func TestBadLabFiles(t *testing.T) {
	for name, c := range map[string]struct{ old, new, message string }{
		"unknown field":              {", groups:", ", gruops:", "lab.yaml:9:38: instances.web-1.gruops: unknown field gruops; did you mean groups?"},
		"overlapping subnets":        {"b: 10.0.2.0/24", "b: 10.0.1.128/25", "lab.yaml:5:35: vpcs.main.subnets.b.cidr: 10.0.1.128/25 overlaps subnet a (10.0.1.0/24)"},
		"address outside the subnet": {"10.0.1.10", "10.0.9.9", "lab.yaml:9:27: instances.web-1.ip: 10.0.9.9 is outside subnet a (10.0.1.0/24); use 10.0.1.4 to 10.0.1.254"},
		"reserved address":           {"10.0.1.10", "10.0.1.1", "lab.yaml:9:27: instances.web-1.ip: 10.0.1.1 "},
		"unknown group":              {"[web]", "[wbe]", "lab.yaml:9:47: instances.web-1.groups[0]: there is no security group wbe; did you mean web?"},
		"unknown subnet":             {"subnet: a", "subnet: c", "lab.yaml:9:20: instances.web-1.subnet: there is no subnet c"},
		"port 70000":                 {"http from", "tcp 70000 from", "lab.yaml:7:24: security-groups.web.ingress[0]: port 70000 is out of range; ports are 0 to 65535"},
		"duplicate instance":         {"  web-1:", "  web-1: { subnet: b }\n  web-1:", "lab.yaml:10:3: instances.web-1: web-1 stands here a second time; the first is on line 9"},
		"duplicate group":            {"  web:", "  web: {}\n  web:", "lab.yaml:8:3: security-groups.web: web stands here a second time; the first is on line 7"},
		"duplicate address":          {"  web-1:", "  web-2: { subnet: a, ip: 10.0.1.10 }\n  web-1:", "10.0.1.10 is the address of web-2 already"},
		"bad CIDR":                   {"10.0.0.0/16", "10.0.0.0/8", "lab.yaml:4:11: vpcs.main.cidr: "},
		"binary":                     {goodLab, "\x7fELF\x02\x01\x00\x00{{{", "lab.yaml:1:1: this is not YAML: it has a control character (byte 0x02)"},
		"broken YAML":                {goodLab, "{ lab: [", "lab.yaml:1:8: this is not YAML: "},
		"a list":                     {goodLab, "- a\n", "lab.yaml:1:1: this is not a lab: a mapping of fields is expected, and here is a list"},
		"empty":                      {goodLab, "", "lab.yaml: the file is empty; a lab file begins with lab: NAME"},
		"only comments":              {goodLab, "# nothing\n", "lab.yaml: the file has nothing but comments"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Count(goodLab, c.old) < 1 {
				t.Fatalf("the good lab has no %q", c.old)
			}
			h := newHost(t)
			file := h.lab(strings.Replace(goodLab, c.old, c.new, 1))
			h.fails(2, c.message, "up", file)
			h.fails(2, c.message, "test", file)
			h.fails(1, c.message, "validate", file)
			if _, err := os.Stat(filepath.Join(h.dir, "agent.lock")); err == nil {
				t.Error("an agent was started for a file that is bad")
			}
		})
	}
}

// TestBadLabFileWhileUp wants that a lab that runs is not touched by a bad file.
func TestBadLabFileWhileUp(t *testing.T) {
	h := newHost(t)
	h.up(h.lab(goodLab), "--driver", "netstack")
	h.fails(2, "lab.yaml:9:27: instances.web-1.ip: 10.0.9.9 is outside subnet a", "apply", h.lab(strings.Replace(goodLab, "10.0.1.10", "10.0.9.9", 1)))
	if out := h.must("status"); !strings.Contains(out, "web-1[10.0.1.10]") {
		t.Errorf("status:\n%s", out)
	}
}

func TestMissingFiles(t *testing.T) {
	h := newHost(t)
	h.fails(2, "/no/such/lab.yaml: no such file or directory", "up", "/no/such/lab.yaml")
	h.fails(2, "/no/such/lab.yaml: no such file or directory", "test", "/no/such/lab.yaml")
	h.fails(2, "/no/such/lab.yaml: no such file or directory", "validate", "/no/such/lab.yaml")
	h.fails(2, "/no/such/grade.yaml: no such file or directory", "test", three, "--tests", "/no/such/grade.yaml")
	empty := t.TempDir()
	h.fails(2, filepath.Join(empty, "lab.yaml")+": no such file or directory", "up", empty) // a directory stands for its lab.yaml
}

func TestNoAgent(t *testing.T) {
	h := newHost(t)
	for _, args := range [][]string{
		{"status"}, {"flows"}, {"flows", "-f"}, {"conntrack"}, {"show", "web-1"}, {"probe", "web-1", "app-1:80"}, {"explain", "web-1", "app-1:80"},
		{"authorize", "web", "http from anywhere"}, {"revoke", "web", "http from anywhere"}, {"apply", three}, {"exec", "web-1", "--", "true"}, {"flowlogs", "list"},
	} {
		h.fails(4, h.dir+"/agent.sock: no agent is running", args...)
		h.fails(4, "vpclab up FILE", args...)
	}
}

// TestAgentGone asks for an agent that was killed, and starts another in its place.
func TestAgentGone(t *testing.T) {
	h := newHost(t)
	p := h.up(three, "--driver", "netstack", "--no-tests")
	p.signal(syscall.SIGKILL)
	p.wait(patience)
	h.fails(4, "no agent is running: the one that made this socket is gone", "status")
	h.up(three, "--driver", "netstack", "--no-tests")
	h.must("status")
}

// TestAgentKilledUnreaped kills an agent whose parent does not ask for its end, as in a container without an init.
func TestAgentKilledUnreaped(t *testing.T) {
	h := newHost(t)
	cmd := h.command("up", three, "--driver", "netstack", "--no-tests")
	var told tape
	cmd.Stderr = &told
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() })
	eventually(t, "the lab is up", func() bool { return strings.Contains(told.String(), running) })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent is a zombie", func() bool {
		return strings.Contains(read(t, fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)), ") Z ")
	})
	h.fails(4, "no agent is running: the one that made this socket is gone", "status")
	h.must("down")
}

func TestDataDirectoryInUse(t *testing.T) {
	h := newHost(t)
	p := h.up(three, "--driver", "netstack", "--no-tests")
	inUse := fmt.Sprintf("%s: the data directory is in use by another agent (pid %d)", h.dir, p.cmd.Process.Pid)
	h.fails(1, inUse, "agent")
	// An agent that cannot be reached still holds its directory.
	socket := filepath.Join(h.dir, "agent.sock")
	if err := os.Rename(socket, socket+".away"); err != nil {
		t.Fatal(err)
	}
	h.fails(1, inUse, "up", three)
	h.fails(4, "does not answer", "status")
	h.fails(4, "does not answer", "down")
	if err := os.Rename(socket+".away", socket); err != nil {
		t.Fatal(err)
	}
	h.must("status")
}

func TestNoPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Run("the directory is root's", func(t *testing.T) {
			h := newHost(t)
			h.up(three, "--driver", "netstack", "--no-tests")
			other := &host{t: t, dir: h.dir}
			other.as = &syscall.Credential{Uid: 65534, Gid: 65534}
			other.fails(4, "no permission to talk to the agent: "+h.dir+" belongs to uid 0, and you are uid 65534", "status")
			other.fails(1, "the data directory belongs to uid 0, not to you (uid 65534)", "down")
			other.fails(1, "the data directory belongs to uid 0, not to you (uid 65534)", "up", three)
		})
	}
	t.Run("it cannot be made", func(t *testing.T) {
		h := newHost(t)
		h.giveUpRoot(false)
		closed := filepath.Join(h.dir, "closed")
		if err := os.Mkdir(closed, 0o555); err != nil { // of who runs the tests
			t.Fatal(err)
		}
		other := &host{t: t, dir: filepath.Join(closed, "data"), as: h.as, env: h.env}
		other.fails(1, "cannot make the data directory: permission denied", "up", three)
		other.fails(1, "cannot make the data directory: permission denied", "up", "--detach", three)
	})
	t.Run("it is a file", func(t *testing.T) {
		h := newHost(t)
		file := filepath.Join(h.dir, "file")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		other := &host{t: t, dir: file}
		other.fails(1, "not a directory", "up", three)
	})
	t.Run("it is not the agent's", func(t *testing.T) {
		h := newHost(t)
		shared := filepath.Join(h.dir, "shared")
		if err := os.MkdirAll(filepath.Join(shared, "somebody's"), 0o755); err != nil {
			t.Fatal(err)
		}
		other := &host{t: t, dir: shared}
		other.fails(1, "the data directory has other files in it and is open to others (mode 0755)", "up", three)
	})
}

func TestDriverThatDoesNotWork(t *testing.T) {
	h := newHost(t)
	h.giveUpRoot(false)
	h.fails(1, "netns: ", "up", three, "--driver", "netns")
	h.fails(2, `--driver: "qemu" is none of auto, netns, netstack`, "up", three, "--driver", "qemu")
}

// TestNameInUse makes the namespace's name collide: each eth0 is alone in a namespace of its own, so the name of that is
// what can be taken. It is 32 bits of the instance's id, which the model draws: so this asks the driver itself.
func TestNameInUse(t *testing.T) {
	needsRoot(t)
	spec := instances.Spec{
		ID: "i-0e2e00000e2e00001", Name: "web-1", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, RunDir: t.TempDir(),
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.1.10/24")}, Gateways: []netip.Addr{netip.MustParseAddr("10.0.1.1")},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	first, err := netns.New().Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	spec.RunDir = t.TempDir() // another agent's
	second, err := netns.New().Start(ctx, spec)
	if err == nil {
		second.Close()
		t.Fatal("two namespaces of one name")
	}
	if s := err.Error(); !strings.Contains(s, "instance web-1: ") || !strings.Contains(s, "vpclab-0e2e00001"[:7]) || !strings.Contains(s, "exists") {
		t.Errorf("%v", err)
	}
	// The one that was there first is not harmed.
	if l, err := first.Net().Listen("tcp", netip.MustParseAddrPort("10.0.1.10:80")); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
	if left, err := os.ReadDir(spec.RunDir); err != nil || len(left) != 0 {
		t.Errorf("the second one left %v: %v", left, err)
	}
	start := time.Now()
	if err := first.Close(); err != nil || time.Since(start) > patience {
		t.Error(err)
	}
}

func TestBadCommandLines(t *testing.T) {
	h := newHost(t)
	for words, args := range map[string][]string{
		`unknown command "fly"`:         {"fly"},
		"unknown flag: --bogus":         {"up", "--bogus", three},
		"accepts 1 arg(s), received 0":  {"up"},
		"-o:":                           {"-o", "toml", "status"},
		"a port is a number from 1":     {"probe", "web-1", "app-1:70000"},
		"--records:":                    {"up", three, "--records", "all"},
		"--direction:":                  {"flows", "--direction", "sideways"},
		"--since:":                      {"flows", "--since", "yesterday-ish"},
		"-o: up prints several lists":   {"-o", "csv", "up", three},
		"--port: a port is a number":    {"flows", "--port", "70000"},
		"-- ping -c 1":                  {"exec", "web-1", "--"},
		"--format and --header go with": {"flows", "--header"},
	} {
		h.fails(2, words, args...)
	}
}
