package tap_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/drivertest"
	"github.com/vpclab/vpclab/instances/netns"
	"github.com/vpclab/vpclab/instances/tap"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

// TestTransfer sends 1 GiB each way between a netns instance and a machine whose TAP another process holds, through the
// switch, with the offloads of the TAP and of the machine on and off.
func TestTransfer(t *testing.T) {
	needsRoot(t)
	size := int64(1 << 30)
	if testing.Short() {
		size = 32 << 20
	}
	for _, c := range []struct {
		name        string
		plain, slow bool
		size        int64
		super       bool // the machine sends super-frames
	}{
		{"offloads on", false, false, size, true},
		{"offloads off", true, true, size, false},
		{"machine without", false, true, size / 8, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivertest.CheckLeaks(t)
			w, r := newWorld(t), newRoom(t)
			r.hold(holderSpec{device: "vnet0", prefix: "10.9.0.9/24", mac: "52:54:00:00:00:09", gateway: "10.9.0.1", mtu: 1500, plain: c.plain, slow: c.slow})
			vm, ni := w.machine(r, "vnet0", "10.9.0.9")
			host, _ := w.plug(netns.New(), "host", "10.9.0.10", func(_ string, s *instances.Spec) { s.MTU = 1500 })
			waitTrouble(t, vm, "")
			transfer(t, host, "10.9.0.9", c.size)
			for _, p := range w.sw.Ports() {
				if super := p.Packets > p.Frames; p.Interface == ni.ID && super != c.super {
					t.Errorf("%d frames for %d packets of the machine", p.Frames, p.Packets)
				}
				t.Logf("%s: %d frames (%d packets) in, %d (%d) out, %v", p.Port, p.Frames, p.Packets, p.Sent, p.SentPackets, p.Lost())
			}
			if n, _ := w.store.View().NetworkInterface(ni.ID); n.MAC != "52:54:00:00:00:09" {
				t.Errorf("MAC %s was not learnt", n.MAC)
			}
			t.Log(vm.Port().(interface{ Counters() map[string]uint64 }).Counters())
		})
	}
}

func waitTrouble(t testing.TB, in instances.Instance, want string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got := in.(instances.Troubled).Trouble()
		if got == "" && want == "" || want != "" && strings.Contains(got, want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("trouble %q, want %q", got, want)
		}
	}
}

// TestSpoofed: what the machine sends under another's name is dropped and counted, and never learnt from.
func TestSpoofed(t *testing.T) {
	needsRoot(t)
	drivertest.CheckLeaks(t)
	w, r := newWorld(t), newRoom(t)
	var held *plainTAP
	r.do(func() (err error) {
		if err = netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "vnet0"}, Mode: netlink.TUNTAP_MODE_TAP}); err == nil {
			held, err = openExisting("vnet0")
		}
		return err
	})
	defer held.Close()
	vm, ni := w.machine(r, "vnet0", "10.9.0.9")
	waitTrouble(t, vm, "")
	mine, other := packet.MAC{2, 0, 0, 0, 0, 9}, packet.MAC{2, 0, 0, 0, 0, 8}
	send := func(mac packet.MAC, src string) {
		u := packettest.UDP{Src: netip.AddrPortFrom(netip.MustParseAddr(src), 1), Dst: netip.MustParseAddrPort("10.9.0.10:53"), SrcMAC: mac, DstMAC: packet.MAC{2, 0, 0, 0, 0, 1}}
		if _, err := held.f.Write(u.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	send(mine, "10.9.0.9") // learnt
	send(other, "10.9.0.9")
	send(mine, "10.9.0.8")
	want := map[string]uint64{"spoofed_mac": 1, "spoofed_ip": 1}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		var lost map[string]uint64
		for _, p := range w.sw.Ports() {
			if p.Interface == ni.ID {
				lost = p.Lost()
			}
		}
		found := 0
		for name := range want {
			for have, n := range lost {
				if strings.ReplaceAll(have, "-", "_") == name && n == want[name] {
					found++
				}
			}
		}
		if found == len(want) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("lost %v, want %v", lost, want)
		}
	}
	if n, _ := w.store.View().NetworkInterface(ni.ID); n.MAC != mine.String() {
		t.Errorf("MAC %s, want %s", n.MAC, mine)
	}
}

