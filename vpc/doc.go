// Package vpc is the model: VPCs, subnets, network interfaces, security groups and the rest, and the commands on
// them, with AWS's rules, error codes and messages.
//
// It owns what the objects are (types.go), when a change of them is legal (the commands, methods of *Tx), and how a
// consistent state of them is read (View). Every object is immutable once stored: a command stores a changed copy, so
// a pointer taken from a View stays true for that View for ever and may be shared between goroutines.
//
// It never touches a packet, a socket, a file or the clock of the machine (Config.Now is the only clock), and it
// knows nothing of how rules are compiled or who runs an instance.
//
// Read store.go first: Store, View and Tx in one page. Then the command of your choice, for example subnets.go.
package vpc
