//go:build !linux

package tap

import (
	"errors"
	"fmt"
)

// Persistent describes a TAP device that is made for another program to hold.
type Persistent struct {
	Device       string
	Owner, Group int
	MultiQueue   bool
}

// Discard has nothing to remove on this system.
func Discard(string) error { return nil }

// Create fails on this system: a device goes with the program that made it.
func Create(d Persistent) error {
	return fmt.Errorf("tap %q: persistent devices are a feature of Linux: %w", d.Device, errors.ErrUnsupported)
}
