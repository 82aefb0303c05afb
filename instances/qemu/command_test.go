package qemu

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/instances"
)

var pc = machines["amd64"]

// spec is that of a machine with a kernel.
func spec() instances.Spec {
	return instances.Spec{
		ID: "i-0123456789abcdef0", Name: "vm-1", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 9001, RunDir: "/run/lab",
		Prefixes: []netip.Prefix{netip.MustParsePrefix("fd00::5/64"), netip.MustParsePrefix("10.0.1.10/24"), netip.MustParsePrefix("10.0.1.11/24")},
		Gateways: []netip.Addr{netip.MustParseAddr("fe80:ec2::1"), netip.MustParseAddr("10.0.1.1")},
		VM:       &instances.VM{Kernel: "/boot/vmlinuz", Memory: 256, CPUs: 1, Netdev: netSocket},
	}
}

func of(s instances.Spec) *instance {
	return &instance{spec: s, label: s.Name, vm: *s.VM, files: &files{dir: filepath.Join(s.RunDir, s.ID)}}
}

const ipWord = "ip=10.0.1.10::10.0.1.1:255.255.255.0:vm-1:eth0:off"

func TestArguments(t *testing.T) {
	dir := "/run/lab/i-0123456789abcdef0/"
	s := spec()
	s.VM.Initrd, s.VM.Append = "/boot/initrd.img", "quiet"
	want := []string{
		"-name", "guest=vm-1", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "kvm", "-accel", "tcg", "-cpu", "max",
		"-m", "256", "-smp", "1", "-kernel", "/boot/vmlinuz", "-append", "quiet console=ttyS0 " + ipWord, "-initrd", "/boot/initrd.img",
		"-netdev", "stream,id=net0,server=on,addr.type=unix,addr.path=" + dir + "net.sock",
		"-device", "virtio-net-pci,netdev=net0,mac=02:00:00:00:00:01,host_mtu=9001,romfile=",
		"-chardev", "socket,id=console,path=" + dir + "console.sock,server=on,wait=off,logfile=" + dir + "console.log", "-serial", "chardev:console",
		"-chardev", "socket,id=qmp,path=" + dir + "qmp.sock,server=on,wait=off", "-mon", "chardev=qmp,mode=control",
	}
	if got := of(s).arguments(pc, true); !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", quote(got), quote(want))
	}
}

// TestOwnArguments: what the lab file gives stands instead of what QEMU takes several of.
func TestOwnArguments(t *testing.T) {
	for name, c := range map[string]struct {
		vm       instances.VM
		kvm      bool
		with     []string // sequences
		without  []string
		lastWord string
	}{
		"no KVM":          {instances.VM{}, false, []string{"-accel tcg"}, []string{"kvm"}, ""},
		"own accelerator": {instances.VM{Args: []string{"-accel", "tcg"}}, true, []string{"-machine q35"}, []string{"kvm"}, "tcg"},
		"two hyphens":     {instances.VM{Args: []string{"--enable-kvm"}}, true, nil, []string{"-accel kvm", "tcg"}, "--enable-kvm"},
		"own board":       {instances.VM{Args: []string{"-M", "pc"}}, true, []string{"-accel kvm"}, []string{"q35"}, "pc"},
		"own processor":   {instances.VM{Args: []string{"-cpu", "host"}}, true, []string{"-cpu host"}, []string{"-cpu max"}, "host"},
		"last word":       {instances.VM{Args: []string{"-m", "1G"}}, true, []string{"-m 0", "-m 1G"}, nil, "1G"},
		"disk": {instances.VM{Disk: "/img/a,b.raw", DiskFormat: "raw"}, true,
			[]string{"-drive file=/img/a,,b.raw,format=raw,if=virtio"}, []string{"-kernel", "-append"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec()
			c.vm.Netdev = netSocket
			s.VM = &c.vm
			args := of(s).arguments(pc, c.kvm)
			line := strings.Join(args, " ")
			for _, w := range c.with {
				if !strings.Contains(line, w) {
					t.Errorf("no %q in %s", w, line)
				}
			}
			for _, w := range c.without {
				if strings.Contains(line, w) {
					t.Errorf("%q in %s", w, line)
				}
			}
			if c.lastWord != "" && args[len(args)-1] != c.lastWord {
				t.Errorf("the last word is %q", args[len(args)-1])
			}
		})
	}
}

