package tap

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"
)

// Persistent describes a TAP device that is made for another program to hold: QEMU's -netdev tap,ifname=NAME,script=no.
type Persistent struct {
	// Device is the interface's name, at most 15 bytes. It must not exist yet.
	Device string

	// Owner and Group are who may open the device without CAP_NET_ADMIN (tun.c, tun_not_capable): whoever is the owner,
	// if there is one, and in the group, if there is one. With neither, only those with the capability. -1 means none.
	Owner, Group int

	// MultiQueue is for programs that open several queues; no other program can then open the device.
	MultiQueue bool
}

// Create makes a persistent TAP device in the calling thread's network namespace, and lets go of it. It is down, has no
// address, and stays until it is deleted.
func Create(d Persistent) error {
	p := &Port{cfg: Config{Device: d.Device, Queues: 1}}
	if d.MultiQueue {
		p.cfg.Queues = 2
	}
	if err := p.precheck(); err != nil {
		return fmt.Errorf("tap %q: %w", d.Device, err)
	}
	err := d.create()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("tap %q: %w", d.Device, explain(err))
	if ferr := p.create(false); ferr != nil && !errors.Is(ferr, os.ErrPermission) { // was it made at all?
		err = errors.Join(err, fmt.Errorf("tap %q stays behind: %w", d.Device, ferr))
	}
	return err
}

// Discard removes a persistent TAP device that no program holds, from the calling thread's network namespace. Where one
// does, the error is ErrNameInUse; there is no device afterwards if there was none before.
func Discard(device string) error {
	p := &Port{cfg: Config{Device: device, Queues: 1}}
	if err := checkName(device); err != nil {
		return fmt.Errorf("tap %q: %w", device, err)
	}
	if err := p.create(false); err != nil {
		return fmt.Errorf("tap %q: %w", device, explain(err))
	}
	return nil
}

// create makes the device. The owner is set by hand, since water sets owner and group both or neither.
func (d Persistent) create() error {
	syscall.ForkLock.RLock() // as in Port.create
	defer syscall.ForkLock.RUnlock()
	ifce, err := water.New(water.Config{DeviceType: water.TAP, PlatformSpecificParams: water.PlatformSpecificParams{
		Name: d.Device, Persist: true, MultiQueue: d.MultiQueue,
	}})
	if err != nil {
		return err
	}
	return errors.Join(d.give(ifce), ifce.Close())
}

func (d Persistent) give(ifce *water.Interface) error {
	f, ok := ifce.ReadWriteCloser.(*os.File)
	if !ok {
		return errors.New("the TUN device is no file")
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	set := func(name string, request uint, id int) {
		if id < 0 || err != nil {
			return
		}
		cerr := raw.Control(func(fd uintptr) { err = os.NewSyscallError(name, unix.IoctlSetInt(int(fd), request, id)) })
		err = errors.Join(err, cerr)
	}
	set("TUNSETOWNER", unix.TUNSETOWNER, d.Owner)
	set("TUNSETGROUP", unix.TUNSETGROUP, d.Group)
	if err != nil { // not %w: its EINVAL is not that of a name
		return fmt.Errorf("give it to user %d, group %d: %v", d.Owner, d.Group, err)
	}
	return nil
}
