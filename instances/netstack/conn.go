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
	c.UDPConn.SetDeadline(time.Unix(1, 0))
	return c.UDPConn.Close()
}

// listener accepts connections with the kernel's errors.
type listener struct {
	*gonet.TCPListener
	state
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if err != nil {
		return nil, l.translate(err)
	}
	return &tcpConn{TCPConn: c.(*gonet.TCPConn)}, nil
}

func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.TCPListener.Shutdown()
	return l.TCPListener.Close()
}
