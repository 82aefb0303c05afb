package vswitch

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/sg"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// Config is what a switch is made of. Clock and Records are required.
type Config struct {
	Clock    Clock
	Records  *flowlogs.Aggregator
	Rules    *sg.Registry       // nil: one of its own
	Table    conntrack.Config   // OnFree is the switch's
	Timeouts conntrack.Timeouts // zero: conntrack.DefaultTimeouts
}

// Switch is one node's data plane. Its methods are safe for concurrent use.
type Switch struct {
	clock     Clock
	records   *flowlogs.Aggregator
	rules     *sg.Registry
	table     *conntrack.Table
	fragments *fragments
	hits      hits
	offset    atomic.Int64 // wall clock less monotonic clock
	turning   turning
	snap      atomic.Pointer[Snapshot]

	mu       sync.Mutex // serialises changes; frames never wait for it
	compiler *compiler
	view     *vpc.View
	links    map[string]*link // by interface id
	gone     counts           // of ports that were detached
}

// New returns a switch without ports on an empty model.
func New(cfg Config) (*Switch, error) {
	if cfg.Clock == nil || cfg.Records == nil {
		return nil, errors.New("vswitch: Config needs a Clock and Records")
	}
	if cfg.Rules == nil {
		cfg.Rules = sg.NewRegistry()
	}
	if cfg.Timeouts == (conntrack.Timeouts{}) {
		cfg.Timeouts = conntrack.DefaultTimeouts
	}
	s := &Switch{clock: cfg.Clock, records: cfg.Records, rules: cfg.Rules, fragments: newFragments(), hits: hits{by: map[uint32]Hits{}}, links: map[string]*link{}}
	cfg.Table.OnFree = s.drain
	s.table = conntrack.New(cfg.Table)
	s.compiler = newCompiler(cfg.Rules, cfg.Timeouts)
	s.snap.Store(&Snapshot{})
	s.setOffset()
	return s, nil
}

// Rules is the registry that names the rules of verdicts.
func (s *Switch) Rules() *sg.Registry { return s.rules }

// Apply makes a revision of the model the one that frames are judged by. When it returns, no worker
// runs on an older one: every frame sent from now on meets the new rules.
func (s *Switch) Apply(v *vpc.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = v
	s.publish()
}

// Applied is the revision that all workers run on.
func (s *Switch) Applied() vpc.Revision { return s.snap.Load().Revision }

// publish compiles the view and puts the snapshot in force. Called with mu held.
func (s *Switch) publish() {
	old := s.snap.Load()
	next := s.compiler.compile(s.view)
	s.describe(old, next)
	s.snap.Store(next)
	s.quiesce(next)
	for id, e := range old.byID {
		if next.byID[id] == nil {
			s.table.RemoveENI(e.num)
			s.records.RemoveInterface(e.num)
		}
	}
	s.announce(old, next)
}

// describe tells the flow log what its new and changed interfaces are called.
func (s *Switch) describe(old, next *Snapshot) {
	for id, e := range next.byID {
		if was := old.byID[id]; was == nil || was.model != e.model {
			s.records.SetInterface(e.num, describeInterface(s.view, e))
		}
	}
}

func describeInterface(v *vpc.View, e *eni) *flowlogs.Interface {
	ni, sn := e.model, e.subnet.model
	i := &flowlogs.Interface{
		ID: ni.ID, AccountID: v.Account(), VPCID: ni.VPCID, SubnetID: ni.SubnetID, InstanceID: ni.InstanceID,
		Region: v.Region(), ZoneID: sn.ZoneID, Addresses: addresses(ni),
	}
	if len(ni.Addresses) > 0 {
		i.Primary4 = ni.Addresses[0]
	}
	if len(ni.Addresses6) > 0 {
		i.Primary6 = ni.Addresses6[0]
	}
	return i
}

// quiesce waits until every worker has left the snapshots before s. A worker leaves at the end of a
// batch, which nothing in it can block.
func (s *Switch) quiesce(next *Snapshot) {
	for _, l := range s.links {
		for _, w := range l.workers {
			for spins := 0; ; spins++ {
				if cur := w.snap.Load(); cur == nil || cur == next {
					break
				}
				if spins < 100 {
					runtime.Gosched()
				} else {
					time.Sleep(20 * time.Microsecond) // the worker was descheduled
				}
			}
		}
	}
}

// Attach plugs a port into a network interface and starts to read from it. The switch owns the port
// from then on and closes it in Detach and Close.
func (s *Switch) Attach(eniID string, p Port) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snap.Load().byID[eniID] == nil {
		return fmt.Errorf("network interface %s is not in revision %d", eniID, s.Applied())
	}
	if s.links[eniID] != nil {
		return fmt.Errorf("network interface %s is attached to port %s already", eniID, s.links[eniID].port.Name())
	}
	l := newLink(s, eniID, s.compiler.number(eniID), p)
	s.links[eniID], s.compiler.links[eniID] = l, l
	s.publish()
	l.start()
	return nil
}

// Detach unplugs a network interface's port and closes it. Its connections stay in the flow table.
func (s *Switch) Detach(eniID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[eniID]
	if l == nil {
		return nil
	}
	delete(s.compiler.links, eniID)
	s.publish()
	delete(s.links, eniID)
	err := l.stop()
	s.gone.keep(&l.counts)
	return err
}

// keep adds the counts of a port that is gone.
func (c *counts) keep(l *counts) {
	c.frames.Add(l.frames.Load())
	c.packets.Add(l.packets.Load())
	c.bytes.Add(l.bytes.Load())
	c.sent.Add(l.sent.Load())
	c.sentPackets.Add(l.sentPackets.Load())
	c.sentBytes.Add(l.sentBytes.Load())
	c.split.Add(l.split.Load())
	c.merged.Add(l.merged.Load())
	for r := range c.reasons {
		c.reasons[r].Add(l.reasons[r].Load())
	}
}

// Close detaches all ports and frees the flow table. Its counts go into the records first.
func (s *Switch) Close() error {
	var errs []error
	for _, id := range s.attached() {
		errs = append(errs, s.Detach(id))
	}
	s.DrainRecords()
	s.table.Close()
	return errors.Join(errs...)
}

func (s *Switch) attached() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.links))
}

// PortStatus is a port and its totals.
type PortStatus struct {
	Interface string `json:"interface"`
	Port      string `json:"port"`
	MTU       int    `json:"mtu"`
	Queues    int    `json:"queues"`
	Counters
}

// Ports lists the attached ports by name.
func (s *Switch) Ports() []PortStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]PortStatus, 0, len(s.links))
	for id, l := range s.links {
		p := PortStatus{Interface: id, Port: l.port.Name(), MTU: l.mtu, Queues: len(l.workers), Counters: Counters{Reasons: map[string]uint64{}}}
		l.counts.addTo(&p.Counters)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b PortStatus) int { return cmp.Compare(a.Port, b.Port) })
	return out
}

// Totals sums all ports, also those that were detached.
func (s *Switch) Totals() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Counters{Reasons: map[string]uint64{}}
	s.gone.addTo(&out)
	for _, l := range s.links {
		l.counts.addTo(&out)
	}
	return out
}
