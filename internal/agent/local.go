package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/instances/netns"
	"github.com/vpclab/vpclab/internal/doctor"
)

// Local is what a command does in its own process rather than ask of a running agent.
type Local struct{ Version string }

// Run runs one agent; see the function Run.
func (l Local) Run(ctx context.Context, dataDir, driver string, ready func()) error {
	return Run(ctx, Options{DataDir: dataDir, Driver: driver, Version: l.Version}, ready)
}

// Validate says what a lab file is, without an agent.
func (Local) Validate(name string, data []byte) (*api.Validation, error) { return Validate(name, data) }

// Clean removes what an agent that was killed left behind.
func (Local) Clean(dataDir string) error { return Clean(dataDir) }

// Join makes the calling process a program of the host on a netns instance. It returns only when it fails.
func (Local) Join(_ context.Context, t *api.ExecTarget, argv []string, s api.Streams) (int, error) {
	info, err := netns.EnterInfoOf(t.Info)
	if err != nil {
		return 0, &api.Error{Code: api.CodeUnsupported, Message: err.Error()}
	}
	err = netns.ExecIn(info, argv, os.Environ())
	var program interface{ ExitCode() int }
	if errors.As(err, &program) { // not found, or not to be run: what a shell says and exits with
		fmt.Fprintf(s.Stderr, "%v\n", err)
		return program.ExitCode(), nil
	}
	return 0, err
}

// ChildMain must be the first thing that main does: a process that an agent started to run a program on
// an instance becomes that program there.
func ChildMain() {
	doctor.ChildMain()
	netns.ChildMain()
}

// Doctor says what this machine allows.
func (Local) Doctor(dataDir string) *doctor.Report {
	own := map[string]error{}
	for name, d := range drivers() {
		own[name] = d.Available()
	}
	return doctor.Diagnose(doctor.Here, dataDir, own)
}
