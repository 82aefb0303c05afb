package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vswitch"
)

const patience = 10 * time.Second

// taps is a namespace of the test's own with TAPs.
type taps struct {
	t     testing.TB
	space netns.NsHandle
}

func newTAPs(t testing.TB) *taps {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("needs /dev/net/tun")
	}
	x := &taps{t: t}
	err := onThread(func() (err error) { x.space, err = netns.New(); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.space.Close() })
	return x
}

func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and ends with it
		done <- fn()
	}()
	return <-done
}

func (x *taps) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(x.space)) }

func (x *taps) do(fn func() error) {
	x.t.Helper()
	err := onThread(func() error { return errors.Join(netns.Set(x.space), fn()) })
	if err != nil {
		x.t.Fatal(err)
	}
}

// hold makes a TAP and holds it, as a program without offloads.
func (x *taps) hold(name string) int {
	x.t.Helper()
	fd := -1
	x.do(func() error {
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	})
	x.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// receive waits for a frame that the program gets.
func receive(t testing.TB, fd int, what string, want func(h *packet.Headers) bool) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		n, err := unix.Read(fd, buf)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		var h packet.Headers
		if h.Parse(buf[:n]); want(&h) {
			return
		}
	}
	t.Fatal("no ", what)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still not: ", what)
		}
	}
}

var vmMAC = packet.MAC{0x52, 0x54, 0, 0, 0, 9}

// TestAttach has a program on a foreign TAP talk to an instance: allowed, rejected, spoofed, logged.
func TestAttach(t *testing.T) {
	x := newTAPs(t)
	n := testNode(t)
	n.up(t, "three-tier")
	fd := x.hold("vnet0")
	res, err := n.Attach(t.Context(), &api.AttachRequest{Device: "vnet0", Netns: x.path(), Subnet: "public", Groups: []string{"app"}, Name: "vm-1", IP: netip.MustParseAddr("10.0.1.77")})
	if err != nil {
		t.Fatal(err)
	}
	if res.Device != "vnet0" || res.MTU != 1500 || res.MAC != "" || res.Prefix.String() != "10.0.1.77/24" || res.Gateway.String() != "10.0.1.1" ||
		res.Instance.Lab != "three-tier" || res.Instance.State != "running" || res.Instance.Driver != "tap" || !slices.Equal(res.Instance.Groups, []string{"app"}) {
		t.Errorf("%+v", res)
	}
	// It is asked for its address, and answers.
	receive(t, fd, "ARP request", func(h *packet.Headers) bool {
		return h.Kind == packet.ARP && h.Dst.Netip() == res.Prefix.Addr() && h.SrcMAC == vswitch.RouterMAC
	})
	mac := func() string { ni, _ := n.store.View().NetworkInterface(res.InterfaceID); return ni.MAC }
	write := func(frame []byte) {
		t.Helper()
		if _, err := unix.Write(fd, frame); err != nil {
			t.Fatal(err)
		}
	}
	syn := func(src string, dst string, port uint16) []byte {
		return packettest.TCP{Src: netip.AddrPortFrom(netip.MustParseAddr(src), 40000), Dst: netip.AddrPortFrom(netip.MustParseAddr(dst), port), SrcMAC: vmMAC, DstMAC: vswitch.RouterMAC, Flags: 2}.Bytes()
	}
	write(syn("10.0.1.77", "10.0.2.20", 5432)) // app may ask db
	receive(t, fd, "SYN+ACK of db-1", func(h *packet.Headers) bool { return h.SrcPort == 5432 && h.TCPFlags == 0x12 && h.DstMAC == vmMAC })
	if mac() != vmMAC.String() {
		t.Errorf("MAC %s", mac())
	}
	write(syn("10.0.1.77", "10.0.2.10", 8080)) // and not another app
	write(syn("10.0.1.78", "10.0.2.20", 5432)) // spoofed
	eventually(t, "flows and drops", func() bool {
		accepted, rejected := false, false
		err := n.Flows(t.Context(), &api.FlowsRequest{}, func(e *api.FlowEvent) error {
			if f := e.Flow; f != nil && f.Source.Name == "vm-1" {
				accepted = accepted || f.At == "db-1" && f.Action == api.Accept
				rejected = rejected || f.At == "app-1" && f.Action == api.Reject
			}
			return nil
		})
		s, serr := n.Status(t.Context())
		spoofed := serr == nil && slices.ContainsFunc(s.Drops, func(c api.Counter) bool {
			return strings.Contains(c.Name, "spoofed") && c.Where == "vm-1" && c.Value == 1
		})
		return err == nil && accepted && rejected && spoofed
	})
	// Applied again, the file lets it be, and knows it as a host.
	if again := n.up(t, "three-tier"); len(again.Changes) != 0 || len(again.Instances) != 5 {
		t.Errorf("%v, %d instances", again.Changes, len(again.Instances))
	}
	show, err := n.Show(t.Context(), &api.ShowRequest{Object: "vm-1"})
	if err != nil || show.Instance.Info["device"] != "vnet0" || show.Instance.Info["link"] != "attached" || show.Instance.Interfaces[0].MAC != vmMAC.String() {
		t.Errorf("%v: %+v", err, show)
	}
	var e *api.Error
	if _, err := n.ExecTarget(t.Context(), &api.ExecRequest{Instance: "vm-1", Argv: []string{"true"}}); !errors.As(err, &e) || e.Code != api.CodeUnsupported {
		t.Errorf("exec: %v", err)
	}
	if _, err := n.Probe(t.Context(), &api.ProbeRequest{From: "vm-1", To: api.Target{Host: "db-1", Port: 5432}}); !errors.As(err, &e) || e.Code != api.CodeUnsupported {
		t.Errorf("probe: %v", err)
	}
	gone, err := n.Detach(t.Context(), &api.DetachRequest{Instance: "vm-1"})
	if err != nil || gone.Name != "vm-1" || gone.Device != "vnet0" || gone.Lab != "three-tier" {
		t.Fatalf("%v, %+v", err, gone)
	}
	if _, ok := n.store.View().NetworkInterface(res.InterfaceID); ok {
		t.Error("its network interface is still there")
	}
	if _, err := n.Attach(t.Context(), &api.AttachRequest{Device: "vnet0", Netns: x.path(), Subnet: "public", MAC: vmMAC.String()}); err != nil {
		t.Errorf("attached again: %v", err)
	}
	if _, err := n.Down(t.Context(), &api.DownRequest{Keep: true}, quiet); err != nil || len(n.running) != 0 || len(n.store.View().VPCs()) != 0 {
		t.Errorf("%v, %d run", err, len(n.running))
	}
}

