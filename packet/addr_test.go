package packet_test

import (
	"net/netip"
	"strings"
	"testing"
	"unsafe"

	"github.com/vpclab/vpclab/packet"
)

func TestAddr(t *testing.T) {
	for _, c := range []struct {
		text            string
		is4, multi, nul bool
	}{
		{"10.0.1.5", true, false, false},
		{"0.0.0.0", true, false, false},
		{"255.255.255.255", true, false, false},
		{"223.255.255.255", true, false, false},
		{"224.0.0.1", true, true, false},
		{"239.1.2.3", true, true, false},
		{"240.0.0.0", true, false, false},
		{"::", false, false, true},
		{"::1", false, false, false},
		{"fe80:ec2::1", false, false, false},
		{"ff02::1", false, true, false},
		{"1::ffff:a00:105", false, false, false},
		{"::fffe:a00:105", false, false, false},
	} {
		a := packet.AddrFrom(netip.MustParseAddr(c.text))
		if a.String() != c.text || a.Netip() != netip.MustParseAddr(c.text) {
			t.Errorf("%s came back as %s", c.text, a)
		}
		if a.Is4() != c.is4 || a.IsMulticast() != c.multi || a.IsZero() != c.nul {
			t.Errorf("%s: Is4 %t, IsMulticast %t, IsZero %t", c.text, a.Is4(), a.IsMulticast(), a.IsZero())
		}
	}
}

func TestAddrFrom(t *testing.T) {
	if a := packet.AddrFrom(netip.Addr{}); !a.IsZero() {
		t.Errorf("the invalid address gives %s", a)
	}
	if packet.AddrFrom(ip("::ffff:10.0.1.5")) != packet.AddrFrom(ip("10.0.1.5")) {
		t.Error("a mapped address differs from the IPv4 address")
	}
	if packet.AddrFrom(ip("fe80::1%eth0")) != packet.AddrFrom(ip("fe80::1")) {
		t.Error("the zone is not ignored")
	}
}

func TestMAC(t *testing.T) {
	for _, text := range []string{"02:00:0a:00:01:05", "02-00-0A-00-01-05", "0200.0a00.0105"} {
		m, err := packet.ParseMAC(text)
		if err != nil || m != (packet.MAC{2, 0, 0x0a, 0, 1, 5}) || m.String() != "02:00:0a:00:01:05" {
			t.Errorf("%s gives %s, %v", text, m, err)
		}
	}
	for text, want := range map[string]string{
		"":                        "want six bytes",
		"02:00:0a:00:01":          "want six bytes",
		"02:00:0a:00:01:zz":       "want six bytes",
		"02:00:0a:00:01:05:06:07": "has 8 bytes",
	} {
		if _, err := packet.ParseMAC(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if !packet.Broadcast.IsMulticast() || !(packet.MAC{1}).IsMulticast() || (packet.MAC{2}).IsMulticast() {
		t.Error("the I/G bit is the lowest of the first byte")
	}
	if !(packet.MAC{}).IsZero() || packet.Broadcast.IsZero() {
		t.Error("IsZero")
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for m := range packet.MalformedCount {
		name := packet.Malformed(m).String()
		if name == "" || name == "invalid" || seen[name] {
			t.Errorf("reason %d has the name %q", m, name)
		}
		seen[name] = true
	}
	if got := packet.Malformed(packet.MalformedCount).String(); got != "invalid" {
		t.Errorf("a reason too high is %q", got)
	}
	if packet.IPv6.String() != "ipv6" || packet.Kind(9).String() != "invalid" {
		t.Error("names of kinds")
	}
	if packet.LaterFragment.String() != "later" || packet.Fragment(9).String() != "invalid" {
		t.Error("names of fragments")
	}
}

// The flow table hashes keys as bytes and counts on their size.
func TestKeySize(t *testing.T) {
	if n := unsafe.Sizeof(packet.Key{}); n != 44 {
		t.Errorf("a key has %d bytes, want 44", n)
	}
	if n := unsafe.Sizeof(packet.Headers{}); n > 144 {
		t.Errorf("headers have %d bytes, more than 144", n)
	}
}

func TestKeys(t *testing.T) {
	var h packet.Headers
	h.Parse(tcp4.Bytes())
	src, dst := packet.AddrFrom(a4), packet.AddrFrom(b4)
	out, in := h.EgressKey(7), h.IngressKey(7)
	if want := (packet.Key{ENI: 7, Inside: src, Outside: dst, InsidePort: 40000, OutsidePort: 443, Proto: 6}); out != want {
		t.Errorf("egress key %+v", out)
	}
	if want := (packet.Key{ENI: 7, Inside: dst, Outside: src, InsidePort: 443, OutsidePort: 40000, Proto: 6}); in != want {
		t.Errorf("ingress key %+v", in)
	}
	if want := (packet.Tuple{Src: src, Dst: dst, SrcPort: 40000, DstPort: 443, Proto: 6}); h.Tuple() != want {
		t.Errorf("tuple %+v", h.Tuple())
	} else if r := want.Reverse(); r.Src != dst || r.SrcPort != 443 || r.Dst != src || r.DstPort != 40000 || r.Reverse() != want {
		t.Errorf("reverse %+v", r)
	}
}

// A request and its reply are one half at each end.
func TestEchoKeysMirror(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		for _, id := range []uint16{0, 77, 0x0800, 0x8000, 0xffff} {
			var request, reply packet.Headers
			requestFrame, replyFrame := echoPair(ends[0], ends[1], id)
			request.Parse(requestFrame)
			reply.Parse(replyFrame)
			if request.EgressKey(1) != reply.IngressKey(1) || request.IngressKey(2) != reply.EgressKey(2) {
				t.Errorf("id %#x: request %+v, reply %+v", id, request.EgressKey(1), reply.IngressKey(1))
			}
			if request.Tuple().Reverse() != reply.Tuple() {
				t.Errorf("id %#x: tuples do not mirror", id)
			}
		}
	}
}
