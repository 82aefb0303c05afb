package netns_test

import (
	"os"
	"strings"
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
func started(t *testing.T, d *netns.Driver, last byte, commands ...string) instances.Instance {
	t.Helper()
	s := drivertest.Spec(t, "web-1", last, drivertest.A4)
	s.Run = commands
	return drivertest.Start(t, d, s)
}

// output waits until the commands' output has words in it, and gives it.
func output(t *testing.T, in instances.Instance, words string) string {
	t.Helper()
	var got []byte
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		got, _ = os.ReadFile(in.Info()["run output"])
		if strings.Contains(string(got), words) {
			return string(got)
		}
	}
	t.Fatalf("no %q in: %s\n%v", words, got, in.Info())
	return ""
}

func TestRun(t *testing.T) {
	byEachWay(t, func(t *testing.T, d *netns.Driver) {
		in := started(t, d, 7, `id; hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf; mount; cat /proc/1/status | grep Cap; ls -la / /dev /proc/1/fd; ps aux; ip a; ls /sys/class/net; echo $$; rm -v /etc/hostname; ls /etc/hostname;
dd if=/dev/zero of=/tmp/x bs=1M; df -h; touch /etc/foo && echo etc ok; sysctl -w net.ipv4.ip_forward=1; sysctl -w kernel.panic=1; umount /proc; mknod /tmp/sda b 8 0; kill -9 -1; echo done`)
		t.Log(output(t, in, "done"))
		t.Log(in.Info())
	})
}
