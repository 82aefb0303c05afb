// Package packet reads and writes Ethernet frames: headers parsed in one pass, flow keys, Internet
// checksums, virtio-net metadata, and the few frames that a switch writes itself.
//
// It owns what a byte on the wire means. It never judges a packet, never keeps state between two
// frames, never does I/O, and imports only the standard library. Nothing here allocates where traffic
// passes, and no input makes it panic: what cannot be read is Unknown, with the reason in Why.
//
// Read headers.go first (what is known of a frame), then parse.go (how), key.go (which flow it is of),
// and split.go (how a super-frame becomes wire frames). Folder packettest builds frames for tests.
package packet
