package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/api/agent"
)

var stepFields = []field[agent.Step]{
	{"at", func(s *agent.Step) any { return s.At }},
	{"stage", func(s *agent.Step) any { return s.Stage }},
	{"result", func(s *agent.Step) any { return s.Result }},
	{"detail", func(s *agent.Step) any { return s.Detail }},
	{"where", func(s *agent.Step) any { return s.Where }},
	{"code", func(s *agent.Step) any { return s.Code }},
	{"rule_id", func(s *agent.Step) any {
		if s.Rule == nil {
			return ""
		}
		return s.Rule.ID
	}},
}

// Explanation prints each step of the packet, the nearest rule where none matched, the way back, and the records. Its
// CSV is the list of steps there.
func (p *Printer) Explanation(e *agent.Explanation) error {
	e = detailed(e)
	if done, err := p.value(e); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, stepFields, e.Steps)
	}
	head := bare(3)
	head.add(verdict(e.Verdict), text(e.Protocol), text(path(e.Source, e.Destination)))
	if err := head.flush(p.W, p.Color); err != nil {
		return err
	}
	t := bare(6)
	t.line("")
	addSteps(t, e.Steps)
	t.line("return   " + strings.Join(nonEmpty(e.Return.Verdict, e.Return.Text), "  "))
	addSteps(t, e.Return.Steps)
	t.line("records  " + records(e.Records))
	if e.Note != "" {
		t.line("note     " + e.Note)
	}
	return t.flush(p.W, p.Color)
}

func path(from, to agent.Endpoint) string {
	from.Port = 0 // an ephemeral port says nothing
	return Endpoint(from, false) + " -> " + Endpoint(to, true)
}

func addSteps(t *table, steps []agent.Step) {
	for i := range steps {
		s := &steps[i]
		t.add(number(i+1), text(s.At), text(s.Stage), verdict(s.Result), text(s.Detail), cell{text: strings.Join(nonEmpty(s.Code, s.Where), ", "), style: dim})
		if n := s.Nearest; n != nil {
			t.add(text(""), text(""), text("nearest"), text(""), text(Rule(n.Rule)), cell{text: strings.Join(nonEmpty(n.Rule.Where, n.Why), ", "), style: dim})
		}
	}
}

// detailed gives e with the words of each step's rule where the step has none of its own.
func detailed(e *agent.Explanation) *agent.Explanation {
	fill := func(steps []agent.Step) []agent.Step {
		steps = slices.Clone(steps)
		for i := range steps {
			if s := &steps[i]; s.Detail == "" && s.Rule != nil {
				s.Detail = ruleDefault(*s.Rule)
			}
		}
		return steps
	}
	c := *e
	c.Steps, c.Return.Steps = fill(e.Steps), fill(e.Return.Steps)
	return &c
}

// records gives "web-1 egress ACCEPT, db-1 ingress REJECT".
func records(list []agent.RecordRef) string {
	texts := make([]string, len(list))
	for i, r := range list {
		texts[i] = fmt.Sprintf("%s %s %s", r.At, r.Direction, r.Action)
	}
	if len(texts) == 0 {
		return "none"
	}
	return strings.Join(texts, ", ")
}
