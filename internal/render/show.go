package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vpclab/vpclab/api/agent"
)

// ErrNoCSV is Show's answer to a format that one whole object does not have.
var ErrNoCSV = errors.New("one object has no csv form; use -o table, json or yaml")

// Show prints one object whole.
func (p *Printer) Show(r *agent.ShowResult) error {
	if done, err := p.value(r); done {
		return err
	}
	if p.Format == CSV {
		return ErrNoCSV
	}
	s := &sheet{p: p, fields: bare(2)}
	switch {
	case r.Lab != nil:
		s.lab(r.Lab)
	case r.VPC != nil:
		s.vpc(r.VPC)
	case r.Subnet != nil:
		s.subnet(r.Subnet)
	case r.SecurityGroup != nil:
		s.group(r.SecurityGroup)
	case r.NetworkInterface != nil:
		s.networkInterface(r.NetworkInterface)
	case r.Instance != nil:
		s.instance(r.Instance)
	case r.RouteTable != nil:
		s.routeTable(r.RouteTable)
	case r.PrefixList != nil:
		s.prefixList(r.PrefixList)
	case r.FlowLog != nil:
		s.flowLog(r.FlowLog)
	default:
		return fmt.Errorf("the agent sent an object of an unknown kind: %q", r.Kind)
	}
	return s.flush()
}

// sheet is fields one under the other, and then tables with titles.
type sheet struct {
	p      *Printer
	fields *table
	tables []titled
}

type titled struct {
	title string
	t     *table
}

func (s *sheet) field(name, value string) { s.fields.add(cell{text: name, style: bold}, text(value)) }

// optional is field for what need not be there.
func (s *sheet) optional(name, value string) {
	if value != "" {
		s.field(name, value)
	}
}

func (s *sheet) head(kind string, h agent.Head) {
	s.field(kind, strings.Join(nonEmpty(h.Name, h.ID), "  "))
	s.optional("lab", h.Lab)
	s.tags(h.Tags)
}

func (s *sheet) tags(tags map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		s.field("tag "+k, tags[k])
	}
}

func (s *sheet) table(title string, columns ...column) *table {
	t := newTable(columns...)
	s.tables = append(s.tables, titled{title, t})
	return t
}

func (s *sheet) flush() error {
	if err := s.fields.flush(s.p.W, s.p.Color); err != nil {
		return err
	}
	for _, x := range s.tables {
		title := "\n" + paint(x.title, bold, s.p.Color) + "\n"
		if len(x.t.rows) == 0 {
			title = "\n" + paint(x.title+": none", bold, s.p.Color) + "\n"
			x.t.headed = true
		}
		if _, err := fmt.Fprint(s.p.W, title); err != nil {
			return err
		}
		if err := x.t.flush(s.p.W, s.p.Color); err != nil {
			return err
		}
	}
	return nil
}

func (s *sheet) lab(l *agent.LabDetail) {
	s.field("lab", l.Name)
	s.optional("about", l.About)
	s.optional("file", l.File)
	s.field("VPCs", names(l.VPCs))
	s.field("security groups", names(l.Groups))
	t := s.table("instances", column{head: "INSTANCE"}, column{head: "SUBNET"}, column{head: "GROUPS"}, column{head: "STATE"})
	for _, r := range l.Instances {
		t.add(text(Named(r.Name, r.Addresses...)), text(r.Subnet), text(list(r.Groups)), verdict(r.State))
	}
}

func (s *sheet) vpc(v *agent.VPCDetail) {
	s.head("VPC", v.Head)
	s.field("addresses", list(v.CIDRs))
	if v.Default {
		s.field("default", "yes")
	}
	s.field("subnets", names(v.Subnets))
	s.field("security groups", names(v.Groups))
	s.field("route tables", names(v.RouteTables))
	s.field("flow logs", names(v.FlowLogs))
}

func (s *sheet) subnet(v *agent.SubnetDetail) {
	s.head("subnet", v.Head)
	s.field("VPC", v.VPC)
	s.field("addresses", fmt.Sprintf("%s, %d free", list(v.CIDRs), v.Available))
	s.field("zone", v.Zone+" ("+v.ZoneID+")")
	s.field("router", v.Router.String())
	s.field("route table", name(v.RouteTable))
	s.interfaces("network interfaces", v.Interfaces)
}

func (s *sheet) interfaces(title string, list []agent.Interface) {
	t := s.table(title, column{head: "INTERFACE"}, column{head: "INSTANCE"}, column{head: "SUBNET"}, column{head: "MAC"}, column{head: "GROUPS"})
	for _, i := range list {
		t.add(text(i.ID), text(Named(i.Instance, i.Addresses...)), text(i.Subnet), text(i.MAC), text(strings.Join(i.Groups, ", ")))
	}
}

func (s *sheet) group(g *agent.GroupDetail) {
	s.head("security group", g.Head)
	s.field("VPC", g.VPC)
	s.optional("description", g.Description)
	s.optional("referenced by", strings.Join(nameTexts(g.ReferencedBy), ", "))
	s.rules(agent.Ingress, g.Rules, false)
	s.rules(agent.Egress, g.Rules, false)
	s.interfaces("members", g.Members)
}

