//go:build !linux

package doctor

import "errors"

// Try implements System: namespaces are a feature of Linux.
func (here) Try(Trial) error { return errors.ErrUnsupported }

// ChildMain does nothing on this system.
func ChildMain() {}
