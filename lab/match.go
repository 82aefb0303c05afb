package lab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// meets says whether an outcome is what a check expects.
func (e Expect) meets(o Outcome) bool {
	switch e {
	case ExpectAccept:
		return o == Answered || o == Refused
	case ExpectAnswered:
		return o == Answered
	case ExpectRefused:
		return o == Refused
	case ExpectReject:
		return o == Rejected
	case ExpectLost:
		return o == Lost || o == Dropped
	}
	return false
}

// judge compares what was seen with what a check expects. It gives what differs, nothing if nothing does.
func (k *Check) judge(o *Observation) []string {
	var problems []string
	if !k.Expect.meets(o.Outcome) {
		problems = append(problems, fmt.Sprintf("expected %s, but %s%s", k.Expect, o.came(), k.hint(o)))
	}
	if k.Because != "" && !Matches(k.Because, k.Traffic.From, o) {
		problems = append(problems, fmt.Sprintf("expected because %q, but it was %s", k.Because, o.reasons(k.Traffic.From)))
	}
	if k.Records != nil {
		problems = append(problems, compareRecords(k.Records, o.Records)...)
	}
	return problems
}

// hint says what is perhaps meant where rules and host differ.
func (k *Check) hint(o *Observation) string {
	switch {
	case o.Outcome == Refused && k.Expect == ExpectAnswered && k.Traffic.To.Instance != "":
		return fmt.Sprintf("; nothing listens there: add it to the listen of %s", k.Traffic.To.Instance)
	case o.Outcome == Lost && k.Expect == ExpectAccept && k.Traffic.To.Protocol == "udp":
		return "; a UDP port answers only if something listens there, else expect lost"
	}
	return ""
}

func (o *Observation) reasons(from string) string {
	j := o.decider(from)
	if j == nil {
		return orElse(o.Detail, "no security group that decided")
	}
	return j.text()
}

// Matches says whether a test's `because` is why an observation came out as it did. It may be
//
//	tracked             admitted by the state of a connection, not by a rule
//	GROUP ingress       rejected, or egress: no rule of the interface's groups, GROUP among them, admits it
//	RULE, GROUP RULE    admitted by this rule on the way there. The words are those of the lab file; others that mean
//	                    the same ("tcp 80 from 0.0.0.0/0" for "http from anywhere") match, too
//
// from is the sending instance. Upper and lower case and blanks do not count.
func Matches(because, from string, o *Observation) bool {
	want := normalize(because)
	j := o.decider(from)
	switch {
	case j == nil:
		return false
	case want == "tracked":
		return j.Accept && j.Tracked
	case !j.Accept:
		return denies(want, j)
	}
	for i := range o.Judgements {
		j := &o.Judgements[i]
		if j.Rule.Words == "" || !onTheWay(j, from, o) {
			continue
		}
		rule, ofGroup := strings.CutPrefix(want, normalize(j.Rule.Group)+" ")
		if sameRule(want, j) || ofGroup && sameRule(rule, j) {
			return true
		}
	}
	return false
}

// onTheWay tells the verdicts on the packets from those on the answer.
func onTheWay(j *Judgement, from string, o *Observation) bool {
	return j.Direction == vpc.Egress && j.Instance == from || j.Direction == vpc.Ingress && j.Instance == o.DestinationName
}

func normalize(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// denies says whether want is "GROUP ingress", or "A, B egress", of the groups that rejected.
func denies(want string, j *Judgement) bool {
	groups, ok := strings.CutSuffix(want, " "+j.Direction.String())
	if !ok {
		return false
	}
	for name := range strings.SplitSeq(groups, ",") {
		if !slices.ContainsFunc(j.Groups, func(g string) bool { return strings.EqualFold(g, strings.TrimSpace(name)) }) {
			return false
		}
	}
	return true
}

// sameRule compares rules by their words, else by what they permit.
func sameRule(want string, j *Judgement) bool {
	if want == normalize(j.Rule.Words) {
		return true
	}
	a, errA := permissionsOf(want, j.Direction)
	b, errB := permissionsOf(normalize(j.Rule.Words), j.Direction)
	return errA == nil && errB == nil && len(a) == len(b) && !slices.ContainsFunc(a, func(p vpc.Permission) bool { return !slices.Contains(b, p) })
}

// permissionsOf reads a rule whose groups and lists stand for themselves.
func permissionsOf(rule string, d vpc.Direction) ([]vpc.Permission, error) {
	self := func(name string) (string, bool) { return name, true }
	return vpc.Names{Group: self, PrefixList: self}.ParseRule(rule, d)
}

// compareRecords says which records differ; order and repetition do not count.
func compareRecords(want, have []Record) []string {
	var problems []string
	missing := func(of, in []Record) (texts []string) {
		for _, r := range of {
			if !slices.Contains(in, r) && !slices.Contains(texts, r.String()) {
				texts = append(texts, r.String())
			}
		}
		return texts
	}
	if gone := missing(want, have); gone != nil {
		problems = append(problems, "the flow log has no record "+strings.Join(gone, ", "))
	}
	if extra := missing(have, want); extra != nil {
		problems = append(problems, "the flow log has more records than expected: "+strings.Join(extra, ", "))
	}
	return problems
}
