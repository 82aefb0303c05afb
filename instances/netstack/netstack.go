package netstack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
	link "github.com/vpclab/vpclab/vswitch/port/netstack"
)

// Driver starts netstack instances.
type Driver struct{}

var _ instances.Driver = (*Driver)(nil)

// New returns a driver.
func New() *Driver { return &Driver{} }

// Name implements instances.Driver.
func (*Driver) Name() string { return "netstack" }

// Available implements instances.Driver: netstack works everywhere.
func (*Driver) Available() error { return nil }

// Cleanup implements instances.Driver: an instance ends with its process and leaves nothing behind.
func (*Driver) Cleanup(string) error { return nil }

// instance is one host on a stack of its own.
type instance struct {
	spec    instances.Spec
	port    *link.Port
	stack   *stack.Stack
	net     *network
	servers *instances.Servers

	ctx  context.Context // ends with the instance; programs run under it
	stop context.CancelFunc
	runs sync.WaitGroup // programs

	mu     sync.Mutex
	hosts  []instances.Host
	closed bool
}

// Start implements instances.Driver.
func (*Driver) Start(ctx context.Context, s instances.Spec) (instances.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in, err := start(s)
	if err != nil {
		return nil, fmt.Errorf("instance %s: %w", cmpOr(s.Name, s.ID), err)
	}
	return in, nil
}

func start(s instances.Spec) (*instance, error) {
	if len(s.MAC) != 6 {
		return nil, fmt.Errorf("MAC address %q: want six bytes", s.MAC)
	}
	s.Prefixes, s.Gateways = slices.Clone(s.Prefixes), slices.Clone(s.Gateways)
	if s.MTU <= 0 {
		s.MTU = instances.DefaultMTU
	}
	in := &instance{spec: s, hosts: slices.Clone(s.Hosts)}
	in.port = link.New(link.Config{Name: cmpOr(s.Name, s.ID), MTU: s.MTU, MAC: packet.MAC(s.MAC)})
	in.ctx, in.stop = context.WithCancel(context.Background())
	var err error
	if in.stack, err = newStack(s, in.port.Endpoint()); err != nil {
		in.Close()
		return nil, err
	}
	in.net = &network{stack: in.stack}
	if in.servers, err = instances.Serve(in.net, s); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Port implements instances.Instance.
func (in *instance) Port() vswitch.Port { return in.port }

// Net implements instances.Instance.
func (in *instance) Net() instances.Network { return in.net }

// SetHosts implements instances.Instance.
func (in *instance) SetHosts(hosts []instances.Host) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.hosts = slices.Clone(hosts)
	return nil
}

// Info implements instances.Instance.
func (in *instance) Info() map[string]string {
	return map[string]string{
		"driver":   "netstack",
		"device":   deviceName,
		"mac":      in.spec.MAC.String(),
		"hostname": in.spec.HostName(),
		"programs": strings.Join(programNames(), " "),
	}
}

// Close implements instances.Instance.
func (in *instance) Close() error {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return nil
	}
	in.closed = true
	in.mu.Unlock()
	in.stop()
	in.runs.Wait()
	if in.servers != nil {
		in.servers.Close()
	}
	err := in.port.Close()
	if in.stack != nil {
		in.stack.Destroy()
	}
	return err
}

// begin counts a program that starts, unless the instance is closed; done must follow.
func (in *instance) begin() (done func(), err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, errors.New("instance is closed")
	}
	in.runs.Add(1)
	return in.runs.Done, nil
}
