package netstack

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// errnos are the errors of gVisor that mean something to a caller, as the kernel would give them.
var errnos = []struct {
	err   tcpip.Error
	errno error
}{
	{&tcpip.ErrConnectionRefused{}, syscall.ECONNREFUSED},
	{&tcpip.ErrConnectionReset{}, syscall.ECONNRESET},
	{&tcpip.ErrConnectionAborted{}, syscall.ECONNABORTED},
	{&tcpip.ErrAborted{}, syscall.ECONNABORTED},
	{&tcpip.ErrTimeout{}, syscall.ETIMEDOUT},
	{&tcpip.ErrHostUnreachable{}, syscall.EHOSTUNREACH},
	{&tcpip.ErrHostDown{}, syscall.EHOSTUNREACH},
	{&tcpip.ErrNetworkUnreachable{}, syscall.ENETUNREACH},
	{&tcpip.ErrNoNet{}, syscall.ENETUNREACH},
	{&tcpip.ErrPortInUse{}, syscall.EADDRINUSE},
	{&tcpip.ErrBadLocalAddress{}, syscall.EADDRNOTAVAIL},
	{&tcpip.ErrNoPortAvailable{}, syscall.EADDRNOTAVAIL},
	{&tcpip.ErrMessageTooLong{}, syscall.EMSGSIZE},
	{&tcpip.ErrClosedForSend{}, syscall.EPIPE},
	{&tcpip.ErrNotConnected{}, syscall.ENOTCONN},
}

// byText finds them again in what gonet returns, which keeps only the text.
var byText = func() map[string]error {
	m := make(map[string]error, len(errnos))
	for _, e := range errnos {
		m[e.err.String()] = e.errno
	}
	return m
}()

func errnoOf(err tcpip.Error) error {
	if errno, ok := byText[err.String()]; ok {
		return errno
	}
	return errors.New(err.String())
}

// translate puts the kernel's error into an error of gonet.
func translate(err error) error {
	var op *net.OpError
	if err == nil {
		return nil
	}
	if errors.As(err, &op) {
		if errno, ok := byText[op.Err.Error()]; ok {
			fixed := *op
			fixed.Err = errno
			return &fixed
		}
		var timeout net.Error
		if errors.As(op.Err, &timeout) && timeout.Timeout() {
			fixed := *op
			fixed.Err = os.ErrDeadlineExceeded
			return &fixed
		}
		return err
	}
	if errno, ok := byText[err.Error()]; ok {
		return errno
	}
	return err
}

// state remembers that this side closed, after which every error is net.ErrClosed.
type state struct{ closed atomic.Bool }

func (s *state) translate(err error) error {
	if err != nil && s.closed.Load() {
		return net.ErrClosed
	}
	return translate(err)
}

// tcpConn is a TCP connection with the kernel's errors.
type tcpConn struct {
	*gonet.TCPConn
	state
	ep tcpip.Endpoint // nil for accepted connections
}

// SetLinger is net.TCPConn's: with 0, Close resets the connection instead of finishing it, so that no
// TIME-WAIT holds its addresses. Accepted connections do not have it.
func (c *tcpConn) SetLinger(sec int) error {
	if c.ep == nil {
		return errors.ErrUnsupported
	}
	c.ep.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: sec >= 0, Timeout: time.Duration(max(sec, 0)) * time.Second})
	return nil
}

func (c *tcpConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	return n, c.translate(err)
}

func (c *tcpConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	return n, c.translate(err)
}

func (c *tcpConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.TCPConn.SetDeadline(time.Unix(1, 0)) // wakes readers and writers
	return c.TCPConn.Close()
}

// udpConn is a UDP socket with the kernel's errors.
type udpConn struct {
	*gonet.UDPConn
	state
	v6 bool
}

// LocalAddr has the unspecified address where gonet has none.
func (c *udpConn) LocalAddr() net.Addr {
	addr, _ := c.UDPConn.LocalAddr().(*net.UDPAddr)
	if addr == nil {
		return &net.UDPAddr{}
	}
	addr.IP = specified(addr.IP, c.v6)
	return addr
}

func (c *udpConn) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	return n, c.translate(err)
}

func (c *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.UDPConn.ReadFrom(b)
	return n, from, c.translate(err)
}

func (c *udpConn) Write(b []byte) (int, error) {
	n, err := c.UDPConn.Write(b)
	return n, c.translate(err)
}

func (c *udpConn) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := c.UDPConn.WriteTo(b, to)
	return n, c.translate(err)
}

func (c *udpConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.UDPConn.Close()
}

// listener accepts connections with the kernel's errors.
type listener struct {
	*gonet.TCPListener
	state
	v6   bool
	done func() // once, at Close
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if err != nil {
		return nil, l.translate(err)
	}
	return &tcpConn{TCPConn: c.(*gonet.TCPConn)}, nil
}

// Addr has the unspecified address where gonet has none.
func (l *listener) Addr() net.Addr {
	addr, _ := l.TCPListener.Addr().(*net.TCPAddr)
	if addr == nil {
		return &net.TCPAddr{}
	}
	addr.IP = specified(addr.IP, l.v6)
	return addr
}

func specified(ip net.IP, v6 bool) net.IP {
	switch {
	case len(ip) > 0:
		return ip
	case v6:
		return net.IPv6unspecified
	}
	return net.IPv4zero
}

func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.TCPListener.Shutdown()
	err := l.TCPListener.Close()
	l.done()
	return err
}
