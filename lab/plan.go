package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// Action is what a change does to its object.
type Action string

// Actions, as a plan prints them.
const (
	Add    Action = "+"
	Alter  Action = "~"
	Delete Action = "-"
)

// KindRule is the kind of a Change of one rule; the others are those of package vpc.
const KindRule vpc.Kind = "rule"

// Change is one line of a plan.
type Change struct {
	Action Action
	Kind   vpc.Kind
	Name   string   // "web-1", "shop/public"; of a rule: its group and direction, "web ingress"
	ID     string   // "" in a plan for what is to be made
	Detail string   // "10.0.1.0/24", "tcp 8080 from web"
	Fields []string // of Alter: "groups: web -> web, app"
	Where  Pos      // in the lab file; nowhere for what the file has no more
}

// String gives "+ subnet shop/public 10.0.1.0/24", "~ instance web-1 (groups: web -> web, app)".
func (c Change) String() string {
	parts := []string{string(c.Action), string(c.Kind), c.Name}
	if c.Detail != "" {
		parts = append(parts, c.Detail)
	}
	if len(c.Fields) > 0 {
		parts = append(parts, "("+strings.Join(c.Fields, "; ")+")")
	}
	return strings.Join(parts, " ")
}

// Ref names an object of a lab.
type Ref struct{ Name, ID string }

// Applied is what Apply made of a lab: the ids behind its names, and what became of its instances.
type Applied struct {
	Lab         string
	Changes     []Change          // in the order in which they were made
	VPCs        map[string]string // id by name, here and below
	Subnets     map[string]string // by VPC/SUBNET
	Groups      map[string]string // by VPC/GROUP; VPC/default among them
	PrefixLists map[string]string
	Instances   map[string]string
	Interfaces  map[string]string // by the instance's name
	// New and Removed instances, in the order of the file and of their names. One that has to be made anew is in both,
	// with its old and its new id. Changed ones keep their id: their groups, addresses or settings are other ones.
	New, Changed, Removed []Ref
}

// Plan says what Apply would do to the state in a view. Nothing is changed. An empty plan: the lab is as the file
// says.
func Plan(view *vpc.View, f *File) ([]Change, error) {
	p := newPlanner(view, f)
	p.plan()
	changes := []Change{}
	for _, op := range p.ops {
		if !op.silent {
			changes = append(changes, op.change)
		}
	}
	return changes, nil
}

// Apply makes a lab be as its file says, in the caller's transaction. It touches objects of this lab only (Meta.Lab),
// and of those only what differs: a rule whose permission and words are the same keeps its id, and a second Apply does
// nothing. On an error the transaction must be given up; the error is a *Problem that wraps the *vpc.Error.
func Apply(tx *vpc.Tx, f *File) (*Applied, error) {
	p := newPlanner(&tx.View, f)
	p.plan()
	if err := p.run(tx); err != nil {
		return nil, err
	}
	return p.out, nil
}

// Remove takes away all that a lab owns, in the caller's transaction. A lab that owns nothing is no error.
func Remove(tx *vpc.Tx, lab string) (*Applied, error) {
	return Apply(tx, &File{Lab: lab, source: newSource("", "")})
}

// op is one step of a plan: a change, and how to make it once the steps before it are made.
type op struct {
	change Change
	silent bool // no change of its own for people: a part of another
	at     Pos  // of what the file says, for errors
	path   string
	do     func(tx *vpc.Tx) error
}

// planner compares a lab file with a state of the model. Ids of what does not exist yet are filled in while the ops
// run, so an op looks ids up only then.
type planner struct {
	view *vpc.View
	f    *File
	out  *Applied

	vpcs      map[*VPC]*vpc.VPC           // of the file -> that stays
	subnets   map[*Subnet]*vpc.Subnet     // likewise
	groups    map[groupKey]string         // ids of groups that stay or have been made
	lists     map[string]*vpc.PrefixList  // that stay
	instances map[*Instance]*vpc.Instance // that stay

	claimed map[vpcAddr]*Instance  // addresses that the file gives
	next    map[*Subnet]netip.Addr // where to look for a free address

	goneVPCs    map[string]bool // ids
	goneSubnets map[string]bool

	ops      []op
	last     []op // to be done after the others: nothing names the objects any more
	existing existing
}

