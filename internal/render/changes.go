package render

import (
	"fmt"
	"strings"

	"github.com/vpclab/vpclab/api/agent"
)

var changeFields = []field[agent.Change]{
	{"action", func(c *agent.Change) any { return c.Action }},
	{"kind", func(c *agent.Change) any { return c.Kind }},
	{"name", func(c *agent.Change) any { return c.Name }},
	{"id", func(c *agent.Change) any { return c.ID }},
	{"detail", func(c *agent.Change) any { return c.Detail }},
	{"fields", func(c *agent.Change) any { return strings.Join(c.Fields, "; ") }},
	{"where", func(c *agent.Change) any { return c.Where }},
}

// Applied prints what apply did, or with a dry run would do.
func (p *Printer) Applied(r *agent.ApplyResult) error {
	if done, err := p.value(r); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, changeFields, r.Changes)
	}
	t := changeTable(r.Changes)
	t.line(tally(r))
	return t.flush(p.W, p.Color)
}

// Removed prints what down took away.
func (p *Printer) Removed(r *agent.DownResult) error {
	if done, err := p.value(r); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, changeFields, r.Changes)
	}
	t := changeTable(r.Changes)
	switch {
	case len(r.Labs) > 0:
		t.line("down: " + strings.Join(r.Labs, ", "))
	case len(r.Changes) == 0:
		t.line("nothing was up")
	}
	return t.flush(p.W, p.Color)
}

var changeSigns = map[string]cell{
	"add":    {text: "+", style: green},
	"change": {text: "~", style: yellow},
	"remove": {text: "-", style: red},
}

func changeTable(changes []agent.Change) *table {
	t := bare(5)
	for _, c := range changes {
		sign, ok := changeSigns[c.Action]
		if !ok {
			sign = text(c.Action)
		}
		detail := c.Detail
		if len(c.Fields) > 0 {
			detail = strings.Join(append(nonEmpty(c.Detail), c.Fields...), "; ")
		}
		t.add(sign, text(c.Kind), text(c.Name), text(detail), cell{text: c.Where, style: dim})
	}
	return t
}

func nonEmpty(texts ...string) []string {
	var out []string
	for _, s := range texts {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// tally gives "lab three-tier: 3 added, 1 changed, 0 removed".
func tally(r *agent.ApplyResult) string {
	n := map[string]int{}
	for _, c := range r.Changes {
		n[c.Action]++
	}
	switch {
	case len(r.Changes) == 0:
		return fmt.Sprintf("lab %s: nothing to change", r.Lab)
	case r.DryRun:
		return fmt.Sprintf("lab %s: %d to add, %d to change, %d to remove; nothing was done", r.Lab, n["add"], n["change"], n["remove"])
	}
	return fmt.Sprintf("lab %s: %d added, %d changed, %d removed", r.Lab, n["add"], n["change"], n["remove"])
}

// Rules prints the rules that authorize added or revoke removed.
func (p *Printer) Rules(done string, r *agent.RuleResult) error {
	if printed, err := p.value(r); printed {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, ruleFields, r.Rules)
	}
	t := bare(5)
	for _, rule := range r.Rules {
		t.add(text(done), text(rule.ID), text(rule.Group+" "+rule.Direction), text(rule.Words), cell{text: rule.Where, style: dim})
	}
	if r.Surviving > 0 {
		t.line(survivors(r.Surviving))
	}
	return t.flush(p.W, p.Color)
}

var ruleFields = []field[agent.RuleRef]{
	{"id", func(r *agent.RuleRef) any { return r.ID }},
	{"group_id", func(r *agent.RuleRef) any { return r.GroupID }},
	{"group", func(r *agent.RuleRef) any { return r.Group }},
	{"direction", func(r *agent.RuleRef) any { return r.Direction }},
	{"words", func(r *agent.RuleRef) any { return r.Words }},
	{"where", func(r *agent.RuleRef) any { return r.Where }},
	{"default", func(r *agent.RuleRef) any { return r.Default }},
}

func survivors(n int) string {
	if n == 1 {
		return "1 tracked connection lives on until it is closed or idle: vpclab conntrack"
	}
	return fmt.Sprintf("%d tracked connections live on until they are closed or idle: vpclab conntrack", n)
}
