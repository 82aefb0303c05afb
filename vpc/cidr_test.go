package vpc

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestParseCIDR(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"10.0.0.0/16", "10.0.0.0/16"},
		{"100.68.0.18/18", "100.68.0.0/18"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"2001:DB8::1/56", "2001:db8::/56"},
		{"10.0.0.0", ""}, {"10.0.0.0/33", ""}, {"10.0.0/8", ""}, {"010.0.0.0/8", ""}, {"10.0.0.0/08", ""}, {"10.0.0.0/-1", ""},
		{"::ffff:10.0.0.0/104", ""}, {"fe80::%eth0/64", ""}, {"", ""}, {" 10.0.0.0/8", ""}, {"10.0.0.0/8\n", ""}, {"web", ""},
	} {
		p, err := ParseCIDR(tt.in)
		if tt.want == "" {
			if ErrorCode(err) != "InvalidParameterValue" || p.IsValid() {
				t.Errorf("%q: %v, %v", tt.in, p, err)
			}
		} else if err != nil || p.String() != tt.want {
			t.Errorf("%q: %v, %v; want %s", tt.in, p, err, tt.want)
		}
	}
}

func TestParseAddr(t *testing.T) {
	for in, ok := range map[string]bool{
		"10.0.0.1": true, "2001:db8::1": true, "10.0.0.1/32": false, "fe80::1%eth0": false, "::ffff:10.0.0.1": false, "010.0.0.1": false, "": false,
	} {
		if a, err := ParseAddr(in); (err == nil) != ok || a.IsValid() != ok {
			t.Errorf("%q: %v, %v", in, a, err)
		}
	}
}

func TestUsable(t *testing.T) {
	for _, tt := range []struct{ block, last, usableFirst, usableLast string }{
		{"10.0.0.0/28", "10.0.0.15", "10.0.0.4", "10.0.0.14"},
		{"10.0.0.16/28", "10.0.0.31", "10.0.0.20", "10.0.0.30"},
		{"10.0.1.0/24", "10.0.1.255", "10.0.1.4", "10.0.1.254"},
		{"10.0.128.0/17", "10.0.255.255", "10.0.128.4", "10.0.255.254"},
		{"172.31.0.0/16", "172.31.255.255", "172.31.0.4", "172.31.255.254"},
		{"2001:db8:0:1::/64", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::4", "2001:db8:0:1:ffff:ffff:ffff:fffe"},
	} {
		p := netip.MustParsePrefix(tt.block)
		first, last := Usable(p)
		if lastAddr(p).String() != tt.last || first.String() != tt.usableFirst || last.String() != tt.usableLast {
			t.Errorf("%s: last %s, usable %s to %s", tt.block, lastAddr(p), first, last)
		}
	}
}

// TestLastAddr tries every length of both families against the definition: the last address is in the block, the next
// one is not.
func TestLastAddr(t *testing.T) {
	for _, base := range []string{"170.85.170.85", "aaaa:5555:aaaa:5555:aaaa:5555:aaaa:5555"} {
		a := netip.MustParseAddr(base)
		for bits := range a.BitLen() + 1 {
			p, _ := a.Prefix(bits)
			last := lastAddr(p)
			if !p.Contains(last) || p.Contains(last.Next()) {
				t.Errorf("%s: last address %s", p, last)
			}
		}
	}
}

func TestCovers(t *testing.T) {
	p := netip.MustParsePrefix
	for _, tt := range []struct {
		outer, inner string
		want         bool
	}{
		{"10.0.0.0/16", "10.0.1.0/24", true},
		{"10.0.0.0/16", "10.0.0.0/16", true},
		{"10.0.1.0/24", "10.0.0.0/16", false},
		{"10.0.0.0/24", "10.0.0.0/16", false},
		{"10.0.0.0/16", "10.1.0.0/24", false},
		{"0.0.0.0/0", "2001:db8::/32", false},
	} {
		if got := covers(p(tt.outer), p(tt.inner)); got != tt.want {
			t.Errorf("%s covers %s: %v", tt.outer, tt.inner, got)
		}
	}
}

func TestZoneID(t *testing.T) {
	for zone, want := range map[string]string{
		"us-east-1a": "use1-az1", "us-east-1f": "use1-az6", "ap-southeast-2c": "apse2-az3", "eu-central-1b": "euc1-az2",
		"us-gov-west-1a": "usgw1-az1", "sa-east-1a": "sae1-az1", "cn-northwest-1c": "cnnw1-az3", "il-central-1a": "ilc1-az1", "": "", "x1": "x1",
	} {
		if got := ZoneID(zone); got != want {
			t.Errorf("%q: %s, want %s", zone, got, want)
		}
	}
	if z := Zones("eu-west-1"); strings.Join(z, " ") != "eu-west-1a eu-west-1b eu-west-1c" {
		t.Errorf("zones %v", z)
	}
}

// FuzzParseCIDR holds ParseCIDR against package net: what it takes, net takes too, as the same network
// (net takes more: IPv4 written as IPv6).
func FuzzParseCIDR(f *testing.F) {
	for _, s := range []string{"10.0.0.0/16", "100.68.0.18/18", "::/0", "2001:db8::1/64", "::ffff:1.2.3.4/100", "1.2.3.4/33", "fe80::1%a/64", "/", "10.0.0.0/016"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseCIDR(s)
		_, network, netErr := net.ParseCIDR(s)
		if err != nil {
			if p.IsValid() || ErrorCode(err) == "" {
				t.Fatalf("%q: %v with error %v", s, p, err)
			}
			return
		}
		if netErr != nil || network.String() != p.String() {
			t.Fatalf("%q: %s, but package net reads %v, %v", s, p, network, netErr)
		}
		if again, err := ParseCIDR(p.String()); err != nil || again != p {
			t.Fatalf("%q: %s reads back as %v, %v", s, p, again, err)
		}
	})
}
