package drivertest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

func testTCP(t *testing.T, p *Pair) {
	for _, to := range []netip.Addr{B4, B4Second, B6} {
		ctx := within(t, patience)
		c, err := p.A.Net().Dial(ctx, "tcp", netip.AddrPort{}, port(to, 80))
		if err != nil {
			t.Fatal(err)
		}
		echo(t, c, "hello")
		if got := c.RemoteAddr().String(); got != port(to, 80).String() {
			t.Errorf("remote address %s", got)
		}
		c.Close()
		if _, err := c.Read(make([]byte, 1)); instances.ReasonOf(err) != instances.Closed {
			t.Errorf("read after close: %v", err)
		}
		_, err = p.A.Net().Dial(ctx, "tcp", netip.AddrPort{}, port(to, 81))
		wantReason(t, err, instances.Refused)
		if rtt, err := instances.ProbeTCP(ctx, p.A.Net(), netip.AddrPort{}, port(to, 80)); err != nil || rtt <= 0 {
			t.Fatal(rtt, err)
		}
	}
	if _, err := p.A.Net().Dial(t.Context(), "sctp", netip.AddrPort{}, port(B4, 80)); err == nil {
		t.Error("sctp")
	}
	if _, err := p.A.Net().Dial(t.Context(), "tcp", netip.AddrPort{}, netip.AddrPort{}); err == nil {
		t.Error("no address")
	}
}

func echo(t testing.TB, c net.Conn, text string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("%q, %v; want %q", got, err, text)
	}
}

func testHTTP(t *testing.T, p *Pair) {
	for to, want := range map[netip.Addr]string{B4: "b 10.9.0.5:80\n", B4Second: "b 10.9.0.55:80\n", B6: "b [fd00:9::5]:80\n"} {
		c, err := p.A.Net().Dial(within(t, patience), "tcp", netip.AddrPort{}, port(to, 80))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		page, err := io.ReadAll(c)
		c.Close()
		if err != nil || !strings.HasPrefix(string(page), "HTTP/1.") || !strings.HasSuffix(string(page), "\r\n\r\n"+want) {
			t.Fatalf("%q, %v; want %q", page, err, want)
		}
	}
	// The instance reaches its own servers, too.
	for _, to := range []netip.Addr{B4, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		if _, err := instances.ProbeTCP(within(t, patience), p.B.Net(), netip.AddrPort{}, port(to, 80)); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func testUDP(t *testing.T, p *Pair) {
	for _, to := range []netip.Addr{B4, B4Second, B6} {
		ctx := within(t, patience)
		if _, err := instances.ProbeUDP(ctx, p.A.Net(), netip.AddrPort{}, port(to, 53), []byte("ping")); err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		for range 10 { // errors come unthrottled
			_, err := instances.ProbeUDP(ctx, p.A.Net(), netip.AddrPort{}, port(to, 54), []byte("ping"))
			wantReason(t, err, instances.Refused)
		}
	}
	quiet, err := p.B.Net().ListenPacket("udp", port(B4, 60))
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	_, err = instances.ProbeUDP(within(t, brief), p.A.Net(), netip.AddrPort{}, port(B4, 60), []byte("ping"))
	wantReason(t, err, instances.TimedOut)
	quiet.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 64)
	n, from, err := quiet.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "ping" || from.(*net.UDPAddr).AddrPort().Addr().Unmap() != A4 {
		t.Fatalf("%q from %v, %v", buf[:n], from, err)
	}
}

func testPing(t *testing.T, p *Pair) {
	var lastID atomic.Uint32
	p.Cable.SetFilter(func(from vswitch.Port, f *vswitch.Frame) bool {
		var h packet.Headers
		if h.Parse(f.Buf); from == p.A.Port() && (h.Proto == packet.ProtoICMP && h.ICMPType == 8 || h.ICMPType == 128) {
			lastID.Store(uint32(h.SrcPort))
		}
		return true
	})
	for i, dst := range []netip.Addr{B4, B4Second, B6} {
		src := A4
		if dst.Is6() {
			src = A6
		}
		for _, src := range []netip.Addr{{}, src} {
			id := uint16(0xbe00 + i)
			reply, err := p.A.Net().Ping(within(t, patience), src, dst, id, 7, 56)
			if err != nil {
				t.Fatalf("%s: %v", dst, err)
			}
			if reply.From != dst || reply.Size != 64 || reply.TTL != 64 || reply.RTT <= 0 || reply.RTT > patience {
				t.Errorf("%s: %+v", dst, reply)
			}
			if got := lastID.Load(); got != uint32(id) {
				t.Errorf("identifier %#x on the wire, want %#x", got, id)
			}
		}
	}
}

// ipOnly lets neighbours be resolved, and stops everything else.
func ipOnly(_ vswitch.Port, f *vswitch.Frame) bool {
	var h packet.Headers
	h.Parse(f.Buf)
	return h.Kind == packet.ARP || h.Proto == packet.ProtoICMPv6 && (h.ICMPType == 135 || h.ICMPType == 136)
}

// testSilence has all packets lost: what a rejecting security group looks like.
func testSilence(t *testing.T, p *Pair) {
	p.Cable.SetFilter(ipOnly)
	for _, to := range []netip.Addr{B4, B6} {
		_, err := p.A.Net().Dial(within(t, brief), "tcp", netip.AddrPort{}, port(to, 80))
		wantReason(t, err, instances.TimedOut)
		_, err = instances.ProbeUDP(within(t, brief), p.A.Net(), netip.AddrPort{}, port(to, 53), []byte("x"))
		wantReason(t, err, instances.TimedOut)
		_, err = p.A.Net().Ping(within(t, brief), netip.Addr{}, to, 1, 1, 0)
		wantReason(t, err, instances.TimedOut)
	}
}

func testLocalPort(t *testing.T, p *Pair) {
	for range 3 { // again and again, in spite of TIME-WAIT
		for _, network := range []string{"tcp", "udp"} {
			to := map[string]uint16{"tcp": 80, "udp": 53}[network]
			for _, local := range []netip.AddrPort{port(A4, 40001), port(A4, 0), netip.AddrPortFrom(netip.Addr{}, 40002)} {
				c, err := p.A.Net().Dial(within(t, patience), network, local, port(B4, to))
				if err != nil {
					t.Fatalf("%s from %v: %v", network, local, err)
				}
				echo(t, c, "x")
				got := netip.MustParseAddrPort(c.LocalAddr().String())
				if got.Addr().Unmap() != A4 || local.Port() != 0 && got.Port() != local.Port() {
					t.Errorf("%s from %v: %v", network, local, got)
				}
				abort(c)
				c.Close()
			}
		}
	}
	for _, to := range []netip.Addr{B4, B4Second} { // the first leaves the port in TIME-WAIT
		c, err := p.A.Net().Dial(within(t, patience), "tcp", port(A4, 40003), port(to, 80))
		if err != nil {
			t.Fatal(err)
		}
		echo(t, c, "x")
		c.Close()
	}
	if _, err := p.A.Net().Dial(within(t, patience), "tcp", port(B4, 0), port(B4, 80)); err == nil {
		t.Error("dialled from another's address")
	}
}

// abort makes Close send a RST where that can be had, so that the same pair of addresses is free at once.
func abort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
}

