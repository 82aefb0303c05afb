package vpc

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// perm makes a permission for a CIDR, a group (sg-) or a prefix list (pl-).
func perm(proto, from, to int, peer string) Permission {
	p := Permission{Protocol: proto, FromPort: from, ToPort: to}
	switch {
	case strings.HasPrefix(peer, "sg-"):
		p.GroupID = peer
	case strings.HasPrefix(peer, "pl-"):
		p.PrefixListID = peer
	case peer != "":
		p.CIDR = netip.MustParsePrefix(peer)
	}
	return p
}

func TestNormalize(t *testing.T) {
	tests := []struct {
		name     string
		in, want Permission
	}{
		{"tcp", perm(6, 22, 22, "0.0.0.0/0"), perm(6, 22, 22, "0.0.0.0/0")},
		{"all ports", perm(17, 0, 65535, "sg-1"), perm(17, 0, 65535, "sg-1")},
		{"canonical CIDR", perm(6, 1, 2, "100.68.0.18/18"), perm(6, 1, 2, "100.68.0.0/18")},
		{"canonical IPv6 CIDR", perm(6, 1, 2, "2001:db8::1/32"), perm(6, 1, 2, "2001:db8::/32")},
		{"all protocols ignore ports", perm(-1, 0, 0, "0.0.0.0/0"), perm(-1, -1, -1, "0.0.0.0/0")},
		{"all protocols ignore bad ports", perm(-1, 9, 99999, "::/0"), perm(-1, -1, -1, "::/0")},
		{"other protocols ignore ports", perm(47, 1, 1, "sg-1"), perm(47, -1, -1, "sg-1")},
		{"protocol 0", perm(0, 1, 1, "sg-1"), perm(0, -1, -1, "sg-1")},
		{"icmp type and code", perm(1, 3, 4, "pl-1"), perm(1, 3, 4, "pl-1")},
		{"icmp all", perm(1, -1, -1, "pl-1"), perm(1, -1, -1, "pl-1")},
		{"icmp all codes", perm(1, 8, -1, "pl-1"), perm(1, 8, -1, "pl-1")},
		{"icmpv6", perm(58, 128, 0, "::/0"), perm(58, 128, 0, "::/0")},
		{"icmp with an IPv6 peer is accepted by AWS", perm(1, -1, -1, "::/0"), perm(1, -1, -1, "::/0")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.in.Normalize()
			if err != nil || got != tt.want {
				t.Fatalf("Normalize() = %+v, %v; want %+v", got, err, tt.want)
			}
			if again, err := got.Normalize(); err != nil || again != got {
				t.Errorf("a normalized permission changed: %+v, %v", again, err)
			}
		})
	}
}

func TestNormalizeRefuses(t *testing.T) {
	two := perm(6, 1, 1, "sg-1")
	two.CIDR = netip.MustParsePrefix("10.0.0.0/8")
	list := perm(6, 1, 1, "sg-1")
	list.PrefixListID = "pl-1"
	broken := Permission{Protocol: 6, CIDR: netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 33)}
	tests := []struct {
		name    string
		in      Permission
		message string
		field   string
	}{
		{"no peer", perm(6, 1, 1, ""), "exactly one of remote-security-group", ""},
		{"two peers", two, "exactly one of remote-security-group", ""},
		{"group and list", list, "exactly one of remote-security-group", ""},
		{"mapped CIDR", perm(6, 1, 1, "::ffff:10.0.0.0/104"), "CIDR block ::ffff:10.0.0.0/104 is malformed", "CIDR"},
		{"broken CIDR", broken, "is malformed", "CIDR"},
		{"protocol 256", perm(256, 1, 1, "sg-1"), "Invalid value '256' for IP protocol. Unknown protocol.", "Protocol"},
		{"protocol -2", perm(-2, 1, 1, "sg-1"), "Invalid value '-2' for IP protocol. Unknown protocol.", "Protocol"},
		{"no ports", perm(6, -1, -1, "sg-1"), "Must specify both from and to ports with TCP/UDP.", "FromPort"},
		{"no from port", perm(6, -1, 5, "sg-1"), "TCP/UDP (from) port (-1) out of range", "FromPort"},
		{"no to port", perm(17, 5, -1, "sg-1"), "TCP/UDP (to) port (-1) out of range", "ToPort"},
		{"port 70000", perm(17, 5, 70000, "sg-1"), "TCP/UDP (to) port (70000) out of range", "ToPort"},
		{"backwards", perm(17, 443, 80, "sg-1"), "Invalid TCP/UDP port range (443:80)", "FromPort"},
		{"icmp type 256", perm(1, 256, 0, "sg-1"), "ICMP type (256) out of range", "FromPort"},
		{"icmp code 65535", perm(1, 0, 65535, "sg-1"), "ICMP code (65535) out of range", "ToPort"},
		{"icmp code without type", perm(1, -1, 4, "sg-1"), "ICMP code (4) must be -1", "ToPort"},
		{"icmpv6 type -2", perm(58, -2, 0, "::/0"), "ICMP type (-2) out of range", "FromPort"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.in.Normalize()
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("Normalize() error = %v, want *Error", err)
			}
			if e.Code != "InvalidParameterValue" || e.Field != tt.field || !strings.Contains(e.Message, tt.message) {
				t.Errorf("Normalize() error = %+v; want message %q, field %q", e, tt.message, tt.field)
			}
		})
	}
}

