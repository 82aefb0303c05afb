package instances

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// HostsFile is the content of an instance's hosts file (hosts(5)): localhost, the instance itself, and
// the lines of hosts.
func HostsFile(s Spec, hosts []Host) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if name := s.HostName(); name != "" {
		for _, p := range s.Prefixes {
			fmt.Fprintf(&b, "%s\t%s\n", p.Addr(), name)
		}
	}
	for _, h := range hosts {
		fmt.Fprintf(&b, "%s\t%s\n", h.Addr, strings.Join(h.Names, " "))
	}
	return b.Bytes()
}

// HostName is the instance's own name.
func (s Spec) HostName() string {
	if s.Hostname != "" {
		return s.Hostname
	}
	return s.Name
}

// LookupHost resolves name as a resolver would from HostsFile: all addresses, in order, without
// regard to case. An address resolves to itself.
func LookupHost(s Spec, hosts []Host, name string) []netip.Addr {
	if addr, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{addr}
	}
	name = strings.TrimSuffix(name, ".")
	switch strings.ToLower(name) {
	case "localhost":
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	case "ip6-localhost", "ip6-loopback":
		return []netip.Addr{netip.IPv6Loopback()}
	}
	var found []netip.Addr
	add := func(a netip.Addr) {
		if !slices.Contains(found, a) {
			found = append(found, a)
		}
	}
	if strings.EqualFold(name, s.HostName()) {
		for _, p := range s.Prefixes {
			add(p.Addr())
		}
	}
	for _, h := range hosts {
		if slices.ContainsFunc(h.Names, func(n string) bool { return strings.EqualFold(n, name) }) {
			add(h.Addr)
		}
	}
	return found
}
