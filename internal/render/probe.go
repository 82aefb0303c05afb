package render

import (
	"strings"

	"github.com/vpclab/vpclab/api/agent"
)

var attemptFields = []field[agent.Attempt]{
	{"outcome", func(a *agent.Attempt) any { return a.Outcome }},
	{"rtt_seconds", func(a *agent.Attempt) any { return a.RTT }},
	{"detail", func(a *agent.Attempt) any { return a.Detail }},
}

// Probe prints what came of real packets, and why. Its CSV is the list of attempts.
func (p *Printer) Probe(r *agent.ProbeResult) error {
	if done, err := p.value(r); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, attemptFields, r.Attempts)
	}
	head := bare(4)
	line := []cell{verdict(r.Outcome), text(r.Protocol), text(path(r.Source, r.Destination))}
	if len(r.Attempts) == 1 {
		line = append(line, text(attempt(&r.Attempts[0])))
	}
	head.add(line...)
	if err := head.flush(p.W, p.Color); err != nil {
		return err
	}
	t := bare(3)
	for i := range r.Attempts {
		if len(r.Attempts) > 1 {
			t.add(number(i+1), verdict(r.Attempts[i].Outcome), text(attempt(&r.Attempts[i])))
		}
	}
	t.line("verdict  " + strings.Join(nonEmpty(r.Verdict, probeRule(r.Rule), r.Rule.Where), "  "))
	if r.Reason != "" {
		t.line("why      " + r.Reason)
	}
	t.line("records  " + records(r.Records))
	return t.flush(p.W, p.Color)
}

// probeRule gives "app ingress: tcp 8080 from web".
func probeRule(r agent.RuleRef) string {
	if r.Group == "" || r.Tracked {
		return ruleDefault(r)
	}
	return strings.Join(nonEmpty(r.Group, r.Direction), " ") + strings.TrimPrefix(ruleDefault(r), r.Group)
}

// attempt gives how long it took and what there is to say about it: "0.42 ms  HTTP 200".
func attempt(a *agent.Attempt) string {
	rtt := ""
	if a.RTT > 0 {
		rtt = Elapsed(a.RTT.Duration())
	}
	return strings.Join(nonEmpty(rtt, a.Detail), "  ")
}
