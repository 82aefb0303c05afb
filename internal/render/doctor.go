package render

import (
	"fmt"

	"github.com/vpclab/vpclab/internal/doctor"
)

// finding is one row of the doctor's CSV: a driver or a check.
type finding struct {
	kind, name, state, found, needed, fix, command string
}

var findingFields = []field[finding]{
	{"kind", func(f *finding) any { return f.kind }},
	{"name", func(f *finding) any { return f.name }},
	{"state", func(f *finding) any { return f.state }},
	{"found", func(f *finding) any { return f.found }},
	{"for", func(f *finding) any { return f.needed }},
	{"fix", func(f *finding) any { return f.fix }},
	{"command", func(f *finding) any { return f.command }},
}

// Doctor prints what a machine allows: the drivers, what was looked at, and below each lack its fix.
func (p *Printer) Doctor(r *doctor.Report) error {
	if done, err := p.value(r); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, findingFields, findings(r))
	}
	t := newTable(column{head: "DRIVER"}, column{head: "WORKS"}, column{head: "HOW"})
	for _, d := range r.Drivers {
		t.add(text(d.Name), works(d.Works), text(d.Why))
	}
	if _, err := fmt.Fprintf(p.W, "%s\n\n", printable(r.System)); err != nil {
		return err
	}
	if err := t.flush(p.W, p.Color); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(p.W); err != nil {
		return err
	}
	if err := p.checks(r.Checks); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.W, "\n%s\n", lacking(r.Lacking))
	return err
}

func (p *Printer) checks(list []doctor.Check) error {
	t := newTable(column{head: "CHECK"}, column{head: "STATE"}, column{head: "FOR"}, column{head: "FOUND"})
	for _, c := range list {
		t.add(text(c.Name), state(c.State), text(dash(c.For)), text(c.Found))
		for _, line := range []struct{ head, text string }{{"fix", c.Fix}, {"type", c.Command}} {
			if line.text != "" {
				t.add(text(""), cell{text: line.head, style: bold}, cell{text: line.text, span: 2})
			}
		}
	}
	return t.flush(p.W, p.Color)
}

func lacking(n int) string {
	if n == 0 {
		return "nothing is lacking"
	}
	return count(n, "thing") + " lacking"
}

func works(yes bool) cell {
	if yes {
		return cell{text: "yes", style: green}
	}
	return cell{text: "no", style: red}
}

func state(s doctor.State) cell {
	return cell{text: string(s), style: map[doctor.State]style{doctor.OK: green, doctor.Lacks: red, doctor.Note: dim}[s]}
}

func findings(r *doctor.Report) []finding {
	var out []finding
	for _, d := range r.Drivers {
		f := finding{kind: "driver", name: d.Name, state: "works", found: d.Why}
		if !d.Works {
			f.state = "does not work"
		}
		out = append(out, f)
	}
	for _, c := range r.Checks {
		out = append(out, finding{"check", c.Name, string(c.State), c.Found, c.For, c.Fix, c.Command})
	}
	return out
}
