package instances_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpclab/vpclab/instances"
)

// local is a Network on the loopback of this host, with ports of its own choice.
type local struct {
	mu    sync.Mutex
	addrs []net.Addr
	fail  error
}

func (l *local) note(a net.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addrs = append(l.addrs, a)
}

func (l *local) Dial(ctx context.Context, network string, _, raddr netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, raddr.String())
}

func (l *local) Listen(string, netip.AddrPort) (net.Listener, error) {
	if l.fail != nil {
		return nil, l.fail
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		l.note(ln.Addr())
	}
	return ln, err
}

func (l *local) ListenPacket(_ string, at netip.AddrPort) (net.PacketConn, error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err == nil {
		l.note(c.LocalAddr())
	}
	return c, err
}

func (l *local) Ping(context.Context, netip.Addr, netip.Addr, uint16, uint16, int) (instances.PingReply, error) {
	return instances.PingReply{}, errors.ErrUnsupported
}

func serve(t *testing.T, listen ...string) (*instances.Servers, *local) {
	t.Helper()
	n := new(local)
	s := instances.Spec{Name: "web-1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.4/24")}, Listen: listen}
	srv, err := instances.Serve(n, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv, n
}

func TestTCPEcho(t *testing.T) {
	_, n := serve(t, "tcp/7")
	c, err := net.Dial("tcp", n.addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, text := range []string{"G", "hello", "GETTING on", strings.Repeat("long ", 20000)} {
		go io.WriteString(c, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
			t.Fatalf("%.20q, %v; want %.20q", got, err, text)
		}
	}
	c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
		t.Fatalf("%q, %v", rest, err)
	}
}

func TestHTTP(t *testing.T) {
	_, n := serve(t, "tcp/80")
	url := "http://" + n.addrs[0].String() + "/x?y"
	page := fmt.Sprintf("web-1 %s\n", n.addrs[0])
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	for _, method := range []string{"GET", "HEAD", "GET"} { // on one connection
		req, _ := http.NewRequest(method, url, nil)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := page
		if method == "HEAD" {
			want = ""
		}
		if err != nil || string(body) != want || resp.StatusCode != 200 || resp.ContentLength != int64(len(page)) {
			t.Fatalf("%s: %d, %q, %d, %v", method, resp.StatusCode, body, resp.ContentLength, err)
		}
	}
}

func TestHTTPOldClient(t *testing.T) {
	_, n := serve(t, "tcp/80")
	c, err := net.Dial("tcp", n.addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(body), "web-1 127.0.0.1:") || !resp.Close {
		t.Fatalf("%q, %v, close %v", body, err, resp.Close)
	}
}

func TestUDPEcho(t *testing.T) {
	_, n := serve(t, "udp/53")
	if len(n.addrs) != 2 { // loopback and the one address
		t.Fatal(n.addrs)
	}
	for _, addr := range n.addrs {
		to := addr.(*net.UDPAddr).AddrPort()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, err := instances.ProbeUDP(ctx, n, netip.AddrPort{}, to, []byte("ping")); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

func TestProbes(t *testing.T) {
	srv, n := serve(t, "tcp/7")
	to := n.addrs[0].(*net.TCPAddr).AddrPort()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if rtt, err := instances.ProbeTCP(ctx, n, netip.AddrPort{}, to); err != nil || rtt <= 0 {
		t.Fatal(rtt, err)
	}
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	soon, cancelSoon := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelSoon()
	at := silent.LocalAddr().(*net.UDPAddr).AddrPort()
	if _, err := instances.ProbeUDP(soon, n, netip.AddrPort{}, at, nil); instances.ReasonOf(err) != instances.TimedOut {
		t.Fatal(err)
	}
	silent.Close()
	if _, err := instances.ProbeUDP(ctx, n, netip.AddrPort{}, at, []byte("x")); instances.ReasonOf(err) != instances.Refused {
		t.Fatal(err)
	}
	srv.Close()
	if _, err := instances.ProbeTCP(ctx, n, netip.AddrPort{}, to); instances.ReasonOf(err) != instances.Refused {
		t.Fatal(err)
	}
}

func TestCloseEndsConnections(t *testing.T) {
	srv, n := serve(t, "tcp/80", "udp/53")
	var conns []net.Conn
	for _, first := range []string{"echo", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c, err := net.Dial("tcp", n.addrs[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, first)
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	srv.Close() // waits for its goroutines
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, c); instances.ReasonOf(err) == instances.TimedOut {
			t.Fatal("the connection is open")
		}
	}
}

func TestServeErrors(t *testing.T) {
	s := instances.Spec{Name: "web-1", Listen: []string{"udp/53", "tcp/80"}}
	want := errors.New("address already in use")
	if _, err := instances.Serve(&local{fail: want}, s); !errors.Is(err, want) || !strings.Contains(err.Error(), "tcp/80") {
		t.Fatal(err)
	}
	s.Listen = []string{"80"}
	if _, err := instances.Serve(new(local), s); err == nil {
		t.Fatal("no error")
	}
}
