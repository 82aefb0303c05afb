// Package tap owns instances that another program is: it holds the descriptor of a TAP, and the switch takes the kernel's
// end of it. Either the device is made for that program (ours: QEMU's -netdev tap,ifname=NAME,script=no), or it is the
// program's own (theirs: libvirt with managed='no', Proxmox).
//
// It never starts or ends that program and gives the device no address. Nothing can be run in such an instance from
// outside. What a killed process could not undo is in its journal (journal_linux.go).
//
// Read tap.go first. Linux only, needs root.
package tap
