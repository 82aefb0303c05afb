package main

import (
	"context"

	"github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/internal/doctor"
)

// local is what commands do in this process rather than ask of a running agent. Package internal/agent does it; wiring.go ties the two.
type local interface {
	// Run runs one agent until ctx is done or a client ended it, and calls ready when its socket answers. It returns
	// when everything it made is gone again.
	Run(ctx context.Context, dataDir, driver string, ready func()) error
	// Validate checks a lab file without an agent. An invalid file is an *agent.Error with its Problems.
	Validate(name string, data []byte) (*agent.Validation, error)
	// Clean removes what an agent that was killed left behind. It fails with CodeInUse if one is alive.
	Clean(dataDir string) error
	// Doctor says what this machine allows, trying it without leaving anything behind. It needs no agent.
	Doctor(dataDir string) *doctor.Report
	// Join runs a program of the host on an instance: it takes this process, or a child of it, into the instance. If
	// it returns, exit is the program's status.
	Join(ctx context.Context, t *agent.ExecTarget, argv []string, s agent.Streams) (exit int, err error)
}
