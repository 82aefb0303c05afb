package tap

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/afpacket"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// instance is one device that was taken.
type instance struct {
	spec    instances.Spec
	tap     instances.TAP
	journal *journal
	port    *afpacket.Port
	ask     *solicitor // nil: the MAC was given

	mu     sync.Mutex
	closed bool
}

var (
	_ instances.Instance = (*instance)(nil)
	_ instances.Opaque   = (*instance)(nil)
	_ instances.Troubled = (*instance)(nil)
)

// Available implements instances.Driver. Devices of others need no /dev/net/tun.
func (*Driver) Available() error { return afpacket.Available() }

// Start implements instances.Driver. A device that cannot be made or taken is a fault of this instance alone.
func (*Driver) Start(ctx context.Context, s instances.Spec) (instances.Instance, error) {
	if err := check(s); err != nil {
		return nil, &instances.Fault{Err: err}
	}
	in := &instance{spec: s, tap: *s.TAP}
	if s.MTU <= 0 {
		in.spec.MTU = instances.DefaultMTU
	}
	err := in.start()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, &instances.Fault{Err: errors.Join(err, in.Close())}
	}
	return in, nil
}

func label(s instances.Spec) string {
	if s.Name != "" {
		return s.Name
	}
	return s.ID
}

// start does things in an order in which the journal always knows of what is there.
func (in *instance) start() (err error) {
	space, err := spacePath(in.tap.Netns)
	if err != nil {
		return err
	}
	if in.journal, err = newJournal(in.spec, space); err != nil {
		return err
	}
	ask := newSolicitor(in.spec)
	cfg := afpacket.Config{Device: in.tap.Device, Label: label(in.spec), MTU: in.spec.MTU, Event: in.event(ask)}
	if ask != nil {
		cfg.Learn = ask.learn
	}
	err = within(space, func() error {
		if in.tap.Make {
			if err := in.make(); err != nil {
				return err
			}
		}
		in.port, err = afpacket.Open(cfg)
		return err
	})
	if err == nil && ask != nil {
		in.ask = ask
		ask.run(in.port)
	}
	return err
}

// event is what becomes of an event of the port.
func (in *instance) event(ask *solicitor) func(afpacket.Event) {
	return func(e afpacket.Event) {
		if ask != nil {
			ask.see(e.State)
		}
		if in.tap.Event != nil {
			in.tap.Event(e.State.String(), e.Text)
		}
	}
}

// make makes the device, and notes which one it is: another one of its name is not ours.
func (in *instance) make() error {
	d := tap.Persistent{Device: in.tap.Device}
	var err error
	if d.Owner, err = userID(in.tap.Owner); err != nil {
		return err
	}
	if d.Group, err = groupID(in.tap.Group); err != nil {
		return err
	}
	if _, err := netlink.LinkByName(in.tap.Device); errors.As(err, new(netlink.LinkNotFoundError)) {
		if err := in.journal.made(unknownIndex); err != nil {
			return err
		}
	}
	if err := tap.Create(d); err != nil { // also where the name is taken
		return errors.Join(err, in.journal.made(0))
	}
	link, err := netlink.LinkByName(in.tap.Device)
	if err != nil {
		return err
	}
	if err := in.journal.made(link.Attrs().Index); err != nil {
		return errors.Join(err, netlink.LinkDel(link))
	}
	if err := netlink.LinkSetMTU(link, in.spec.MTU); err != nil {
		return fmt.Errorf("device %q: MTU %d: %w", in.tap.Device, in.spec.MTU, err)
	}
	return nil
}

// spacePath is the path of a namespace, "" for the caller's own.
func spacePath(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	path := name
	if !strings.Contains(name, "/") {
		path = filepath.Join("/run/netns", name)
	}
	var fs unix.Statfs_t
	err := unix.Statfs(path, &fs)
	if err == nil && fs.Type != unix.NSFS_MAGIC {
		err = errors.New("it is no namespace")
	}
	if err != nil {
		return "", fmt.Errorf("network namespace %s: %w; make it first (ip netns add NAME), or leave it out for the agent's own", name, err)
	}
	return path, nil
}

// within runs fn in the namespace of that path, on a thread that goes back to where it came from, or ends.
func within(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("own network namespace: %w", err)
			return
		}
		defer home.Close()
		err = enter(path)
		if err == nil {
			err = fn()
		}
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

func enter(path string) error {
	space, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer space.Close()
	if err := netns.Set(space); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return nil
}

// Port implements instances.Instance.
func (in *instance) Port() vswitch.Port { return in.port }

// Net implements instances.Instance: nothing can be done in it.
func (in *instance) Net() instances.Network { return network{in.Opaque()} }

// Exec implements instances.Instance: it always fails.
func (in *instance) Exec(context.Context, []string, instances.IO) (int, error) { return 0, in.Opaque() }

// Opaque implements instances.Opaque.
func (in *instance) Opaque() error { return opaque{label(in.spec)} }

// SetHosts implements instances.Instance: the instance's files are its own.
func (in *instance) SetHosts([]instances.Host) error { return nil }

// Info implements instances.Instance.
func (in *instance) Info() map[string]string {
	state := in.port.State()
	info := map[string]string{
		"driver": "tap", "device": in.tap.Device, "mac": in.spec.MAC.String(), "MTU": fmt.Sprint(in.port.MTU()),
		"link": state.State.String(),
	}
	if in.tap.Netns != "" {
		info["netns"] = in.tap.Netns
	}
	if in.tap.Make {
		info["QEMU"] = Holder(in.tap.Device, in.spec.MAC)
	}
	return info
}

// Trouble implements instances.Troubled.
func (in *instance) Trouble() string {
	if e := in.port.State(); e.State != afpacket.Attached {
		return e.String()
	}
	return ""
}

// Close implements instances.Instance. The program that holds the device goes on, without a network if the device was ours.
func (in *instance) Close() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil
	}
	in.closed = true
	var err error
	if in.ask != nil {
		in.ask.close()
	}
	if in.port != nil {
		err = in.port.Close()
	}
	if in.journal == nil {
		return err
	}
	if undo := in.journal.undo(); undo != nil {
		return errors.Join(err, undo) // the journal stays, for Cleanup
	}
	return err
}
