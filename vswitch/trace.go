package vswitch

import (
	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/sg"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// Trace collects what the stages decide about one frame. A worker that has one delivers nothing, and
// counts and records only into it.
type Trace struct {
	Steps   []Step
	Records []TraceRecord
	// Reason is what became of the frame: ReasonNone if it was delivered.
	Reason    Reason
	delivered *eni
}

// Stage names a step of a trace.
type Stage string

// The steps that a trace can have.
const (
	StageGuard     Stage = "guard"
	StageSGEgress  Stage = "sg egress"
	StageRoute     Stage = "route"
	StageSGIngress Stage = "sg ingress"
	StageDeliver   Stage = "deliver"
)

// Step is one decision.
type Step struct {
	Stage      Stage
	Interface  string // network interface id
	VPC        string
	Subnet     string
	RouteTable string
	Reason     Reason
	Tracked    bool
	Rule       *sg.RuleInfo // that admitted; nil for a default deny and for steps without rules
	Groups     []string     // ids of the groups asked
	Remote     []string     // ids of the groups that the other end is in
	Nearest    *sg.RuleInfo // for a default deny: the rule that came closest, or nil
	Differs    sg.Difference
	Route      string // the route's destination
	Target     string // and target
}

// TraceRecord is a flow record that the frame would cause.
type TraceRecord struct {
	Interface string
	Direction vpc.Direction
	Action    flowlogs.Action
}

// Code is the step's explanation code in the words of AWS's Reachability Analyzer; "" where the frame passes.
func (s *Step) Code() string {
	switch s.Reason {
	case ReasonNoRule:
		return "ENI_SG_RULES_MISMATCH"
	case ReasonNoRoute, ReasonNoDestination:
		return "NO_ROUTE_TO_DESTINATION"
	case ReasonBlackhole:
		return "BAD_STATE_ROUTE"
	case ReasonSpoofedIP, ReasonSourceDestCheck:
		return "ENI_SOURCE_DEST_CHECK_RESTRICTION"
	case ReasonSpoofedMAC:
		return "ENI_ADDRESS_RESTRICTION"
	case ReasonDetached:
		return "BAD_STATE_ATTACHMENT"
	}
	return ""
}

func (t *Trace) guard(e *eni, r Reason) {
	s := Step{Stage: StageGuard, Reason: r}
	if e != nil {
		s.Interface, s.VPC, s.Subnet = e.id, e.net.id, e.subnet.id
	}
	t.Steps = append(t.Steps, s)
}

func (t *Trace) route(e, dst *eni, p *passage, r Reason) {
	s := Step{
		Stage: StageRoute, Interface: e.id, VPC: e.net.id, Subnet: e.subnet.id, RouteTable: e.subnet.routeTable, Reason: r,
		Target: "local",
	}
	if prefix, rt, ok := e.subnet.routes.LookupPrefixLPM(hostPrefix(p.h.Dst)); ok {
		s.Route, s.Target = prefix.String(), rt.target
	}
	t.Steps = append(t.Steps, s)
}

func (t *Trace) leg(rules *sg.Registry, p *passage, l *leg, d conntrack.Dir) {
	q := query(p, l.eni, d)
	s := Step{
		Stage: StageSGIngress, Interface: l.eni.id, VPC: l.eni.net.id, Subnet: l.eni.subnet.id,
		Reason: l.reason, Tracked: l.tracked, Rule: rules.RuleInfo(l.rule), Groups: l.eni.model.Groups,
	}
	if d == conntrack.Out {
		s.Stage = StageSGEgress
	}
	for _, g := range q.RemoteGroups {
		s.Remote = append(s.Remote, rules.GroupID(g))
	}
	if l.reason == ReasonNoRule {
		nearest, differs := l.eni.policy.Nearest(direction(d), &q)
		s.Nearest, s.Differs = rules.RuleInfo(nearest), differs
	}
	t.Steps = append(t.Steps, s)
}

func (t *Trace) record(l *leg, f *flowlogs.Flow) {
	t.Records = append(t.Records, TraceRecord{Interface: l.eni.id, Direction: f.Direction, Action: f.Action})
}

// finish notes how the frame ended, and the step where it did if no other shows it.
func (t *Trace) finish(p *passage) {
	t.Reason = p.reason
	if t.Reason == ReasonDetached && p.legs[conntrack.In].eni != nil {
		e := p.legs[conntrack.In].eni
		t.Steps = append(t.Steps, Step{Stage: StageDeliver, Interface: e.id, VPC: e.net.id, Subnet: e.subnet.id, Reason: t.Reason})
	}
	if t.Reason == ReasonFragment || t.Reason == ReasonTableFull {
		t.Steps = append(t.Steps, Step{Stage: StageDeliver, Interface: p.legs[conntrack.Out].eni.id, Reason: t.Reason})
	}
}
