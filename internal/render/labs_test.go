package render

import (
	"regexp"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

// TestLabsAreNamedWhereThereAreSeveral, in the lists whose rows may come from any lab.
func TestLabsAreNamedWhereThereAreSeveral(t *testing.T) {
	flow := func(lab string) agent.FlowRow {
		return agent.FlowRow{Start: now, Lab: lab, At: "web-1", Direction: agent.Egress, Protocol: "tcp", Source: at(web, 1), Destination: at(app, 2), Action: agent.Accept, Rule: tcp8080, Status: "OK"}
	}
	half := func(lab string) agent.ConntrackRow {
		return agent.ConntrackRow{Lab: lab, At: "web-1", Protocol: "tcp", Inside: at(web, 1), Outside: at(app, 2), Opener: agent.Egress, Action: agent.Accept, Rule: tcp8080}
	}
	nodata := flow("blue")
	nodata.Status = "NODATA"
	for name, c := range map[string]struct {
		print func(*Printer) error
		want  string // a regular expression; "" for no LAB anywhere
	}{
		"flows of one lab":      {func(p *Printer) error { return p.Flows([]agent.FlowRow{flow("red"), flow("red")}) }, ""},
		"flows of two labs":     {func(p *Printer) error { return p.Flows([]agent.FlowRow{flow("red"), flow("blue")}) }, `^TIME +LAB +AT +DIR .*\n[0-9:]+ +red +web-1 +egress .*\n[0-9:]+ +blue +web-1 +egress `},
		"NODATA of two labs":    {func(p *Printer) error { return p.Flows([]agent.FlowRow{flow("red"), nodata}) }, `\n[0-9:]+ +blue +web-1 +- .* NODATA\n$`},
		"followed":              {func(p *Printer) error { r := flow("red"); return p.FollowFlows().Add(&r) }, ""},
		"followed, two labs":    {func(p *Printer) error { p.Labs = true; r := flow("red"); return p.FollowFlows().Add(&r) }, `^TIME +LAB +AT +DIR +PROTO .*\n[0-9:]+ +red +web-1 +egress +tcp `},
		"conntrack of one lab":  {func(p *Printer) error { return p.Conntrack([]agent.ConntrackRow{half("red"), half("red")}) }, ""},
		"conntrack of two labs": {func(p *Printer) error { return p.Conntrack([]agent.ConntrackRow{half("red"), half("blue")}) }, `^LAB +AT +PROTO .*\nred +web-1 +tcp .*\nblue +web-1 +tcp `},
	} {
		got := printed(t, Table, c.print)
		if c.want == "" && strings.Contains(got, "LAB") || !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}
