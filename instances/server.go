package instances

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// ParseListen reads what Spec.Listen holds: a protocol and a port, such as "tcp/80".
func ParseListen(s string) (network string, port uint16, err error) {
	network, number, ok := strings.Cut(s, "/")
	n, perr := strconv.ParseUint(number, 10, 16)
	if !ok || perr != nil || n == 0 || (network != "tcp" && network != "udp") {
		return "", 0, fmt.Errorf("listen %q: want tcp/PORT or udp/PORT, with a port of 1 to 65535", s)
	}
	return network, uint16(n), nil
}

// Servers are the built-in servers of one instance. A TCP server echoes what it gets, except that it
// answers an HTTP GET or HEAD with a small page that names the instance and the address and port it was
// reached at. A UDP server echoes datagrams.
type Servers struct {
	name string

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]struct{} // listeners and connections
	wg     sync.WaitGroup
}

// Serve starts the servers that s.Listen asks for, in the stack that n opens sockets in.
func Serve(n Network, s Spec) (*Servers, error) {
	srv := &Servers{name: s.Name, open: map[io.Closer]struct{}{}}
	for _, text := range s.Listen {
		network, port, err := ParseListen(text)
		if err == nil && network == "tcp" {
			err = srv.serveTCP(n, s, port)
		} else if err == nil {
			err = srv.serveUDP(n, s, port)
		}
		if err != nil {
			srv.Close()
			return nil, err
		}
	}
	return srv, nil
}

func has6(prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Addr().Is6() {
			return true
		}
	}
	return false
}

// serveTCP listens on all addresses of each family, so that localhost and addresses assigned later work too.
func (srv *Servers) serveTCP(n Network, s Spec, port uint16) error {
	all := []netip.Addr{netip.IPv4Unspecified()}
	if has6(s.Prefixes) {
		all = append(all, netip.IPv6Unspecified())
	}
	for _, addr := range all {
		l, err := n.Listen("tcp", netip.AddrPortFrom(addr, port))
		if err != nil {
			return fmt.Errorf("listen tcp/%d: %w", port, err)
		}
		srv.run(l, func() { srv.accept(l) })
	}
	return nil
}

// serveUDP listens on each address by itself, because an answer must come from the address that was asked.
func (srv *Servers) serveUDP(n Network, s Spec, port uint16) error {
	addrs := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	if has6(s.Prefixes) {
		addrs = append(addrs, netip.IPv6Loopback())
	}
	for _, p := range s.Prefixes {
		addrs = append(addrs, p.Addr())
	}
	for _, addr := range addrs {
		c, err := n.ListenPacket("udp", netip.AddrPortFrom(addr, port))
		if err != nil {
			return fmt.Errorf("listen udp/%d on %s: %w", port, addr, err)
		}
		srv.run(c, func() { echoPackets(c) })
	}
	return nil
}

// run runs fn, which works with c, until it returns; Close closes c and waits for it.
func (srv *Servers) run(c io.Closer, fn func()) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed {
		c.Close()
		return
	}
	srv.open[c] = struct{}{}
	srv.wg.Go(func() {
		fn()
		c.Close()
		srv.mu.Lock()
		defer srv.mu.Unlock()
		delete(srv.open, c)
	})
}

// Close ends all servers and their connections, and waits for them.
func (srv *Servers) Close() error {
	srv.mu.Lock()
	srv.closed = true
	for c := range srv.open {
		c.Close()
	}
	srv.mu.Unlock()
	srv.wg.Wait()
	return nil
}

func (srv *Servers) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			srv.run(c, func() { srv.serveConn(c) })
		case errors.Is(err, net.ErrClosed), !isTemporary(err):
			return
		}
	}
}

func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// serveConn looks at the first bytes to tell HTTP from anything else.
func (srv *Servers) serveConn(c net.Conn) {
	buf := make([]byte, 32<<10)
	n, err := c.Read(buf)
	if err != nil {
		return
	}
	first := buf[:n]
	if bytes.HasPrefix(first, []byte("GET ")) || bytes.HasPrefix(first, []byte("HEAD ")) {
		srv.serveHTTP(c, bufio.NewReader(io.MultiReader(bytes.NewReader(first), c)))
		return
	}
	for err == nil {
		if _, werr := c.Write(buf[:n]); werr != nil {
			return
		}
		n, err = c.Read(buf)
	}
}

// serveHTTP answers requests until the client closes or asks to.
func (srv *Servers) serveHTTP(c net.Conn, r *bufio.Reader) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		page := fmt.Sprintf("%s %s\n", srv.name, c.LocalAddr())
		resp := http.Response{
			StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: req, Close: req.Close,
			Header:        http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Server": {"vpclab"}},
			ContentLength: int64(len(page)), Body: io.NopCloser(strings.NewReader(page)),
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil || resp.Write(c) != nil || req.Close {
			return
		}
	}
}

func echoPackets(c net.PacketConn) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, err = c.WriteTo(buf[:n], from)
		}
		if err != nil && ReasonOf(err) == Other {
			return
		}
	}
}
