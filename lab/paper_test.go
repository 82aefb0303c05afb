package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

// paperWorld is a lab on paper: no packet is sent, AWS's text about security groups is applied as a loop to the model.
// It says whether a lab file's tests are right as they are written; that a running lab passes them is tested where one
// runs.
type paperWorld struct {
	store *vpc.MemoryStore
	lab   string
	open  map[string]*paperFlow
	now   time.Time
}

// paperFlow is a flow with what each end decided when it began.
type paperFlow struct {
	t        Traffic
	src, dst *vpc.NetworkInterface
	out, in  paperVerdict
}

type paperVerdict struct {
	accept, tracked bool
	rule            RuleRef
}

// match finds the most permissive rule of an interface that admits a flow.
func match(v *vpc.View, n *vpc.NetworkInterface, d vpc.Direction, remote *vpc.NetworkInterface, t Target) paperVerdict {
	var out paperVerdict
	best := 1000
	for _, id := range n.Groups {
		g, _ := v.SecurityGroup(id)
		for _, r := range g.Rules {
			width, ok := admits(v, &r, d, remote, t)
			if ok && width < best {
				best = width
				ref := RuleRef{ID: r.ID, Group: g.GroupName, Words: RuleWords(v, &r), Where: r.Where, Default: r.Default}
				out = paperVerdict{accept: true, tracked: t.Protocol == "icmp" || width > 0 || !answersAll(v, n, d, t), rule: ref}
			}
		}
	}
	return out
}

// admits says whether a rule admits a flow, and how narrow its peer is: 0 is anywhere.
func admits(v *vpc.View, r *vpc.SecurityGroupRule, d vpc.Direction, remote *vpc.NetworkInterface, t Target) (int, bool) {
	numbers := map[string]int{"icmp": 1, "tcp": 6, "udp": 17}
	proto := r.Protocol == vpc.AllProtocols || r.Protocol == numbers[t.Protocol]
	ports := r.Protocol == vpc.AllProtocols || t.Protocol != "icmp" && r.FromPort <= int(t.Port) && int(t.Port) <= r.ToPort ||
		t.Protocol == "icmp" && (r.FromPort == -1 || r.FromPort == 8)
	if r.Direction != d || !proto || !ports {
		return 0, false
	}
	switch {
	case r.Permission.GroupID != "":
		return 64, slices.Contains(remote.Groups, r.Permission.GroupID)
	case r.PrefixListID != "":
		l, _ := v.PrefixList(r.PrefixListID)
		return 65, slices.ContainsFunc(l.Entries, func(e vpc.PrefixListEntry) bool { return e.CIDR.Contains(remote.Addresses[0]) })
	}
	return r.CIDR.Bits(), r.CIDR.Contains(remote.Addresses[0])
}

// answersAll says whether the other direction permits all answers to anywhere.
func answersAll(v *vpc.View, n *vpc.NetworkInterface, d vpc.Direction, t Target) bool {
	other := vpc.Ingress
	if d == vpc.Ingress {
		other = vpc.Egress
	}
	for _, id := range n.Groups {
		g, _ := v.SecurityGroup(id)
		for _, r := range g.Rules {
			all := r.Protocol == vpc.AllProtocols || r.FromPort == 0 && r.ToPort == 65535
			if r.Direction == other && all && r.CIDR == prefixOf("0.0.0.0/0") {
				return true
			}
		}
	}
	return false
}

// find gives the interface of the target, or nil and what is there instead.
func (w *paperWorld) find(v *vpc.View, src *vpc.NetworkInterface, t Target) (*vpc.NetworkInterface, *Observation) {
	addr := t.Addr
	if t.Instance != "" {
		in, ok := v.InstanceNamed(w.lab, t.Instance)
		if !ok {
			return nil, &Observation{Outcome: Dropped, Detail: "no instance"}
		}
		n, _ := v.NetworkInterface(in.InterfaceIDs[0])
		return n, nil
	}
	if n, ok := v.NetworkInterfaceByAddr(src.VPCID, addr); ok {
		return n, nil
	}
	s, _ := v.Subnet(src.SubnetID)
	if s.Router() == addr {
		return nil, &Observation{Outcome: Answered, RTT: time.Microsecond}
	}
	return nil, &Observation{Outcome: Dropped, Detail: "no route"}
}