func TestPermissionEqual(t *testing.T) {
	tests := []struct {
		name string
		a, b Permission
		want bool
	}{
		{"SG-03 host bits", perm(6, 80, 80, "10.0.0.5/8"), perm(6, 80, 80, "10.0.0.0/8"), true},
		{"ports of all protocols", perm(-1, 0, 0, "0.0.0.0/0"), perm(-1, -1, -1, "0.0.0.0/0"), true},
		{"ports of gre", perm(47, 1, 1, "sg-1"), perm(47, 9, 9, "sg-1"), true},
		{"other port", perm(6, 80, 80, "sg-1"), perm(6, 80, 81, "sg-1"), false},
		{"other peer kind", perm(6, 80, 80, "0.0.0.0/0"), perm(6, 80, 80, "::/0"), false},
		{"other protocol", perm(6, 80, 80, "sg-1"), perm(17, 80, 80, "sg-1"), false},
		{"invalid equals nothing", perm(6, 9, 8, "sg-1"), perm(6, 9, 8, "sg-1"), false},
		{"nothing equals invalid", perm(6, 8, 9, "sg-1"), perm(6, 9, 8, "sg-1"), false},
	}
	for _, tt := range tests {
		if got := tt.a.Equal(tt.b); got != tt.want {
			t.Errorf("%s: Equal = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The messages are those of real refusals by EC2; the one of ICMPv6 follows ICMP's.
func TestPermissionMessage(t *testing.T) {
	tests := []struct {
		in   Permission
		want string
	}{
		{perm(6, 22, 22, "0.0.0.0/0"), "peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW"},
		{perm(17, 0, 65535, "sg-1b20b867"), "peer: sg-1b20b867, UDP, from port: 0, to port: 65535, ALLOW"},
		{perm(-1, 0, 0, "10.0.0.7/19"), "peer: 10.0.0.0/19, ALL, ALLOW"},
		{perm(1, -1, -1, "0.0.0.0/0"), "peer: 0.0.0.0/0, ICMP, type: ALL, code: ALL, ALLOW"},
		{perm(1, 8, -1, "pl-1"), "peer: pl-1, ICMP, type: 8, code: ALL, ALLOW"},
		{perm(58, 128, 0, "::/0"), "peer: ::/0, ICMPV6, type: 128, code: 0, ALLOW"},
		{perm(50, -1, -1, "12.12.12.12/32"), "peer: 12.12.12.12/32, protocol: 50, ALLOW"},
		{perm(6, 9, 8, "sg-1"), "peer: sg-1, TCP, from port: 9, to port: 8, ALLOW"},
	}
	for _, tt := range tests {
		if got := tt.in.Message(); got != tt.want {
			t.Errorf("Message() = %q, want %q", got, tt.want)
		}
	}
}

func TestProtocols(t *testing.T) {
	for in, want := range map[string]int{
		"tcp": 6, "TCP": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "ICMPv6": 58, "-1": -1, "0": 0, "47": 47, "255": 255, "6": 6,
	} {
		if got, err := ParseProtocol(in); err != nil || got != want {
			t.Errorf("ParseProtocol(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "all", "gre", "256", "-2", "6.0", "06", "99999999999"} {
		_, err := ParseProtocol(in)
		if e, ok := errors.AsType[*Error](err); !ok || e.Message != "Invalid value '"+in+"' for IP protocol. Unknown protocol." {
			t.Errorf("ParseProtocol(%q) error = %v", in, err)
		}
	}
	for n := -1; n < 256; n++ {
		if got, err := ParseProtocol(FormatProtocol(n)); err != nil || got != n {
			t.Errorf("ParseProtocol(FormatProtocol(%d)) = %d, %v", n, got, err)
		}
	}
	for n, want := range map[int]string{-1: "all", 6: "tcp", 47: "gre", 50: "esp", 200: "200", 0: "0"} {
		if got := ProtocolName(n); got != want {
			t.Errorf("ProtocolName(%d) = %q, want %q", n, got, want)
		}
	}
	if FormatProtocol(47) != "47" || FormatProtocol(58) != "icmpv6" || FormatProtocol(-1) != "-1" {
		t.Error("FormatProtocol names what AWS's API does not, or the other way round")
	}
}

func TestServiceName(t *testing.T) {
	tests := []struct {
		proto, port int
		want        string
	}{
		{6, 5432, "postgres"}, {6, 22, "ssh"}, {6, 80, "http"}, {17, 53, "dns"}, {6, 53, "dns"}, {17, 123, "ntp"},
		{17, 80, ""}, {6, 8080, ""}, {1, 53, ""}, {6, -1, ""}, {6, 3306, "mysql"},
	}
	for _, tt := range tests {
		if got := ServiceName(tt.proto, tt.port); got != tt.want {
			t.Errorf("ServiceName(%d, %d) = %q, want %q", tt.proto, tt.port, got, tt.want)
		}
	}
	if len(serviceByPort) != len(services) {
		t.Error("two services have one port")
	}
}

func TestICMPName(t *testing.T) {
	tests := []struct {
		v6        bool
		typ, code int
		want      string
	}{
		{false, 8, -1, "ping"}, {false, 8, 0, ""}, {true, 128, 0, "ping"}, {true, 128, -1, "echo-request"},
		{false, 3, 4, "fragmentation-needed"}, {false, 3, -1, "destination-unreachable"}, {true, 2, -1, "packet-too-big"},
		{false, -1, -1, ""}, {true, 3, 4, ""},
	}
	for _, tt := range tests {
		if got := ICMPName(tt.v6, tt.typ, tt.code); got != tt.want {
			t.Errorf("ICMPName(%v, %d, %d) = %q, want %q", tt.v6, tt.typ, tt.code, got, tt.want)
		}
	}
}
