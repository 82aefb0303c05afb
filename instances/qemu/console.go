package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/vpclab/vpclab/instances"
)

// ErrConsoleBusy is what a second person at a console gets.
var ErrConsoleBusy = errors.New("somebody else is at this console; there is room for one")

// Console implements instances.Consoled. QEMU writes all that the guest says to the log, whoever reads here.
func (in *instance) Console(ctx context.Context, s instances.IO) error {
	if !in.typing.TryLock() {
		return ErrConsoleBusy
	}
	defer in.typing.Unlock()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", in.files.path(consoleSock))
	if err != nil {
		if in.hasEnded() {
			return errors.New("the virtual machine does not run")
		}
		return fmt.Errorf("console: %w", err)
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	var left atomic.Bool
	go func() {
		if s.Stdin != nil {
			_, _ = io.Copy(c, s.Stdin)
			left.Store(true)
			c.Close()
		}
	}()
	out := s.Stdout
	if out == nil {
		out = io.Discard
	}
	_, err = io.Copy(out, c)
	c.Close()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case left.Load() || in.hasEnded():
		return nil
	}
	return err
}

// Opaque implements instances.Opaque.
func (in *instance) Opaque() error {
	return fmt.Errorf("%s is a virtual machine, and nothing can be run or opened in it from outside; log in with `vpclab console %s`", in.label, in.label)
}

// Exec implements instances.Instance: it always fails.
func (in *instance) Exec(context.Context, []string, instances.IO) (int, error) {
	return 0, in.closedTo()
}

// Net implements instances.Instance: what it opens always fails.
func (in *instance) Net() instances.Network { return network{in} }

func (in *instance) closedTo() error {
	return fmt.Errorf("%w (%w)", in.Opaque(), errors.ErrUnsupported)
}

// network is a guest's, which is its own.
type network struct{ in *instance }

func (n network) Dial(context.Context, string, netip.AddrPort, netip.AddrPort) (net.Conn, error) {
	return nil, n.in.closedTo()
}

func (n network) Listen(string, netip.AddrPort) (net.Listener, error) { return nil, n.in.closedTo() }

func (n network) ListenPacket(string, netip.AddrPort) (net.PacketConn, error) {
	return nil, n.in.closedTo()
}

func (n network) Ping(context.Context, netip.Addr, netip.Addr, uint16, uint16, int) (instances.PingReply, error) {
	return instances.PingReply{}, n.in.closedTo()
}
