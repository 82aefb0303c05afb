// Package helper owns a process of this same program that runs in user, mount, network and PID namespaces of its
// own, made without root: root inside, an ordinary process outside. It carries small requests to that process and
// descriptors both ways.
//
// It does not know what is asked: handlers come from whoever serves. It never outlives the process that started
// it, nor does anything that it started: they are all in its PID namespace, and it is that namespace's init.
//
// Read process_linux.go first, then serve_linux.go and wire_linux.go. Linux only.
package helper