// TestAttachedDeviceIsSpoiled: what becomes of the device is told where a person looks.
func TestAttachedDeviceIsSpoiled(t *testing.T) {
	x := newTAPs(t)
	n := testNode(t)
	n.up(t, "three-tier")
	x.hold("vnet0")
	if _, err := n.Attach(t.Context(), &api.AttachRequest{Device: "vnet0", Netns: x.path(), Subnet: "public"}); err != nil {
		t.Fatal(err)
	}
	problem := func() string {
		s, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(s.Instances, func(r api.InstanceRow) bool { return r.Name == "vnet0" })
		return s.Instances[i].Problem
	}
	eventually(t, "attached", func() bool { return problem() == "" })
	x.do(func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		l, err := netlink.LinkByName("vnet0")
		return errors.Join(err, netlink.LinkAdd(br), netlink.LinkSetMaster(l, br))
	})
	eventually(t, "in a bridge", func() bool { return strings.Contains(problem(), "vnet0 is in br0 (bridge)") })
}

// TestAttachRefused: each refusal says why, and leaves nothing in the model.
func TestAttachRefused(t *testing.T) {
	x := newTAPs(t)
	n := testNode(t)
	n.up(t, "three-tier")
	x.hold("vnet0")
	x.hold("vnet1")
	if _, err := n.Attach(t.Context(), &api.AttachRequest{Device: "vnet0", Netns: x.path(), Subnet: "public"}); err != nil {
		t.Fatal(err)
	}
	before := n.store.View()
	for name, c := range map[string]struct {
		r    api.AttachRequest
		want string
	}{
		"no such device":  {api.AttachRequest{Device: "vnet9", Subnet: "public"}, `there is no network interface "vnet9"`},
		"no TAP":          {api.AttachRequest{Device: "lo", Subnet: "public"}, "lo is a device of the kind loopback"},
		"no such subnet":  {api.AttachRequest{Device: "vnet1", Subnet: "pubic"}, "there is no subnet pubic"},
		"no such group":   {api.AttachRequest{Device: "vnet1", Subnet: "public", Groups: []string{"wbe"}}, "there is no security-group wbe"},
		"no such lab":     {api.AttachRequest{Device: "vnet1", Subnet: "public", Lab: "other"}, "other"},
		"name in use":     {api.AttachRequest{Device: "vnet1", Subnet: "public", Name: "web-1"}, "has an instance web-1 already"},
		"bad name":        {api.AttachRequest{Device: "vnet1", Subnet: "public", Name: "VM_1"}, `"VM_1" cannot be the name`},
		"address in use":  {api.AttachRequest{Device: "vnet1", Subnet: "public", IP: netip.MustParseAddr("10.0.1.10")}, "10.0.1.10 is in use"},
		"address outside": {api.AttachRequest{Device: "vnet1", Subnet: "public", IP: netip.MustParseAddr("10.0.9.1")}, "10.0.9.1"},
		"bad MAC":         {api.AttachRequest{Device: "vnet1", Subnet: "public", MAC: "01:00:5e:00:00:01"}, "macAddress is invalid"},
		"twice":           {api.AttachRequest{Device: "vnet0", Subnet: "public", Name: "again"}, "device vnet0 is instance vnet0 already"},
	} {
		t.Run(name, func(t *testing.T) {
			c.r.Netns = x.path()
			_, err := n.Attach(t.Context(), &c.r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := n.Detach(t.Context(), &api.DetachRequest{Instance: "web-1"}); err == nil || !strings.Contains(err.Error(), "in the file of lab three-tier") {
		t.Errorf("detached what a file has: %v", err)
	}
	if _, err := n.Detach(t.Context(), &api.DetachRequest{Instance: "nobody"}); err == nil {
		t.Error("detached nobody")
	}
	after := n.store.View()
	if len(after.Instances("")) != len(before.Instances("")) || len(after.NetworkInterfaces("")) != len(before.NetworkInterfaces("")) || len(n.running) != 5 {
		t.Error("something of a refused device stays")
	}
}

// TestTAPsOfAFile: a device that is not there is its instance's own problem; the rest of the lab goes on.
func TestTAPsOfAFile(t *testing.T) {
	x := newTAPs(t)
	n := testNode(t)
	file := func(device string) api.File {
		return api.File{Name: "lab.yaml", Data: []byte(`
lab: taps
vpcs: { main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24 } } }
instances:
  host: { subnet: a }
  ours: { subnet: a, tap: { name: vm0, netns: ` + x.path() + ` } }
  missing: { subnet: a, tap: ` + device + ` }
`)}
	}
	res, err := n.Apply(t.Context(), &api.ApplyRequest{File: file("no-such-device")}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range res.Instances {
		if want := map[string]string{"host": "running", "ours": "running", "missing": "stopped"}[i.Name]; i.State != want {
			t.Errorf("%s is %s: %s", i.Name, i.State, i.Problem)
		}
		if i.Name == "missing" && !strings.Contains(i.Problem, `there is no network interface "no-such-device"`) {
			t.Errorf("problem %q", i.Problem)
		}
	}
	if _, err := n.Down(t.Context(), &api.DownRequest{Keep: true}, quiet); err != nil {
		t.Fatal(err)
	}
	x.do(func() error {
		if _, err := netlink.LinkByName("vm0"); !errors.As(err, new(netlink.LinkNotFoundError)) {
			t.Errorf("the device that was made is still there: %v", err)
		}
		return nil
	})
}
