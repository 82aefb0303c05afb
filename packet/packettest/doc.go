// Package packettest builds Ethernet frames for tests from small structs: TCP, UDP, ICMP and others
// over IPv4 and IPv6, with options, extension headers, fragments, VLAN tags and super-frames, all with
// correct lengths and checksums; and it checks frames by slow code of its own.
//
// It allocates freely and panics on impossible input, so it is for tests only. It computes checksums
// byte by byte on purpose, and takes nothing from package packet but its types and numbers, so that
// the two can be held against each other. Read frames.go first.
package packettest