// groupKey names a security group of the lab.
type groupKey struct{ vpc, group string }

// existing is what the lab owns now.
type existing struct {
	vpcs       []*vpc.VPC
	subnets    []*vpc.Subnet
	groups     []*vpc.SecurityGroup
	lists      []*vpc.PrefixList
	interfaces []*vpc.NetworkInterface
	instances  []*vpc.Instance
	flowLogs   []*vpc.FlowLog
}

func newPlanner(view *vpc.View, f *File) *planner {
	p := &planner{
		view: view, f: f,
		vpcs: map[*VPC]*vpc.VPC{}, subnets: map[*Subnet]*vpc.Subnet{}, groups: map[groupKey]string{},
		lists: map[string]*vpc.PrefixList{}, instances: map[*Instance]*vpc.Instance{},
		claimed: map[vpcAddr]*Instance{}, next: map[*Subnet]netip.Addr{},
		goneVPCs: map[string]bool{}, goneSubnets: map[string]bool{},
		out: &Applied{
			Lab: f.Lab, Changes: []Change{}, VPCs: map[string]string{}, Subnets: map[string]string{}, Groups: map[string]string{},
			PrefixLists: map[string]string{}, Instances: map[string]string{}, Interfaces: map[string]string{},
		},
	}
	for _, o := range view.LabObjects(f.Lab) {
		switch o := o.(type) {
		case *vpc.VPC:
			p.existing.vpcs = append(p.existing.vpcs, o)
		case *vpc.Subnet:
			p.existing.subnets = append(p.existing.subnets, o)
		case *vpc.SecurityGroup:
			p.existing.groups = append(p.existing.groups, o)
		case *vpc.PrefixList:
			p.existing.lists = append(p.existing.lists, o)
		case *vpc.NetworkInterface:
			p.existing.interfaces = append(p.existing.interfaces, o)
		case *vpc.Instance:
			if joined(o) && len(f.VPCs) > 0 { // it goes only with the whole lab
				continue
			}
			p.existing.instances = append(p.existing.instances, o)
		case *vpc.FlowLog:
			p.existing.flowLogs = append(p.existing.flowLogs, o)
		}
	}
	return p
}

// plan decides first what stays, then lists the ops in an order in which each is legal: what goes before what comes,
// users before what they use when going, and after it when coming.
func (p *planner) plan() {
	p.matchNetwork()
	p.matchInstances()
	keepLogs := p.matchFlowLogs()

	p.removeFlowLogs(keepLogs)
	p.removeInstances()
	rules := p.matchRules()
	p.revokeRules(rules)
	p.removeNetwork()
	p.makeNetwork()
	p.authorizeRules(rules)
	p.alterInstances()
	p.makeInstances()
	p.ops = append(p.ops, p.last...)
	p.makeFlowLogs(keepLogs)
}

func (p *planner) add(o op) { p.ops = append(p.ops, o) }

// run makes the changes.
func (p *planner) run(tx *vpc.Tx) error {
	for i := range p.ops {
		o := &p.ops[i]
		if err := o.do(tx); err != nil {
			return o.failed(p.f, err)
		}
		if !o.silent {
			p.out.Changes = append(p.out.Changes, o.change)
		}
	}
	return nil
}

// failed gives the place in the lab file to the error of a command.
func (o *op) failed(f *File, err error) error {
	what := strings.TrimSpace(fmt.Sprintf("%s %s", o.change.Kind, o.change.Name))
	e, ok := errors.AsType[*vpc.Error](err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	problem := &Problem{File: o.at.File, Line: o.at.Line, Col: o.at.Col, Path: o.path, Wrong: strings.TrimSuffix(e.Message, "."), Right: e.Hint, Err: err}
	if o.at.Line == 0 {
		problem.File, problem.Path = "lab "+f.Lab, what
	} else {
		problem.Excerpt = f.source.excerpt(span{o.at.Line, o.at.Col, 1})
	}
	return problem
}
