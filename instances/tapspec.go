package instances

import "net"

// TAP is what a driver of instances behind a TAP has to know besides a Spec. Another program holds the TAP.
type TAP struct {
	Device string // name of the network interface
	// Make: the device is made, and goes with the instance. Else it is somebody's, and must be there.
	Make bool
	// Owner and Group may open a device that is made: names or numbers, "" for only those who may do so anyway.
	Owner, Group string
	// Netns is the network namespace in which the device is: a path, or a name of ip-netns(8); "" is the agent's own.
	Netns string
	// Learn, if not nil, is told the source address of the first frame. It may block.
	Learn func(net.HardwareAddr)
	// Event, if not nil, is told what becomes of the device: the event's name, such as "bridged", and a sentence. It must
	// not block.
	Event func(name, text string)
}

// Troubled is an Instance that can run and yet be out of reach.
type Troubled interface {
	// Trouble says in a line what is wrong and what would be right; "" if nothing is.
	Trouble() string
}
