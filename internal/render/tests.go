package render

import (
	"fmt"
	"strings"

	"github.com/vpclab/vpclab/api/agent"
)

var testFields = []field[agent.TestResult]{
	{"number", func(r *agent.TestResult) any { return r.Number }},
	{"name", func(r *agent.TestResult) any { return r.Name }},
	{"status", func(r *agent.TestResult) any { return r.Status }},
	{"source", func(r *agent.TestResult) any { return endpoint(r.Source) }},
	{"destination", func(r *agent.TestResult) any { return endpoint(r.Destination) }},
	{"protocol", func(r *agent.TestResult) any { return r.Protocol }},
	{"verdict", func(r *agent.TestResult) any { return r.Verdict }},
	{"because", func(r *agent.TestResult) any { return r.Because }},
	{"where", func(r *agent.TestResult) any { return r.Where }},
	{"steps", func(r *agent.TestResult) any { return len(r.Steps) }},
	{"problems", func(r *agent.TestResult) any { return problemLines(r.Problems) }},
	{"elapsed_seconds", func(r *agent.TestResult) any { return r.Elapsed }},
}

func endpoint(e *agent.Endpoint) string {
	if e == nil {
		return ""
	}
	return Endpoint(*e, false)
}

func problemLines(list []agent.Problem) string {
	texts := make([]string, len(list))
	for i := range list {
		texts[i] = list[i].Error()
	}
	return strings.Join(texts, "; ")
}

// Tests prints the results of a run and its summary; a nil summary stands for a run that was broken off.
func (p *Printer) Tests(results []agent.TestResult, s *agent.TestSummary) error {
	if done, err := p.value(struct {
		Results []agent.TestResult `json:"results"`
		Summary *agent.TestSummary `json:"summary"`
	}{results, s}); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, testFields, results)
	}
	t := bare(6)
	for i := range results {
		addTest(t, &results[i])
	}
	if s != nil {
		addSummary(t, s)
	}
	return t.flush(p.W, p.Color)
}

func addTest(t *table, r *agent.TestResult) {
	status := verdict(r.Status)
	status.text = fmt.Sprintf("%-4s", r.Status)
	if r.Source == nil || r.Destination == nil {
		t.add(status, cell{text: r.Name, span: 2}, cell{text: count(len(r.Steps), "step"), span: 3})
	} else {
		t.add(status, text(Endpoint(*r.Source, false)), text(testDestination(r)), verdict(r.Verdict), text(r.Because), cell{text: r.Where, style: dim})
	}
	if r.Status == agent.TestOK {
		return
	}
	if r.Source != nil && r.Name != "" {
		t.line("      " + r.Name)
	}
	for i, s := range r.Steps {
		t.line(strings.TrimRight(fmt.Sprintf("      %d  %-4s  %s  %s", i+1, s.Status, s.Text, strings.Join(nonEmpty(s.Verdict, s.Because, s.Where), "  ")), " "))
	}
	for i := range r.Problems {
		t.line("      " + r.Problems[i].Error())
	}
}

// testDestination says the protocol where the port does not: "web-1[10.0.1.10]:53/udp".
func testDestination(r *agent.TestResult) string {
	s := Endpoint(*r.Destination, false)
	if r.Protocol != "" && r.Protocol != "tcp" {
		s += "/" + r.Protocol
	}
	return s
}

func addSummary(t *table, s *agent.TestSummary) {
	parts := []string{}
	for _, n := range []struct {
		n    int
		word string
	}{{s.Passed, "passed"}, {s.Failed, "failed"}, {s.Skipped, "skipped"}} {
		if n.n > 0 || n.word == "passed" {
			parts = append(parts, fmt.Sprintf("%d %s", n.n, n.word))
		}
	}
	if s.Warnings > 0 {
		parts = append(parts, count(s.Warnings, "warning"))
	}
	t.line("")
	t.line(fmt.Sprintf("%s in %s; rules used: %d of %d", strings.Join(parts, ", "), Elapsed(s.Elapsed.Duration()), s.RulesUsed, s.Rules))
	for _, r := range s.Unused {
		t.line("not used by any test: " + strings.Join(nonEmpty(probeRule(r), r.Where), "  "))
	}
}

// Validation prints what a valid file has in it.
func (p *Printer) Validation(v *agent.Validation) error {
	if done, err := p.value(v); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, validationFields, []agent.Validation{*v})
	}
	t := bare(1)
	for i := range v.Warnings {
		t.line("warning: " + v.Warnings[i].Error())
	}
	t.line(fmt.Sprintf("%s: valid: lab %s with %s, %s, %s, %s, %s, %s", v.Name, v.Lab, count(v.VPCs, "VPC"), count(v.Subnets, "subnet"),
		count(v.Groups, "security group"), count(v.Rules, "rule"), count(v.Instances, "instance"), count(v.Tests, "test")))
	return t.flush(p.W, p.Color)
}

var validationFields = []field[agent.Validation]{
	{"name", func(v *agent.Validation) any { return v.Name }},
	{"lab", func(v *agent.Validation) any { return v.Lab }},
	{"vpcs", func(v *agent.Validation) any { return v.VPCs }},
	{"subnets", func(v *agent.Validation) any { return v.Subnets }},
	{"security_groups", func(v *agent.Validation) any { return v.Groups }},
	{"rules", func(v *agent.Validation) any { return v.Rules }},
	{"instances", func(v *agent.Validation) any { return v.Instances }},
	{"tests", func(v *agent.Validation) any { return v.Tests }},
	{"warnings", func(v *agent.Validation) any { return problemLines(v.Warnings) }},
}
