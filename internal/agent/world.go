package agent

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/lab"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
)

// world is a running lab as its tests see it.
type world struct {
	n    *node
	lab  string
	open map[string]*flight
}

func (n *node) world(labName string) *world {
	return &world{n: n, lab: labName, open: map[string]*flight{}}
}

var _ lab.World = (*world)(nil)

// Probe sends real packets for one new flow.
func (w *world) Probe(ctx context.Context, t lab.Traffic) (*lab.Observation, error) {
	f, err := w.flight(t)
	if err != nil {
		return nil, err
	}
	s, err := f.watch(ctx, f.once)
	if err != nil {
		return nil, err
	}
	return w.observe(f, s, false), nil
}

// Open opens a flow that stays open.
func (w *world) Open(ctx context.Context, conn string, t lab.Traffic) (*lab.Observation, error) {
	if w.open[conn] != nil {
		return nil, fmt.Errorf("connection %s is open already", conn)
	}
	f, err := w.flight(t)
	if err != nil {
		return nil, err
	}
	if f.tuple.Proto != packet.ProtoTCP && f.tuple.Proto != packet.ProtoUDP {
		return nil, fmt.Errorf("only TCP and UDP can be opened")
	}
	s, err := f.watch(ctx, f.open)
	if err != nil {
		return nil, err
	}
	if s.outcome == lab.Answered {
		w.open[conn] = f
	}
	return w.observe(f, s, false), nil
}

// Send sends one more message over an open flow.
func (w *world) Send(ctx context.Context, conn string) (*lab.Observation, error) {
	f := w.open[conn]
	if f == nil {
		return nil, fmt.Errorf("connection %s is not open", conn)
	}
	s, err := f.watch(ctx, f.message)
	if err != nil {
		return nil, err
	}
	return w.observe(f, s, true), nil
}

// Close ends an open flow.
func (w *world) Close(ctx context.Context, conn string) error {
	f := w.open[conn]
	if f == nil {
		return fmt.Errorf("connection %s is not open", conn)
	}
	delete(w.open, conn)
	err := f.conn.Close()
	f.conn = nil
	f.settle(ctx)
	return err
}

// closeAll ends what a test left open.
func (w *world) closeAll(ctx context.Context) {
	for conn := range w.open {
		_ = w.Close(ctx, conn)
	}
}

// Authorize adds a rule.
func (w *world) Authorize(ctx context.Context, e lab.Edit) (func(context.Context) error, error) {
	added, err := w.n.authorize(ctx, w.lab, e)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return w.n.removeRules(ctx, added) }, nil
}

// Revoke removes a rule.
func (w *world) Revoke(ctx context.Context, e lab.Edit) (func(context.Context) error, error) {
	removed, err := w.n.revoke(ctx, w.lab, e)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return w.n.restoreRules(ctx, removed) }, nil
}

// Now is the wall clock.
func (w *world) Now() time.Time { return time.Now() }

// Wait waits.
func (w *world) Wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// flight prepares a test's traffic.
func (w *world) flight(t lab.Traffic) (*flight, error) {
	view := w.n.store.View()
	from, err := w.n.runningNamed(view, w.lab, t.From)
	if err != nil {
		return nil, err
	}
	dst, err := w.target(view, t.To)
	if err != nil {
		return nil, err
	}
	return w.n.newFlight(from, t.FromPort, netip.AddrPortFrom(dst, t.To.Port), protocolNumber(t.To.Protocol))
}

// target gives the address that a test names.
func (w *world) target(view *vpc.View, t lab.Target) (netip.Addr, error) {
	if t.Instance == "" {
		return t.Addr, nil
	}
	i, ok := view.InstanceNamed(w.lab, t.Instance)
	if !ok {
		return netip.Addr{}, fmt.Errorf("lab %s has no instance %s", w.lab, t.Instance)
	}
	return primaryAddress(view, i)
}

// observe puts a sighting into the words of a test.
func (w *world) observe(f *flight, s *sighting, further bool) *lab.Observation {
	view := w.n.store.View()
	o := &lab.Observation{Outcome: s.outcome, Detail: s.detail, Source: f.src, Destination: f.dst, RTT: s.rtt}
	if f.tuple.Proto != packet.ProtoTCP && f.tuple.Proto != packet.ProtoUDP {
		o.Source = netip.AddrPortFrom(f.src.Addr(), 0)
		o.Destination = netip.AddrPortFrom(f.dst.Addr(), 0)
	}
	o.DestinationName = instanceAt(view, f.toENI)
	for _, v := range f.verdicts() {
		o.Judgements = append(o.Judgements, judgement(view, v, further))
	}
	o.Records = recordLines(view, f, s.records)
	return o
}

// judgement puts a verdict into the words of a test. A further packet of a tracked connection was
// admitted by its state.
func judgement(view *vpc.View, v verdict, further bool) lab.Judgement {
	j := lab.Judgement{
		Instance: instanceAt(view, v.eni), Direction: v.dir, Accept: v.Reason.Accepted(),
		Tracked: v.Reason == vswitch.ReasonReply || further && v.tracked,
	}
	if ni, ok := view.NetworkInterface(v.eni); ok {
		j.Groups = groupNames(view, ni.Groups)
	}
	if j.Accept && v.Rule != nil {
		j.Rule = lab.RuleRef{ID: v.Rule.ID, Group: v.Rule.GroupName, Words: v.Rule.Words, Where: v.Rule.Where, Default: v.Rule.Default}
	}
	return j
}

// recordLines are the flow's records without their counts, in the order in which a packet and its answer
// meet the interfaces.
func recordLines(view *vpc.View, f *flight, records []flowlogs.Record) []lab.Record {
	var out []lab.Record
	records = slices.DeleteFunc(records, func(r flowlogs.Record) bool { return !f.mine(&r) })
	slices.SortStableFunc(records, func(a, b flowlogs.Record) int {
		return cmp.Compare(pathOrder(&a, f.logged()), pathOrder(&b, f.logged()))
	})
	for _, r := range records {
		line := lab.Record{Instance: instanceAt(view, r.Interface.ID), Direction: r.Direction, Accept: r.Action == flowlogs.Accept}
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}
