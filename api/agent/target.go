package agent

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseTarget reads HOST[:PORT[/PROTO]] or HOST/PROTO: "web-1", "web-1:80", "10.0.1.10:53/udp", "[2001:db8::1]:443",
// "web-1/icmp", "web-1/47". A port without a protocol is TCP's; neither means ICMP (a ping). HOST may be LAB/NAME:
// "shop/web-1:80"; of "a/icmp" the second is the protocol. An error is an *Error that says what would be right.
func ParseTarget(s string) (Target, error) {
	lab, rest := cutLab(s)
	t, err := parseTarget(s, rest)
	if err == nil {
		t.Host = lab + t.Host
	}
	return t, err
}

// cutLab takes "LAB/" off a target. Names of labs are no addresses and have no ports.
func cutLab(s string) (lab, rest string) {
	before, after, ok := strings.Cut(s, "/")
	if !ok || before == "" || strings.ContainsAny(before, ":[") || isProtocol(after) {
		return "", s
	}
	if _, err := netip.ParseAddr(before); err == nil {
		return "", s
	}
	return before + "/", after
}

func isProtocol(s string) bool {
	switch strings.ToLower(s) {
	case "", "tcp", "udp", "icmp":
		return true
	}
	_, err := strconv.Atoi(s)
	return err == nil
}

func parseTarget(s, rest string) (Target, error) {
	hostport, proto, hasProto := strings.Cut(rest, "/")
	host, port, hasPort, ok := splitHostPort(hostport)
	if !ok || host == "" {
		return Target{}, badTarget(s, "there is no host in it", "write HOST[:PORT[/PROTO]], like web-1:80 or [2001:db8::1]:53/udp")
	}
	t := Target{Host: host, Protocol: "icmp"}
	if hasPort {
		t.Protocol = "tcp"
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return Target{}, badTarget(s, fmt.Sprintf("%q is not a port", port), "a port is a number from 1 to 65535")
		}
		t.Port = n
	}
	if hasProto {
		t.Protocol = strings.ToLower(proto)
	}
	return t, t.check(s)
}

func (t Target) check(s string) error {
	switch t.Protocol {
	case "tcp", "udp":
		if t.Port == 0 {
			return badTarget(s, t.Protocol+" needs a port", "write "+t.Host+":PORT/"+t.Protocol)
		}
		return nil
	case "icmp":
	default:
		if n, err := strconv.Atoi(t.Protocol); err != nil || n < 0 || n > 255 {
			return badTarget(s, fmt.Sprintf("%q is not a protocol", t.Protocol), "a protocol is tcp, udp, icmp or a number from 0 to 255")
		}
	}
	if t.Port != 0 {
		return badTarget(s, "protocol "+t.Protocol+" has no ports", "write "+t.Host+"/"+t.Protocol)
	}
	return nil
}

// String gives the target as ParseTarget reads it.
func (t Target) String() string {
	host := t.Host
	if t.Port != 0 {
		if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
			host = "[" + host + "]"
		}
		host += ":" + strconv.Itoa(t.Port)
	}
	if t.Protocol == "" || t.Protocol == "tcp" || (t.Protocol == "icmp" && t.Port == 0) {
		return host
	}
	return host + "/" + t.Protocol
}

// splitHostPort is net.SplitHostPort for a port that may be absent and for IPv6 addresses without brackets.
func splitHostPort(s string) (host, port string, hasPort, ok bool) {
	if rest, bracket := strings.CutPrefix(s, "["); bracket {
		host, rest, ok = strings.Cut(rest, "]")
		if !ok || rest == "" {
			return host, "", false, ok
		}
		port, ok = strings.CutPrefix(rest, ":")
		return host, port, true, ok
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return s, "", false, true
	}
	host, port, hasPort = strings.Cut(s, ":")
	return host, port, hasPort, true
}

func badTarget(s, what, fix string) error {
	return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("%q: %s", s, what), Fix: fix}
}
