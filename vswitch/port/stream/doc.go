// Package stream owns the link to a virtual machine over a stream socket, as QEMU's `-netdev stream` and `-netdev socket`
// speak it: each Ethernet frame with its length before it, four bytes big endian, over a unix socket or loopback TCP
// (QEMU's net/stream.c and net/socket.c).
//
// One port is one interface with one peer at a time. The agent listens or connects; either side may go away and
// come back at any moment, and what was under way in a connection ends with it. The port never waits for a peer that does not
// read, trusts no length that a peer sends, and starts no QEMU: instances/qemu does.
//
// Read stream.go first.
package stream