// testCloseWakes closes sockets while they are read from.
func testCloseWakes(t *testing.T, p *Pair) {
	tcp, err := p.A.Net().Dial(within(t, patience), "tcp", netip.AddrPort{}, port(B4, 80))
	if err != nil {
		t.Fatal(err)
	}
	udp, err := p.A.Net().Dial(within(t, patience), "udp", netip.AddrPort{}, port(B4, 53))
	if err != nil {
		t.Fatal(err)
	}
	packets, err := p.A.Net().ListenPacket("udp", port(A4, 0))
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	for _, c := range []net.Conn{tcp, udp} {
		go func() {
			_, err := c.Read(make([]byte, 1))
			errs <- err
		}()
	}
	go func() {
		_, _, err := packets.ReadFrom(make([]byte, 1))
		errs <- err
	}()
	time.Sleep(brief / 10) // not needed for the result: it makes it likely that all wait
	tcp.Close()
	udp.Close()
	packets.Close()
	for range 3 {
		select {
		case err := <-errs:
			wantReason(t, err, instances.Closed)
		case <-time.After(patience):
			t.Fatal("a reader waits on")
		}
	}
}

// testReset ends the other side of an open connection without a word, and of one with its instance.
func testReset(t *testing.T, p *Pair) {
	l, err := p.B.Net().Listen("tcp", port(B4, 81))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := p.A.Net().Dial(within(t, patience), "tcp", netip.AddrPort{}, port(B4, 81))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "unread data makes the other side reset")
	peer.SetReadDeadline(time.Now().Add(patience))
	if _, err := peer.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	peer.Close()
	c.SetReadDeadline(time.Now().Add(patience))
	_, err = c.Read(make([]byte, 1))
	wantReason(t, err, instances.Reset)
}

