package lab

import (
	"net/netip"
	"testing"
)

func TestParseTarget(t *testing.T) {
	addr := netip.MustParseAddr
	for _, c := range []struct {
		text string
		want Target
		back string // String; "" for text itself
	}{
		{"web-1", Target{Instance: "web-1", Protocol: "icmp"}, ""},
		{"web-1:80", Target{Instance: "web-1", Port: 80, Protocol: "tcp"}, ""},
		{"web-1:80/tcp", Target{Instance: "web-1", Port: 80, Protocol: "tcp"}, "web-1:80"},
		{"web-1:53/UDP", Target{Instance: "web-1", Port: 53, Protocol: "udp"}, "web-1:53/udp"},
		{"10.0.1.1", Target{Addr: addr("10.0.1.1"), Protocol: "icmp"}, ""},
		{"10.0.1.1:65535", Target{Addr: addr("10.0.1.1"), Port: 65535, Protocol: "tcp"}, ""},
		{"::ffff:10.0.1.1", Target{Addr: addr("10.0.1.1"), Protocol: "icmp"}, "10.0.1.1"},
		{"fd00::1", Target{Addr: addr("fd00::1"), Protocol: "icmp"}, ""},
		{"[fd00::1]", Target{Addr: addr("fd00::1"), Protocol: "icmp"}, "fd00::1"},
		{"[fd00::1]:53/udp", Target{Addr: addr("fd00::1"), Port: 53, Protocol: "udp"}, ""},
	} {
		got, err := ParseTarget(c.text)
		if err != nil || got != c.want {
			t.Errorf("ParseTarget(%q) = %+v, %v; want %+v", c.text, got, err, c.want)
		}
		if c.back == "" {
			c.back = c.text
		}
		if got.String() != c.back {
			t.Errorf("%+v.String() = %q; want %q", got, got.String(), c.back)
		}
	}
}

func TestParseTargetErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":              "no instance is named; " + targetForm,
		":80":           "no instance is named; " + targetForm,
		"web-1:":        `"web-1:" ends before its port; ` + targetForm,
		"web-1:0":       "port 0 is out of range; ports are 1 to 65535",
		"web-1:65536":   "port 65536 is out of range; ports are 1 to 65535",
		"web-1:-1":      "port -1 is out of range; ports are 1 to 65535",
		"web-1:http":    `port "http" is not a number; ports are 1 to 65535`,
		"web-1:080":     "port 080 has a leading zero; ports are 1 to 65535",
		"web-1:80/sctp": `protocol "sctp" cannot be tried; write PORT/tcp, PORT/udp, or no port for a ping`,
		"web-1:80/":     `protocol "" cannot be tried; write PORT/tcp, PORT/udp, or no port for a ping`,
		"fd00::1:80:x":  `"fd00::1:80:x" has too many colons; write an IPv6 address with a port as [ADDRESS]:PORT`,
		"[web-1]:80":    `"[web-1]:80" has no IPv6 address in its brackets; ` + targetForm,
		"[fd00::1":      `"[fd00::1" has no IPv6 address in its brackets; ` + targetForm,
		"[fd00::1]80":   `"[fd00::1]80" is not a target; ` + targetForm,
		"[fd00::1]:":    `"[fd00::1]:" is not a target; ` + targetForm,
	} {
		if got, err := ParseTarget(text); err == nil || err.Error() != want {
			t.Errorf("ParseTarget(%q) = %+v, %v; want %s", text, got, err, want)
		}
	}
}

func TestParseFrom(t *testing.T) {
	if name, port, err := parseFrom("web-1:4000"); name != "web-1" || port != 4000 || err != nil {
		t.Error(name, port, err)
	}
	if name, port, err := parseFrom("web-1"); name != "web-1" || port != 0 || err != nil {
		t.Error(name, port, err)
	}
	if _, _, err := parseFrom("web-1:80/udp"); err == nil {
		t.Error("a sender with a protocol was taken")
	}
}

// FuzzParseTarget: what is read is written back to the same.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"web-1", "web-1:80", "a:1/udp", "10.0.0.1:2", "[fd00::1]:3", "::1", "[::ffff:1.2.3.4]:1", "[fe80::1%eth0]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseTarget(s)
		if err != nil {
			return
		}
		b, err := ParseTarget(a.String())
		if err != nil || a != b {
			t.Errorf("%q: %+v, then %q: %+v, %v", s, a, a.String(), b, err)
		}
	})
}
