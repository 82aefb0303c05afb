package tap_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/netns"
	"github.com/vpclab/vpclab/instances/tap"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) {
	netns.ChildMain()
	if text := os.Getenv(holderEnv); text != "" {
		holder(text)
	}
	if dir := os.Getenv(victimEnv); dir != "" {
		victim(dir)
	}
	os.Exit(m.Run())
}

func needsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("needs /dev/net/tun")
	}
}

// hold starts a process that holds a TAP in the room, and ends it with the test.
func (r *room) hold(h holderSpec) *exec.Cmd {
	r.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), holderEnv+"="+h.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	r.do(cmd.Start) // the process is in the namespace, too
	r.t.Cleanup(func() { in.Close(); cmd.Wait() })
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		r.t.Fatalf("the holder says %q", line)
	}
	return cmd
}

// world is a VPC with one subnet on a switch: a host, which is a netns instance, and machines behind TAPs.
type world struct {
	t      testing.TB
	store  vpc.Store
	sw     *vswitch.Switch
	subnet string

	changing sync.Mutex // what is applied only grows

	mu     sync.Mutex
	events []string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, store: vpc.NewMemoryStore(vpc.Config{Seed: uint64(time.Now().UnixNano())})}
	var err error
	w.sw, err = vswitch.New(vswitch.Config{Clock: vswitch.NewSystemClock(), Records: flowlogs.NewAggregator(flowlogs.Config{Start: time.Now().UnixNano()}),
		Table: conntrack.Config{MaxHalves: 1 << 16, Allocator: conntrack.Heap}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.sw.Close() })
	w.update(func(tx *vpc.Tx) error {
		v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: netip.MustParsePrefix("10.9.0.0/16")})
		if err != nil {
			return err
		}
		s, err := tx.CreateSubnet(vpc.CreateSubnetInput{VPCID: v.ID, CIDR: netip.MustParsePrefix("10.9.0.0/24")})
		if err == nil {
			w.subnet = s.ID
		}
		return err
	})
	return w
}

func (w *world) update(fn func(*vpc.Tx) error) {
	w.t.Helper()
	w.changing.Lock()
	defer w.changing.Unlock()
	if _, err := w.store.Update(context.Background(), fn); err != nil {
		w.t.Error(err)
	}
	w.sw.Apply(w.store.View())
}

// plug starts an instance at an address and plugs it in. The model gives it its ids.
func (w *world) plug(d instances.Driver, name, addr string, edit func(eni string, s *instances.Spec)) (instances.Instance, *vpc.NetworkInterface) {
	w.t.Helper()
	var ni *vpc.NetworkInterface
	var id string
	w.update(func(tx *vpc.Tx) error {
		i, err := tx.RunInstance(vpc.RunInstanceInput{Owner: vpc.Owner{Name: name}, Driver: d.Name(), Interfaces: []vpc.InterfaceSpec{{SubnetID: w.subnet, Addresses: []netip.Addr{netip.MustParseAddr(addr)}}}})
		if err == nil {
			id = i.ID
			ni, _ = tx.NetworkInterface(i.InterfaceIDs[0])
		}
		return err
	})
	mac, _ := net.ParseMAC(ni.MAC)
	s := instances.Spec{ID: id, Name: name, MAC: mac, RunDir: w.t.TempDir(), MTU: 9001,
		Prefixes: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(addr), 24)}, Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1")}}
	if edit != nil {
		edit(ni.ID, &s)
	}
	in, err := d.Start(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		w.sw.Detach(ni.ID)
		if err := in.Close(); err != nil {
			w.t.Error(err)
		}
	})
	if err := w.sw.Attach(ni.ID, in.Port()); err != nil {
		w.t.Fatal(err)
	}
	return in, ni
}

// machine plugs in the device of a room; its MAC is learnt.
func (w *world) machine(r *room, device, addr string) (instances.Instance, *vpc.NetworkInterface) {
	w.t.Helper()
	return w.plug(tap.New(), "vm", addr, func(eni string, s *instances.Spec) {
		s.TAP = &instances.TAP{Device: device, Netns: r.path(), Learn: func(mac net.HardwareAddr) {
			text := mac.String()
			w.update(func(tx *vpc.Tx) error {
				_, err := tx.ModifyNetworkInterface(vpc.ModifyNetworkInterfaceInput{ID: eni, MAC: &text})
				return err
			})
		}, Event: w.note}
	})
}

func (w *world) note(name, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, name)
}

// transfer sends and fetches size bytes from an instance, and compares.
func transfer(t testing.TB, from instances.Instance, to string, size int64) {
	t.Helper()
	dial := func(port uint16) net.Conn {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c, err := from.Net().Dial(ctx, "tcp", netip.AddrPort{}, netip.AddrPortFrom(netip.MustParseAddr(to), port))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(5 * time.Minute))
		return c
	}
	start := time.Now()
	c := dial(sinkPort)
	h := newHash()
	if _, err := io.Copy(io.MultiWriter(c, h), io.LimitReader(new(pattern), size)); err != nil {
		t.Fatal(err)
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	answer, err := io.ReadAll(c)
	c.Close()
	if want := fmt.Sprintf("%d %x\n", size, h.Sum(nil)); string(answer) != want || err != nil {
		t.Fatalf("sent: %q, %v; want %q", answer, err, want)
	}
	there := time.Since(start)

	start = time.Now()
	c = dial(tapePort)
	defer c.Close()
	fmt.Fprintf(c, "%d\n", size)
	h = newHash()
	if _, err := io.CopyN(h, c, size); err != nil {
		t.Fatal(err)
	}
	sum, err := io.ReadAll(c)
	if err != nil || string(sum) != string(h.Sum(nil)) {
		t.Fatalf("fetched: %x, %v; want %x", sum, err, h.Sum(nil))
	}
	gbit := func(d time.Duration) float64 { return float64(size) * 8 / 1e9 / d.Seconds() }
	t.Logf("%d MiB there at %.1f Gbit/s, back at %.1f Gbit/s", size>>20, gbit(there), gbit(time.Since(start)))
}
