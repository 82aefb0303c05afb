//go:build !linux

package netns

import (
	"context"
	"errors"

	"github.com/vpclab/vpclab/instances"
)

var errLinuxOnly = errors.New("network namespaces are a feature of Linux; use instances of kind netstack")

type ways struct{}

// Way is how the namespaces of netns instances are made; on this system they cannot be.
type Way string

// Way fails on this system.
func (*Driver) Way() (Way, error) { return "", errLinuxOnly }

// Explain fails on this system.
func (*Driver) Explain() (string, error) { return "", errLinuxOnly }

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
