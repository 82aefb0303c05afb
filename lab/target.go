package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Target is the far end of a flow, as INSTANCE[:PORT[/PROTO]] or ADDRESS[:PORT[/PROTO]] names it.
type Target struct {
	Instance string     // "" if Addr is set
	Addr     netip.Addr // zero if Instance is set
	Port     uint16     // 0 for ICMP
	Protocol string     // "tcp", "udp" or "icmp" (an echo request; of ICMPv6 for an IPv6 address)
}

// String gives the target as a lab file writes it.
func (t Target) String() string {
	host := t.Instance
	if t.Addr.IsValid() {
		host = t.Addr.String()
	}
	switch {
	case t.Protocol == "icmp":
		return host
	case t.Addr.Is6():
		host = "[" + host + "]"
	}
	if t.Protocol == "tcp" {
		return fmt.Sprintf("%s:%d", host, t.Port)
	}
	return fmt.Sprintf("%s:%d/%s", host, t.Port, t.Protocol)
}

const targetForm = "write INSTANCE:PORT, INSTANCE:PORT/udp, an address instead of the instance, or no port for a ping"

// ParseTarget reads INSTANCE[:PORT[/PROTO]]; an address may stand for the instance, an IPv6 address with a port in
// brackets. Without a port it means a ping. Whether there is such an instance is not checked.
func ParseTarget(s string) (Target, error) {
	host, port, err := splitHostPort(s)
	if err != nil {
		return Target{}, err
	}
	t := Target{Instance: host, Protocol: "icmp"}
	if a, err := netip.ParseAddr(host); err == nil {
		t.Instance, t.Addr = "", a.WithZone("").Unmap()
	}
	if port == "" {
		return t, nil
	}
	digits, proto, found := strings.Cut(port, "/")
	if t.Protocol = strings.ToLower(proto); !found {
		t.Protocol = "tcp"
	}
	if t.Protocol != "tcp" && t.Protocol != "udp" {
		return Target{}, fmt.Errorf("protocol %q cannot be tried; write PORT/tcp, PORT/udp, or no port for a ping", short(proto))
	}
	if t.Port, err = parsePort(digits); err != nil {
		return Target{}, fmt.Errorf("%w; ports are 1 to 65535", err)
	}
	return t, nil
}

// splitHostPort splits "a:1", "a", "::1", "[::1]", "[::1]:1/udp". The port is "" if there is none.
func splitHostPort(s string) (host, port string, err error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, "", nil
	}
	if inside, ok := strings.CutPrefix(s, "["); ok {
		host, rest, closed := strings.Cut(inside, "]")
		if a, err := netip.ParseAddr(host); !closed || err != nil || !a.Is6() {
			return "", "", fmt.Errorf("%q has no IPv6 address in its brackets; %s", short(s), targetForm)
		}
		port, colon := strings.CutPrefix(rest, ":")
		if rest != "" && (!colon || port == "") {
			return "", "", fmt.Errorf("%q is not a target; %s", short(s), targetForm)
		}
		return host, port, nil
	}
	host, port, colon := strings.Cut(s, ":")
	switch {
	case host == "":
		return "", "", errors.New("no instance is named; " + targetForm)
	case strings.Contains(port, ":"):
		return "", "", fmt.Errorf("%q has too many colons; write an IPv6 address with a port as [ADDRESS]:PORT", short(s))
	case colon && port == "":
		return "", "", fmt.Errorf("%q ends before its port; %s", short(s), targetForm)
	}
	return host, port, nil
}

// parseFrom reads INSTANCE[:PORT], the sender and perhaps its source port.
func parseFrom(s string) (instance string, port uint16, err error) {
	host, digits, err := splitHostPort(s)
	if err != nil || digits == "" {
		return host, 0, err
	}
	if port, err = parsePort(digits); err != nil {
		err = fmt.Errorf("%w; ports are 1 to 65535", err)
	}
	return host, port, err
}
