//go:build linux

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vpclab/vpclab/api/agent"
)

// A real virtual machine: Debian's kernel and the initramfs of examples/vm, which that example's script fetches and makes,
// emulated. What it does is typed at its console, as a person would.

// bootPatience is for an emulated machine on a busy one.
const bootPatience = 2 * time.Minute

var fetched struct {
	once sync.Once
	err  error
}

// machineFiles puts kernel and initramfs beside the example's lab file, where commands find them.
func machineFiles(t testing.TB) {
	t.Helper()
	for program, debian := range map[string]string{
		"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "cpio": "cpio", "apt-get": "apt",
	} {
		needsProgram(t, program, debian)
	}
	fetched.once.Do(func() { fetched.err = fetchMachine() })
	if fetched.err != nil {
		t.Fatal(fetched.err)
	}
}

// fetchMachine runs the example's script. What it downloads is kept for the next run in VPCLAB_VM_CACHE, or in the user's
// cache.
func fetchMachine() error {
	cache := os.Getenv("VPCLAB_VM_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		cache = filepath.Join(user, "vpclab", "vm")
	}
	if out, err := exec.Command("../examples/vm/fetch.sh", cache).CombinedOutput(); err != nil {
		return fmt.Errorf("fetch.sh: %w\n%s", err, out)
	}
	for _, name := range []string{"vmlinuz", "initrd.img"} {
		data, err := os.ReadFile(filepath.Join(cache, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(home, "examples", "vm", name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// machineLab is a lab with a virtual machine and a host.
func machineLab(h *host, more string, hosts ...string) string {
	boot := filepath.Join(home, "examples", "vm")
	text := `
lab: machines
vpcs: { main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24, b: 10.0.2.0/24 } } }
security-groups:
  machine: { ingress: [http from host] }
  host: { ingress: [http from machine] }
instances:
  vm-1:
    subnet: a
    ip: 10.0.1.10
    groups: machine
    driver: qemu
    kernel: ` + boot + `/vmlinuz
    initrd: ` + boot + `/initrd.img
    append: quiet
    args: [-M, q35, -accel, tcg]
` + more + `
  host-1: { subnet: b, ip: 10.0.2.10, groups: host, driver: netstack, listen: [80, 81] }
` + strings.Join(hosts, "")
	path := filepath.Join(h.dir, "lab.yaml") // where whoever runs the commands can read it
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// console is a person at a machine's console.
type console struct {
	*process
	keys  io.WriteCloser
	lines int
}

func (h *host) console(instance string) *console {
	h.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	c := &console{process: h.start(r, "console", instance), keys: w}
	r.Close()
	h.t.Cleanup(func() { w.Close() })
	return c
}

// sh runs a line in the machine and gives its output and exit code.
func (c *console) sh(line string) (string, int) {
	c.t.Helper()
	c.lines++
	begin, end := fmt.Sprintf("begin-%d:", c.lines), fmt.Sprintf("end-%d:", c.lines)
	// Split in the typed line, so that its echo is not taken for what it prints.
	typed := fmt.Sprintf("echo begin''-%d:; %s; echo end''-%d:$?.\n", c.lines, line, c.lines)
	if _, err := io.WriteString(c.keys, typed); err != nil {
		c.t.Fatal(err)
	}
	var rest, code string
	for stop := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		_, out, began := strings.Cut(c.out.String(), begin)
		text, tail, ended := strings.Cut(out, end)
		number, _, whole := strings.Cut(tail, ".")
		if began && ended && whole {
			rest, code = text, number
			break
		}
		if time.Now().After(stop) {
			c.t.Fatalf("%q in the machine has no end:\n%s", line, clip(c.out.String()))
		}
	}
	n, err := strconv.Atoi(code)
	if err != nil {
		c.t.Fatalf("%q ended with %q", line, code)
	}
	return strings.TrimSpace(strings.ReplaceAll(rest, "\r", "")), n
}

// fetches wants a page from the machine's side.
func (c *console) fetches(url, want string) {
	c.t.Helper()
	if out, code := c.sh("timeout 10 wget -q -O- " + url); code != 0 || !strings.Contains(out, want) {
		c.t.Errorf("wget %s: exit code %d, %q", url, code, out)
	}
}

// booted waits until the machine says so: on its console, which is in a file.
func (h *host) booted(instance string) {
	h.t.Helper()
	log := h.instance(instance).Info["console"]
	for stop := time.Now().Add(bootPatience); ; time.Sleep(50 * time.Millisecond) {
		if text, _ := os.ReadFile(log); strings.Contains(string(text), "vpclab: "+instance+" is up at ") {
			return
		}
		if time.Now().After(stop) {
			text, _ := os.ReadFile(log)
			h.t.Fatalf("%s does not boot; its console:\n%s", instance, text)
		}
	}
}

// row gives an instance's line of the status.
func (h *host) row(instance string) agent.InstanceRow {
	h.t.Helper()
	var st agent.Status
	h.json(&st, "status")
	for _, i := range st.Instances {
		if i.Name == instance {
			return i
		}
	}
	h.t.Fatalf("status has no %s", instance)
	return agent.InstanceRow{}
}

// drop gives a counter of the status.
func (h *host) drop(name, instance string) uint64 {
	h.t.Helper()
	var st agent.Status
	h.json(&st, "status")
	for _, c := range st.Drops {
		if c.Name == name && c.Where == instance {
			return c.Value
		}
	}
	return 0
}

// qemu gives the process of a machine.
func (h *host) qemu(instance string) int {
	h.t.Helper()
	pid, err := strconv.Atoi(h.instance(instance).Info["pid"])
	if err != nil || pid < 2 {
		h.t.Fatalf("%s: process %d, %v", instance, pid, err)
	}
	return pid
}

// checkRules tries what the groups admit and what not, both ways, and looks for it in the flow log.
func (h *host) checkRules(c *console) {
	h.t.Helper()
	c.fetches("http://10.0.2.10/", "host-1 10.0.2.10:80")
	if _, code := c.sh("timeout 3 nc 10.0.2.10 81 </dev/null"); code == 0 {
		h.t.Error("the machine reached port 81, which no rule admits")
	}
	if out := h.must("exec", "host-1", "--", "curl", "-s", "http://10.0.1.10/"); !strings.Contains(out, "vm-1 10.0.1.10:80") {
		h.t.Errorf("the machine's page is %q", out)
	}
	if out := h.must("probe", "host-1", "vm-1:81"); !strings.Contains(out, "REJECT") {
		h.t.Errorf("port 81 of the machine, which no rule admits:\n%s", out)
	}
	var flows []agent.FlowRow
	h.json(&flows, "flows")
	for _, want := range []string{
		"vm-1 egress vm-1>host-1:80 ACCEPT", "host-1 ingress vm-1>host-1:80 ACCEPT", "vm-1 ingress host-1>vm-1:80 ACCEPT",
		"host-1 ingress vm-1>host-1:81 REJECT", "vm-1 ingress host-1>vm-1:81 REJECT",
	} {
		found := false
		for _, f := range flows {
			found = found || want == fmt.Sprintf("%s %s %s>%s:%d %s", f.At, f.Direction, f.Source.Name, f.Destination.Name, f.Destination.Port, f.Action)
		}
		if !found {
			h.t.Errorf("no flow record %s", want)
		}
	}
}

// checkSpoofing sends with addresses that are not the machine's. The last leaves it without its network.
func (h *host) checkSpoofing(c *console) {
	h.t.Helper()
	before := len(h.records())
	c.sh("ip addr add 10.0.1.99/24 dev eth0")
	if _, code := c.sh("ping -c 2 -W 1 -I 10.0.1.99 10.0.2.10"); code == 0 {
		h.t.Error("a ping from an address that is not the machine's was answered")
	}
	if n := h.drop("spoofed_ip", "vm-1"); n < 2 {
		h.t.Errorf("%d spoofed packets were counted", n)
	}
	c.sh("ip link set eth0 down; ip link set eth0 address 02:00:00:00:be:ef; ip link set eth0 up; arp -s 10.0.1.1 $(cat /sys/class/net/eth0/address)")
	if _, code := c.sh("ping -c 2 -W 1 10.0.1.1"); code == 0 {
		h.t.Error("a ping from a MAC address that is not the machine's was answered")
	}
	if n := h.drop("spoofed_mac", "vm-1"); n < 1 {
		h.t.Errorf("%d frames with another MAC address were counted", n)
	}
	for _, f := range h.records()[before:] {
		if strings.Contains(f.Source.Address.String(), "10.0.1.99") {
			h.t.Errorf("a spoofed packet is in the flow log: %+v", f)
		}
	}
}

func (h *host) records() (flows []agent.FlowRow) {
	h.t.Helper()
	h.json(&flows, "flows")
	return flows
}

// TestMachine is a virtual machine's life, by each way out and as each user. The tests run as root give it up for one.
func TestMachine(t *testing.T) {
	machineFiles(t)
	for name, c := range map[string]struct {
		more    string
		anybody bool
	}{
		"unix socket, anybody": {"", true},
		"loopback TCP":         {"    netdev: tcp", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if c.anybody {
				h.giveUpRoot(false)
			}
			var kernel []string
			if !c.anybody {
				needsRoot(t)
				kernel = append(kernel, "  ns-1: { subnet: b, ip: 10.0.2.11, groups: host, driver: netns, listen: 80 }\n")
			}
			p := h.up(machineLab(h, c.more, kernel...))
			h.booted("vm-1")
			at := h.console("vm-1")
			if !c.anybody { // an instance with the machine's own kernel at its other end
				at.fetches("http://10.0.2.11/", "ns-1 10.0.2.11:80")
				if out := h.must("exec", "ns-1", "--", "curl", "-s", "http://vm-1/"); !strings.Contains(out, "vm-1 10.0.1.10:80") {
					t.Errorf("the machine's page is %q", out)
				}
			}
			h.checkRules(at)
			h.fails(1, "somebody else is at this console", "console", "vm-1")
			h.fails(1, "`vpclab console vm-1`", "exec", "vm-1", "--", "ls")
			h.fails(1, "`vpclab console vm-1`", "probe", "vm-1", "host-1:80")
			h.fails(1, "host-1 has no console", "console", "host-1")
			h.checkKilled(at)
			h.booted("vm-1")
			at = h.console("vm-1")
			if c.anybody {
				h.checkCut(at)
			}
			h.checkSpoofing(at)
			pid := h.qemu("vm-1")
			p.stop()
			if err := syscall.Kill(pid, 0); err == nil {
				t.Errorf("QEMU (process %d) is still there", pid)
			}
		})
	}
}

// checkKilled ends QEMU in the middle of traffic and starts it again.
func (h *host) checkKilled(c *console) {
	h.t.Helper()
	c.sh("{ (while true; do wget -q -O /dev/null http://10.0.2.10/; done) & }")
	if err := syscall.Kill(h.qemu("vm-1"), syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	c.wait(patience)
	eventually(h.t, "the status says that QEMU was killed", func() bool {
		r := h.row("vm-1")
		return r.State == "stopped" && strings.Contains(r.Problem, "QEMU ended (signal: killed)")
	})
	h.fails(1, "QEMU ended (signal: killed)", "console", "vm-1")
	if out := h.must("exec", "host-1", "--", "curl", "-s", "http://10.0.2.10/"); !strings.Contains(out, "host-1") {
		h.t.Errorf("the rest of the lab: %q", out)
	}
	if out := h.must("restart", "vm-1"); !strings.Contains(out, "running") {
		h.t.Errorf("restart printed\n%s", out)
	}
	if r := h.row("vm-1"); r.State != "running" || r.Problem != "" {
		h.t.Errorf("%+v", r)
	}
}

// checkCut ends the machine's connection in the middle of a frame: it comes back by itself.
func (h *host) checkCut(c *console) {
	h.t.Helper()
	c.fetches("http://10.0.2.10/", "host-1 ")
	cutConnection(h.t, h.qemu("vm-1"), "/net.sock")
	eventually(h.t, "the cut is counted and the machine connected again", func() bool {
		return h.drop("stream_cut", "vm-1") == 1 && h.instance("vm-1").Info["network"] == "connected"
	})
	c.fetches("http://10.0.2.10/", "host-1 ")
}

// TestMachinePowersOff: a guest that powers off is stopped, and that is no problem; a power button is pressed before a
// machine is switched off.
func TestMachinePowersOff(t *testing.T) {
	machineFiles(t)
	h := newHost(t)
	h.up(machineLab(h, ""))
	h.booted("vm-1")
	io.WriteString(h.console("vm-1").keys, "poweroff -f\n")
	eventually(t, "the machine is stopped", func() bool { return h.row("vm-1").State == "stopped" })
	if r := h.row("vm-1"); r.Problem != "" {
		t.Errorf("it powered off, and the problem is %q", r.Problem)
	}
	h.must("start", "vm-1")
	h.booted("vm-1")
	if out := h.must("start", "vm-1"); !strings.Contains(out, "running") {
		t.Errorf("starting what runs:\n%s", out)
	}
	if out := h.must("stop", "vm-1"); !strings.Contains(out, "stopped") {
		t.Errorf("stop printed\n%s", out)
	}
	h.fails(1, "start it with `vpclab start vm-1`", "console", "vm-1")
}

// TestMachineOfAKilledAgent: down ends the QEMU of an agent that could not.
func TestMachineOfAKilledAgent(t *testing.T) {
	machineFiles(t)
	h := newHost(t)
	h.giveUpRoot(false)
	p := h.up(machineLab(h, ""))
	pid := h.qemu("vm-1")
	p.signal(syscall.SIGKILL)
	p.wait(patience)
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("QEMU went with its agent: then this test tests nothing: %v", err)
	}
	h.must("down")
	if left := h.footprint(); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// TestMachinesThatCannotRun: each says why, and the rest of the lab runs.
func TestMachinesThatCannotRun(t *testing.T) {
	machineFiles(t)
	boot := filepath.Join(home, "examples", "vm")
	lab := `
lab: broken
vpcs: { main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24 } } }
instances:
  no-kernel: { subnet: a, driver: qemu, kernel: nowhere/vmlinuz }
  no-disk: { subnet: a, driver: qemu, disk: /nowhere/disk.qcow2 }
  bad-image: { subnet: a, driver: qemu, disk: { path: lab.yaml, format: qcow2 } }
  dies: { subnet: a, driver: qemu, kernel: ` + boot + `/vmlinuz, args: [-fly] }
  host-1: { subnet: a, ip: 10.0.1.10, driver: netstack, listen: 80 }
`
	works := func(h *host, problems map[string]string) {
		h.t.Helper()
		h.up(h.lab(lab))
		for name, want := range problems {
			if r := h.row(name); r.State != "stopped" || !strings.Contains(r.Problem, want) {
				h.t.Errorf("%s: %s, %q; want %q", name, r.State, r.Problem, want)
			}
			h.fails(1, want, "start", name)
		}
		if out := h.must("exec", "host-1", "--", "curl", "-s", "http://10.0.1.10/"); !strings.Contains(out, "host-1") {
			h.t.Errorf("the rest of the lab: %q", out)
		}
	}
	t.Run("each its own fault", func(t *testing.T) {
		works(newHost(t), map[string]string{
			"no-kernel": "nowhere/vmlinuz: no such file or directory", "no-disk": "disk /nowhere/disk.qcow2: no such file or directory",
			"bad-image": "not in qcow2 format", "dies": "-fly: invalid option",
		})
	})
	t.Run("no QEMU", func(t *testing.T) {
		h := newHost(t)
		h.env = []string{"PATH=/nonexistent", "HOME=" + h.dir}
		works(h, map[string]string{"dies": "is not installed; on Debian and Ubuntu: apt install qemu-system-x86"})
	})
	t.Run("a long data directory", func(t *testing.T) {
		h := newHost(t)
		outer := h.dir
		h.dir = filepath.Join(outer, strings.Repeat("x", 150))
		works(h, map[string]string{"dies": "use a shorter directory"})
		h.must("down")
		h.dir = outer
	})
}

// TestMachineExample is the example as its README has it, with KVM where that can be used.
func TestMachineExample(t *testing.T) {
	machineFiles(t)
	h := newHost(t)
	r := h.run("test", "examples/vm/lab.yaml", "--driver", "netstack")
	if r.code != 0 || !strings.Contains(r.out, "5 passed in ") || !strings.Contains(r.out, "rules used: 2 of 2") {
		t.Errorf("%v", r)
	}
}
