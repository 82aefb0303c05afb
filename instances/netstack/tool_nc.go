package netstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vpclab/vpclab/instances"
)

const ncUsage = "usage: nc [-46klnNuvz] [-p port] [-s address] [-w seconds] [host] port[-port]"

type netcat struct {
	sh      *shell
	o       options
	network string
	wait    time.Duration // to connect, and for silence afterwards; 0: without end
	local   netip.AddrPort
}

// nc is nc(1) of OpenBSD, with two differences: the end of the input half-closes the connection
// (its -N), and -z over UDP succeeds only where something answers, since silence proves nothing.
// It exits 0 on success and 1 otherwise.
func nc(ctx context.Context, sh *shell, args []string) int {
	n := &netcat{sh: sh, network: "tcp"}
	err := n.parse(args)
	switch {
	case err != nil:
	case n.o.has("l"):
		err = n.listen(ctx)
	default:
		return n.connectAll(ctx)
	}
	if err != nil {
		sh.errorf("%v", err)
		return 1
	}
	return 0
}

func (n *netcat) parse(args []string) (err error) {
	if n.o, err = parse(args, "pswq", "46klnNuvz", nil); err != nil {
		return errors.Join(err, errors.New(ncUsage))
	}
	if n.o.has("u") {
		n.network = "udp"
	}
	operands := 2
	if n.o.has("l") {
		operands = 1
		if n.o.has("p") { // nc -l -p 80
			operands = 0
		}
		if len(n.o.operands) == operands+1 { // nc -l address 80
			operands++
		}
	}
	if len(n.o.operands) != operands {
		return errors.New(ncUsage)
	}
	var addr netip.Addr
	var port int
	if s := n.o.get("s", ""); s != "" {
		if addr, err = netip.ParseAddr(s); err != nil {
			return fmt.Errorf("-s %s: want an address of this instance", s)
		}
	}
	err = errors.Join(number(n.o, "p", 0, 1, 65535, &port), seconds(n.o, "w", 0, &n.wait))
	n.local = netip.AddrPortFrom(addr, uint16(port))
	return err
}

func parsePorts(s string) (first, last int, err error) {
	lo, hi, isRange := strings.Cut(s, "-")
	if !isRange {
		hi = lo
	}
	first, err1 := strconv.Atoi(lo)
	last, err2 := strconv.Atoi(hi)
	if err1 != nil || err2 != nil || first < 1 || last > 65535 || first > last {
		return 0, 0, fmt.Errorf("port %s: want 1 to 65535, or a range such as 80-90", s)
	}
	return first, last, nil
}

// connectAll tries the host's ports, which are several only with -z.
func (n *netcat) connectAll(ctx context.Context) int {
	host := n.o.operands[0]
	addrs, err := n.sh.lookup(ctx, host, n.o)
	if err != nil {
		n.sh.errorf("getaddrinfo: %v", err)
		return 1
	}
	first, last, err := parsePorts(n.o.operands[1])
	if err == nil && first != last && !n.o.has("z") {
		err = errors.New("a range of ports needs -z")
	}
	if err != nil {
		n.sh.errorf("%v", err)
		return 1
	}
	code := 1
	for port := first; port <= last && ctx.Err() == nil; port++ {
		for _, addr := range addrs {
			if n.connect(ctx, host, netip.AddrPortFrom(addr, uint16(port))) {
				code = 0
				break
			}
		}
	}
	return code
}

// connect does all that is to do with one address, and reports success.
func (n *netcat) connect(ctx context.Context, host string, to netip.AddrPort) bool {
	c, err := n.dial(ctx, to)
	if err == nil && n.network == "udp" && n.o.has("z") {
		err = n.knock(ctx, to)
	}
	if err != nil {
		if c != nil {
			c.Close()
		}
		if !n.o.has("z") || n.o.has("v") {
			n.sh.errorf("connect to %s port %d (%s) failed: %s", hostLabel(host, to.Addr()), to.Port(), n.network, complaint(err))
		}
		return false
	}
	defer c.Close()
	if n.o.has("v") {
		fmt.Fprintf(n.sh.stderr, "Connection to %s %d port [%s/*] succeeded!\n", hostLabel(host, to.Addr()), to.Port(), n.network)
	}
	if n.o.has("z") {
		return true
	}
	return n.transfer(ctx, c) == nil
}

func (n *netcat) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if n.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.wait)
		defer cancel()
	}
	return n.sh.net.Dial(ctx, n.network, n.local, to)
}

