//go:build !linux

package netns

import (
	"context"
	"errors"

	"github.com/vpclab/vpclab/instances"
)

var errLinuxOnly = errors.New("network namespaces are a feature of Linux; use instances of kind netstack")

// Available implements instances.Driver.
func (*Driver) Available() error { return errLinuxOnly }

// Start implements instances.Driver.
func (*Driver) Start(context.Context, instances.Spec) (instances.Instance, error) {
	return nil, errLinuxOnly
}

// Cleanup implements instances.Driver.
func (*Driver) Cleanup(string) error { return nil }

// Enter fails on this system.
func Enter(EnterInfo) error { return errLinuxOnly }

// ExecIn fails on this system.
func ExecIn(EnterInfo, []string, []string) error { return errLinuxOnly }

// ChildMain does nothing on this system.
func ChildMain() {}