func spec(t testing.TB, device instances.TAP) instances.Spec {
	s := drivertest.Spec(t, "vm", 7, drivertest.A4)
	s.TAP = &device
	return s
}

func start(t testing.TB, s instances.Spec) instances.Instance {
	t.Helper()
	return drivertest.Start(t, tap.New(), s)
}

// TestOurs: a device is made for a program that opens it itself, and goes with the instance.
func TestOurs(t *testing.T) {
	needsRoot(t)
	drivertest.CheckLeaks(t)
	r := newRoom(t)
	s := spec(t, instances.TAP{Device: "vm0", Make: true, Owner: "1000", Group: "root", Netns: r.path()})
	s.MTU = 4000
	in := start(t, s)
	r.do(func() error {
		l, err := netlink.LinkByName("vm0")
		if err != nil {
			return err
		}
		d := l.(*netlink.Tuntap)
		if d.NonPersist || d.Owner != 1000 || d.Group != 0 || d.Attrs().MTU != 4000 || d.Attrs().Flags&net.FlagUp == 0 {
			t.Errorf("%+v", d)
		}
		return nil
	})
	waitTrouble(t, in, "unplugged")
	info := in.Info()
	if info["device"] != "vm0" || info["MTU"] != "4000" || info["netns"] != r.path() || info["link"] != "unplugged" ||
		!strings.Contains(info["QEMU"], "ifname=vm0,script=no") || !strings.Contains(info["QEMU"], "mac="+s.MAC.String()) {
		t.Errorf("%v", info)
	}
	var held *plainTAP
	r.do(func() (err error) { held, err = openExisting("vm0"); return err })
	waitTrouble(t, in, "")
	held.Close()
	waitTrouble(t, in, "unplugged")
	for range 2 {
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r.exists("vm0") {
		t.Error("the device is still there")
	}
	if left, _ := os.ReadDir(s.RunDir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestRealProgram: the device that was made is good for a machine of another process, which ends and comes back.
func TestRealProgram(t *testing.T) {
	needsRoot(t)
	w, r := newWorld(t), newRoom(t)
	in, ni := w.plug(tap.New(), "vm", "10.9.0.9", func(_ string, s *instances.Spec) {
		s.TAP = &instances.TAP{Device: "vm0", Make: true, Netns: r.path(), Event: w.note}
	})
	host, _ := w.plug(netns.New(), "host", "10.9.0.10", nil)
	h := holderSpec{device: "vm0", prefix: "10.9.0.9/24", mac: ni.MAC, gateway: "10.9.0.1", mtu: 1500, existing: true, slow: true}
	for range 2 {
		cmd := r.hold(h)
		waitTrouble(t, in, "")
		transfer(t, host, "10.9.0.9", 1<<20)
		cmd.Process.Kill()
		cmd.Wait()
		waitTrouble(t, in, "unplugged")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(slices.DeleteFunc(slices.Clone(w.events), func(e string) bool { return e != "unplugged" })); n < 2 {
		t.Errorf("events %v", w.events)
	}
}

// TestTheirs: the device of another stays, as it was.
func TestTheirs(t *testing.T) {
	needsRoot(t)
	drivertest.CheckLeaks(t)
	r := newRoom(t)
	r.do(func() error {
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "vnet0"}, Mode: netlink.TUNTAP_MODE_TAP})
	})
	s := spec(t, instances.TAP{Device: "vnet0", Netns: r.path()})
	in := start(t, s)
	if info := in.Info(); info["QEMU"] != "" || info["driver"] != "tap" || info["mac"] != s.MAC.String() {
		t.Errorf("%v", info)
	}
	again := spec(t, *s.TAP)
	again.ID += "1"
	if _, err := tap.New().Start(t.Context(), again); err == nil || !strings.Contains(err.Error(), "attached already") {
		t.Errorf("%v", err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if !r.exists("vnet0") {
		t.Error("the device is gone")
	}
}

func TestStartErrors(t *testing.T) {
	needsRoot(t)
	for name, c := range map[string]struct {
		tap  *instances.TAP
		edit func(*instances.Spec)
		want string
	}{
		"no TAP":            {nil, nil, "no device is named"},
		"no name":           {&instances.TAP{}, nil, "no device is named"},
		"no device":         {&instances.TAP{Device: "vnet7"}, nil, `there is no network interface "vnet7"`},
		"no TAP device":     {&instances.TAP{Device: "lo"}, nil, "lo is a device of the kind loopback"},
		"no namespace":      {&instances.TAP{Device: "vnet7", Netns: "no-such-space"}, nil, "make it first (ip netns add"},
		"no namespace file": {&instances.TAP{Device: "vnet7", Netns: "/dev/null"}, nil, "it is no namespace"},
		"no user":           {&instances.TAP{Device: "vm7", Make: true, Owner: "no-such-user"}, nil, `there is no user "no-such-user"`},
		"no group":          {&instances.TAP{Device: "vm7", Make: true, Group: "no-such-group"}, nil, `there is no group "no-such-group"`},
		"impossible user":   {&instances.TAP{Device: "vm7", Make: true, Owner: "4294967295"}, nil, "cannot be its number"},
		"name in use":       {&instances.TAP{Device: "taken", Make: true}, nil, "choose another name"},
		"bad name":          {&instances.TAP{Device: "a/b", Make: true}, nil, "letters, digits"},
		"servers":           {&instances.TAP{Device: "vnet7"}, func(s *instances.Spec) { s.Listen = []string{"tcp/80"} }, "tcp/80 cannot run in it"},
		"no id":             {&instances.TAP{Device: "vnet7"}, func(s *instances.Spec) { s.ID = "../x" }, "cannot name a directory"},
		"no run directory":  {&instances.TAP{Device: "vnet7"}, func(s *instances.Spec) { s.RunDir = "" }, "no run directory"},
	} {
		t.Run(name, func(t *testing.T) {
			drivertest.CheckLeaks(t)
			r := newRoom(t)
			r.do(func() error {
				return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "taken"}})
			})
			s := spec(t, instances.TAP{})
			if s.TAP = c.tap; s.TAP != nil && s.TAP.Netns == "" {
				s.TAP.Netns = r.path()
			}
			dir := s.RunDir
			if c.edit != nil {
				c.edit(&s)
			}
			_, err := tap.New().Start(t.Context(), s)
			var fault *instances.Fault
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want a fault that says %q", err, c.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
			if r.exists("vm7") || !r.exists("taken") {
				t.Error("devices were made or removed")
			}
		})
	}
}

