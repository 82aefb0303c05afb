package packettest_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

var (
	src4, dst4 = netip.MustParseAddrPort("10.0.1.5:40000"), netip.MustParseAddrPort("10.0.2.9:443")
	src6, dst6 = netip.MustParseAddrPort("[fd00::5]:40000"), netip.MustParseAddrPort("[fd00::9]:443")
)

// Frames written out by hand, field by field from the RFCs.
func TestBytes(t *testing.T) {
	const macs = "020000000002 020000000001 "
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"udp4", packettest.UDP{Src: src4, Dst: dst4, Payload: []byte("hi")}.Bytes(),
			macs + "0800 4500001e 00000000 40110000 0a000105 0a000209 9c4001bb 000a0000 6869"},
		{"tcp6", packettest.TCP{Src: src6, Dst: dst6, Flags: packet.SYN, Seq: 1, Ack: 2, Window: 3, Urgent: 4, Options: []byte{2, 4, 5}}.Bytes(),
			macs + "86dd 60000000 0018 06 40 fd000000000000000000000000000005 fd000000000000000000000000000009" +
				"9c4001bb 00000001 00000002 60020003 00000004 02040500"},
		{"ipv4 fields", packettest.Other{Src: src4.Addr(), Dst: dst4.Addr(), Proto: 47,
			IP: packettest.IP{TTL: 9, TOS: 0xb8, ID: 0x1234, DontFragment: true, Options: []byte{1}}}.Bytes(),
			macs + "0800 46b80018 12344000 092f0000 0a000105 0a000209 01000000"},
		{"ipv6 fields", packettest.Other{Src: src6.Addr(), Dst: dst6.Addr(), Proto: 59, IP: packettest.IP{NoTTL: true, TOS: 0xb8,
			Extensions: []packettest.Extension{{Proto: 60}, {Proto: 51, Body: make([]byte, 10)}, packettest.FragmentHeader(7, 16, true)}}}.Bytes(),
			macs + "86dd 6b800000 0020 3c 00 fd000000000000000000000000000005 fd000000000000000000000000000009" +
				"3300000000000000 2c020000000000000000000000000000 3b00001100000007"},
		{"ping", packettest.ICMP{Src: src4.Addr(), Dst: dst4.Addr(), Type: 8, ID: 0x0102, Seq: 0x0304}.Bytes(),
			macs + "0800 4500001c 00000000 40010000 0a000105 0a000209 08000000 01020304"},
		{"arp", packettest.ARP{Sender: src4.Addr(), Target: dst4.Addr()}.Bytes(),
			"ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000105 000000000000 0a000209"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if c.name != "arp" {
			blankChecksums(c.got)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s\n got %x\nwant %x", c.name, c.got, want)
		}
	}
}

// blankChecksums zeroes the checksums, which TestChecksums looks at.
func blankChecksums(frame []byte) {
	var h packet.Headers
	h.Parse(frame)
	if h.Kind == packet.IPv4 {
		clear(frame[24:26])
	}
	switch at := int(h.L4); h.Proto {
	case packet.ProtoTCP:
		clear(frame[at+16 : at+18])
	case packet.ProtoUDP:
		clear(frame[at+6 : at+8])
	case packet.ProtoICMP, packet.ProtoICMPv6:
		clear(frame[at+2 : at+4])
	}
}

// A captured datagram (RFC 1071 by hand): 10.0.1.5:40000 to 10.0.2.9:443, "hi".
func TestChecksums(t *testing.T) {
	b := packettest.UDP{Src: src4, Dst: dst4, Payload: []byte("hi")}.Bytes()
	// 4500+001e+4011+0a00+0105+0a00+0209 = 9c3d
	if got := hex.EncodeToString(b[24:26]); got != "63c2" {
		t.Errorf("header checksum %s", got)
	}
	// 0a00+0105+0a00+0209+0011+000a + 9c40+01bb+000a+6869 = 11d8d -> 1d8e
	if got := hex.EncodeToString(b[40:42]); got != "e267" {
		t.Errorf("UDP checksum %s", got)
	}
}

func all() map[string][]byte {
	return map[string][]byte{
		"tcp4":  packettest.TCP{Src: src4, Dst: dst4, Payload: []byte("odd")}.Bytes(),
		"tcp6":  packettest.TCP{Src: src6, Dst: dst6, Payload: []byte("even")}.Bytes(),
		"udp4":  packettest.UDP{Src: src4, Dst: dst4, Payload: []byte("odd")}.Bytes(),
		"udp6":  packettest.UDP{Src: src6, Dst: dst6}.Bytes(),
		"ping4": packettest.Ping(src4.Addr(), dst4.Addr(), 1, 2).Bytes(),
		"ping6": packettest.Ping(src6.Addr(), dst6.Addr(), 1, 2).Bytes(),
		"pong6": packettest.Pong(packettest.Ping(src6.Addr(), dst6.Addr(), 1, 2)).Bytes(),
	}
}

