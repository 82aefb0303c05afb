// Package netstack owns the link between a gVisor network stack and the switch: one Ethernet link
// endpoint whose outbound side is the port's Read and whose inbound side is its Write.
//
// It never drops what the stack sends: the sender waits. What the switch delivers goes into a
// bounded queue; when that is full the frame is not taken. It makes no stack: instances/netstack does.
//
// Read netstack.go first.
package netstack
