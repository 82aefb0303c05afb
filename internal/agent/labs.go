package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
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
	why, err := n.chooseDrivers(f, r.Driver)
	if err != nil {
		return nil, err
	}
	progress(&api.Progress{Action: "use", Kind: "driver", Name: why})
	if r.File.Path != "" {
		f.Dir = filepath.Dir(r.File.Path)
	}
	res := &api.ApplyResult{Lab: f.Lab, About: f.About, DryRun: r.DryRun, Tests: len(f.Tests)}
	if r.DryRun {
		if err := n.ownFile(f.Lab, r.File, r.Adopt); err != nil {
			return nil, err
		}
		view := n.store.View()
		changes, err := lab.Plan(view, f)
		if err != nil {
			return nil, labError(err)
		}
		res.Revision, res.Changes, res.Instances = uint64(view.Revision()), changeRows(changes), n.instanceRows(view, f.Lab)
		return res, nil
	}
	return res, n.apply(ctx, f, r, res, progress)
}

// faulty is the driver whose instances come up with a problem where it cannot run: a machine without QEMU still has the rest of a lab.
const faulty = "qemu"

// chooseDrivers fills in what runs the instances that name no driver, and refuses those that cannot run here.
// why says in a line what was chosen.
func (n *node) chooseDrivers(f *lab.File, want string) (why string, err error) {
	if want == "" || want == "auto" {
		want = n.opts.Driver
	}
	if f.Driver == "" {
		if f.Driver, why, err = ChooseDriver(want); err != nil {
			return "", err
		}
	} else if _, why, err = ChooseDriver(f.Driver); err != nil && f.Driver != faulty {
		return "", err
	}
	for _, i := range f.Instances {
		if i.Driver != "" && i.Driver != faulty {
			if _, _, err := ChooseDriver(i.Driver); err != nil {
				return "", err
			}
		}
		if err := runnable(f, i, why); err != nil {
			return "", err
		}
	}
	return cmp.Or(why, f.Driver), nil
}

// runnable refuses commands of an instance that turns out to be of a kind that cannot run them.
func runnable(f *lab.File, i *lab.Instance, why string) error {
	if driver := cmp.Or(i.Driver, f.Driver); len(i.Run) == 0 || driver == "netns" {
		return nil
	}
	return &api.Error{Code: api.CodeNoDriver, Where: i.Pos.String(), Field: "instances." + i.Name + ".run",
		Message: "the commands need an instance of kind netns, and there can be none here: " + why}
}

func (n *node) apply(ctx context.Context, f *lab.File, r *api.ApplyRequest, res *api.ApplyResult, progress func(*api.Progress)) error {
	n.labbing.Lock() // labs are applied and taken down one after the other
	defer n.labbing.Unlock()
	if err := n.ownFile(f.Lab, r.File, r.Adopt); err != nil {
		return err
	}
	existed := slices.Contains(n.store.View().Labs(), f.Lab)
	var done *lab.Applied
	rev, err := n.update(ctx, func(tx *vpc.Tx) (err error) {
		done, err = lab.Apply(tx, f)
		return err
	})
	if err != nil {
		return labError(err)
	}
	n.remember(f, r.File.Path)
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
			switch {
			case err == nil:
				starting.tell("start", ref.Name, detail)
			case n.tolerate(ref.ID, err):
				starting.tell("cannot start", ref.Name, n.problem(ref.ID))
			default:
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	ids := make([]string, len(refs))
	for i, ref := range refs {
		ids[i] = ref.ID
	}
	return n.settleStates(ctx, ids...)
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
	var ids []string
	for _, i := range n.store.View().Instances("") {
		if i.Lab != name {
			continue
		}
		progress(&api.Progress{Action: "stop", Kind: "instance", Name: i.Name})
		ids = append(ids, i.ID)
	}
	if err := n.stopAll(ids); err != nil {
		return err
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

func (n *node) remember(f *lab.File, source string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.labs[f.Lab], n.sources[f.Lab] = f, source
}

// ownFile refuses a file whose lab is up from another one: two people may have chosen one name, and applying the second
// file would take away what the first has made.
func (n *node) ownFile(name string, file api.File, adopt bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	have, up := n.sources[name]
	if !up || adopt || have == file.Path {
		return nil
	}
	word := func(path string) string {
		if path == "" {
			return "standard input"
		}
		return path
	}
	return &api.Error{Code: api.CodeOtherFile, Where: file.Name, Field: "lab", Message: fmt.Sprintf("lab %s is up already, from %s; this is %s", name, word(have), word(file.Path)),
		Fix: "give this lab another name; or let the file take the lab over with `vpclab apply --adopt`; or take it away first with `vpclab down " + name + "`"}
}

func (n *node) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.labs, name)
	delete(n.sources, name)
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
