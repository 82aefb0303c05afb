package afpacket

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxName is the longest name of a network interface (linux/if.h, IFNAMSIZ less the NUL).
const maxName = 15

// device is what the kernel says of a TAP that is fit to be taken.
type device struct {
	index, mtu int
	up         bool
	running    bool   // up, and a program holds it
	dropped    uint64 // by the device, since it was made
}

// unfit says why a device cannot be taken.
type unfit struct {
	state State
	err   error
}

func (u *unfit) Error() string { return u.err.Error() }
func (u *unfit) Unwrap() error { return u.err }

// why sorts an error of inspect or take.
func why(err error) State {
	var u *unfit
	if errors.As(err, &u) {
		return u.state
	}
	return Failed
}

// inspect looks at the device of that name in the calling thread's namespace. The error is *unfit where it cannot be
// taken as it is.
func inspect(name string) (device, error) {
	if name == "" || len(name) > maxName {
		return device{}, &unfit{Gone, fmt.Errorf("%w: %q cannot be the name of a network interface; a name has 1 to %d bytes", ErrNoDevice, name, maxName)}
	}
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return device{}, &unfit{Gone, fmt.Errorf("%w: there is no network interface %q in this network namespace; "+
			"start the program that makes it, or see `ip link` for the names", ErrNoDevice, name)}
	}
	if err != nil {
		return device{}, explain(err)
	}
	a := link.Attrs()
	d := device{index: a.Index, mtu: a.MTU, up: a.RawFlags&unix.IFF_UP != 0}
	d.running = d.up && a.RawFlags&unix.IFF_RUNNING != 0
	if a.Statistics != nil {
		d.dropped = a.Statistics.TxDropped
	}
	if err := isTAP(link); err != nil {
		return d, err
	}
	if a.MasterIndex != 0 {
		return d, enslaved(name, a.MasterIndex)
	}
	return d, addressed(link)
}

func isTAP(link netlink.Link) error {
	name := link.Attrs().Name
	t, ok := link.(*netlink.Tuntap)
	switch {
	case !ok:
		kind := link.Type()
		if kind == "device" || kind == "" {
			kind = "device of the kind " + strings.TrimSpace(link.Attrs().EncapType)
		}
		return &unfit{NotTAP, fmt.Errorf("%w: %s is a %s; name the TAP that QEMU, libvirt (type='ethernet', managed='no') or Proxmox holds", ErrNotTAP, name, kind)}
	case t.Mode == netlink.TUNTAP_MODE_TUN:
		return &unfit{NotTAP, fmt.Errorf("%w: %s is a TUN device, which carries IP packets and no Ethernet frames; make it a TAP", ErrNotTAP, name)}
	}
	return nil
}

func enslaved(name string, master int) error {
	in := fmt.Sprintf("interface %d", master)
	if m, err := netlink.LinkByIndex(master); err == nil {
		in = fmt.Sprintf("%s (%s)", m.Attrs().Name, m.Type())
	}
	return &unfit{Bridged, fmt.Errorf("%w: %s is in %s, so packets would go past the rules; take it out (ip link set dev %s nomaster) "+
		"and keep its program from putting it there (libvirt: type='ethernet', managed='no'; QEMU: script=no)", ErrBridged, name, in, name)}
}

// addressed refuses every address but an IPv6 link-local one, which the kernel gives to any device that is up: those go
// when the device is taken (shield_linux.go).
func addressed(link netlink.Link) error {
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return explain(err)
	}
	name := link.Attrs().Name
	for _, a := range list {
		if a.IP.To4() != nil || !a.IP.IsLinkLocalUnicast() {
			return &unfit{Addressed, fmt.Errorf("%w: %s has %s, so packets between the host and the instance would go past the rules; "+
				"remove it (ip address del %s dev %s)", ErrAddressed, name, a.IPNet, a.IPNet, name)}
		}
	}
	return nil
}

// explain says what to do about an error of the kernel.
func explain(err error) error {
	switch {
	case errors.Is(err, ErrPermission), errors.Is(err, ErrUnsupported), errors.Is(err, ErrInUse):
		return err
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %w; taking the kernel's end of a TAP needs root, or CAP_NET_RAW and CAP_NET_ADMIN in the device's network namespace", ErrPermission, err)
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.ENOPROTOOPT):
		return fmt.Errorf("%w: %w; packet sockets with PACKET_VNET_HDR and PACKET_IGNORE_OUTGOING are needed (Linux 4.20)", ErrUnsupported, err)
	}
	return err
}
