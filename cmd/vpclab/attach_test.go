package main

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

func (s *script) Attach(_ context.Context, r *agent.AttachRequest) (*agent.AttachResult, error) {
	res := &agent.AttachResult{
		Revision: 14, InterfaceID: "eni-0d", Device: r.Device, MTU: 1500, MAC: r.MAC, Prefix: netip.MustParsePrefix("10.0.1.7/24"), Gateway: netip.MustParseAddr("10.0.1.1"),
		Instance: agent.InstanceRow{Lab: "three-tier", Name: "vm-1", ID: "i-0d", State: "running", Driver: "tap", VPC: "shop", Subnet: r.Subnet, Addresses: addrs("10.0.1.7"), Groups: []string{"web"}},
	}
	if r.MAC == "" {
		res.Instance.Problem = "vnet3 unplugged: no program holds the device"
	}
	return res, s.ask("attach", r)
}

func (s *script) Detach(_ context.Context, r *agent.DetachRequest) (*agent.DetachResult, error) {
	return &agent.DetachResult{Revision: 15, Lab: "three-tier", Name: "vm-1", ID: "i-0d", Device: "vnet3"}, s.ask("detach", r)
}

// TestAttachGolden holds all that the two commands print; see TestGolden.
func TestAttachGolden(t *testing.T) {
	for name, args := range map[string][]string{
		"attach":     {"attach", "vnet3", "--subnet", "public", "--groups", "web"},
		"attach-mac": {"attach", "vnet3", "--subnet", "public", "--mac", "52:54:00:00:00:01"},
		"detach":     {"detach", "vm-1"},
	} {
		for _, form := range []string{"table", "json", "yaml", "csv", "color"} {
			t.Run(name+"/"+form, func(t *testing.T) { golden(t, name, form, "", args) })
		}
	}
}

func TestAttachRequests(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want any
	}{
		"least": {[]string{"attach", "vnet3", "--subnet", "public"}, &agent.AttachRequest{Device: "vnet3", Subnet: "public"}},
		"all": {[]string{"attach", "vnet3", "--subnet", "public", "--groups", "web,ops", "--groups", "db", "--name", "vm-1", "--ip", "10.0.1.7", "--mac", "52:54:00:00:00:01", "--netns", "n", "--lab", "three-tier"},
			&agent.AttachRequest{Lab: "three-tier", Device: "vnet3", Netns: "n", Subnet: "public", Groups: []string{"web", "ops", "db"}, Name: "vm-1", IP: netip.MustParseAddr("10.0.1.7"), MAC: "52:54:00:00:00:01"}},
		"detach": {[]string{"detach", "vm-1", "--lab", "three-tier"}, &agent.DetachRequest{Lab: "three-tier", Instance: "vm-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).withAgent()
			r.want(t, r.run(c.args...), 0)
			if got := r.host.s.asked; len(got) != 1 || !reflect.DeepEqual(got[0], c.want) {
				t.Errorf("asked %+v", got)
			}
		})
	}
}

func TestAttachUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no device":   {[]string{"attach"}, "accepts 1 arg(s), received 0"},
		"no subnet":   {[]string{"attach", "vnet3"}, "vpclab attach vnet3 --subnet SUBNET"},
		"bad address": {[]string{"attach", "vnet3", "--subnet", "a", "--ip", "10.0.1"}, `"10.0.1" is not an IPv4 address`},
		"IPv6":        {[]string{"attach", "vnet3", "--subnet", "a", "--ip", "fd00::1"}, "is not an IPv4 address"},
		"bad MAC":     {[]string{"attach", "vnet3", "--subnet", "a", "--mac", "eth0"}, `"eth0" is not a MAC`},
		"no instance": {[]string{"detach"}, "accepts 1 arg(s), received 0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.want(t, r.run(c.args...), 2, c.want)
		})
	}
	for _, line := range [][]string{{"attach", "vnet3", "--subnet", "a"}, {"detach", "vm-1"}} {
		r := newRig(t)
		r.want(t, r.run(line...), 4, "no agent is running")
	}
}

func TestAttachCompletion(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"detach", ""}, "web-1\t10.0.1.10"},
		{[]string{"attach", "vnet3", "--groups", ""}, "web"},
	} {
		r := newRig(t).withAgent()
		r.run(append([]string{"__complete"}, c.args...)...)
		if lines := strings.Split(r.out.String(), "\n"); !slices.Contains(lines, c.want) {
			t.Errorf("%q: %q", c.args, lines)
		}
	}
}
