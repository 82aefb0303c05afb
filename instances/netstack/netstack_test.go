package netstack_test

import (
	"strings"
	"testing"

	"github.com/vpclab/vpclab/instances/drivertest"
	"github.com/vpclab/vpclab/instances/netstack"
)

func TestDriver(t *testing.T) { drivertest.Run(t, netstack.New()) }

func TestDriverDescribesItself(t *testing.T) {
	d := netstack.New()
	if d.Name() != "netstack" || d.Available() != nil || d.Cleanup(t.TempDir()) != nil {
		t.Fatal(d.Name(), d.Available())
	}
	drivertest.CheckLeaks(t)
	in := drivertest.Start(t, d, drivertest.Spec(t, "a", 4, drivertest.A4))
	info := in.Info()
	if info["driver"] != "netstack" || info["device"] != "eth0" || info["mac"] != "02:00:00:09:00:04" ||
		info["hostname"] != "a" || !strings.Contains(info["programs"], "curl dig nc ping") {
		t.Fatal(info)
	}
	if in.Port().Name() != "a" || in.Port().MTU() != 1500 {
		t.Fatal(in.Port().Name(), in.Port().MTU())
	}
}
