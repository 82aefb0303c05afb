package netstack

import (
	"errors"
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/raw"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/vpclab/vpclab/instances"
)

const (
	ethernetNIC tcpip.NICID = 1
	loopbackNIC tcpip.NICID = 2

	deviceName = "eth0"
)

// TCP buffers in bytes: least, at first, most. Linux's defaults (Documentation/networking/ip-sysctl.rst,
// tcp_wmem and tcp_rmem), so that a lab behaves as it would in a namespace.
var (
	sendBuffer    = tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 64 << 10, Max: 4 << 20}
	receiveBuffer = tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 128 << 10, Max: 6 << 20}
)

// newStack returns the stack of an instance: eth0 on the link, a loopback device, routes. No address is
// probed for duplicates, and no router advertisement is asked for or heard: the VPC has told us all.
// Also after an error the caller must destroy the stack, after it has shut the link.
func newStack(s instances.Spec, eth stack.LinkEndpoint) (*stack.Stack, error) {
	st := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			arp.NewProtocol,
			ipv4.NewProtocol,
			ipv6.NewProtocolWithOptions(ipv6.Options{
				NDPConfigs: ipv6.NDPConfigurations{HandleRAs: ipv6.HandlingRAsDisabled},
				DADConfigs: stack.DADConfigurations{DupAddrDetectTransmits: 0, RetransmitTimer: 1e9},
			}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
		HandleLocal: true,                   // an instance reaches its own addresses without the switch, as on Linux
		RawFactory:  &raw.EndpointFactory{}, // ping wants to see ICMP errors
	})
	return st, errors.Join(tuneTCP(st), configure(st, s, eth))
}

func tuneTCP(st *stack.Stack) error {
	sack := tcpip.TCPSACKEnabled(true)
	recovery := tcpip.TCPRecovery(0)                       // RACK off: retransmits too much where there is delay (tailscale/tailscale#9707)
	control := tcpip.CongestionControlOption("reno")       // cubic's window overflowed (google/gvisor#11632)
	moderate := tcpip.TCPModerateReceiveBufferOption(true) // grow the receive buffer with the path, as Linux does
	var errs []error
	for _, opt := range []tcpip.SettableTransportProtocolOption{&sack, &recovery, &control, &moderate, &sendBuffer, &receiveBuffer} {
		if err := st.SetTransportProtocolOption(tcp.ProtocolNumber, opt); err != nil {
			errs = append(errs, fmt.Errorf("netstack option %T: %s", opt, err))
		}
	}
	return errors.Join(errs...)
}

func configure(st *stack.Stack, s instances.Spec, eth stack.LinkEndpoint) error {
	if err := st.CreateNICWithOptions(ethernetNIC, eth, stack.NICOptions{Name: deviceName}); err != nil {
		return fmt.Errorf("netstack %s: %s", deviceName, err)
	}
	if err := st.CreateNICWithOptions(loopbackNIC, loopback.New(), stack.NICOptions{Name: "lo"}); err != nil {
		return fmt.Errorf("netstack lo: %s", err)
	}
	for _, p := range []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")} {
		if err := addPrefix(st, loopbackNIC, p); err != nil {
			return err
		}
	}
	for _, p := range s.Prefixes {
		if err := addPrefix(st, ethernetNIC, p); err != nil {
			return err
		}
	}
	for _, gw := range s.Gateways {
		all := header.IPv4EmptySubnet
		if gw.Is6() {
			all = header.IPv6EmptySubnet
		}
		st.AddRoute(tcpip.Route{Destination: all, Gateway: addrOf(gw), NIC: ethernetNIC})
	}
	return nil
}

// addPrefix gives the device an address and the route to what is on the link with it. Routes are
// looked up in order, so default routes come last.
func addPrefix(st *stack.Stack, nic tcpip.NICID, p netip.Prefix) error {
	if !p.IsValid() {
		return errors.New("netstack: invalid address")
	}
	with := tcpip.AddressWithPrefix{Address: addrOf(p.Addr()), PrefixLen: p.Bits()}
	err := st.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: protocolOf(p.Addr()), AddressWithPrefix: with}, stack.AddressProperties{})
	if err != nil {
		return fmt.Errorf("netstack address %s: %s", p, err)
	}
	st.AddRoute(tcpip.Route{Destination: with.Subnet(), NIC: nic})
	return nil
}

func addrOf(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}
