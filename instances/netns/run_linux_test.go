package netns_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/drivertest"
	"github.com/vpclab/vpclab/instances/netns"
)

// byEachWay runs a test with a driver for each way.
func byEachWay(t *testing.T, test func(t *testing.T, d *netns.Driver)) {
	needsRoot(t)
	for _, way := range []netns.Way{netns.ByRoot, netns.ByHelper} {
		t.Run(string(way), func(t *testing.T) {
			checkHost(t)
			test(t, netns.NewBy(way))
		})
	}
}

// started starts an instance that runs commands.
func started(t *testing.T, d *netns.Driver, commands ...string) instances.Instance {
	t.Helper()
	s := drivertest.Spec(t, "web-1", 7, drivertest.A4)
	s.Run = commands
	return drivertest.Start(t, d, s)
}

// await waits until get gives something with words in it.
func await(t *testing.T, words string, get func() string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if got = get(); strings.Contains(got, words) {
			return
		}
	}
	t.Fatalf("no %q in %q", words, got)
}

// syncBuffer is a buffer that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func netipPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

func output(in instances.Instance) func() string {
	return func() string { text, _ := os.ReadFile(in.Info()["run output"]); return string(text) }
}

func TestRun(t *testing.T) {
	byEachWay(t, func(t *testing.T, d *netns.Driver) {
		in := started(t, d, "ls /sys/class/net; hostname; cat /etc/hosts | tail -n 1; ip -4 -o addr show eth0 | awk '{print $4}'; echo end", "exit 4", "exec sleep 1000")
		await(t, "end", output(in))
		if got := output(in)(); got != "eth0\nlo\nweb-1\n10.9.0.5\tb b.lab\n10.9.0.4/24\nend\n" {
			t.Errorf("%q", got)
		}
		await(t, "1 ended with exit code 0, 2 ended with exit code 4, 3 running", func() string { return in.Info()["run"] })
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(in.Info()["run output"]); err == nil {
			t.Error("the output is still there")
		}
	})
}

func TestRunSeesHosts(t *testing.T) {
	byEachWay(t, func(t *testing.T, d *netns.Driver) {
		in := started(t, d, "until grep -q new-1 /etc/hosts; do sleep 0.02; done; echo seen")
		if err := in.SetHosts([]instances.Host{{Addr: drivertest.B4, Names: []string{"new-1"}}}); err != nil {
			t.Fatal(err)
		}
		await(t, "seen", output(in))
		await(t, "ended with exit code 0", func() string { return in.Info()["run"] })
	})
}

// TestRunNetwork: the sandbox is in the instance's own network, and may change its settings.
func TestRunNetwork(t *testing.T) {
	byEachWay(t, func(t *testing.T, d *netns.Driver) {
		in := started(t, d, "echo 77 > /proc/sys/net/ipv4/ip_default_ttl; echo ready; exec sleep 1000")
		await(t, "ready", output(in))
		if out, _ := sh(t, in, "cat /proc/sys/net/ipv4/ip_default_ttl"); out != "77\n" {
			t.Errorf("the sandbox is in another network: %q", out)
		}
	})
}

func TestRunCloseKills(t *testing.T) {
	byEachWay(t, func(t *testing.T, d *netns.Driver) {
		marker := fmt.Sprint(200000 + os.Getpid())
		in := started(t, d, "trap '' TERM INT; setsid sleep "+marker+" & exec sleep "+marker)
		awaitProcess(t, "sleep", marker)
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if pids := processesOf("sleep", marker); len(pids) > 0 {
			t.Errorf("left: %v", pids)
		}
	})
}

func TestRunRefused(t *testing.T) {
	needsRoot(t)
	for _, way := range []netns.Way{netns.ByRoot, netns.ByHelper} {
		t.Run(string(way), func(t *testing.T) {
			checkHost(t)
			mark := filepath.Join(t.TempDir(), "mark")
			s := drivertest.Spec(t, "web-1", 7, drivertest.A4)
			s.Run = []string{"touch " + mark}
			_, err := netns.NewWithout(way).Start(t.Context(), s)
			if err == nil || !strings.Contains(err.Error(), "an overlay root cannot be had") || !strings.Contains(err.Error(), "not run without a sandbox") {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(mark); err == nil {
				t.Error("the command was run on the host")
			}
			if left, _ := os.ReadDir(s.RunDir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
