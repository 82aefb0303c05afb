package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vpclab/vpclab/api/agent"
)

// Status prints the agent, its labs and its instances. Its CSV is the list of instances.
func (p *Printer) Status(s *agent.Status) error {
	if done, err := p.value(s); done {
		return err
	}
	if p.Format == CSV {
		return p.Instances(s.Instances)
	}
	t := bare(2)
	a := s.Agent
	t.add(text("agent"), text(fmt.Sprintf("pid %d, up %s, driver %s, version %s", a.PID, Elapsed(p.Now.Sub(a.Started)), a.Driver, a.Version)))
	t.add(text("account"), text(a.Account+", "+a.Region))
	t.add(text("data"), text(a.DataDir))
	t.add(text("model"), text(revisions(a)))
	t.add(text("conntrack"), text(tableStats(s.Conntrack)))
	t.add(text("drops"), text(counters(s.Drops)))
	for _, l := range s.Labs {
		t.add(text("lab"), text(labLine(l)))
	}
	if err := t.flush(p.W, p.Color); err != nil || len(s.Instances) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(p.W); err != nil {
		return err
	}
	return p.Instances(s.Instances)
}

func revisions(a agent.AgentInfo) string {
	if a.Revision == a.Applied {
		return fmt.Sprintf("revision %d, applied", a.Revision)
	}
	return fmt.Sprintf("revision %d, applied up to %d", a.Revision, a.Applied)
}

func tableStats(s agent.TableStats) string {
	out := fmt.Sprintf("%d of %d halves, %d of them rejects", s.Halves, s.Capacity, s.Rejected)
	if s.Full > 0 {
		out += fmt.Sprintf(", %s refused because it was full", count(int(s.Full), "flow"))
	}
	if s.Evicted > 0 {
		out += fmt.Sprintf(", %d half-open evicted", s.Evicted)
	}
	return out
}

func counters(list []agent.Counter) string {
	if len(list) == 0 {
		return "none"
	}
	texts := make([]string, len(list))
	for i, c := range list {
		texts[i] = fmt.Sprintf("%s %d", c.Name, c.Value)
		if c.Where != "" {
			texts[i] += " (" + c.Where + ")"
		}
	}
	return strings.Join(texts, ", ")
}

func labLine(l agent.LabRow) string {
	s := fmt.Sprintf("%s: %s, %s, %s, %d of %s running", l.Name, count(l.VPCs, "VPC"), count(l.Subnets, "subnet"),
		count(l.Groups, "security group"), l.Running, count(l.Instances, "instance"))
	if l.File != "" {
		s += ", " + l.File
	}
	return s
}

var instanceFields = []field[agent.InstanceRow]{
	{"lab", func(r *agent.InstanceRow) any { return r.Lab }},
	{"name", func(r *agent.InstanceRow) any { return r.Name }},
	{"id", func(r *agent.InstanceRow) any { return r.ID }},
	{"state", func(r *agent.InstanceRow) any { return r.State }},
	{"driver", func(r *agent.InstanceRow) any { return r.Driver }},
	{"vpc", func(r *agent.InstanceRow) any { return r.VPC }},
	{"subnet", func(r *agent.InstanceRow) any { return r.Subnet }},
	{"addresses", func(r *agent.InstanceRow) any { return r.Addresses }},
	{"security_groups", func(r *agent.InstanceRow) any { return r.Groups }},
	{"listen", func(r *agent.InstanceRow) any { return r.Listen }},
	{"problem", func(r *agent.InstanceRow) any { return r.Problem }},
}

// Instances prints a list of instances; the labs' names only where there are several.
func (p *Printer) Instances(rows []agent.InstanceRow) error {
	if done, err := p.value(rows); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, instanceFields, rows)
	}
	labs := slices.ContainsFunc(rows, func(r agent.InstanceRow) bool { return r.Lab != rows[0].Lab })
	columns := []column{{head: "INSTANCE"}, {head: "VPC"}, {head: "SUBNET"}, {head: "GROUPS"}, {head: "LISTENS"}, {head: "DRIVER"}, {head: "STATE"}, {}}
	if labs {
		columns = slices.Insert(columns, 0, column{head: "LAB"})
	}
	t := newTable(columns...)
	for _, r := range rows {
		cells := instanceCells(&r)
		if labs {
			cells = slices.Insert(cells, 0, text(r.Lab))
		}
		t.add(cells...)
	}
	return t.flush(p.W, p.Color)
}

func instanceCells(r *agent.InstanceRow) []cell {
	ports := make([]string, len(r.Listen))
	for i, l := range r.Listen {
		ports[i] = listen(l)
	}
	return []cell{text(Named(r.Name, r.Addresses...)), text(r.VPC), text(r.Subnet), text(list(r.Groups)), text(list(ports)),
		text(dash(r.Driver)), verdict(r.State), {text: r.Problem, style: red}}
}

// list joins names, "-" where there are none.
func list(names []string) string { return dash(strings.Join(names, ", ")) }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number[T ~int | ~int64 | ~uint64](n T) cell { return text(strconv.FormatInt(int64(n), 10)) }
