package instances

import (
	"context"
	"fmt"
)

// VM is what a driver of virtual machines has to know besides a Spec. Paths are absolute.
type VM struct {
	Kernel     string   // direct boot: a kernel image; ""
	Initrd     string   // goes with Kernel; ""
	Append     string   // the kernel's command line; goes with Kernel
	Disk       string   // image; ""
	DiskFormat string   // "raw", "qcow2", ...; "": by the name's ending
	Memory     int      // MiB; 0: DefaultMemory
	CPUs       int      // 0: 1
	Netdev     string   // how frames get out: "socket" (unix), "tcp" (loopback), "tap"; "": what the driver prefers
	Args       []string // more of the command line
	Dir        string   // where relative paths in Args are looked for; "": the working directory
}

// DefaultMemory of a virtual machine, in MiB.
const DefaultMemory = 256

// Fault is an error in Start that is the instance's own: what it names is not there, or it ended at once. The
// instances beside it can run.
type Fault struct{ Err error }

// Faultf makes a Fault.
func Faultf(format string, args ...any) *Fault { return &Fault{fmt.Errorf(format, args...)} }

// Error implements error.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap gives the error inside.
func (f *Fault) Unwrap() error { return f.Err }

// Mortal is an Instance that can end by itself. It is closed all the same.
type Mortal interface {
	// Ended is closed when the instance has ended.
	Ended() <-chan struct{}
	// Why says in a line or two why it ended; "" where that is no problem.
	Why() string
}

// Opaque is an Instance that nothing can be done in from outside: its Network and Exec always fail.
type Opaque interface {
	// Opaque says why, and what to do instead.
	Opaque() error
}

// Consoled is an Instance with a console that a person can type at.
type Consoled interface {
	// Console joins the console to s until Stdin ends, ctx ends, or the instance does. One at a time can do so.
	Console(ctx context.Context, s IO) error
}
