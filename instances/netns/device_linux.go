package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
)

// configure sets up lo and eth0 in the calling thread's namespace and returns the number of eth0.
func configure(s instances.Spec) (zone string, err error) {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return "", fmt.Errorf("lo: %w", err)
	}
	eth, err := netlink.LinkByName(deviceName)
	if err != nil {
		return "", fmt.Errorf("%s: %w", deviceName, err)
	}
	err = setKnobs(s)
	for _, step := range []func() error{
		func() error { return netlink.LinkSetHardwareAddr(eth, s.MAC) },
		func() error { return netlink.LinkSetMTU(eth, s.MTU) },
		func() error { return addAddresses(eth, s.Prefixes) },
		func() error { return netlink.LinkSetUp(eth) },
		func() error { return addRoutes(eth, s.Gateways) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", deviceName, err)
	}
	return strconv.Itoa(eth.Attrs().Index), nil
}

// addAddresses assigns the addresses, without duplicate address detection: the VPC owns them.
func addAddresses(eth netlink.Link, prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(eth, addr); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	return nil
}

func addRoutes(eth netlink.Link, gateways []netip.Addr) error {
	for _, gw := range gateways {
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if gw.Is6() {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		route := &netlink.Route{LinkIndex: eth.Attrs().Index, Dst: ipNet(all), Gw: gw.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("default route by %s: %w", gw, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// knob is a file below /proc/sys/net and what belongs into it.
type knob struct{ path, value string }

// pingGroups is who may open ICMP sockets without being root.
const pingGroups = "ipv4/ping_group_range"

// knobs4 undo what a new namespace takes over from the host (a Docker host forwards), and let ICMP
// errors pass unthrottled, since a probe's verdict hangs on them.
var knobs4 = []knob{
	{"ipv4/ip_forward", "0"},
	{"ipv4/conf/all/rp_filter", "0"},
	{"ipv4/conf/eth0/rp_filter", "0"},
	{"ipv4/icmp_ratelimit", "0"},
	{pingGroups, "0 2147483647"},
}

// knobs6: no router is asked or heard, no address is made up or probed for; the VPC has told us all.
var knobs6 = []knob{
	{"ipv6/conf/all/disable_ipv6", "0"},
	{"ipv6/conf/eth0/disable_ipv6", "0"},
	{"ipv6/conf/eth0/accept_ra", "0"},
	{"ipv6/conf/eth0/autoconf", "0"},
	{"ipv6/conf/eth0/router_solicitations", "0"},
	{"ipv6/conf/all/accept_dad", "0"},
	{"ipv6/conf/eth0/accept_dad", "0"},
	{"ipv6/icmp/ratelimit", "0"},
}

func setKnobs(s instances.Spec) error {
	knobs, six := knobs4, false
	for _, p := range s.Prefixes {
		six = six || p.Addr().Is6()
	}
	if six {
		knobs = append(knobs[:len(knobs):len(knobs)], knobs6...)
	}
	for _, k := range knobs {
		if err := k.set(); err != nil {
			return err
		}
	}
	if six {
		return nil
	}
	err := knob{"ipv6/conf/eth0/disable_ipv6", "1"}.set()
	if errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
		return nil
	}
	return err
}

func (k knob) set() error {
	err := os.WriteFile(filepath.Join("/proc/sys/net", k.path), []byte(k.value), 0)
	if k.path == pingGroups && k.value != "0 0" && errors.Is(err, unix.EINVAL) { // a user namespace with one group only
		k.value = "0 0"
		return k.set()
	}
	return err
}