// rules prints the rules of one direction with their use.
func (s *sheet) rules(direction string, rules []agent.GroupRule, groups bool) {
	columns := []column{{head: "RULE"}, {head: "PROTO"}, {head: "PORTS"}, {head: "PEER"}, {head: "FLOWS", right: true}, {head: "OPEN", right: true}, {head: "LAST"}, {head: "ID"}, {head: "WRITTEN"}, {}}
	if groups {
		columns = slices.Insert(columns, 0, column{head: "GROUP"})
	}
	t := s.table(direction, columns...)
	for _, r := range rules {
		if r.Direction != direction {
			continue
		}
		last, where := "never", r.Where
		if r.LastHit != nil {
			last = s.p.local(*r.LastHit).Format(time.TimeOnly)
		}
		if r.Default {
			where = "default"
		}
		cells := []cell{text(r.Words), text(r.Protocol), text(dash(r.Ports)), text(r.Peer), number(r.Hits), number(r.Connections), text(last), text(r.ID),
			text(dash(where)), text(r.Description)}
		if groups {
			cells = slices.Insert(cells, 0, text(r.Group))
		}
		t.add(cells...)
	}
}

func (s *sheet) networkInterface(i *agent.InterfaceDetail) {
	s.field("network interface", strings.Join(nonEmpty(i.Name, i.ID), "  "))
	s.optional("lab", i.Lab)
	s.tags(i.Tags)
	s.interfaceFields(i)
}

func (s *sheet) interfaceFields(i *agent.InterfaceDetail) {
	s.optional("description", i.Description)
	s.field("instance", dash(i.Instance))
	s.field("addresses", Named("", i.Addresses...))
	s.field("MAC", i.MAC)
	s.field("subnet", i.Subnet+" in "+i.VPC)
	s.field("security groups", list(i.Groups))
	s.field("source/dest check", map[bool]string{true: "on", false: "off"}[i.SourceDestCheck])
	s.field("status", i.Status)
	for _, t := range i.Timeouts {
		s.field("idle "+t.Name, Elapsed(t.Seconds.Duration())+map[bool]string{true: " (default)"}[t.Default])
	}
	s.field("halves", fmt.Sprint(i.Halves))
	s.field("received", traffic(i.Rx))
	s.field("sent", traffic(i.Tx))
	s.field("drops", counters(i.Drops))
}

func traffic(c agent.FlowCount) string {
	return fmt.Sprintf("%s, %s", count(int(c.Packets), "packet"), size(int64(c.Bytes)))
}

func (s *sheet) instance(i *agent.InstanceDetail) {
	s.field("instance", Named(i.Name, i.Addresses...)+"  "+i.ID)
	s.optional("lab", i.Lab)
	s.tags(i.Tags)
	s.field("state", i.State+", since "+s.p.local(i.Launched).Format(time.DateTime))
	s.optional("problem", i.Problem)
	s.field("driver", dash(i.Driver))
	s.field("subnet", i.Subnet+" in "+i.VPC)
	ports := make([]string, len(i.Listen))
	for k, l := range i.Listen {
		ports[k] = listen(l)
	}
	s.field("listens", list(ports))
	for _, k := range slices.Sorted(maps.Keys(i.Info)) {
		if k != "driver" && k != "mac" { // said above and below
			s.field(k, i.Info[k])
		}
	}
	for k := range i.Interfaces {
		x := &sheet{p: s.p, fields: s.table("network interface "+i.Interfaces[k].ID, column{}, column{})}
		x.interfaceFields(&i.Interfaces[k])
	}
	s.rules(agent.Ingress, i.Rules, true)
	s.rules(agent.Egress, i.Rules, true)
}

func (s *sheet) routeTable(r *agent.RouteTableDetail) {
	s.head("route table", r.Head)
	s.field("VPC", r.VPC)
	if r.Main {
		s.field("main", "yes")
	}
	s.field("subnets", names(r.Subnets))
	t := s.table("routes", column{head: "DESTINATION"}, column{head: "TARGET"}, column{head: "STATE"}, column{head: "ORIGIN"})
	for _, x := range r.Routes {
		t.add(text(x.Destination), text(x.Target), text(x.State), text(x.Origin))
	}
}

func (s *sheet) prefixList(l *agent.PrefixListDetail) {
	s.head("prefix list", l.Head)
	s.field("family", fmt.Sprintf("IPv%d", l.Family))
	s.field("version", fmt.Sprint(l.Version))
	s.field("entries", fmt.Sprintf("%d of at most %d", len(l.Entries), l.MaxEntries))
	t := s.table("entries", column{head: "CIDR"}, column{head: "DESCRIPTION"})
	for _, e := range l.Entries {
		t.add(text(e.CIDR), text(e.Description))
	}
}

func (s *sheet) flowLog(l *agent.FlowLogDetail) {
	s.head("flow log", l.Head)
	s.field("resource", strings.Join(nonEmpty(l.Resource, l.ResourceID), "  "))
	s.field("traffic", l.TrafficType)
	s.field("destination", l.Destination)
	s.field("format", l.Format)
	s.field("interval", Elapsed(time.Duration(l.Interval)*time.Second))
	s.field("created", s.p.local(l.Created).Format(time.DateTime))
	t := s.table("files", column{head: "PUBLISHED"}, column{head: "SIZE", right: true}, column{head: "KEY"})
	for _, f := range l.Files {
		t.add(text(s.p.local(f.Modified).Format(time.DateTime)), text(size(f.Size)), text(f.Key))
	}
}

func names(list []agent.Name) string { return dash(strings.Join(nameTexts(list), ", ")) }

func nameTexts(list []agent.Name) []string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = name(n)
	}
	return texts
}

// name gives "public (10.0.1.0/24)", or the id of what has no name.
func name(n agent.Name) string {
	s := n.Name
	if s == "" {
		s = n.ID
	}
	if n.Detail != "" {
		s += " (" + n.Detail + ")"
	}
	return s
}