func (w *paperWorld) begin(t Traffic) (*paperFlow, *Observation, error) {
	v := w.store.View()
	in, ok := v.InstanceNamed(w.lab, t.From)
	if !ok {
		return nil, nil, fmt.Errorf("no instance %s", t.From)
	}
	f := &paperFlow{t: t}
	f.src, _ = v.NetworkInterface(in.InterfaceIDs[0])
	var o *Observation
	if f.dst, o = w.find(v, f.src, t.To); o != nil {
		o.Source, o.Destination = netip.AddrPortFrom(f.src.Addresses[0], 40000), netip.AddrPortFrom(t.To.Addr, t.To.Port)
		return nil, o, nil
	}
	f.out = match(v, f.src, vpc.Egress, f.dst, t.To)
	f.in = match(v, f.dst, vpc.Ingress, f.src, t.To)
	return f, w.observe(v, f, false), nil
}

// observe writes down what the two ends say: of the first packet, or of a further one.
func (w *paperWorld) observe(v *vpc.View, f *paperFlow, further bool) *Observation {
	dst, _ := v.Instance(f.dst.InstanceID)
	o := &Observation{
		Outcome: Rejected, Source: netip.AddrPortFrom(f.src.Addresses[0], 40000),
		Destination: netip.AddrPortFrom(f.dst.Addresses[0], f.t.To.Port), DestinationName: dst.Name,
	}
	say := func(n *vpc.NetworkInterface, d vpc.Direction, p paperVerdict, tracked bool) bool {
		in, _ := v.Instance(n.InstanceID)
		o.Judgements = append(o.Judgements, Judgement{in.Name, groupsOf(v, n), d, p.accept, p.rule, p.accept && tracked})
		o.Records = append(o.Records, Record{in.Name, d, p.accept})
		return p.accept
	}
	if !say(f.src, vpc.Egress, f.out, further && f.out.tracked) || !say(f.dst, vpc.Ingress, f.in, further && f.in.tracked) {
		return o
	}
	o.Outcome = answer(dst, f.t.To)
	if o.Outcome != Lost {
		say(f.dst, vpc.Egress, f.in, true)
		say(f.src, vpc.Ingress, f.out, true)
	}
	return o
}

func answer(dst *vpc.Instance, t Target) Outcome {
	switch {
	case t.Protocol == "icmp", slices.Contains(dst.Listen, fmt.Sprintf("%s/%d", t.Protocol, t.Port)):
		return Answered
	case t.Protocol == "tcp":
		return Refused
	}
	return Lost
}

func groupsOf(v *vpc.View, n *vpc.NetworkInterface) []string {
	var names []string
	for _, id := range n.Groups {
		g, _ := v.SecurityGroup(id)
		names = append(names, g.GroupName)
	}
	return names
}

func (w *paperWorld) Probe(_ context.Context, t Traffic) (*Observation, error) {
	_, o, err := w.begin(t)
	return o, err
}

func (w *paperWorld) Open(_ context.Context, conn string, t Traffic) (*Observation, error) {
	f, o, err := w.begin(t)
	if err == nil && o.Outcome == Answered {
		w.open[conn] = f
	}
	return o, err
}

// Send: a tracked end keeps its verdict, an untracked one asks the rules again.
func (w *paperWorld) Send(_ context.Context, conn string) (*Observation, error) {
	v, f := w.store.View(), *w.open[conn]
	if !f.out.tracked {
		f.out = match(v, f.src, vpc.Egress, f.dst, f.t.To)
	}
	if !f.in.tracked {
		f.in = match(v, f.dst, vpc.Ingress, f.src, f.t.To)
	}
	return w.observe(v, &f, true), nil
}

func (w *paperWorld) Close(_ context.Context, conn string) error {
	delete(w.open, conn)
	return nil
}

func (w *paperWorld) Authorize(ctx context.Context, e Edit) (func(context.Context) error, error) {
	return w.edit(ctx, e.Authorize, func(tx *vpc.Tx, rules []vpc.SecurityGroupRule) error {
		for _, r := range rules {
			if err := revoke(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *paperWorld) Revoke(ctx context.Context, e Edit) (func(context.Context) error, error) {
	return w.edit(ctx, e.Revoke, func(tx *vpc.Tx, rules []vpc.SecurityGroupRule) error {
		return tx.RestoreSecurityGroupRules(rules[0].GroupID, rules)
	})
}

func (w *paperWorld) edit(ctx context.Context, do func(*vpc.Tx, string) ([]vpc.SecurityGroupRule, error), back func(*vpc.Tx, []vpc.SecurityGroupRule) error) (func(context.Context) error, error) {
	var rules []vpc.SecurityGroupRule
	_, err := w.store.Update(ctx, func(tx *vpc.Tx) (err error) {
		rules, err = do(tx, w.lab)
		return err
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := w.store.Update(ctx, func(tx *vpc.Tx) error { return back(tx, rules) })
		return err
	}, nil
}

func (w *paperWorld) Now() time.Time { return w.now }

func (w *paperWorld) Wait(_ context.Context, d time.Duration) error {
	w.now = w.now.Add(d)
	return nil
}
