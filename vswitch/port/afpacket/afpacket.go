package afpacket

import (
	"errors"
	"fmt"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// Config says which device to take.
type Config struct {
	// Device is the TAP's name in the network namespace of the thread that calls Open.
	Device string

	// Label is what Port.Name returns; "" means Device.
	Label string

	// MTU bounds the largest IP packet; 0 means the device's own. The device's is never exceeded.
	MTU int

	// Learn, if not nil, is called with the source address of the first frame of each device that was taken; that
	// frame is handed over when it returns. Read calls it from a goroutine of its own and does not wait for it once
	// the port is closed.
	Learn func(packet.MAC)

	// Event, if not nil, is called for each change of state after Open, in order, never concurrently. It must not
	// call Close.
	Event func(Event)
}

// State is how a port stands to its device.
type State uint8

// States. In all but the first frames neither come nor go.
const (
	Attached  State = iota
	Unplugged       // taken, but no program holds the device, or it is down
	Gone            // there is no device of that name
	NotTAP          // a device of that name is there, but it is no TAP
	Bridged         // it is in a bridge, or otherwise enslaved
	Addressed       // it has an IP address
	Failed          // it could not be taken, or the socket failed
	Closed
)

var stateNames = [...]string{"attached", "unplugged", "gone", "not-a-tap", "bridged", "addressed", "failed", "closed"}

func (s State) String() string { return stateNames[s] }

// Event is a change of state. Text says what happened, and what would be right where something is wrong.
type Event struct {
	Device string
	State  State
	Text   string
}

// String gives "vnet3 bridged: ...".
func (e Event) String() string { return fmt.Sprintf("%s %s: %s", e.Device, e.State, e.Text) }

// Errors of Open, to be told apart with errors.Is. Each error's text says what would be right.
var (
	ErrNoDevice    = errors.New("no such device")
	ErrNotTAP      = errors.New("not a TAP")
	ErrBridged     = errors.New("device is in a bridge")
	ErrAddressed   = errors.New("device has an address")
	ErrInUse       = errors.New("device is attached already")
	ErrPermission  = errors.New("no permission")
	ErrUnsupported = errors.New("not supported by this kernel")
)

// Stats counts frames that were lost between the device and the switch. What Write did not take is counted by its caller.
type Stats struct {
	BadHeader   uint64 // read with a virtio-net header that makes no sense, or shorter than an Ethernet header
	Truncated   uint64 // read, but larger than vswitch.MaxFrame
	VLAN        uint64 // read with a VLAN tag, which a VPC has not
	KernelDrops uint64 // sent by the instance while the socket's buffer was full (PACKET_STATISTICS)
	Refused     uint64 // taken by Write, but found invalid by the kernel
	TooLarge    uint64 // taken by Write, but larger than the device's MTU is now
	DeviceDrops uint64 // sent to the device, whose holder did not read them in time
}

// Named gives the counters that are not zero by name.
func (s Stats) Named() map[string]uint64 {
	out := map[string]uint64{}
	for name, n := range map[string]uint64{
		"port_bad_header": s.BadHeader, "port_truncated": s.Truncated, "port_vlan": s.VLAN, "port_kernel_drops": s.KernelDrops,
		"port_refused": s.Refused, "port_too_large": s.TooLarge, "port_device_drops": s.DeviceDrops,
	} {
		if n != 0 {
			out[name] = n
		}
	}
	return out
}

// Counters gives the counters that are not zero by name.
func (p *Port) Counters() map[string]uint64 { return p.Stats().Named() }

var _ vswitch.Port = (*Port)(nil)
