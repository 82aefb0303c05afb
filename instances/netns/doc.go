// Package netns owns instances that are network namespaces of this host: eth0 is a TAP made inside
// the namespace, the stack is the kernel's, and any program of the host runs in it.
//
// The namespaces are made in one of two ways, behind the interface spaces: by this process, which then
// must be root, or by a helper process that is root in a user namespace only (package helper), and passes
// TAPs and sockets over. Commands that an instance runs by itself run in a sandbox (package sandbox).
//
// It never touches the host's own interfaces, routes or files, calls no ip(8), and leaves nothing
// behind: what a killed process could not remove is in its journal (files_linux.go).
//
// Read netns.go first, then spaces_linux.go and instance_linux.go; serve_linux.go is the helper's side. Linux only.
package netns
