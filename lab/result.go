package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

// Status of a test or step.
type Status string

// Statuses, as they are printed.
const (
	Passed  Status = "ok"
	Failed  Status = "FAIL"
	Skipped Status = "skip" // not run, because a step before it failed or the run was cancelled
)

// Result is one test that has ended.
type Result struct {
	Number  int    // from 1, in the order of the file
	Name    string // as written; "" if it has none
	Status  Status
	Single  bool         // a single check, which is Steps[0]
	Steps   []StepResult // in order
	Elapsed time.Duration
	Pos     Pos
	// Problems are about the test as a whole: rules that could not be restored.
	Problems []string
}

// StepResult is one check or other step.
type StepResult struct {
	Text   string // "web-1 -> app-1:8080", "open c1 web-1 -> app-1:8080", "revoke tcp 8080 from web (app)"
	Status Status
	// Problems say what was expected and what came instead.
	Problems []string
	Pos      Pos
	// Of checks, open and send only; nil if nothing was sent:
	Observation *Observation
	Protocol    string // "tcp", "udp", "icmp"
	From        string // the sending instance
	Verdict     string // "ACCEPT" or "REJECT"; "DROP" and "NONE" where no rule decided
	Because     string // what decided: "web ingress: http from anywhere", "db ingress: no rule"
	DecidedAt   string // where that stands in the lab file: "lab.yaml:10"; ""
}

// Summary ends a run.
type Summary struct {
	Lab                            string
	Total, Passed, Failed, Skipped int
	Elapsed                        time.Duration
	Rules, RulesUsed               int       // rules as written in the lab file
	Unused                         []RuleUse // in the order of the file
}

// RuleUse names a rule as the lab file has it.
type RuleUse struct {
	Group     string
	Direction vpc.Direction
	Words     string
	Pos       Pos
}

// String gives "db ingress: postgres from app".
func (u RuleUse) String() string { return u.Group + " " + u.Direction.String() + ": " + u.Words }

// ExitCode is what a program that ran the tests ends with: 0, or 1 if not all tests passed.
func (s Summary) ExitCode() int {
	if s.Passed != s.Total {
		return 1
	}
	return 0
}

// decider is the judgement that a check is about: the first reject; else the verdict of the destination's ingress;
// else of the sender's egress. nil if no security group was asked.
func (o *Observation) decider(from string) *Judgement {
	var sent, arrived *Judgement
	for i := range o.Judgements {
		j := &o.Judgements[i]
		switch {
		case !j.Accept:
			return j
		case j.Direction == vpc.Ingress && j.Instance == o.DestinationName && arrived == nil:
			arrived = j
		case j.Direction == vpc.Egress && j.Instance == from && sent == nil:
			sent = j
		}
	}
	if arrived != nil {
		return arrived
	}
	return sent
}

// text gives "web ingress: http from anywhere".
func (j *Judgement) text() string {
	group, words := strings.Join(j.Groups, ", "), "no rule"
	switch {
	case j.Accept && j.Tracked:
		group, words = orElse(j.Rule.Group, group), "tracked"
		if j.Rule.Words != "" {
			words += ", opened by " + j.Rule.Words
		}
	case j.Accept:
		group, words = j.Rule.Group, j.Rule.Words
		if j.Rule.Default {
			words += " (default)"
		}
	}
	return group + " " + j.Direction.String() + ": " + words
}

// describe fills in what was seen.
func (s *StepResult) describe(f *File, o *Observation, t Traffic) {
	s.Observation, s.Protocol, s.From = o, t.To.Protocol, t.From
	switch j := o.decider(t.From); {
	case o.Outcome == Dropped:
		s.Verdict, s.Because = "DROP", orElse(o.Detail, "not forwarded")
	case j == nil:
		s.Verdict, s.Because = "NONE", orElse(o.Detail, "no security group was asked")
	default:
		s.Verdict, s.Because, s.DecidedAt = verdict(j.Accept), j.text(), j.Rule.Where
		for _, name := range j.Groups {
			if g := f.group(name); g != nil && !j.Accept && s.DecidedAt == "" {
				s.DecidedAt = g.Pos.String()
			}
		}
	}
}

func firstOf(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// came says what came of the packets, for people: "answered in 0.4 ms".
func (o *Observation) came() string {
	texts := map[Outcome]string{Answered: "it was answered", Refused: "the host refused it", Rejected: "it was rejected", Dropped: "it was dropped", Lost: "no answer came"}
	text := texts[o.Outcome]
	if o.Outcome == Answered && o.RTT > 0 {
		text += fmt.Sprintf(" in %.1f ms", float64(o.RTT.Microseconds())/1000)
	}
	if o.Detail != "" {
		text += " (" + o.Detail + ")"
	}
	return text
}

// endpoint gives "web-1[10.0.1.10]:80", "web-1[10.0.1.10]:53/udp", "web-1[10.0.1.10] ping".
func endpoint(name string, a netip.AddrPort, protocol string, port bool) string {
	text := name
	if a.Addr().IsValid() {
		text = fmt.Sprintf("%s[%s]", name, a.Addr())
	}
	switch {
	case !port:
	case protocol == "icmp":
		text += " ping"
	case protocol == "tcp":
		text += fmt.Sprintf(":%d", a.Port())
	default:
		text += fmt.Sprintf(":%d/%s", a.Port(), protocol)
	}
	return text
}
