package instances

import (
	"context"
	"io"
	"net"
	"net/netip"
	"syscall"

	"github.com/vpclab/vpclab/vswitch"
)

// Spec is all that a driver has to know to start an instance. Drivers copy what they keep.
type Spec struct {
	ID       string           // "i-..."; names of devices and namespaces are made from it
	Name     string           // how people call it; built-in servers answer with it
	MAC      net.HardwareAddr // of the network interface
	Prefixes []netip.Prefix   // addresses with the subnet's length, the primary first
	Gateways []netip.Addr     // next hops of the default routes, at most one a family; IPv6 ones are on-link
	MTU      int              // largest IP packet in bytes; 0 means DefaultMTU

	Hostname    string       // "" means Name
	Hosts       []Host       // lines of the hosts file, besides localhost
	Nameservers []netip.Addr // resolvers; none means that only the hosts file resolves names

	Listen []string // built-in servers to run: "tcp/80", "udp/53"
	Run    []string // shell commands that are started with the instance, in a sandbox; only netns instances can
	Lab    string   // instances of one lab may share what serves them
	VM     *VM      // of a virtual machine; else nil
	TAP    *TAP     // of an instance behind a TAP of this host; else nil
	RunDir string   // for the journal and per-instance files; made if it is not there
}

// DefaultMTU is the MTU of an AWS VPC (EC2 user guide, "Network maximum transmission unit").
const DefaultMTU = 9001

// Host is one line of a hosts file.
type Host struct {
	Addr  netip.Addr
	Names []string
}

// Driver starts instances of one kind. It is safe for concurrent use.
type Driver interface {
	// Name is the kind, as a lab file writes it: "netns", "netstack", "qemu".
	Name() string

	// Available returns nil if instances can be started here and now; else an error that says why
	// not and how to mend it.
	Available() error

	// Start makes the instance and its servers and returns it running. Nothing is left behind where
	// it fails. ctx bounds only the start.
	Start(ctx context.Context, s Spec) (Instance, error)

	// Cleanup removes what instances of a process that died left behind, as the journal in runDir
	// tells. It must not be called while another process runs instances with that runDir.
	Cleanup(runDir string) error
}

// IO is what an executed program reads and writes. A nil reader is empty, nil writers discard.
type IO struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Env            []string // nil means the environment of the calling process
	Dir            string   // "" means the working directory of the calling process
	// Signals are passed on to a program of the host; nil means none. Built-in programs know only the end of the context.
	Signals <-chan syscall.Signal
}

// Instance is one running instance. Its methods are safe for concurrent use.
type Instance interface {
	// Port is the data plane's end of its link. The instance owns it: Close closes it.
	Port() vswitch.Port

	// Net opens sockets in the instance's own network stack.
	Net() Network

	// Exec runs a program and returns its exit code as a shell would: 127 for a program that is not
	// there, 126 for one that cannot be run, 128+n for one that signal n ended. An error means that
	// the attempt itself failed. When ctx ends, the program is killed and ctx's error is returned.
	Exec(ctx context.Context, argv []string, stdio IO) (exit int, err error)

	// SetHosts replaces the lines given by Spec.Hosts; programs that run already see it too.
	SetHosts([]Host) error

	// Info describes the instance for people and for programs that enter it: "driver", "device", "netns", ...
	Info() map[string]string

	// Close ends programs and servers and removes everything the instance made. It is idempotent.
	Close() error
}
