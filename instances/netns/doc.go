// Package netns owns instances that are network namespaces of this host: eth0 is a TAP made inside
// the namespace, the stack is the kernel's, and any program of the host runs in it.
//
// It never touches the host's own interfaces, routes or files, calls no ip(8), and leaves nothing
// behind: what a killed process could not remove is in its journal (journal.go).
//
// Read netns.go first. Linux only, needs root.
package netns
