package netstack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/vpclab/vpclab/instances"
)

// lookup resolves a name: an address itself, the hosts file, then the instance's nameservers.
func (sh *shell) lookup(ctx context.Context, name string, o options) ([]netip.Addr, error) {
	sh.in.mu.Lock()
	hosts := sh.in.hosts
	sh.in.mu.Unlock()
	addrs := instances.LookupHost(sh.in.spec, hosts, name)
	if len(addrs) == 0 && len(sh.in.spec.Nameservers) > 0 {
		addrs = sh.lookupDNS(ctx, name)
	}
	addrs = family(addrs, o)
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s: Name or service not known", name)
	}
	return addrs, nil
}

func (sh *shell) lookupDNS(ctx context.Context, name string) []netip.Addr {
	var addrs []netip.Addr
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		msg := new(dns.Msg)
		msg.SetQuestion(dns.Fqdn(name), qtype)
		for _, server := range sh.in.spec.Nameservers {
			reply, _, err := sh.exchange(ctx, "udp", netip.AddrPortFrom(server, 53), msg, 2*time.Second)
			if err != nil {
				continue
			}
			for _, rr := range reply.Answer {
				addrs = append(addrs, addressOf(rr)...)
			}
			break
		}
	}
	return slices.Compact(addrs)
}

func addressOf(rr dns.RR) []netip.Addr {
	var ip net.IP
	switch rr := rr.(type) {
	case *dns.A:
		ip = rr.A
	case *dns.AAAA:
		ip = rr.AAAA
	}
	if a, ok := netip.AddrFromSlice(ip); ok {
		return []netip.Addr{a.Unmap()}
	}
	return nil
}

// exchange asks one server. A truncated answer over UDP is asked for again over TCP.
func (sh *shell) exchange(ctx context.Context, network string, server netip.AddrPort, msg *dns.Msg, timeout time.Duration) (*dns.Msg, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	c, err := sh.net.Dial(ctx, network, netip.AddrPort{}, server)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	conn := &dns.Conn{Conn: c, UDPSize: dns.DefaultMsgSize}
	if err := conn.WriteMsg(msg); err != nil {
		return nil, 0, err
	}
	for {
		reply, err := conn.ReadMsg()
		switch {
		case err != nil:
			return nil, 0, err
		case reply.Id != msg.Id:
			continue
		case reply.Truncated && network == "udp":
			return sh.exchange(ctx, "tcp", server, msg, timeout)
		}
		return reply, time.Since(start), nil
	}
}
