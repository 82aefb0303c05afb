package render

import (
	"slices"
	"time"

	"github.com/vpclab/vpclab/api/agent"
)

var flowFields = []field[agent.FlowRow]{
	{"start", func(r *agent.FlowRow) any { return r.Start }},
	{"end", func(r *agent.FlowRow) any { return r.End }},
	{"lab", func(r *agent.FlowRow) any { return r.Lab }},
	{"at", func(r *agent.FlowRow) any { return r.At }},
	{"interface_id", func(r *agent.FlowRow) any { return r.InterfaceID }},
	{"direction", func(r *agent.FlowRow) any { return r.Direction }},
	{"protocol", func(r *agent.FlowRow) any { return r.Protocol }},
	{"source", func(r *agent.FlowRow) any { return r.Source.Name }},
	{"source_address", func(r *agent.FlowRow) any { return address(r.Source) }},
	{"source_port", func(r *agent.FlowRow) any { return r.Source.Port }},
	{"destination", func(r *agent.FlowRow) any { return r.Destination.Name }},
	{"destination_address", func(r *agent.FlowRow) any { return address(r.Destination) }},
	{"destination_port", func(r *agent.FlowRow) any { return r.Destination.Port }},
	{"action", func(r *agent.FlowRow) any { return r.Action }},
	{"packets", func(r *agent.FlowRow) any { return r.Packets }},
	{"bytes", func(r *agent.FlowRow) any { return r.Bytes }},
	{"tcp_flags", func(r *agent.FlowRow) any { return r.TCPFlags }},
	{"rule", func(r *agent.FlowRow) any { return Rule(r.Rule) }},
	{"rule_id", func(r *agent.FlowRow) any { return r.Rule.ID }},
	{"where", func(r *agent.FlowRow) any { return r.Rule.Where }},
	{"reason", func(r *agent.FlowRow) any { return r.Reason }},
	{"log_status", func(r *agent.FlowRow) any { return r.Status }},
	{"open", func(r *agent.FlowRow) any { return r.Open }},
}

func address(e agent.Endpoint) string {
	if !e.Address.IsValid() {
		return ""
	}
	return e.Address.String()
}

// Flows prints records. The protocol's column stands only where one of them is not TCP's.
func (p *Printer) Flows(rows []agent.FlowRow) error {
	if done, err := p.value(rows); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, flowFields, rows)
	}
	other := slices.ContainsFunc(rows, func(r agent.FlowRow) bool { return r.Protocol != "tcp" && r.Status == "OK" })
	labs := p.Labs || slices.ContainsFunc(rows, func(r agent.FlowRow) bool { return r.Lab != rows[0].Lab })
	f := p.flowTable(other, labs, 0)
	f.dates = slices.ContainsFunc(rows, func(r agent.FlowRow) bool { return !sameDay(p.local(r.Start), p.local(p.Now)) })
	for i := range rows {
		f.add(&rows[i], false)
	}
	return f.t.flush(p.W, p.Color)
}

// FlowFollower prints records one by one as they come: JSON lines, YAML documents, CSV, or a table whose columns grow.
type FlowFollower struct {
	p      *Printer
	table  *flowTable
	headed bool
}

// FollowFlows makes a FlowFollower.
func (p *Printer) FollowFlows() *FlowFollower {
	return &FlowFollower{p: p, table: p.flowTable(true, p.Labs, 24)}
}

// Add prints one record.
func (f *FlowFollower) Add(r *agent.FlowRow) error {
	switch f.p.Format {
	case JSON:
		return f.p.json(r, "")
	case YAML:
		if _, err := f.p.W.Write([]byte("---\n")); err != nil {
			return err
		}
		return f.p.yaml(r)
	case CSV:
		header := !f.headed
		f.headed = true
		return writeCSV(f.p.W, header, flowFields, []agent.FlowRow{*r})
	}
	f.table.add(r, true)
	return f.table.t.flush(f.p.W, f.p.Color)
}

type flowTable struct {
	t     *table
	p     *Printer
	proto bool
	labs  bool
	dates bool
}

func (p *Printer) flowTable(proto, labs bool, wide int) *flowTable {
	columns := []column{{head: "TIME"}, {head: "AT"}, {head: "DIR", min: min(wide, len("ingress"))}, {head: "SOURCE", min: wide}, {head: "DESTINATION", min: wide},
		{head: "ACTION"}, {head: "PKTS", right: true}, {head: "BYTES", right: true}, {head: "FLAGS", min: min(wide, len("SYN-ACK FIN"))}, {head: "RULE"}}
	if proto {
		columns = slices.Insert(columns, 3, column{head: "PROTO", min: len("icmpv6")})
	}
	if wide > 0 {
		columns[1].min = 10
	}
	if labs {
		columns = slices.Insert(columns, 1, column{head: "LAB", min: min(wide, 10)})
	}
	return &flowTable{t: newTable(columns...), p: p, proto: proto, labs: labs}
}

func (f *flowTable) add(r *agent.FlowRow, live bool) {
	layout := time.TimeOnly
	if f.dates {
		layout = time.DateTime
	}
	at := []cell{text(f.p.local(r.Start).Format(layout))}
	if f.labs {
		at = append(at, text(dash(r.Lab)))
	}
	at = append(at, text(r.At))
	if r.Status != "OK" {
		empty := make([]cell, len(f.t.columns)-len(at)-1)
		for i := range empty {
			empty[i] = cell{text: "-", style: dim}
		}
		f.t.add(append(at, append(empty, cell{text: r.Status, style: dim})...)...)
		return
	}
	rule := Rule(r.Rule)
	if live && r.Open {
		rule += " (so far)"
	}
	cells := []cell{text(r.Direction), text(Endpoint(r.Source, false)), text(Endpoint(r.Destination, false)),
		verdict(r.Action), number(r.Packets), number(r.Bytes), text(dash(TCPFlags(r.TCPFlags))), text(rule)}
	if f.proto {
		cells = slices.Insert(cells, 1, text(r.Protocol))
	}
	f.t.add(append(at, cells...)...)
}

func (p *Printer) local(t time.Time) time.Time {
	if p.Zone == nil {
		return t.Local()
	}
	return t.In(p.Zone)
}

func sameDay(a, b time.Time) bool {
	y, m, d := a.Date()
	y2, m2, d2 := b.Date()
	return y == y2 && m == m2 && d == d2
}