// TestCancelled: nothing stays of a start that nobody waits for any more.
func TestCancelled(t *testing.T) {
	needsRoot(t)
	drivertest.CheckLeaks(t)
	r := newRoom(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tap.New().Start(ctx, spec(t, instances.TAP{Device: "vm0", Make: true, Netns: r.path()})); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if r.exists("vm0") {
		t.Error("the device is still there")
	}
}

// TestNothingInside: what would have to be done in the instance fails and says so.
func TestNothingInside(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	in := start(t, spec(t, instances.TAP{Device: "vm0", Make: true, Netns: r.path()}))
	at := netip.AddrPortFrom(drivertest.B4, 80)
	for name, err := range map[string]error{
		"exec":   second(in.Exec(t.Context(), []string{"true"}, instances.IO{})),
		"dial":   second(in.Net().Dial(t.Context(), "tcp", netip.AddrPort{}, at)),
		"listen": second(in.Net().Listen("tcp", at)),
		"packet": second(in.Net().ListenPacket("udp", at)),
		"ping":   second(in.Net().Ping(t.Context(), netip.Addr{}, at.Addr(), 1, 1, 0)),
		"opaque": in.(instances.Opaque).Opaque(),
	} {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), "instance vm is another program's") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := in.SetHosts(nil); err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

// victimEnv makes this test's program the process that TestCleanup kills.
const victimEnv = "TAP_TEST_VICTIM"

// victim starts an instance of each kind in its own namespace, says so and waits for its end.
func victim(dir string) {
	err := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "vnet0"}, Mode: netlink.TUNTAP_MODE_TAP})
	for i, d := range []instances.TAP{{Device: "vm0", Make: true, Netns: os.Getenv("TAP_TEST_NETNS")}, {Device: "vnet0", Netns: os.Getenv("TAP_TEST_NETNS")}} {
		if err == nil {
			_, err = tap.New().Start(context.Background(), instances.Spec{ID: fmt.Sprintf("i-%d", i), Name: "v", MAC: []byte{2, 0, 0, 0, 0, 1}, RunDir: dir, TAP: &d})
		}
	}
	fmt.Println("started", err)
	select {}
}

