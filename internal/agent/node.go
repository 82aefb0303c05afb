package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/lab"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// Housekeeping of the data plane.
const (
	tickEvery = 250 * time.Millisecond
	maxHalves = 4 << 20 // slots are made as they are needed
	maxPerENI = 1 << 20
	maxVPCs   = 1000 // AWS's default is 5, for one account; here it is for all labs together

	runDirectory     = "run"
	flowLogDirectory = "flowlogs"
)

// node is one vpclab host: everything that runs in an agent. Its methods are safe for concurrent use.
type node struct {
	opts      Options
	log       *slog.Logger
	started   time.Time
	store     vpc.Store
	records   *flowlogs.Aggregator
	publisher *flowlogs.Publisher
	sw        *vswitch.Switch
	drivers   map[string]instances.Driver

	// applying serialises changes of the model with their application, so that what is applied only grows.
	applying   sync.Mutex
	subscribed []*vpc.FlowLog // that the publisher has; guarded by applying
	// labbing serialises what takes more than one change: applying a lab, taking it down. Taken before applying.
	labbing sync.Mutex
	// watching are the goroutines that wait for the end of instances that can end by themselves.
	watching sync.WaitGroup

	mu       sync.Mutex // guards what follows
	running  map[string]*running
	labs     map[string]*lab.File
	problems map[string]string // of instances, by id: why one does not run
	sources  map[string]string // of labs: the path of the file that was applied, "" if it has none
}

// running is an instance that a driver runs.
type running struct {
	instances.Instance
	id, eni, driver string
	prefixes        []netip.Prefix
	stopped         chan struct{} // closed by stop
}

// newNode builds a node. Nothing runs yet.
func newNode(o Options, log *slog.Logger) (*node, error) {
	n := &node{opts: o, log: log, started: time.Now(), drivers: drivers(), running: map[string]*running{}, labs: map[string]*lab.File{}, problems: map[string]string{}, sources: map[string]string{}}
	n.store = vpc.NewMemoryStore(vpc.Config{CheckLogFormat: checkLogFormat, Quotas: vpc.Quotas{VPCs: maxVPCs}})
	n.records = flowlogs.NewAggregator(flowlogs.Config{Start: time.Now().UnixNano()})
	view := n.store.View()
	p, err := flowlogs.NewPublisher(flowlogs.PublisherConfig{Dir: filepath.Join(o.DataDir, flowLogDirectory), Account: view.Account(), Region: view.Region()})
	if err != nil {
		return nil, err
	}
	n.publisher = p
	n.sw, err = vswitch.New(vswitch.Config{
		Clock: vswitch.NewSystemClock(), Records: n.records,
		Table: conntrack.Config{MaxHalves: maxHalves, MaxPerENI: maxPerENI, Allocator: conntrack.Mmap},
	})
	return n, err
}

func checkLogFormat(format string) error {
	_, err := flowlogs.ParseFormat(format)
	return err
}

// update runs commands on the model in one transaction and applies the result: when it returns, every
// frame is judged by it.
func (n *node) update(ctx context.Context, fn func(*vpc.Tx) error) (vpc.Revision, error) {
	n.applying.Lock()
	defer n.applying.Unlock()
	rev, err := n.store.Update(ctx, fn)
	if err != nil {
		return 0, err
	}
	view := n.store.View()
	n.sw.Apply(view)
	return rev, n.subscribe(view)
}

// subscribe gives the publisher the model's flow logs, and those that were deleted since a window was last sealed: what
// they have recorded in the open one is still to come. Callers hold applying.
func (n *node) subscribe(view *vpc.View) error {
	all := view.FlowLogs()
	for _, fl := range n.subscribed {
		if _, ok := view.FlowLog(fl.ID); !ok {
			all = append(all, fl)
		}
	}
	n.subscribed = all
	return n.publisher.SetSubscriptions(all)
}

// housekeep runs until ctx is done: timeouts, flow-log windows, publication.
func (n *node) housekeep(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			n.tick(time.Now().UnixNano())
		}
	}
}

func (n *node) tick(wall int64) {
	n.applying.Lock()
	defer n.applying.Unlock()
	sealed := n.sw.Tick()
	err := n.publisher.Consume(sealed)
	if view := n.store.View(); len(sealed) > 0 && len(n.subscribed) > len(view.FlowLogs()) {
		n.subscribed = nil
		err = errors.Join(err, n.subscribe(view))
	}
	if err = errors.Join(err, n.publisher.Tick(wall)); err != nil {
		n.log.Error("flow logs were not published", "error", err)
	}
}

// start makes an instance run and plugs it in.
func (n *node) start(ctx context.Context, driver string, spec instances.Spec, eni string) error {
	d := n.drivers[driver]
	if d == nil {
		return fmt.Errorf("instance %s: unknown driver %q", spec.Name, driver)
	}
	inst, err := d.Start(ctx, spec)
	if err != nil {
		return fmt.Errorf("instance %s: %w", spec.Name, err)
	}
	if err := n.sw.Attach(eni, inst.Port()); err != nil {
		return errors.Join(err, inst.Close())
	}
	r := &running{Instance: inst, id: spec.ID, eni: eni, driver: driver, prefixes: spec.Prefixes, stopped: make(chan struct{})}
	n.mu.Lock()
	n.running[spec.ID] = r
	n.mu.Unlock()
	n.watch(r)
	return nil
}

// stop unplugs an instance and ends it. One that does not run is no error.
func (n *node) stop(id string) error {
	n.mu.Lock()
	r := n.running[id]
	delete(n.running, id)
	delete(n.problems, id)
	n.mu.Unlock()
	if r == nil {
		return nil
	}
	close(r.stopped)
	return errors.Join(n.sw.Detach(r.eni), r.Close())
}

// stopAll stops instances side by side: a virtual machine takes its time.
func (n *node) stopAll(ids []string) error {
	errs := make([]error, len(ids))
	var g errgroup.Group
	g.SetLimit(startAtOnce)
	for i, id := range ids {
		g.Go(func() error { errs[i] = n.stop(id); return nil })
	}
	_ = g.Wait() // all have returned nil
	return errors.Join(errs...)
}

// instance returns a running instance.
func (n *node) instance(id string) (*running, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok := n.running[id]
	return r, ok
}

// close ends everything in order: instances first, then the data plane, whose last counts go into the
// last files.
func (n *node) close() error {
	var errs []error
	n.mu.Lock()
	ids := make([]string, 0, len(n.running))
	for id := range n.running {
		ids = append(ids, id)
	}
	n.mu.Unlock()
	errs = append(errs, n.stopAll(ids))
	n.watching.Wait()
	errs = append(errs, n.sw.Close())
	last := n.records.Finish(time.Now().UnixNano()) // also the window that is open
	errs = append(errs, n.publisher.Consume(last), n.publisher.Close())
	return errors.Join(errs...)
}
