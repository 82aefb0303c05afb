package vpc

import "slices"

// VM is what an instance's driver has to know of a virtual machine, as the user gave it; the model only keeps it.
// Paths are absolute. It is immutable.
type VM struct {
	Kernel, Initrd, Append string
	Disk, DiskFormat       string
	Memory, CPUs           int // MiB and number; 0: the driver's own
	Netdev                 string
	Args                   []string // more of the command line
	Dir                    string   // where relative paths in Args are looked for
}

// Equal compares two descriptions; nil is none.
func (v *VM) Equal(w *VM) bool {
	if v == nil || w == nil {
		return v == w
	}
	return v.Kernel == w.Kernel && v.Initrd == w.Initrd && v.Append == w.Append && v.Disk == w.Disk && v.DiskFormat == w.DiskFormat &&
		v.Memory == w.Memory && v.CPUs == w.CPUs && v.Netdev == w.Netdev && slices.Equal(v.Args, w.Args) && v.Dir == w.Dir
}

func (v *VM) clone() *VM {
	if v == nil {
		return nil
	}
	c := *v
	c.Args = slices.Clone(v.Args)
	return &c
}
