package lab

import (
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/vpclab/vpclab/vpc"
)

// driverQEMU runs virtual machines.
const driverQEMU = "qemu"

// vmFields are the fields of an instance that is a virtual machine: driver: qemu.
type vmFields struct {
	Kernel string   `yaml:"kernel"` // a path, as all of them: relative to the lab file's folder
	Initrd string   `yaml:"initrd"`
	Append string   `yaml:"append"` // the kernel's command line
	Disk   Disk     `yaml:"disk"`
	Memory int      `yaml:"memory"` // MiB; 0: 256
	CPUs   int      `yaml:"cpus"`   // 0: 1
	Netdev string   `yaml:"netdev"` // "socket", "tcp"; "": the driver's choice
	Args   []string `yaml:"args"`   // more of QEMU's command line
}

// Disk is an image: short in the file (its path) or long.
type Disk struct {
	Path   string `yaml:"path,required"`
	Format string `yaml:"format"` // "": by the name's ending
}

func (k *Disk) decodeShort(d *decoder, n ast.Node, path string) bool {
	text, ok := textOf(n)
	if !ok || text == "" {
		return false
	}
	d.spans[child(path, "path")] = spanOf(n)
	k.Path = text
	return true
}

func (*Disk) form() string { return "the path of an image, or a mapping with path" }

// What the fields may say.
var (
	diskFormats = []string{"raw", "qcow2", "vmdk", "vdi", "vhdx"}
	netdevs     = []string{"socket", "tcp"} // and "tap", which is known and refused
)

// Bounds of a machine; QEMU's own lie far above.
const (
	minMemory, maxMemory = 16, 1 << 20
	maxCPUs              = 255
)

// vm checks an instance's fields of a virtual machine.
func (c *checker) vm(in *Instance, path string) {
	if !c.ok(child(path, "driver")) || !c.ok("driver") {
		return
	}
	if orElse(in.Driver, c.f.Driver) != driverQEMU {
		for _, name := range []string{"kernel", "initrd", "append", "disk", "memory", "cpus", "netdev", "args"} {
			if p := child(path, name); c.given(p) && c.ok(p) {
				c.fail(p, "write driver: qemu too, or take it out", "%s is for virtual machines", name)
			}
		}
		return
	}
	kernel, disk := child(path, "kernel"), child(path, "disk")
	switch {
	case in.Kernel == "" && in.Disk.Path == "" && c.ok(kernel) && c.ok(disk) && c.ok(child(disk, "path")):
		c.fail(path, "add kernel: PATH (with initrd and append), or disk: PATH of an image", "a virtual machine needs something to boot")
	case in.Kernel == "" && c.ok(kernel):
		for _, name := range []string{"initrd", "append"} {
			if p := child(path, name); c.given(p) && c.ok(p) {
				c.fail(p, "add kernel: PATH, or take it out", "%s goes with a kernel", name)
			}
		}
	}
	if p := element(child(path, "listen"), 0); len(in.Listen) > 0 && c.ok(p) {
		c.fail(p, "run them in the machine, and take this out", "a virtual machine has servers of its own")
	}
	c.vmNumbers(in, path)
	if in.Disk.Format != "" {
		c.choice(child(disk, "format"), in.Disk.Format, diskFormats...)
	}
	if p := child(path, "netdev"); in.Netdev == "tap" && c.ok(p) {
		c.fail(p, "use socket, which needs no privilege", "a TAP that QEMU itself holds is not supported yet")
	} else if in.Netdev != "" {
		c.choice(p, in.Netdev, netdevs...)
	}
}

func (c *checker) vmNumbers(in *Instance, path string) {
	for _, n := range []struct {
		name            string
		value, min, max int
		right           string
	}{
		{"memory", in.Memory, minMemory, maxMemory, "use 16 to 1048576 (MiB)"},
		{"cpus", in.CPUs, 1, maxCPUs, "use 1 to 255"},
	} {
		if p := child(path, n.name); c.given(p) && c.ok(p) && (n.value < n.min || n.value > n.max) {
			c.fail(p, n.right, "%s of %d cannot be had", n.name, n.value)
		}
	}
}

// vmOf is what the model keeps of an instance's virtual machine, nil if it is none.
func (p *planner) vmOf(in *Instance) *vpc.VM {
	if p.driver(in) != driverQEMU {
		return nil
	}
	at := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(p.f.Dir, path)
	}
	return &vpc.VM{
		Kernel: at(in.Kernel), Initrd: at(in.Initrd), Append: in.Append, Disk: at(in.Disk.Path), DiskFormat: in.Disk.Format,
		Memory: in.Memory, CPUs: in.CPUs, Netdev: in.Netdev, Args: slices.Clone(in.Args), Dir: p.f.Dir,
	}
}
