package agent

import (
	"context"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/netns"
	"github.com/vpclab/vpclab/instances/netstack"
)

// ExecTarget says how a client runs a program on an instance: it joins a network namespace itself; the
// tools of a netstack instance run here.
func (n *node) ExecTarget(_ context.Context, r *api.ExecRequest) (*api.ExecTarget, error) {
	view := n.store.View()
	run, err := n.runningNamed(view, r.Lab, r.Instance)
	if err != nil {
		return nil, err
	}
	if err := sealed(run); err != nil {
		return nil, err
	}
	t := &api.ExecTarget{Instance: r.Instance, InstanceID: run.id, Driver: run.driver, Info: run.Info()}
	if run.driver == "netstack" {
		t.InAgent, t.Tools = true, netstack.Tools()
	}
	if _, err := netns.EnterInfoOf(t.Info); run.driver == "netns" && err != nil { // only the helper process can
		t.InAgent, t.Files = true, true
	}
	return t, nil
}

// Exec runs a built-in program in the agent.
func (n *node) Exec(ctx context.Context, r *api.ExecRequest, s api.Streams) (int, error) {
	run, err := n.runningNamed(n.store.View(), r.Lab, r.Instance)
	if err != nil {
		return 0, err
	}
	if err := sealed(run); err != nil {
		return 0, err
	}
	return run.Exec(ctx, r.Argv, instances.IO{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Env: r.Env, Dir: r.Dir, Signals: s.Signals})
}