// knock sends a datagram and waits for any answer.
func (n *netcat) knock(ctx context.Context, to netip.AddrPort) error {
	wait := n.wait
	if wait == 0 {
		wait = time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_, err := instances.ProbeUDP(ctx, n.sh.net, n.local, to, []byte("X"))
	return err
}

func hostLabel(host string, addr netip.Addr) string {
	if host == addr.String() {
		return host
	}
	return fmt.Sprintf("%s (%s)", host, addr)
}

// complaint is an error in the words of strerror(3).
func complaint(err error) string {
	var errno syscall.Errno
	switch {
	case instances.ReasonOf(err) == instances.TimedOut:
		return "Operation timed out"
	case errors.As(err, &errno):
		s := errno.Error()
		return strings.ToUpper(s[:1]) + s[1:]
	}
	return err.Error()
}

// inputGrace is how long input that is there may take to be sent after the other side has ended.
const inputGrace = 250 * time.Millisecond

// transfer copies both ways until the other side ends, or is silent for too long.
func (n *netcat) transfer(ctx context.Context, c net.Conn) error {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.Copy(c, n.sh.stdin)
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}()
	err := n.receive(c)
	if err == nil {
		select {
		case <-sent:
		case <-ctx.Done():
		case <-time.After(inputGrace):
		}
	}
	return err
}

// receive copies what comes until the other side ends, or is silent for too long.
func (n *netcat) receive(c net.Conn) error {
	buf := make([]byte, 64<<10)
	for {
		if n.wait > 0 {
			c.SetReadDeadline(time.Now().Add(n.wait))
		}
		got, err := c.Read(buf)
		if _, werr := n.sh.stdout.Write(buf[:got]); werr != nil {
			return werr
		}
		switch reason := instances.ReasonOf(err); reason {
		case instances.NoError:
		case instances.Closed, instances.TimedOut:
			return nil
		default:
			n.sh.errorf("read: %s", complaint(err))
			return err
		}
	}
}

// listen serves one peer, or one after the other with -k.
func (n *netcat) listen(ctx context.Context) error {
	operands := n.o.operands
	if !n.o.has("p") {
		port, _, err := parsePorts(operands[len(operands)-1])
		if err != nil {
			return err
		}
		n.local = netip.AddrPortFrom(n.local.Addr(), uint16(port))
		operands = operands[:len(operands)-1]
	}
	if len(operands) == 1 {
		addr, err := netip.ParseAddr(operands[0])
		if err != nil {
			return fmt.Errorf("%s: want an address of this instance", operands[0])
		}
		n.local = netip.AddrPortFrom(addr, n.local.Port())
	}
	if !n.local.Addr().IsValid() {
		unspecified := netip.IPv4Unspecified()
		if n.o.has("6") {
			unspecified = netip.IPv6Unspecified()
		}
		n.local = netip.AddrPortFrom(unspecified, n.local.Port())
	}
	if n.network == "udp" {
		return n.listenUDP(ctx)
	}
	return n.listenTCP(ctx)
}

func (n *netcat) listenTCP(ctx context.Context) error {
	l, err := n.sh.net.Listen("tcp", n.local)
	if err != nil {
		return errors.New(complaint(err))
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	n.verbose("Listening on %s %d", n.local.Addr(), n.local.Port())
	for {
		c, err := l.Accept()
		if err != nil {
			return errors.New(complaint(err))
		}
		n.verbose("Connection received on %s", c.RemoteAddr())
		if !n.o.has("k") {
			l.Close()
		}
		err = n.transfer(ctx, c)
		c.Close()
		if !n.o.has("k") {
			return err
		}
	}
}

func (n *netcat) listenUDP(ctx context.Context) error {
	c, err := n.sh.net.ListenPacket("udp", n.local)
	if err != nil {
		return errors.New(complaint(err))
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	n.verbose("Bound on %s %d", n.local.Addr(), n.local.Port())
	buf := make([]byte, 64<<10)
	var peer net.Addr
	for {
		if n.wait > 0 && peer != nil {
			c.SetReadDeadline(time.Now().Add(n.wait))
		}
		got, from, err := c.ReadFrom(buf)
		switch {
		case err != nil && instances.ReasonOf(err) == instances.TimedOut:
			return nil
		case err != nil:
			return errors.New(complaint(err))
		case peer == nil:
			peer = from
			n.verbose("Connection received on %s", from)
			go io.Copy(toPeer{c, peer}, n.sh.stdin)
		case from.String() != peer.String() && !n.o.has("k"):
			continue
		}
		if _, err := n.sh.stdout.Write(buf[:got]); err != nil {
			return err
		}
	}
}

// toPeer sends what is written to it as datagrams.
type toPeer struct {
	c    net.PacketConn
	peer net.Addr
}

func (t toPeer) Write(b []byte) (int, error) { return t.c.WriteTo(b, t.peer) }

func (n *netcat) verbose(format string, args ...any) {
	if n.o.has("v") {
		fmt.Fprintf(n.sh.stderr, format+"\n", args...)
	}
}
