package tap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"strconv"
	"strings"

	"github.com/vpclab/vpclab/instances"
)

// Driver starts tap instances.
type Driver struct{}

var _ instances.Driver = (*Driver)(nil)

// New returns a driver.
func New() *Driver { return &Driver{} }

// Name implements instances.Driver.
func (*Driver) Name() string { return "tap" }

// check finds what is wrong with a spec before anything is made.
func check(s instances.Spec) error {
	switch {
	case s.TAP == nil || s.TAP.Device == "":
		return errors.New("no device is named; give the name of a TAP")
	case len(s.Listen) > 0:
		return fmt.Errorf("the built-in server %s cannot run in it; start one in the instance itself", s.Listen[0])
	case s.ID == "" || s.ID == "." || s.ID == ".." || strings.ContainsAny(s.ID, "/\x00"):
		return fmt.Errorf("instance id %q cannot name a directory", s.ID)
	case s.RunDir == "":
		return errors.New("no run directory given")
	}
	return nil
}

// userID gives the number of a user, -1 for "".
func userID(name string) (int, error) {
	return id("user", name, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

// groupID gives the number of a group, -1 for "".
func groupID(name string) (int, error) {
	return id("group", name, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

func id(what, name string, lookup func(string) (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	number := name
	if strings.Trim(name, "0123456789") != "" {
		found, err := lookup(name)
		if err != nil {
			return 0, fmt.Errorf("there is no %s %q; give its name or number", what, name)
		}
		number = found
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%s %q: %s cannot be its number", what, name, number)
	}
	return int(n), nil
}

// Holder is how QEMU's command line names a device and the address that it must have there.
func Holder(device string, mac net.HardwareAddr) string {
	return fmt.Sprintf("-netdev tap,id=vpclab,ifname=%s,script=no,downscript=no -device virtio-net-pci,netdev=vpclab,mac=%s", device, mac)
}

// opaque is the error of all that would have to be done inside of an instance.
type opaque struct{ name string }

func (o opaque) Error() string {
	return fmt.Sprintf("instance %s is another program's, which vpclab cannot look into: run it in the instance itself, or try from another one", o.name)
}

func (opaque) Unwrap() error { return errors.ErrUnsupported }

// network is the Network of an instance that nothing can be done in.
type network struct{ err error }

func (n network) Dial(context.Context, string, netip.AddrPort, netip.AddrPort) (net.Conn, error) {
	return nil, n.err
}

func (n network) Listen(string, netip.AddrPort) (net.Listener, error) { return nil, n.err }

func (n network) ListenPacket(string, netip.AddrPort) (net.PacketConn, error) { return nil, n.err }

func (n network) Ping(context.Context, netip.Addr, netip.Addr, uint16, uint16, int) (instances.PingReply, error) {
	return instances.PingReply{}, n.err
}
