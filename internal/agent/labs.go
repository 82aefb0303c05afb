package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/lab"
	"github.com/vpclab/vpclab/vpc"
)

// startAtOnce bounds the instances that are started side by side.
const startAtOnce = 8

// Apply makes a lab be as its file says: the model in one transaction, then its instances.
func (n *node) Apply(ctx context.Context, r *api.ApplyRequest, progress func(*api.Progress)) (*api.ApplyResult, error) {
	f, err := lab.Parse(r.File.Name, r.File.Data)
	if err != nil {
		return nil, labError(err)
	}
	if err := n.chooseDrivers(f, r.Driver); err != nil {
		return nil, err
	}
	res := &api.ApplyResult{Lab: f.Lab, About: f.About, DryRun: r.DryRun, Tests: len(f.Tests)}
	if r.DryRun {
		view := n.store.View()
		changes, err := lab.Plan(view, f)
		if err != nil {
			return nil, labError(err)
		}
		res.Revision, res.Changes, res.Instances = uint64(view.Revision()), changeRows(changes), n.instanceRows(view, f.Lab)
		return res, nil
	}
	return res, n.apply(ctx, f, res, progress)
}

// chooseDrivers fills in what runs the instances that name no driver, and refuses those that cannot run here.
func (n *node) chooseDrivers(f *lab.File, want string) error {
	if want == "" || want == "auto" {
		want = n.opts.Driver
	}
	if f.Driver == "" {
		name, _, err := ChooseDriver(want)
		if err != nil {
			return err
		}
		f.Driver = name
	} else if _, _, err := ChooseDriver(f.Driver); err != nil {
		return err
	}
	for _, i := range f.Instances {
		if i.Driver == "" {
			continue
		}
		if _, _, err := ChooseDriver(i.Driver); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) apply(ctx context.Context, f *lab.File, res *api.ApplyResult, progress func(*api.Progress)) error {
	n.labbing.Lock() // labs are applied and taken down one after the other
	defer n.labbing.Unlock()
	existed := slices.Contains(n.store.View().Labs(), f.Lab)
	var done *lab.Applied
	rev, err := n.update(ctx, func(tx *vpc.Tx) (err error) {
		done, err = lab.Apply(tx, f)
		return err
	})
	if err != nil {
		return labError(err)
	}
	n.remember(f)
	res.Revision, res.Changes = uint64(rev), changeRows(done.Changes)
	if err := n.reconcile(ctx, done, progress); err != nil {
		if !existed { // nothing of a lab that never ran stays
			err = errors.Join(err, n.remove(context.WithoutCancel(ctx), f.Lab, func(*api.Progress) {}, &api.DownResult{}))
		}
		return err
	}
	res.Instances = n.instanceRows(n.store.View(), f.Lab)
	return nil
}

// reconcile stops, starts and tells the lab's instances as the model now says.
func (n *node) reconcile(ctx context.Context, done *lab.Applied, progress func(*api.Progress)) error {
	for _, ref := range done.Removed {
		progress(&api.Progress{Action: "stop", Kind: "instance", Name: ref.Name})
		if err := n.stop(ref.ID); err != nil {
			return err
		}
	}
	for _, ref := range done.Changed {
		if err := n.restartIfMoved(ctx, ref.ID, progress); err != nil {
			return err
		}
	}
	if err := n.startAll(ctx, done.New, progress); err != nil {
		return err
	}
	return n.setHosts(done.Lab)
}

// startAll starts instances side by side.
func (n *node) startAll(ctx context.Context, refs []lab.Ref, progress func(*api.Progress)) error {
	starting := newProgress(len(refs), progress)
	g, group := errgroup.WithContext(ctx)
	g.SetLimit(startAtOnce)
	for _, ref := range refs {
		g.Go(func() error {
			detail, err := n.startInstance(group, ref.ID)
			if err == nil {
				starting.tell("start", ref.Name, detail)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err := n.update(ctx, func(tx *vpc.Tx) error {
		for _, ref := range refs {
			if _, err := tx.SetInstanceState(ref.ID, "running"); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// Down takes a lab, or all of them, away.
func (n *node) Down(ctx context.Context, r *api.DownRequest, progress func(*api.Progress)) (*api.DownResult, error) {
	n.labbing.Lock()
	defer n.labbing.Unlock()
	labs := n.store.View().Labs()
	if r.Lab != "" {
		if !slices.Contains(labs, r.Lab) {
			return nil, &api.Error{Code: api.CodeUnknownObject, Message: fmt.Sprintf("no lab is called %s", r.Lab), Near: labs}
		}
		labs = []string{r.Lab}
	}
	res := &api.DownResult{Labs: labs, Changes: []api.Change{}, PID: pid()}
	for _, name := range labs {
		if err := n.remove(ctx, name, progress, res); err != nil {
			return nil, err
		}
	}
	res.Stopping = len(n.store.View().Labs()) == 0 && !r.Keep
	return res, nil
}

// remove takes one lab away: its instances, then its part of the model. Its last records are counted before.
func (n *node) remove(ctx context.Context, name string, progress func(*api.Progress), res *api.DownResult) error {
	for _, i := range n.store.View().Instances("") {
		if i.Lab != name {
			continue
		}
		progress(&api.Progress{Action: "stop", Kind: "instance", Name: i.Name})
		if err := n.stop(i.ID); err != nil {
			return err
		}
	}
	n.sw.DrainRecords()
	var done *lab.Applied
	_, err := n.update(ctx, func(tx *vpc.Tx) (err error) {
		done, err = lab.Remove(tx, name)
		return err
	})
	if err != nil {
		return err
	}
	n.forget(name)
	res.Changes = append(res.Changes, changeRows(done.Changes)...)
	return nil
}

func (n *node) remember(f *lab.File) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.labs[f.Lab] = f
}

func (n *node) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.labs, name)
}

// labFile is the file that a lab was applied from, nil if it is not up.
func (n *node) labFile(name string) *lab.File {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.labs[name]
}

// labError gives all that is wrong with a file to the client.
func labError(err error) error {
	var many lab.Problems
	var one *lab.Problem
	switch {
	case errors.As(err, &many):
	case errors.As(err, &one):
		many = lab.Problems{one}
	default:
		return err
	}
	e := &api.Error{Code: api.CodeInvalidLab, Message: many[0].Message(), Where: many[0].Where(), Field: many[0].Path}
	for _, p := range many {
		e.Problems = append(e.Problems, api.Problem{Where: p.Where(), Field: p.Path, Message: p.Message(), Excerpt: p.Excerpt})
	}
	var model *vpc.Error
	if errors.As(err, &model) {
		e.Code = model.Code
	}
	return e
}

func changeRows(changes []lab.Change) []api.Change {
	words := map[lab.Action]string{lab.Add: "add", lab.Alter: "change", lab.Delete: "remove"}
	out := make([]api.Change, 0, len(changes))
	for _, c := range changes {
		row := api.Change{Action: words[c.Action], Kind: string(c.Kind), Name: c.Name, ID: c.ID, Detail: c.Detail, Fields: c.Fields}
		if c.Where.Line != 0 {
			row.Where = c.Where.String()
		}
		out = append(out, row)
	}
	return out
}
