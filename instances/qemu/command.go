package qemu

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vswitch/port/stream"
)

// openPort makes the switch's end of the card's link. Where QEMU listens the port knocks until it is there.
func (in *instance) openPort() (*stream.Port, error) {
	cfg := stream.Config{Name: in.label, MTU: in.spec.MTU, Network: "unix", Address: in.files.path(netSock), Connect: true}
	if in.vm.Netdev == netTCP {
		cfg.Network, cfg.Address, cfg.Connect = "tcp", "127.0.0.1:0", false
	}
	return stream.Open(cfg)
}

// arguments is QEMU's command line. What the lab file gives comes last and wins; its own board or accelerator stands
// instead of ours, since QEMU takes several.
func (in *instance) arguments(m machine, kvm bool) []string {
	vm := &in.vm
	args := []string{"-name", "guest=" + value(in.label), "-nodefaults", "-no-user-config", "-display", "none"}
	if !given(vm.Args, "M", "machine") {
		args = append(args, "-machine", m.board)
	}
	if !given(vm.Args, "accel", "enable-kvm") {
		if kvm {
			args = append(args, "-accel", "kvm")
		}
		args = append(args, "-accel", "tcg")
	}
	if !given(vm.Args, "cpu") {
		args = append(args, "-cpu", "max")
	}
	args = append(args, "-m", strconv.Itoa(vm.Memory), "-smp", strconv.Itoa(vm.CPUs))
	if vm.Kernel != "" {
		args = append(args, "-kernel", vm.Kernel, "-append", in.kernelLine(m))
	}
	if vm.Initrd != "" {
		args = append(args, "-initrd", vm.Initrd)
	}
	if vm.Disk != "" {
		args = append(args, "-drive", fmt.Sprintf("file=%s,format=%s,if=virtio", value(vm.Disk), value(vm.DiskFormat)))
	}
	args = append(args, "-netdev", in.netdev(),
		"-device", fmt.Sprintf("virtio-net-pci,netdev=net0,mac=%s,host_mtu=%d,romfile=", in.spec.MAC, in.spec.MTU),
		"-chardev", fmt.Sprintf("socket,id=console,path=%s,server=on,wait=off,logfile=%s", value(in.files.path(consoleSock)), value(in.files.path(consoleLog))),
		"-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=qmp,path=%s,server=on,wait=off", value(in.files.path(qmpSock))),
		"-mon", "chardev=qmp,mode=control")
	return append(args, vm.Args...)
}

func (in *instance) netdev() string {
	if in.vm.Netdev == netTCP {
		return "socket,id=net0,connect=" + in.port.Addr().String()
	}
	return "stream,id=net0,server=on,addr.type=unix,addr.path=" + value(in.files.path(netSock))
}

// value quotes a part of a QEMU option: a comma would end it.
func value(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// given says whether the user's own arguments have an option, with one hyphen or two.
func given(args []string, names ...string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		bare, one := strings.CutPrefix(a, "-")
		return one && slices.Contains(names, strings.TrimPrefix(bare, "-"))
	})
}

// kernelLine is the kernel's command line: the lab file's, and unless that has its own, the console, and the address in the form
// of the kernel's ip= (Documentation/admin-guide/nfs/nfsroot.rst), which initramfs-tools and dracut understand too.
func (in *instance) kernelLine(m machine) string {
	words := strings.Fields(in.vm.Append)
	has := func(prefix string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, prefix) })
	}
	var more []string
	if !has("console=") {
		more = append(more, "console="+m.console)
	}
	if ip := ipArgument(in.spec); ip != "" && !has("ip=") {
		more = append(more, ip)
	}
	return strings.TrimSpace(strings.Join(append([]string{in.vm.Append}, more...), " "))
}

// ipArgument is ip=ADDRESS::GATEWAY:NETMASK:HOSTNAME:DEVICE:off for the primary IPv4 address.
func ipArgument(s instances.Spec) string {
	first := func(is4 func(netip.Addr) bool) (gateway string) {
		for _, g := range s.Gateways {
			if is4(g) {
				return g.String()
			}
		}
		return ""
	}
	for _, p := range s.Prefixes {
		if p.Addr().Is4() {
			mask := net.IP(net.CIDRMask(p.Bits(), 32))
			return fmt.Sprintf("ip=%s::%s:%s:%s:eth0:off", p.Addr(), first(netip.Addr.Is4), mask, s.HostName())
		}
	}
	return ""
}

// quote writes a command line as a shell reads it.
func quote(argv []string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@%"
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = a
		if a == "" || strings.Trim(a, plain) != "" {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