// Every frame passes Check, parses, and passes no longer with any one bit of its IP packet turned
// that a checksum covers.
func TestCheck(t *testing.T) {
	for name, frame := range all() {
		if err := packettest.Check(frame); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var h packet.Headers
		if h.Parse(frame); h.Kind == packet.Unknown {
			t.Errorf("%s: %s", name, h.Why)
		}
		for i := 14; i < len(frame); i++ {
			if h.Kind == packet.IPv6 && (i < 18 || i == 20 || i == 21) {
				continue // version, class, flow label, next header, hop limit: no checksum covers them
			}
			frame[i] ^= 0x10
			if packettest.Check(frame) == nil {
				t.Errorf("%s: byte %d is wrong and nothing is said", name, i)
			}
			frame[i] ^= 0x10
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	udp := packettest.UDP{Src: src4, Dst: dst4, NoChecksum: true}.Bytes()
	if err := packettest.Check(udp); err != nil {
		t.Errorf("UDP without checksum: %v", err)
	}
	short := bytes.Clone(udp)
	short[39]--
	long := packettest.UDP{Src: src4, Dst: dst4, NoChecksum: true, Payload: []byte("hi")}.Bytes()
	long[39]--
	for name, frame := range map[string][]byte{
		"UDP length 7":         short,
		"UDP length too small": long,
		"version 4 in IPv6":    append(bytes.Clone(all()["udp6"][:14]), udp[14:]...),
		"version 6 in IPv4":    append(bytes.Clone(udp[:14]), all()["udp6"][14:]...),
		"short":                udp[:30],
		"cut":                  udp[:len(udp)-1],
		"ARP":                  append(packettest.ARP{Sender: src4.Addr(), Target: dst4.Addr()}.Bytes(), 0, 0),
		"UDP6 without a sum":   packettest.UDP{Src: src6, Dst: dst6, NoChecksum: true}.Bytes(),
		"checksum left undone": func() []byte { b, _ := packettest.Offload(all()["tcp4"], 0); return b }(),
	} {
		if packettest.Check(frame) == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestFragments(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789"), 10)
	for _, whole := range [][]byte{
		packettest.UDP{Src: src4, Dst: dst4, Payload: payload, IP: packettest.IP{ID: 7}}.Bytes(),
		packettest.UDP{Src: src6, Dst: dst6, Payload: payload}.Bytes(),
	} {
		var h packet.Headers
		h.Parse(whole)
		var joined []byte
		list := packettest.Fragments(whole, 40, 7)
		for i, f := range list {
			h.Parse(f)
			if h.Kind == packet.Unknown || h.FragID != 7 || int(h.FragOffset) != 40*i || h.MoreFragments != (i < len(list)-1) {
				t.Errorf("fragment %d: %s %+v", i, h.Why, h)
			}
			joined = append(joined, f[h.L4:h.End]...)
		}
		if len(list) != 3 || !bytes.HasSuffix(whole, joined) || len(joined) != 8+len(payload) {
			t.Errorf("%d fragments of %d bytes", len(list), len(joined))
		}
	}
}

func TestOffload(t *testing.T) {
	for _, c := range []struct {
		name string
		seg  uint16
		want packet.GSO
	}{
		{"tcp4", 0, packet.GSO{NeedsCsum: true, HdrLen: 54, CsumStart: 34, CsumOffset: 16}},
		{"tcp4", 2, packet.GSO{Type: packet.GSOTCP4, NeedsCsum: true, HdrLen: 54, SegSize: 2, CsumStart: 34, CsumOffset: 16}},
		{"tcp6", 2, packet.GSO{Type: packet.GSOTCP6, NeedsCsum: true, HdrLen: 74, SegSize: 2, CsumStart: 54, CsumOffset: 16}},
		{"udp4", 1, packet.GSO{Type: packet.GSOUDP, NeedsCsum: true, HdrLen: 42, SegSize: 1, CsumStart: 34, CsumOffset: 6}},
	} {
		whole := all()[c.name]
		frame, g := packettest.Offload(whole, c.seg)
		if g != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, g, c.want)
		}
		if !packet.CompleteChecksum(frame, g) || !bytes.Equal(frame, whole) {
			t.Errorf("%s: completed it is another", c.name)
		}
	}
	frame := packettest.TCP{Src: src4, Dst: dst4, Flags: packet.CWR, Payload: []byte("123456789")}.Bytes()
	if _, g := packettest.Offload(frame, 8); !g.ECN {
		t.Error("CWR in a super-frame is ECN")
	}
}

func TestVLANAndPad(t *testing.T) {
	frame := packettest.UDP{Src: src4, Dst: dst4}.Bytes()
	tagged := packettest.VLAN(frame, 5)
	if want := append(append(bytes.Clone(frame[:12]), 0x81, 0, 0, 5), frame[12:]...); !bytes.Equal(tagged, want) {
		t.Errorf("% x", tagged)
	}
	padded := packettest.Pad(frame)
	if len(padded) != 60 || !bytes.HasPrefix(padded, frame) || padded[59] == 0 {
		t.Errorf("% x", padded)
	}
	if long := make([]byte, 61); len(packettest.Pad(long)) != 61 {
		t.Error("a long frame was padded")
	}
}

func TestICMPErrorQuotes(t *testing.T) {
	about := packettest.UDP{Src: src4, Dst: dst4, Payload: make([]byte, 100)}.Bytes()
	m := packettest.ICMPError(netip.MustParseAddr("10.0.1.1"), 3, 1, about, 28)
	if m.Dst != src4.Addr() || !bytes.Equal(m.Payload, about[14:42]) || m.Type != 3 || m.Code != 1 {
		t.Errorf("%+v", m)
	}
	if err := packettest.Check(m.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestPanics(t *testing.T) {
	udp := packettest.UDP{Src: src4, Dst: dst4}.Bytes()
	for name, f := range map[string]func(){
		"two families":      func() { packettest.UDP{Src: src4, Dst: dst6}.Bytes() },
		"44 bytes options":  func() { packettest.UDP{Src: src4, Dst: dst4, IP: packettest.IP{Options: make([]byte, 41)}}.Bytes() },
		"fragments of 7":    func() { packettest.Fragments(udp, 7, 0) },
		"offload of a ping": func() { packettest.Offload(all()["ping4"], 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
