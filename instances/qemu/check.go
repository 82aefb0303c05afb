package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/instances"
)

// What VM.Netdev may say.
const (
	netSocket = "socket" // QEMU listens at a unix socket, and may be connected to anew
	netTCP    = "tcp"    // QEMU connects to loopback TCP, once
	netTAP    = "tap"
)

// formats are QEMU's image formats by the endings of file names. The content is not asked: a guest writes that of a raw
// image and could make it look like another format, one that names files of the host (QEMU's docs/system/images.rst).
var formats = map[string]string{".qcow2": "qcow2", ".raw": "raw", ".vmdk": "vmdk", ".vdi": "vdi", ".vhdx": "vhdx"}

// check says what of a machine cannot be, and gives it with its defaults filled in.
func check(s instances.Spec) (instances.VM, error) {
	if s.VM == nil {
		return instances.VM{}, errors.New("a virtual machine needs a kernel or a disk")
	}
	vm := *s.VM
	vm.Args = slices.Clone(vm.Args)
	if vm.Memory == 0 {
		vm.Memory = instances.DefaultMemory
	}
	if vm.CPUs == 0 {
		vm.CPUs = 1
	}
	switch {
	case vm.Kernel == "" && vm.Disk == "":
		return vm, errors.New("a virtual machine needs a kernel or a disk")
	case vm.Kernel == "" && (vm.Initrd != "" || vm.Append != ""):
		return vm, errors.New("initrd and append go with a kernel")
	case len(s.MAC) != 6:
		return vm, fmt.Errorf("MAC address %q: want six bytes", s.MAC)
	case vm.Memory < 0 || vm.CPUs < 0:
		return vm, fmt.Errorf("%d MiB and %d CPUs cannot be had", vm.Memory, vm.CPUs)
	case len(s.Listen) > 0:
		return vm, errors.New("a virtual machine runs its own servers; listen is for instances of other drivers")
	}
	if err := checkNetdev(vm.Netdev); err != nil {
		return vm, err
	}
	for _, f := range [][2]string{{"kernel", vm.Kernel}, {"initrd", vm.Initrd}, {"disk", vm.Disk}} {
		if err := readable(f[0], f[1]); err != nil {
			return vm, err
		}
	}
	if err := folder(vm.Dir); err != nil {
		return vm, err
	}
	return vm, vmFormat(&vm)
}

func checkNetdev(netdev string) error {
	switch netdev {
	case "", netSocket, netTCP:
		return nil
	case netTAP:
		return errors.New("netdev: tap, a TAP that QEMU itself holds, is not supported yet; use netdev: socket")
	}
	return fmt.Errorf("netdev: %q is none of socket and tcp", netdev)
}

// readable wants a file that can be opened, so that the error names what the lab file does and not how QEMU met it.
func readable(what, path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return fmt.Errorf("%s %s is a directory", what, path)
	}
	var f *os.File
	if err == nil {
		if f, err = os.Open(path); err == nil {
			return f.Close()
		}
	}
	var why *os.PathError
	if errors.As(err, &why) {
		err = why.Err
	}
	return fmt.Errorf("%s %s: %w", what, path, err)
}

// folder wants the directory that QEMU is started in; without it the error would seem to be about QEMU.
func folder(path string) error {
	if path == "" {
		return nil
	}
	var why *os.PathError
	if _, err := os.Stat(path); errors.As(err, &why) {
		return fmt.Errorf("the lab file's folder %s: %w", path, why.Err)
	}
	return nil
}

func vmFormat(vm *instances.VM) error {
	if vm.Disk == "" || vm.DiskFormat != "" {
		return nil
	}
	vm.DiskFormat = formats[strings.ToLower(filepath.Ext(vm.Disk))]
	if vm.DiskFormat == "" {
		return fmt.Errorf("disk %s: its name does not tell its format; write disk: { path: %s, format: qcow2 } or raw", vm.Disk, filepath.Base(vm.Disk))
	}
	return nil
}