// TestCleanup kills a process that ran instances.
func TestCleanup(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimEnv+"="+dir, "TAP_TEST_NETNS="+r.path())
	var out bytes.Buffer
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.do(cmd.Start)
	line := make([]byte, 4096)
	n, _ := pipe.Read(line)
	out.Write(line[:n])
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	if out.String() != "started <nil>\n" {
		t.Fatal(out.String())
	}
	if !r.exists("vm0") || !r.shielded("vnet0") {
		t.Fatal("nothing is left behind to clean up")
	}
	for range 2 {
		if err := tap.New().Cleanup(dir); err != nil {
			t.Fatal(err)
		}
	}
	if r.exists("vm0") || !r.exists("vnet0") || r.shielded("vnet0") {
		t.Error("not cleaned up")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// shielded says whether something is between the device and the host.
func (r *room) shielded(name string) (yes bool) {
	r.do(func() error {
		return withLink(name, func(l netlink.Link) error {
			list, err := netlink.QdiscList(l)
			yes = slices.ContainsFunc(list, func(q netlink.Qdisc) bool { return q.Type() == "clsact" })
			return err
		})
	})
	return yes
}

// TestCleanupLeavesOthers: a journal of another boot, of a namespace that is gone, or of a device that has been made anew.
func TestCleanupLeavesOthers(t *testing.T) {
	needsRoot(t)
	r := newRoom(t)
	r.do(func() error {
		return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "vm0"}, Mode: netlink.TUNTAP_MODE_TAP})
	})
	var st unix.Stat_t
	if err := unix.Stat(r.path(), &st); err != nil {
		t.Fatal(err)
	}
	space := map[string]uint64{"dev": uint64(st.Dev), "ino": st.Ino}
	for name, journal := range map[string]map[string]any{
		"another namespace": {"device": "vm0", "netns": r.path(), "space": map[string]uint64{"dev": 1, "ino": 2}, "made": -1},
		"namespace is gone": {"device": "vm0", "netns": "/run/netns/no-such-space", "space": space, "made": -1},
		"another device":    {"device": "vm0", "netns": r.path(), "space": space, "made": 4711},
		"no such device":    {"device": "vm1", "netns": r.path(), "space": space, "made": 4711},
		"theirs":            {"device": "vm0", "netns": r.path(), "space": space},
	} {
		cleanJournal(t, name, journal)
		if !r.exists("vm0") {
			t.Fatalf("%s: the device was removed", name)
		}
	}
	var held *plainTAP
	r.do(func() (err error) { held, err = openExisting("vm0"); return err })
	dying := map[string]any{"device": "vm0", "netns": r.path(), "space": space, "made": -1}
	cleanJournal(t, "held by a program", dying)
	if !r.exists("vm0") {
		t.Fatal("a device that somebody holds was removed")
	}
	held.Close()
	cleanJournal(t, "died while making", dying)
	if r.exists("vm0") {
		t.Error("the device is still there")
	}
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "i-1"), 0o755)
	os.WriteFile(filepath.Join(dir, "i-1", "tap.json"), []byte("{"), 0o644)
	if err := tap.New().Cleanup(dir); err == nil || !strings.Contains(err.Error(), "tap.json") {
		t.Errorf("%v", err)
	}
}

func cleanJournal(t *testing.T, name string, journal map[string]any) {
	t.Helper()
	dir := t.TempDir()
	data, _ := json.Marshal(journal)
	os.Mkdir(filepath.Join(dir, "i-1"), 0o755)
	os.WriteFile(filepath.Join(dir, "i-1", "tap.json"), data, 0o644)
	if err := tap.New().Cleanup(dir); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%s left: %v", name, left)
	}
}
