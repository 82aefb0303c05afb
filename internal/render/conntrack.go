package render

import (
	"slices"

	"github.com/vpclab/vpclab/api/agent"
)

var conntrackFields = []field[agent.ConntrackRow]{
	{"lab", func(r *agent.ConntrackRow) any { return r.Lab }},
	{"at", func(r *agent.ConntrackRow) any { return r.At }},
	{"interface_id", func(r *agent.ConntrackRow) any { return r.InterfaceID }},
	{"protocol", func(r *agent.ConntrackRow) any { return r.Protocol }},
	{"inside", func(r *agent.ConntrackRow) any { return r.Inside.Name }},
	{"inside_address", func(r *agent.ConntrackRow) any { return address(r.Inside) }},
	{"inside_port", func(r *agent.ConntrackRow) any { return r.Inside.Port }},
	{"outside", func(r *agent.ConntrackRow) any { return r.Outside.Name }},
	{"outside_address", func(r *agent.ConntrackRow) any { return address(r.Outside) }},
	{"outside_port", func(r *agent.ConntrackRow) any { return r.Outside.Port }},
	{"opener", func(r *agent.ConntrackRow) any { return r.Opener }},
	{"state", func(r *agent.ConntrackRow) any { return r.State }},
	{"tracked", func(r *agent.ConntrackRow) any { return r.Tracked }},
	{"action", func(r *agent.ConntrackRow) any { return r.Action }},
	{"rule", func(r *agent.ConntrackRow) any { return Rule(r.Rule) }},
	{"rule_id", func(r *agent.ConntrackRow) any { return r.Rule.ID }},
	{"opened", func(r *agent.ConntrackRow) any { return r.Opened }},
	{"last_seen", func(r *agent.ConntrackRow) any { return r.LastSeen }},
	{"expires_in_seconds", func(r *agent.ConntrackRow) any { return r.ExpiresIn }},
}

// Conntrack prints halves of the flow table. The arrow goes the way the flow was opened.
func (p *Printer) Conntrack(rows []agent.ConntrackRow) error {
	if done, err := p.value(rows); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, conntrackFields, rows)
	}
	labs := p.Labs || slices.ContainsFunc(rows, func(r agent.ConntrackRow) bool { return r.Lab != rows[0].Lab })
	columns := []column{{head: "LAB"}, {head: "AT"}, {head: "PROTO"}, {head: "INSIDE"}, {}, {head: "OUTSIDE"}, {head: "STATE"},
		{head: "TRACKING"}, {head: "LEFT", right: true}, {head: "RULE"}}
	if !labs {
		columns = columns[1:]
	}
	t := newTable(columns...)
	for _, r := range rows {
		arrow := "->"
		if r.Opener == agent.Ingress {
			arrow = "<-"
		}
		cells := []cell{text(dash(r.Lab)), text(r.At), text(r.Protocol), text(Endpoint(r.Inside, true)), text(arrow), text(Endpoint(r.Outside, true)), text(dash(r.State)),
			tracking(&r), text(Elapsed(r.ExpiresIn.Duration())), text(Rule(r.Rule))}
		if !labs {
			cells = cells[1:]
		}
		t.add(cells...)
	}
	return t.flush(p.W, p.Color)
}

func tracking(r *agent.ConntrackRow) cell {
	switch {
	case r.Action == agent.Reject:
		return cell{text: "rejected", style: red}
	case r.Tracked:
		return text("tracked")
	}
	return cell{text: "untracked", style: yellow}
}