func testListen(t *testing.T, p *Pair) {
	if _, err := p.B.Net().Listen("tcp", port(B4, 80)); err == nil {
		t.Error("a port in use was given")
	}
	if _, err := p.B.Net().Listen("udp", port(B4, 81)); err == nil {
		t.Error("a UDP listener")
	}
	if _, err := p.B.Net().ListenPacket("tcp", port(B4, 81)); err == nil {
		t.Error("a TCP packet socket")
	}
	for _, at := range []netip.AddrPort{port(B6, 0), port(netip.IPv4Unspecified(), 0), port(B4, 8080)} {
		l, err := p.B.Net().Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		bound := netip.MustParseAddrPort(l.Addr().String())
		to := B4
		if at.Addr().Is6() {
			to = B6
		}
		accepted := make(chan error, 2)
		go func() {
			for {
				c, err := l.Accept()
				accepted <- err
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		if _, err := instances.ProbeTCP(within(t, patience), p.A.Net(), netip.AddrPort{}, port(to, bound.Port())); err != nil {
			t.Fatal(err)
		}
		if err := <-accepted; err != nil {
			t.Fatal(err)
		}
		l.Close()
		if err := <-accepted; instances.ReasonOf(err) != instances.Closed {
			t.Fatalf("accept after close: %v", err)
		}
	}
}

func testCancel(t *testing.T, p *Pair) {
	p.Cable.SetFilter(ipOnly)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() {
		_, err := p.A.Net().Dial(ctx, "tcp", netip.AddrPort{}, port(B4, 80))
		errs <- err
	}()
	go func() {
		_, err := p.A.Net().Ping(ctx, netip.Addr{}, B4, 1, 1, 0)
		errs <- err
	}()
	time.Sleep(brief / 10) // not needed for the result: it makes it likely that both wait
	cancel()
	for range 2 {
		wantReason(t, <-errs, instances.Canceled)
	}
}

func testClosed(t *testing.T, p *Pair) {
	if p.A.Port() == nil || p.A.Info()["driver"] == "" {
		t.Error(p.A.Info())
	}
	for range 2 {
		if err := p.A.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p.Cable.Close() // its goroutines read no more
	if err := p.A.Port().Read(0, new(vswitch.Batch)); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := p.A.Exec(t.Context(), []string{"ping", "-c1", "b"}, instances.IO{}); err == nil {
		t.Error("a program runs in a closed instance")
	}
	if _, err := p.A.Net().Dial(within(t, brief), "tcp", netip.AddrPort{}, port(B4, 80)); err == nil {
		t.Error("a closed instance dials")
	}
}

func testTransfer(t *testing.T, p *Pair) {
	l, err := p.B.Net().Listen("tcp", port(B4, 5001))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer c.Close()
		h := sha256.New()
		n, err := io.Copy(h, c)
		got <- fmt.Sprintf("%d %x %v", n, h.Sum(nil), err)
	}()
	data := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{7}).Read(data)
	c, err := p.A.Net().Dial(within(t, patience), "tcp", netip.AddrPort{}, port(B4, 5001))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case sum := <-got:
		if want := fmt.Sprintf("%d %x %v", len(data), sha256.Sum256(data), nil); sum != want {
			t.Fatalf("%s, want %s", sum, want)
		}
	case <-time.After(patience):
		t.Fatal("the transfer does not end")
	}
}

func testBadSpecs(t *testing.T, d instances.Driver) {
	CheckLeaks(t)
	for name, spoil := range map[string]func(s *instances.Spec){
		"no MAC":        func(s *instances.Spec) { s.MAC = nil },
		"bad listen":    func(s *instances.Spec) { s.Listen = []string{"tcp/70000"} },
		"port twice":    func(s *instances.Spec) { s.Listen = []string{"tcp/80", "tcp/80"} },
		"address twice": func(s *instances.Spec) { s.Prefixes = append(s.Prefixes, s.Prefixes[0]) },
		"no address":    func(s *instances.Spec) { s.Prefixes = []netip.Prefix{{}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := Spec(t, "bad", 6, A4)
			spoil(&s)
			in, err := d.Start(t.Context(), s)
			if err == nil {
				in.Close()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), "bad") {
				t.Errorf("%q does not name the instance", err)
			}
			good := Spec(t, "good", 6, A4) // nothing of it is in the way
			good.RunDir = s.RunDir
			Start(t, d, good)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if in, err := d.Start(ctx, Spec(t, "late", 6, A4)); err == nil {
		in.Close()
		t.Error("started although it was cancelled")
	}
}
