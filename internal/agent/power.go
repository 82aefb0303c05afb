package agent

import (
	"context"
	"errors"
	"fmt"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vpc"
)

// Power starts or stops one instance of a lab.
func (n *node) Power(ctx context.Context, r *api.PowerRequest) (*api.InstanceRow, error) {
	n.labbing.Lock()
	defer n.labbing.Unlock()
	i, err := n.instanceNamed(n.store.View(), r.Lab, r.Instance)
	if err != nil {
		return nil, err
	}
	switch r.Action {
	case api.PowerStart:
		err = n.powerOn(ctx, i)
	case api.PowerStop:
		err = n.powerOff(ctx, i.ID)
	case api.PowerRestart:
		if err = n.powerOff(ctx, i.ID); err == nil {
			err = n.powerOn(ctx, i)
		}
	default:
		err = &api.Error{Code: api.CodeBadRequest, Field: "action", Message: fmt.Sprintf("%q is none of start, stop and restart", r.Action)}
	}
	if err != nil {
		return nil, err
	}
	view := n.store.View()
	if i, ok := view.Instance(i.ID); ok {
		row := n.instanceRow(view, i)
		return &row, nil
	}
	return nil, fmt.Errorf("instance %s is gone", r.Instance)
}

func (n *node) powerOff(ctx context.Context, id string) error {
	if err := n.stop(id); err != nil {
		return err
	}
	return n.setState(ctx, id, vpc.StateStopped)
}

// powerOn starts an instance that does not run. One that cannot be is left stopped, with its problem.
func (n *node) powerOn(ctx context.Context, i *vpc.Instance) error {
	if n.alive(i.ID) {
		return nil
	}
	if err := n.powerOff(ctx, i.ID); err != nil { // what is left of one that ended by itself
		return err
	}
	if err := n.setState(ctx, i.ID, vpc.StatePending); err != nil {
		return err
	}
	_, err := n.startInstance(ctx, i.ID)
	if err != nil {
		n.note(i.ID, err)
		return errors.Join(err, n.setState(context.WithoutCancel(ctx), i.ID, vpc.StateStopped))
	}
	return n.settleStates(ctx, i.ID)
}

// setState records an instance's state in the model.
func (n *node) setState(ctx context.Context, id, state string) error {
	_, err := n.update(ctx, func(tx *vpc.Tx) error {
		_, err := tx.SetInstanceState(id, state)
		return err
	})
	return err
}

// settleStates records of instances that have been started whether they run.
func (n *node) settleStates(ctx context.Context, ids ...string) error {
	_, err := n.update(ctx, func(tx *vpc.Tx) error {
		for _, id := range ids {
			state := vpc.StateStopped
			if n.alive(id) {
				state = vpc.StateRunning
			}
			if _, err := tx.SetInstanceState(id, state); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// tolerate takes an error of a start that is the instance's own fault: it is noted, and the rest of the lab goes on.
func (n *node) tolerate(id string, err error) bool {
	var fault *instances.Fault
	if !errors.As(err, &fault) {
		return false
	}
	n.note(id, fault)
	return true
}

// note keeps what is wrong with an instance until it is started or stopped.
func (n *node) note(id string, why error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.problems[id] = why.Error()
}

// problem is what is wrong with an instance, "" if nothing is known.
func (n *node) problem(id string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.problems[id]
}

// alive says whether an instance runs and has not ended by itself.
func (n *node) alive(id string) bool {
	r, ok := n.instance(id)
	return ok && !r.hasEnded()
}

// hasEnded says whether the instance ended by itself.
func (r *running) hasEnded() bool {
	m, ok := r.Instance.(instances.Mortal)
	if !ok {
		return false
	}
	select {
	case <-m.Ended():
		return true
	default:
		return false
	}
}

// watch waits for the end of an instance that can end by itself.
func (n *node) watch(r *running) {
	m, ok := r.Instance.(instances.Mortal)
	if !ok {
		return
	}
	n.watching.Go(func() {
		select {
		case <-m.Ended():
			n.ended(r, m.Why())
		case <-r.stopped:
		}
	})
}

// ended records that an instance ended by itself. What it made stays until it is started anew or stopped: its log is there to be read.
func (n *node) ended(r *running, why string) {
	n.mu.Lock()
	mine := n.running[r.id] == r
	if mine && why != "" {
		n.problems[r.id] = why
	}
	n.mu.Unlock()
	if !mine {
		return
	}
	n.log.Warn("an instance ended by itself", "instance", r.id, "why", why)
	if err := n.setState(context.Background(), r.id, vpc.StateStopped); err != nil {
		n.log.Error("its state was not recorded", "instance", r.id, "error", err)
	}
}

// sealed refuses what needs an instance's own network stack or programs, where nothing outside can reach them.
func sealed(r *running) error {
	if o, ok := r.Instance.(instances.Opaque); ok {
		return &api.Error{Code: api.CodeUnsupported, Message: o.Opaque().Error()}
	}
	return nil
}

// Console joins a person to an instance's console.
func (n *node) Console(ctx context.Context, r *api.ConsoleRequest, s api.Streams) error {
	run, err := n.runningNamed(n.store.View(), r.Lab, r.Instance)
	if err != nil {
		return err
	}
	c, ok := run.Instance.(instances.Consoled)
	if !ok {
		return &api.Error{Code: api.CodeUnsupported, Message: fmt.Sprintf("%s has no console: it is a %s instance", r.Instance, run.driver),
			Fix: fmt.Sprintf("run a shell with `vpclab exec %s -- sh`", r.Instance)}
	}
	err = c.Console(ctx, instances.IO{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr})
	if ctx.Err() != nil { // the person has left
		return nil
	}
	return err
}