func TestKernelLine(t *testing.T) {
	for own, want := range map[string]string{
		"":                          "console=ttyS0 " + ipWord,
		"quiet":                     "quiet console=ttyS0 " + ipWord,
		"console=tty0 x":            "console=tty0 x " + ipWord,
		"ip=dhcp":                   "ip=dhcp console=ttyS0",
		`console=hvc0 ip="" a="b`:   `console=hvc0 ip="" a="b`,
		"zip=1 root=/dev/vda quiet": "zip=1 root=/dev/vda quiet console=ttyS0 " + ipWord,
	} {
		s := spec()
		s.VM.Append = own
		if got := of(s).kernelLine(pc); got != want {
			t.Errorf("%q gives %q, want %q", own, got, want)
		}
	}
	s := spec()
	s.Prefixes = s.Prefixes[:1] // IPv6 only
	if got := of(s).kernelLine(pc); got != "console=ttyS0" {
		t.Errorf("without IPv4: %q", got)
	}
}

func TestQuote(t *testing.T) {
	for want, argv := range map[string][]string{
		"qemu -m 256":          {"qemu", "-m", "256"},
		"a '' 'b c' 'd'\\''e'": {"a", "", "b c", "d'e"},
		"'$HOME' '*' 'a;b'":    {"$HOME", "*", "a;b"},
		"'x\ny' a,,b=/c:d@e%f": {"x\ny", "a,,b=/c:d@e%f"},
	} {
		if got := quote(argv); got != want {
			t.Errorf("%q gives %s, want %s", argv, got, want)
		}
	}
}

func TestNetdevFor(t *testing.T) {
	for _, c := range []struct {
		asked string
		v     version
		want  string
	}{
		{"", version{7, 2}, netSocket}, {"", version{10, 0}, netSocket}, {"", version{6, 2}, netTCP}, {"", version{7, 1}, netTCP},
		{netTCP, version{9, 0}, netTCP}, {netSocket, version{6, 2}, netSocket},
	} {
		if got := netdevFor(c.asked, c.v); got != c.want {
			t.Errorf("%q with %v: %s, want %s", c.asked, c.v, got, c.want)
		}
	}
}

// TestCheck: what cannot be is refused, with what would be right.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	kernel, image, qcow := file("vmlinuz"), file("disk.img"), file("disk.QCOW2")
	for name, c := range map[string]struct {
		change func(*instances.Spec)
		want   string // "": it is right
	}{
		"right":          {func(*instances.Spec) {}, ""},
		"qcow2 by name":  {func(s *instances.Spec) { *s.VM = instances.VM{Disk: qcow} }, ""},
		"format given":   {func(s *instances.Spec) { *s.VM = instances.VM{Disk: image, DiskFormat: "raw"} }, ""},
		"nothing":        {func(s *instances.Spec) { s.VM = nil }, "a virtual machine needs a kernel or a disk"},
		"neither":        {func(s *instances.Spec) { s.VM.Kernel = "" }, "a virtual machine needs a kernel or a disk"},
		"initrd alone":   {func(s *instances.Spec) { *s.VM = instances.VM{Disk: qcow, Initrd: kernel} }, "initrd and append go with a kernel"},
		"no kernel file": {func(s *instances.Spec) { s.VM.Kernel = dir + "/gone" }, "kernel " + dir + "/gone: no such file or directory"},
		"no initrd file": {func(s *instances.Spec) { s.VM.Initrd = dir + "/gone" }, "initrd " + dir + "/gone: no such file or directory"},
		"no disk file":   {func(s *instances.Spec) { s.VM.Disk = dir + "/gone.raw" }, "disk " + dir + "/gone.raw: no such file or directory"},
		"a directory":    {func(s *instances.Spec) { s.VM.Kernel = dir }, "kernel " + dir + " is a directory"},
		"unknown format": {func(s *instances.Spec) { s.VM.Disk = image }, "its name does not tell its format; write disk: { path: disk.img, format: qcow2 }"},
		"servers":        {func(s *instances.Spec) { s.Listen = []string{"tcp/80"} }, "a virtual machine runs its own servers"},
		"no MAC":         {func(s *instances.Spec) { s.MAC = nil }, "want six bytes"},
		"less than none": {func(s *instances.Spec) { s.VM.Memory = -1 }, "-1 MiB and 1 CPUs cannot be had"},
		"tap":            {func(s *instances.Spec) { s.VM.Netdev = "tap" }, "is not supported yet; use netdev: socket"},
		"bridge":         {func(s *instances.Spec) { s.VM.Netdev = "bridge" }, "none of socket and tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec()
			*s.VM = instances.VM{Kernel: kernel, CPUs: 1}
			c.change(&s)
			vm, err := check(s)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want == "" && (vm.Memory != 256 || vm.CPUs != 1 || vm.Disk != "" && vm.DiskFormat == ""):
				t.Errorf("%+v", vm)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestLastLines(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "\n\n": "", "one": "one", "one\n two \n\nthree\nfour\n": "two; three; four", "a\xffb\r\n": "a?b",
		"\x1b[1;31mred\x1b[0m\x1b[6n\nx\x07y\x1b]0;t": "red; x y ]0;t",
	} {
		if got := lastLines([]byte(text)); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}
