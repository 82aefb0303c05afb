package instances_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

func TestReasonOf(t *testing.T) {
	op := func(err error) error { return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)} }
	icmp := func(addr string, typ, code uint8) error {
		return fmt.Errorf("ping: %w", &instances.ICMPError{From: netip.MustParseAddr(addr), Type: typ, Code: code})
	}
	for _, test := range []struct {
		err  error
		want instances.Reason
	}{
		{nil, instances.NoError},
		{op(syscall.ECONNREFUSED), instances.Refused},
		{icmp("10.0.0.1", 3, 3), instances.Refused},
		{icmp("10.0.0.1", 3, 1), instances.Unreachable},
		{icmp("10.0.0.1", 3, 13), instances.Unreachable},
		{icmp("10.0.0.1", 11, 0), instances.TimedOut},
		{icmp("fd00::1", 1, 4), instances.Refused},
		{icmp("fd00::1", 1, 3), instances.Unreachable},
		{icmp("fd00::1", 3, 0), instances.TimedOut},
		{icmp("fd00::1", 3, 3), instances.Unreachable},
		{op(syscall.ETIMEDOUT), instances.TimedOut},
		{op(os.ErrDeadlineExceeded), instances.TimedOut},
		{context.DeadlineExceeded, instances.TimedOut},
		{&net.DNSError{IsTimeout: true}, instances.TimedOut},
		{op(syscall.EHOSTUNREACH), instances.Unreachable},
		{op(syscall.ENETUNREACH), instances.Unreachable},
		{op(syscall.ECONNRESET), instances.Reset},
		{op(syscall.EPIPE), instances.Reset},
		{context.Canceled, instances.Canceled},
		{net.ErrClosed, instances.Closed},
		{io.EOF, instances.Closed},
		{op(syscall.EADDRINUSE), instances.Other},
		{errors.New("x"), instances.Other},
	} {
		if got := instances.ReasonOf(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

func TestReasonNames(t *testing.T) {
	for r := instances.NoError; r <= instances.Other; r++ {
		if r.String() == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
}

func TestICMPErrorText(t *testing.T) {
	for want, e := range map[string]instances.ICMPError{
		"from 10.0.0.1: Destination Port Unreachable":             {From: netip.MustParseAddr("10.0.0.1"), Type: 3, Code: 3},
		"from fd00::1: Destination unreachable: Port unreachable": {From: netip.MustParseAddr("fd00::1"), Type: 1, Code: 4},
		"from 10.0.0.1: ICMP type 12 code 0":                      {From: netip.MustParseAddr("10.0.0.1"), Type: 12},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestParseListen(t *testing.T) {
	for _, test := range []struct {
		text, network string
		port          uint16
	}{
		{"tcp/80", "tcp", 80}, {"udp/53", "udp", 53}, {"tcp/65535", "tcp", 65535}, {"tcp/1", "tcp", 1},
	} {
		network, port, err := instances.ParseListen(test.text)
		if network != test.network || port != test.port || err != nil {
			t.Errorf("%q: %q, %d, %v", test.text, network, port, err)
		}
	}
	for _, text := range []string{"", "80", "tcp", "tcp/", "tcp/0", "tcp/65536", "tcp/-1", "icmp/1", "tcp/80/x", "/80", "TCP/80"} {
		if _, _, err := instances.ParseListen(text); err == nil || !strings.Contains(err.Error(), "want tcp/PORT or udp/PORT") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

var web = instances.Spec{
	ID: "i-1", Name: "web-1",
	Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.1.10/24"), netip.MustParsePrefix("fd00::a/64")},
}

var hosts = []instances.Host{
	{Addr: netip.MustParseAddr("10.0.2.10"), Names: []string{"app-1", "app-1.lab"}},
	{Addr: netip.MustParseAddr("fd00::b"), Names: []string{"app-1"}},
	{Addr: netip.MustParseAddr("10.0.1.10"), Names: []string{"web-1"}},
}

func TestHostsFile(t *testing.T) {
	const want = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"10.0.1.10\tweb-1\nfd00::a\tweb-1\n10.0.2.10\tapp-1 app-1.lab\nfd00::b\tapp-1\n10.0.1.10\tweb-1\n"
	if got := string(instances.HostsFile(web, hosts)); got != want {
		t.Errorf("%s", got)
	}
	named := web
	named.Hostname = "ip-10-0-1-10"
	if got := string(instances.HostsFile(named, nil)); !strings.HasSuffix(got, "10.0.1.10\tip-10-0-1-10\nfd00::a\tip-10-0-1-10\n") {
		t.Errorf("%s", got)
	}
}

func TestLookupHost(t *testing.T) {
	for name, want := range map[string]string{
		"app-1":         "[10.0.2.10 fd00::b]",
		"APP-1.lab.":    "[10.0.2.10]",
		"web-1":         "[10.0.1.10 fd00::a]",
		"localhost":     "[127.0.0.1 ::1]",
		"ip6-localhost": "[::1]",
		"192.0.2.7":     "[192.0.2.7]",
		"fe80::1%eth0":  "[fe80::1%eth0]",
		"nobody":        "[]",
		"":              "[]",
	} {
		if got := fmt.Sprint(instances.LookupHost(web, hosts, name)); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

var (
	src4, dst4 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	src6, dst6 = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
)

// icmpOf is the ICMP message of a frame.
func icmpOf(frame []byte) []byte {
	var h packet.Headers
	h.Parse(frame)
	return frame[h.L4:h.End]
}

func TestEchoMarshal(t *testing.T) {
	for _, test := range []struct{ src, dst netip.Addr }{{src4, dst4}, {src6, dst6}} {
		want := packettest.Ping(test.src, test.dst, 0x1234, 7)
		want.Payload = make([]byte, 5)
		msg := icmpOf(want.Bytes())
		if test.dst.Is6() {
			msg[2], msg[3] = 0, 0
		}
		got := instances.Echo{Dst: test.dst, ID: 0x1234, Seq: 7, Payload: 5}.Marshal()
		if string(got) != string(msg) {
			t.Errorf("% x\nwant % x", got, msg)
		}
	}
}

func TestEchoMatch(t *testing.T) {
	router4, router6 := netip.MustParseAddr("10.0.0.254"), netip.MustParseAddr("fd00::ff")
	ping := func(src, dst netip.Addr, id, seq uint16) packettest.ICMP { return packettest.Ping(src, dst, id, seq) }
	reply := func(src, dst netip.Addr, id, seq uint16) []byte {
		return icmpOf(packettest.Pong(ping(src, dst, id, seq)).Bytes())
	}
	quote := func(router netip.Addr, typ, code uint8, about []byte) []byte {
		return icmpOf(packettest.ICMPError(router, typ, code, about, len(about)).Bytes())
	}
	udp := packettest.UDP{Src: netip.AddrPortFrom(src4, 9), Dst: netip.AddrPortFrom(dst4, 9), Payload: make([]byte, 40)}.Bytes()
	for name, test := range map[string]struct {
		dst, from netip.Addr
		msg       []byte
		matched   bool
		err       *instances.ICMPError
	}{
		"reply":              {dst4, dst4, reply(src4, dst4, 9, 1), true, nil},
		"reply 6":            {dst6, dst6, reply(src6, dst6, 9, 1), true, nil},
		"mapped sender":      {dst4, netip.AddrFrom16(dst4.As16()), reply(src4, dst4, 9, 1), true, nil},
		"other sender":       {dst4, src4, reply(src4, dst4, 9, 1), false, nil},
		"other id":           {dst4, dst4, reply(src4, dst4, 8, 1), false, nil},
		"other sequence":     {dst4, dst4, reply(src4, dst4, 9, 2), false, nil},
		"request":            {dst4, dst4, icmpOf(ping(src4, dst4, 9, 1).Bytes()), false, nil},
		"truncated":          {dst4, dst4, reply(src4, dst4, 9, 1)[:7], false, nil},
		"unreachable":        {dst4, router4, quote(router4, 3, 1, ping(src4, dst4, 9, 1).Bytes()), true, &instances.ICMPError{From: router4, Type: 3, Code: 1}},
		"unreachable 6":      {dst6, router6, quote(router6, 1, 3, ping(src6, dst6, 9, 1).Bytes()), true, &instances.ICMPError{From: router6, Type: 1, Code: 3}},
		"about another ping": {dst4, router4, quote(router4, 3, 1, ping(src4, dst4, 7, 1).Bytes()), false, nil},
		"about another host": {dst4, router4, quote(router4, 3, 1, ping(src4, router4, 9, 1).Bytes()), false, nil},
		"about UDP":          {dst4, router4, quote(router4, 3, 3, udp), false, nil},
		"empty error":        {dst4, router4, []byte{3, 1, 0, 0, 0, 0, 0, 0}, false, nil},
		"short header":       {dst4, router4, append([]byte{3, 1, 0, 0, 0, 0, 0, 0, 0x40}, make([]byte, 40)...), false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			matched, err := instances.Echo{Dst: test.dst, ID: 9, Seq: 1}.Match(test.from, test.msg)
			var got *instances.ICMPError
			errors.As(err, &got)
			if matched != test.matched || !reflect.DeepEqual(got, test.err) {
				t.Fatalf("%v, %v; want %v, %v", matched, err, test.matched, test.err)
			}
		})
	}
}

func FuzzEchoMatch(f *testing.F) {
	f.Add(true, icmpOf(packettest.ICMPError(src4, 3, 1, packettest.Ping(src4, dst4, 9, 1).Bytes(), 100).Bytes()))
	f.Add(false, icmpOf(packettest.ICMPError(src6, 1, 3, packettest.Ping(src6, dst6, 9, 1).Bytes(), 100).Bytes()))
	f.Fuzz(func(t *testing.T, v4 bool, msg []byte) {
		e := instances.Echo{Dst: dst6, ID: 9, Seq: 1}
		if v4 {
			e.Dst = dst4
		}
		if matched, err := e.Match(e.Dst, msg); err != nil && !matched {
			t.Fatal(err)
		}
	})
}
