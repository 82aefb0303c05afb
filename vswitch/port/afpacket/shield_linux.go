package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The shield keeps a device that was taken apart from the host's own stack, which would otherwise answer ARP for all of
// the host's addresses on it, take what is sent to its MAC, and forward where forwarding is on:
//
//   - clsact, ingress: everything is dropped. Packet sockets stand before it (net/core/dev.c,
//     __netif_receive_skb_core: ptype_all, then sch_handle_ingress), so the switch sees all and the host nothing.
//   - clsact, egress: everything is dropped that does not carry the switch's own mark.
//   - IPv6 is switched off on the device, since its stack sends of its own accord and gives it an address.
//
// The filters are classic BPF in direct-action mode (net/sched/cls_bpf.c), which needs no other module. The handle of the
// second says what else was changed, so that restore works in a process that knows nothing of who set it up; that of
// the first is always the same, so that a device cannot be shielded twice.
const (
	shieldMark     = 0x76706c62 // of the switch's own frames (SO_MARK)
	shieldPriority = 1
	shieldHandle   = 0x76700000
	shieldQdisc    = 1 // the clsact qdisc is the shield's, too
	shieldIPv6     = 2 // IPv6 was on
	shieldChanges  = shieldQdisc | shieldIPv6

	actShot   = 2          // TC_ACT_SHOT
	actUnspec = 0xffffffff // TC_ACT_UNSPEC: on to the next filter
)

var (
	dropAll = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: actShot}}
	// skfAdMark is SKF_AD_OFF + SKF_AD_MARK (linux/filter.h).
	dropUnmarked = []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: skfAdMark},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: shieldMark},
		{Code: unix.BPF_RET | unix.BPF_K, K: actShot},
		{Code: unix.BPF_RET | unix.BPF_K, K: actUnspec},
	}
)

const skfAdMark = 0xfffff000 + 20

// shield sets the shield up. On an error nothing of it stays.
func shield(name string, index int) error {
	six, err := ipv6On(name)
	if err != nil {
		return err
	}
	changed := uint32(0)
	if six {
		changed |= shieldIPv6
	}
	err = netlink.QdiscAdd(clsact(index))
	switch {
	case err == nil:
		changed |= shieldQdisc
	case !errors.Is(err, unix.EEXIST):
		return unsupported(err)
	}
	if err := addFilter(index, netlink.HANDLE_MIN_INGRESS, shieldHandle, dropAll); err != nil {
		if errors.Is(err, unix.EEXIST) { // somebody else's: leave it alone
			return fmt.Errorf("%w: %s has a traffic filter of priority %d; another agent has the device (detach it there), or a dead one left it (tc filter del dev %s ingress pref %d)",
				ErrInUse, name, shieldPriority, name, shieldPriority)
		}
		return errors.Join(unsupported(err), dropQdisc(index, changed))
	}
	err = addFilter(index, netlink.HANDLE_MIN_EGRESS, shieldHandle|changed, dropUnmarked)
	if err != nil {
		return errors.Join(unsupported(err), delFilter(index, netlink.HANDLE_MIN_INGRESS, shieldHandle), dropQdisc(index, changed))
	}
	if six {
		if err := os.WriteFile(ipv6Knob(name), []byte("1"), 0); err != nil {
			return errors.Join(err, restore(index))
		}
	}
	return nil
}

// unsupported tells a kernel that has no clsact or cls_bpf from other errors.
func unsupported(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: %w; to keep the instance and the host apart the modules sch_ingress and cls_bpf are needed (modprobe sch_ingress cls_bpf)", ErrUnsupported, err)
	}
	return err
}

// Restore undoes in the calling thread's network namespace what a port, perhaps one of a process that died, changed on a
// device. A device that is not there, or has no shield, is no error. No port may have the device.
func Restore(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return err
	}
	return restore(link.Attrs().Index)
}

// restore is Restore for a device by its number: it may have another name by now.
func restore(index int) error {
	link, err := netlink.LinkByIndex(index)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return err
	}
	name, changed := link.Attrs().Name, uint32(0)
	var errs []error
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := netlink.FilterList(link, parent)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // there is no clsact
			errs = append(errs, err)
		}
		for _, f := range filters {
			if a := f.Attrs(); f.Type() == "bpf" && a.Priority == shieldPriority && a.Handle&^shieldChanges == shieldHandle {
				changed |= a.Handle & shieldChanges
				errs = append(errs, delFilter(index, parent, a.Handle))
			}
		}
	}
	errs = append(errs, dropQdisc(index, changed))
	if changed&shieldIPv6 != 0 {
		errs = append(errs, os.WriteFile(ipv6Knob(name), []byte("0"), 0))
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, os.ErrNotExist) { // it went away meanwhile
			return err
		}
	}
	return nil
}

func dropQdisc(index int, changed uint32) error {
	if changed&shieldQdisc == 0 {
		return nil
	}
	return netlink.QdiscDel(clsact(index))
}

func clsact(index int) netlink.Qdisc {
	return &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

func ipv6Knob(name string) string {
	return filepath.Join("/proc/sys/net/ipv6/conf", name, "disable_ipv6")
}

func ipv6On(name string) (bool, error) {
	text, err := os.ReadFile(ipv6Knob(name))
	if errors.Is(err, os.ErrNotExist) { // a kernel without IPv6, or an MTU too small for it
		return false, nil
	}
	return strings.TrimSpace(string(text)) == "0", err
}

func addFilter(index int, parent, handle uint32, program []unix.SockFilter) error {
	req := filterRequest(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, parent, handle)
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_BPF_OPS_LEN, binary.NativeEndian.AppendUint16(nil, uint16(len(program))))
	options.AddRtAttr(nl.TCA_BPF_OPS, unsafe.Slice((*byte)(unsafe.Pointer(&program[0])), len(program)*int(unsafe.Sizeof(program[0]))))
	options.AddRtAttr(nl.TCA_BPF_FLAGS, binary.NativeEndian.AppendUint32(nil, nl.TCA_BPF_FLAG_ACT_DIRECT))
	req.AddData(options)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func delFilter(index int, parent, handle uint32) error {
	_, err := filterRequest(unix.RTM_DELTFILTER, 0, index, parent, handle).Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func filterRequest(kind, flags, index int, parent, handle uint32) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	req.AddData(&nl.TcMsg{
		Family: unix.AF_UNSPEC, Ifindex: int32(index), Handle: handle, Parent: parent,
		Info: netlink.MakeHandle(shieldPriority, nl.Swap16(unix.ETH_P_ALL)),
	})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bpf")))
	return req
}
