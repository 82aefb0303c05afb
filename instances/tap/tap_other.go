//go:build !linux

package tap

import (
	"context"
	"errors"

	"github.com/vpclab/vpclab/instances"
)

var errLinuxOnly = errors.New("TAPs of other programs can be taken on Linux only; join virtual machines by a socket")

// Available implements instances.Driver.
func (*Driver) Available() error { return errLinuxOnly }

// Start implements instances.Driver.
func (*Driver) Start(context.Context, instances.Spec) (instances.Instance, error) {
	return nil, errLinuxOnly
}

// Cleanup implements instances.Driver.
func (*Driver) Cleanup(string) error { return nil }
