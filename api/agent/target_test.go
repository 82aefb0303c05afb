package agent

import (
	"strings"
	"testing"
	"time"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Target
	}{
		{"web-1", Target{"web-1", 0, "icmp"}},
		{"web-1:80", Target{"web-1", 80, "tcp"}},
		{"web-1:80/tcp", Target{"web-1", 80, "tcp"}},
		{"web-1:53/UDP", Target{"web-1", 53, "udp"}},
		{"web-1/icmp", Target{"web-1", 0, "icmp"}},
		{"web-1/47", Target{"web-1", 0, "47"}},
		{"10.0.1.5", Target{"10.0.1.5", 0, "icmp"}},
		{"10.0.1.5:65535", Target{"10.0.1.5", 65535, "tcp"}},
		{"2001:db8::1", Target{"2001:db8::1", 0, "icmp"}},
		{"[2001:db8::1]", Target{"2001:db8::1", 0, "icmp"}},
		{"[2001:db8::1]:443", Target{"2001:db8::1", 443, "tcp"}},
		{"[2001:db8::1]:53/udp", Target{"2001:db8::1", 53, "udp"}},
		{"eni-1:22", Target{"eni-1", 22, "tcp"}},
		{"shop/web-1", Target{"shop/web-1", 0, "icmp"}},
		{"shop/web-1:80", Target{"shop/web-1", 80, "tcp"}},
		{"shop/web-1:53/udp", Target{"shop/web-1", 53, "udp"}},
		{"shop/web-1/icmp", Target{"shop/web-1", 0, "icmp"}},
		{"shop/web-1/47", Target{"shop/web-1", 0, "47"}},
	} {
		got, err := ParseTarget(c.in)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.in, got, err, c.want)
		}
		again, err := ParseTarget(got.String())
		if err != nil || again != got {
			t.Errorf("%s: String gives %q, which is read as %+v, %v", c.in, got.String(), again, err)
		}
	}
}

func TestParseTargetSaysWhatWouldBeRight(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "HOST[:PORT[/PROTO]]",
		":80":                "HOST[:PORT[/PROTO]]",
		"web-1:":             "1 to 65535",
		"web-1:0":            "1 to 65535",
		"web-1:70000":        "1 to 65535",
		"web-1:-1":           "1 to 65535",
		"web-1:http":         "1 to 65535",
		"web-1:80:90":        "1 to 65535",
		"web-1/tcp":          "web-1:PORT/tcp",
		"web-1:80/icmp":      "write web-1/icmp",
		"web-1:80/":          "tcp, udp, icmp or a number",
		"web-1:80/carrier":   "tcp, udp, icmp or a number",
		"10.0.1.5/carrier":   "tcp, udp, icmp or a number",
		"shop/web-1/carrier": "tcp, udp, icmp or a number",
		"shop/:80":           "HOST[:PORT[/PROTO]]",
		"shop/web-1:0":       "1 to 65535",
		"web-1/256":          "tcp, udp, icmp or a number",
		"[2001:db8::1":       "HOST[:PORT[/PROTO]]",
		"[2001:db8::1]443":   "HOST[:PORT[/PROTO]]",
		"[2001:db8::1]:http": "1 to 65535",
	} {
		_, err := ParseTarget(in)
		if e := wantCode(t, err, CodeBadRequest); !strings.Contains(e.Fix, want) {
			t.Errorf("%q: %q, want %q", in, e.Fix, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"web-1:80/tcp", "shop/web-1:80/tcp", "a/b/c", "[::1]:1/udp", "a/47", "1.2.3.4", ":", "[", "::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTarget(s)
		if err != nil {
			return
		}
		if got.Host == "" || got.Port < 0 || got.Port > 65535 {
			t.Fatalf("%q is read as %+v", s, got)
		}
		if (got.Protocol == "tcp" || got.Protocol == "udp") != (got.Port > 0) {
			t.Fatalf("%q is read as %+v: ports go with tcp and udp", s, got)
		}
	})
}

func TestSeconds(t *testing.T) {
	for _, d := range []time.Duration{0, 420 * time.Microsecond, 1400 * time.Millisecond, 432000 * time.Second} {
		if got := SecondsOf(d).Duration(); got != d {
			t.Errorf("%v came back as %v", d, got)
		}
	}
}
