// Package memory owns a port without a device: frames are put in and taken out by the program.
// It is for tests and benchmarks and never loses a frame without counting it.
//
// Read memory.go first.
package memory
