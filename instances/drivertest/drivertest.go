// Package drivertest is the test that every instance driver has to pass: two instances joined by a cable,
// without a switch. It knows no driver; the drivers' own tests call Run.
//
// Read this file first, then network.go.
package drivertest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vswitch/port/porttest"
)

// Addresses of the pair. Both have a second IPv4 address.
var (
	A4, B4   = netip.MustParseAddr("10.9.0.4"), netip.MustParseAddr("10.9.0.5")
	B4Second = netip.MustParseAddr("10.9.0.55")
	A6, B6   = netip.MustParseAddr("fd00:9::4"), netip.MustParseAddr("fd00:9::5")
	Gateway4 = netip.MustParseAddr("10.9.0.1")
	Gateway6 = netip.MustParseAddr("fe80:ec2::1")
)

// patience bounds what has to succeed; brief is how long a test waits for what must not come.
const (
	patience = 20 * time.Second
	brief    = 300 * time.Millisecond
)

// Pair is two joined instances: A, and B with servers on tcp/80 and udp/53.
type Pair struct {
	A, B  instances.Instance
	Cable *porttest.Cable
}

// Spec is that of an instance of a pair.
func Spec(t testing.TB, name string, last byte, prefixes ...netip.Addr) instances.Spec {
	s := instances.Spec{
		ID: fmt.Sprintf("i-%09d%08x", 0, uint32(os.Getpid())<<8|uint32(last)), Name: name,
		MAC: net.HardwareAddr{2, 0, 0, 9, 0, last}, MTU: 1500, RunDir: t.TempDir(),
		Gateways: []netip.Addr{Gateway4},
		Hosts:    []instances.Host{{Addr: A4, Names: []string{"a"}}, {Addr: B4, Names: []string{"b", "b.lab"}}},
	}
	for _, a := range prefixes {
		bits := 24
		if a.Is6() {
			bits, s.Gateways = 64, []netip.Addr{Gateway4, Gateway6}
		}
		s.Prefixes = append(s.Prefixes, netip.PrefixFrom(a, bits))
	}
	return s
}

// Start starts an instance that ends with the test.
func Start(t testing.TB, d instances.Driver, s instances.Spec) instances.Instance {
	t.Helper()
	in, err := d.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// NewPair starts a pair.
func NewPair(t testing.TB, d instances.Driver) *Pair {
	t.Helper()
	b := Spec(t, "b", 5, B4, B4Second, B6)
	b.Listen = []string{"tcp/80", "udp/53"}
	p := &Pair{A: Start(t, d, Spec(t, "a", 4, A4, A6)), B: Start(t, d, b)}
	p.Cable = porttest.Connect(t, p.A.Port(), p.B.Port())
	return p
}

// Run checks a driver. Each part starts from its own pair, and nothing may be left when it ends.
func Run(t *testing.T, d instances.Driver) {
	if err := d.Available(); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		name string
		run  func(t *testing.T, p *Pair)
	}{
		{"tcp", testTCP}, {"http", testHTTP}, {"udp", testUDP}, {"ping", testPing},
		{"silence", testSilence}, {"local port", testLocalPort}, {"close wakes", testCloseWakes}, {"reset", testReset}, {"listen", testListen},
		{"cancel", testCancel}, {"closed instance", testClosed}, {"transfer", testTransfer},
	} {
		t.Run(part.name, func(t *testing.T) {
			CheckLeaks(t)
			part.run(t, NewPair(t, d))
		})
	}
	t.Run("bad specs", func(t *testing.T) { testBadSpecs(t, d) })
}

// CheckLeaks fails the test if goroutines or descriptors are left when it ends. Call it first.
func CheckLeaks(t testing.TB) {
	t.Helper()
	runtime.GC()
	goroutines, fds := runtime.NumGoroutine(), openFDs()
	t.Cleanup(func() {
		deadline := time.Now().Add(5 * time.Second)
		for time.Now().Before(deadline) && (runtime.NumGoroutine() > goroutines || openFDs() > fds) {
			time.Sleep(10 * time.Millisecond) // those that have been told to end
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			buf := make([]byte, 1<<20)
			t.Errorf("%d goroutines, %d before:\n%s", n, goroutines, buf[:runtime.Stack(buf, true)])
		}
		if n := openFDs(); n > fds {
			t.Errorf("%d descriptors, %d before: %s", n, fds, strings.Join(fdTargets(), " "))
		}
	})
}

func openFDs() int { return len(fdTargets()) }

func fdTargets() []string {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil // not on Linux
	}
	var targets []string
	for _, e := range dir {
		// The TAP ports' rings belong to the process, which keeps them for the next write.
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to != "anon_inode:[io_uring]" {
			targets = append(targets, to)
		}
	}
	return targets
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func port(a netip.Addr, n uint16) netip.AddrPort { return netip.AddrPortFrom(a, n) }

func wantReason(t testing.TB, err error, want instances.Reason) {
	t.Helper()
	if got := instances.ReasonOf(err); got != want {
		t.Fatalf("%v: %v (%#v), want %v", got, err, err, want)
	}
}
