package lab

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Print writes results as a table, then the summary: the text of `vpclab test`.
func Print(w io.Writer, results []Result, sum Summary) error {
	var b strings.Builder
	printResults(&b, results)
	if len(results) > 0 {
		b.WriteByte('\n')
	}
	printSummary(&b, sum)
	_, err := io.WriteString(w, b.String())
	return err
}

// widths of the columns that every row has.
type widths struct{ from, to, because, where int }

func columnsOf(results []Result) widths {
	var c widths
	for _, r := range results {
		if !r.Single {
			continue
		}
		from, to := r.Steps[0].endpoints()
		c.from, c.to = max(c.from, width(from)), max(c.to, width(to))
		c.because = max(c.because, width(r.Steps[0].Because))
		c.where = max(c.where, width(r.Steps[0].DecidedAt))
	}
	return c
}

func width(s string) int { return utf8.RuneCountInString(s) }

func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-width(s))) }

// endpoints are the two ends of a check with their addresses; as written if nothing was sent.
func (s *StepResult) endpoints() (from, to string) {
	o := s.Observation
	if o == nil {
		from, to, _ = strings.Cut(s.Text, " -> ")
		return from, to
	}
	name := o.DestinationName
	if name == "" {
		return endpoint(s.From, o.Source, s.Protocol, false), bareEndpoint(s)
	}
	return endpoint(s.From, o.Source, s.Protocol, false), endpoint(name, o.Destination, s.Protocol, true)
}

// bareEndpoint is an address that no instance has.
func bareEndpoint(s *StepResult) string {
	return strings.NewReplacer("[", "", "]", "").Replace(endpoint("", s.Observation.Destination, s.Protocol, true))
}

func printResults(b *strings.Builder, results []Result) {
	c := columnsOf(results)
	for i := range results {
		r := &results[i]
		if r.Single {
			s := &r.Steps[0]
			from, to := s.endpoints()
			row(b, string(r.Status), 6, pad(from, c.from), pad(to, c.to), pad(s.Verdict, 6), pad(s.Because, c.because), pad(s.DecidedAt, c.where), r.Name)
			printProblems(b, s, "      ")
		} else {
			row(b, string(r.Status), 6, pad(r.title(), c.from+2+c.to), r.progress())
			if r.Status != Passed {
				printSteps(b, r.Steps)
			}
		}
		for _, p := range r.Problems {
			fmt.Fprintf(b, "      %s: %s\n", r.Pos, p)
		}
	}
}

// row writes columns two blanks apart, without blanks at the end.
func row(b *strings.Builder, status string, n int, columns ...string) {
	line := pad(status, n) + strings.Join(columns, "  ")
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// title is a test's name in one line, else where it stands.
func (r *Result) title() string {
	if name := strings.Join(strings.Fields(r.Name), " "); name != "" {
		return name
	}
	return "test at " + r.Pos.String()
}

// progress gives "4 steps", or where it ended: "step 3 of 4".
func (r *Result) progress() string {
	for i, s := range r.Steps {
		if s.Status != Passed {
			return fmt.Sprintf("step %d of %d", i+1, len(r.Steps))
		}
	}
	return count(len(r.Steps), "step", "steps")
}

func printSteps(b *strings.Builder, steps []StepResult) {
	texts, because := 0, 0
	for _, s := range steps {
		texts, because = max(texts, width(s.Text)), max(because, width(s.Because))
	}
	for i := range steps {
		s := &steps[i]
		row(b, "      "+string(s.Status), 12, pad(s.Text, texts), pad(s.Verdict, 6), pad(s.Because, because), s.DecidedAt)
		printProblems(b, s, "            ")
	}
}

func printProblems(b *strings.Builder, s *StepResult, indent string) {
	for _, p := range s.Problems {
		fmt.Fprintf(b, "%s%s: %s\n", indent, s.Pos, p)
	}
}

func printSummary(b *strings.Builder, sum Summary) {
	var counts []string
	for _, c := range []struct {
		n    int
		word string
	}{{sum.Passed, "passed"}, {sum.Failed, "failed"}, {sum.Skipped, "skipped"}} {
		if c.n > 0 || c.word == "passed" {
			counts = append(counts, fmt.Sprintf("%d %s", c.n, c.word))
		}
	}
	fmt.Fprintf(b, "%s in %.1f s; rules used: %d of %d\n", strings.Join(counts, ", "), sum.Elapsed.Seconds(), sum.RulesUsed, sum.Rules)
	names := 0
	for _, u := range sum.Unused {
		names = max(names, width(u.String()))
	}
	for _, u := range sum.Unused {
		row(b, "", 0, "no test used", pad(u.String(), names), u.Pos.String())
	}
}
