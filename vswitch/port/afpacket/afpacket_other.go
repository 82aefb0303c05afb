//go:build !linux

package afpacket

import (
	"fmt"
	"net"

	"github.com/vpclab/vpclab/vswitch"
)

// Port does not exist on this system.
type Port struct{}

var errLinuxOnly = fmt.Errorf("%w: packet sockets are a feature of Linux; join virtual machines by a socket", ErrUnsupported)

// Open fails on this system.
func Open(Config) (*Port, error) { return nil, errLinuxOnly }

// Available fails on this system.
func Available() error { return errLinuxOnly }

// Restore has nothing to undo on this system.
func Restore(string) error { return nil }

// Name implements vswitch.Port.
func (*Port) Name() string { return "" }

// Device is "".
func (*Port) Device() string { return "" }

// MTU implements vswitch.Port.
func (*Port) MTU() int { return 0 }

// Offload implements vswitch.Port.
func (*Port) Offload() vswitch.Offload { return vswitch.Offload{} }

// Queues implements vswitch.Port.
func (*Port) Queues() int { return 1 }

// State is Closed.
func (*Port) State() Event { return Event{State: Closed} }

// Stats is empty.
func (*Port) Stats() Stats { return Stats{} }

// Read implements vswitch.Port.
func (*Port) Read(int, *vswitch.Batch) error { return net.ErrClosed }

// Write implements vswitch.Port.
func (*Port) Write(int, []*vswitch.Frame) int { return 0 }

// Close implements vswitch.Port.
func (*Port) Close() error { return nil }
