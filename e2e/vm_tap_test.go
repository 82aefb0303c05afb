//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMachineOnATAPOfItsOwn: a virtual machine whose TAP QEMU itself makes and holds, as libvirt and Proxmox do,
// attached while it runs. QEMU and the TAP are in a network namespace of their own.
func TestMachineOnATAPOfItsOwn(t *testing.T) {
	needsRoot(t)
	machineFiles(t)
	h := newHost(t)
	p := h.up(h.lab(`
lab: foreign
vpcs: { main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24, b: 10.0.2.0/24 } } }
security-groups:
  machine: { ingress: [http from host] }
  host: { ingress: [http from machine] }
instances:
  host-1: { subnet: b, ip: 10.0.2.10, groups: host, driver: netstack, listen: [80, 81] }
  ns-1: { subnet: b, ip: 10.0.2.11, groups: host, driver: netns, listen: 80 }
`))
	at := startQEMU(t)
	space := fmt.Sprintf("/proc/%d/ns/net", at.cmd.Process.Pid)
	attach := []string{"attach", "vm0", "--netns", space, "--subnet", "a", "--groups", "machine", "--name", "vm-1", "--ip", "10.0.1.10"}
	eventually(t, "QEMU's TAP is attached", func() bool { return h.run(attach...).code == 0 })
	at.awaitWithin(bootPatience, &at.out, "vpclab: vm-1 is up at ")
	at.fetches("http://10.0.2.11/", "ns-1 10.0.2.11:80")
	if out := h.must("exec", "ns-1", "--", "curl", "-s", "http://10.0.1.10/"); !strings.Contains(out, "vm-1 10.0.1.10:80") {
		t.Errorf("the machine's page is %q", out)
	}
	h.checkRules(at)
	h.checkSpoofing(at)
	h.must("detach", "vm-1")
	if _, code := at.sh("ping -c 1 -W 1 10.0.1.1"); code == 0 {
		t.Error("the router still answers a machine that was taken out")
	}
	p.stop()
}

// startQEMU starts the example's machine with a TAP, and its console on standard input and output.
func startQEMU(t *testing.T) *console {
	t.Helper()
	boot := filepath.Join(home, "examples", "vm")
	cmd := exec.Command("qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-m", "256", "-nodefaults", "-no-reboot", "-display", "none",
		"-kernel", filepath.Join(boot, "vmlinuz"), "-initrd", filepath.Join(boot, "initrd.img"),
		"-append", "quiet console=ttyS0 ip=10.0.1.10::10.0.1.1:255.255.255.0:vm-1:eth0:off",
		"-netdev", "tap,id=n0,ifname=vm0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0,mac=02:00:00:00:10:10",
		"-serial", "stdio", "-monitor", "none")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	q := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, &q.out, &q.err
	q.begin()
	r.Close()
	t.Cleanup(func() { w.Close() })
	return &console{process: q, keys: w}
}
