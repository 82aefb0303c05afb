package netns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// deviceName is the instance's own name for its link.
const deviceName = "eth0"

// instance is one running namespace.
type instance struct {
	spec    instances.Spec
	files   *files
	space   *space
	port    *tap.Port
	net     *network
	servers *instances.Servers
	runs    sync.WaitGroup // programs that Exec started

	mu     sync.Mutex
	closed bool
}

// Start implements instances.Driver.
func (d *Driver) Start(ctx context.Context, s instances.Spec) (instances.Instance, error) {
	in := &instance{spec: s}
	in.spec.Prefixes, in.spec.Gateways = slices.Clone(s.Prefixes), slices.Clone(s.Gateways)
	if s.MTU <= 0 {
		in.spec.MTU = instances.DefaultMTU
	}
	if err := in.start(ctx); err != nil {
		err = errors.Join(err, in.Close())
		return nil, fmt.Errorf("instance %s: %w", in.label(), err)
	}
	return in, nil
}

func (in *instance) label() string {
	if in.spec.Name != "" {
		return in.spec.Name
	}
	return in.spec.ID
}

// start makes the parts in an order in which the journal always knows of what is there.
func (in *instance) start(ctx context.Context) (err error) {
	name := namespaceName(in.spec.ID)
	if in.files, err = newFiles(in.spec, name); err != nil {
		return err
	}
	if in.space, err = createSpace(name); err != nil {
		return err
	}
	if err = in.files.record(in.space.id); err != nil {
		return err
	}
	if err = in.space.do(in.plug); err != nil {
		return err
	}
	if err = ctx.Err(); err != nil {
		return err
	}
	in.net = &network{space: in.space, zone: in.space.zone}
	in.servers, err = instances.Serve(in.net, in.spec)
	return err
}

// plug makes eth0 and configures it. It runs inside the namespace.
func (in *instance) plug() (err error) {
	in.port, err = tap.Open(tap.Config{Device: deviceName, Label: in.label(), MTU: in.spec.MTU})
	if err != nil {
		return err
	}
	in.space.zone, err = configure(in.spec)
	return err
}

// Port implements instances.Instance.
func (in *instance) Port() vswitch.Port { return in.port }

// Net implements instances.Instance.
func (in *instance) Net() instances.Network { return in.net }

// SetHosts implements instances.Instance.
func (in *instance) SetHosts(hosts []instances.Host) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return errClosed
	}
	return in.files.writeHosts(instances.HostsFile(in.spec, hosts))
}

// Info implements instances.Instance.
func (in *instance) Info() map[string]string {
	info := map[string]string{"driver": "netns", "device": deviceName, "mac": in.spec.MAC.String()}
	in.enterInfo().into(info)
	return info
}

func (in *instance) enterInfo() EnterInfo {
	i := in.files.enterInfo()
	i.Netns, i.Hostname = in.space.path, in.spec.HostName()
	return i
}

// begin counts a program that starts, unless the instance is closed; done must follow.
func (in *instance) begin() (done func(), err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, errClosed
	}
	in.runs.Add(1)
	return in.runs.Done, nil
}

// Close implements instances.Instance. Programs are killed first, the journal goes last.
func (in *instance) Close() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil
	}
	in.closed = true
	var errs []error
	if in.servers != nil {
		errs = append(errs, in.servers.Close())
	}
	if in.space != nil {
		errs = append(errs, killAll(in.space.id))
	}
	in.runs.Wait()
	if in.port != nil {
		errs = append(errs, in.port.Close())
	}
	if in.space != nil {
		errs = append(errs, in.space.remove())
	}
	if err := errors.Join(errs...); err != nil {
		return err // the journal stays, for Cleanup
	}
	if in.files != nil {
		return in.files.remove()
	}
	return nil
}
