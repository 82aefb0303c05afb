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
	way     Way
	files   *files
	space   space
	port    *tap.Port
	net     *network
	servers *instances.Servers
	box     *box           // what Spec.Run asked for; nil for nothing
	runs    sync.WaitGroup // programs that Exec started, and the box
	ended   chan struct{}  // closed when the namespace is lost

	mu     sync.Mutex
	closed bool
	over   chan struct{} // closed by Close
	cause  string        // why the namespace was lost
}

// Start implements instances.Driver.
func (d *Driver) Start(ctx context.Context, s instances.Spec) (instances.Instance, error) {
	way, spaces, err := d.choose()
	if err != nil {
		return nil, err
	}
	in := &instance{spec: s, way: way, ended: make(chan struct{}), over: make(chan struct{})}
	in.spec.Prefixes, in.spec.Gateways, in.spec.Run = slices.Clone(s.Prefixes), slices.Clone(s.Gateways), slices.Clone(s.Run)
	if s.MTU <= 0 {
		in.spec.MTU = instances.DefaultMTU
	}
	if err := in.start(ctx, spaces, d.overlay); err != nil {
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
func (in *instance) start(ctx context.Context, spaces spaces, overlay string) (err error) {
	if in.files, err = newFiles(in.spec, in.way); err != nil {
		return err
	}
	if in.space, err = spaces.create(ctx, in.spec); err != nil {
		return err
	}
	if err = in.files.record(in.space.identity()); err != nil {
		return err
	}
	in.net = &network{space: in.space}
	if in.port, in.net.zone, err = in.space.plug(in.spec); err != nil {
		return err
	}
	if err = ctx.Err(); err != nil {
		return err
	}
	if in.servers, err = instances.Serve(in.net, in.spec); err != nil {
		return err
	}
	if err = in.startBox(ctx, overlay); err != nil {
		return err
	}
	in.watch()
	return nil
}

// watch ends what this process holds of a namespace that is lost, so that the namespace goes, too.
func (in *instance) watch() {
	lost := in.space.lost()
	if lost == nil {
		return
	}
	in.runs.Go(func() {
		select {
		case <-in.over:
			return
		case <-lost:
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.closed {
			return
		}
		in.cause = in.space.why().Error()
		_ = in.servers.Close()
		_ = in.port.Close()
		close(in.ended)
	})
}

var _ instances.Mortal = (*instance)(nil)

// Ended implements instances.Mortal.
func (in *instance) Ended() <-chan struct{} { return in.ended }

// Why implements instances.Mortal.
func (in *instance) Why() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.cause
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
	info := map[string]string{"driver": "netns", "device": deviceName, "mac": in.spec.MAC.String(), madeBy: string(in.way)}
	in.enterInfo().into(info)
	if in.box != nil {
		in.box.into(info)
	}
	return info
}

func (in *instance) enterInfo() EnterInfo {
	i := in.files.enterInfo()
	i.Netns, i.Hostname = in.space.path(), in.spec.HostName()
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
	if in.closed {
		in.mu.Unlock()
		return nil
	}
	in.closed = true
	close(in.over)
	in.mu.Unlock()
	var errs []error
	if in.servers != nil {
		errs = append(errs, in.servers.Close())
	}
	if in.box != nil {
		in.box.stop()
	}
	if in.space != nil {
		errs = append(errs, in.space.end())
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
