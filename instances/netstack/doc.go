// Package netstack owns instances that live in this process on gVisor's network stack. They need no
// root, run on any OS, and have a few built-in programs instead of the host's.
//
// It opens no socket of the host and reads no file of it. Knobs of the stack are all in stack.go.
//
// Read netstack.go first.
package netstack
