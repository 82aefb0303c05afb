package tap

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/afpacket"
)

// asked is a port that keeps what is written to it.
type asked struct {
	vswitch.Port
	frames chan []byte
}

func (a asked) Write(_ int, frames []*vswitch.Frame) int {
	for _, f := range frames {
		a.frames <- append([]byte(nil), f.Buf...)
	}
	return len(frames)
}

func TestSolicitor(t *testing.T) {
	var told []string
	s := instances.Spec{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("fd00::9/64"), netip.MustParsePrefix("10.9.0.9/24"), netip.MustParsePrefix("10.9.0.10/24")},
		Gateways: []netip.Addr{netip.MustParseAddr("fe80:ec2::1"), netip.MustParseAddr("10.9.0.1")},
		TAP:      &instances.TAP{Device: "vm0", Learn: func(m net.HardwareAddr) { told = append(told, m.String()) }},
	}
	so := newSolicitor(s)
	p := asked{frames: make(chan []byte, 10)}
	so.run(p)
	var h packet.Headers
	h.Parse(<-p.frames)
	if h.Kind != packet.ARP || h.ARPOp != packet.ARPRequestOp || h.ARPSenderMAC != vswitch.RouterMAC || h.SrcMAC != vswitch.RouterMAC ||
		h.Src.Netip().String() != "10.9.0.1" || h.Dst.Netip().String() != "10.9.0.9" {
		t.Errorf("%+v", h)
	}
	so.close()
	so.learn(packet.MAC{2, 0, 0, 0, 0, 9})
	if so.wants() || len(told) != 1 || told[0] != "02:00:00:00:00:09" {
		t.Errorf("wants %v, told %v", so.wants(), told)
	}
	for _, c := range []struct {
		state afpacket.State
		wants bool
	}{{afpacket.Unplugged, false}, {afpacket.Attached, false}, {afpacket.Bridged, true}, {afpacket.Attached, true}} {
		if so.see(c.state); so.wants() != c.wants {
			t.Errorf("%v: wants %v", c.state, so.wants())
		}
	}
}

func TestSolicitorOfNobody(t *testing.T) {
	s := instances.Spec{TAP: &instances.TAP{Device: "vm0"}}
	if newSolicitor(s) != nil {
		t.Error("asks for a MAC that was given")
	}
	s.TAP.Learn = func(net.HardwareAddr) {}
	so := newSolicitor(s) // without an IPv4 address
	so.run(asked{})
	so.close()
}

func TestIDs(t *testing.T) {
	for name, c := range map[string]struct {
		got  func(string) (int, error)
		name string
		want int
		ok   bool
	}{
		"none": {userID, "", -1, true}, "number": {userID, "1000", 1000, true}, "name": {userID, "root", 0, true},
		"group": {groupID, "root", 0, true}, "group number": {groupID, "0105", 105, true},
		"unknown": {userID, "no such", 0, false}, "too large": {groupID, "4294967295", 0, false}, "negative": {userID, "-1", 0, false},
	} {
		if got, err := c.got(c.name); got != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}
