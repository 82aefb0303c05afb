package lab

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a lab file.
type Problem struct {
	File      string // as the person typed it
	Line, Col int    // from 1; 0 where the file as a whole is meant
	Path      string // "instances.web-1.ip"; "" where no field is meant
	Wrong     string // "10.0.9.9 is outside subnet public (10.0.1.0/24)"
	Right     string // "use 10.0.1.4 to 10.0.1.254"
	Excerpt   string // the source line with a caret under the place; ""
	length    int    // of the excerpt's mark
	Err       error  // the refusal of the model that this is about, a *vpc.Error; else nil
}

// Unwrap gives Err.
func (p *Problem) Unwrap() error { return p.Err }

// Where gives "lab.yaml:12:5", or the file alone.
func (p *Problem) Where() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Message gives "what is wrong; what would be right".
func (p *Problem) Message() string {
	if p.Right == "" {
		return p.Wrong
	}
	return p.Wrong + "; " + p.Right
}

// Error gives the problem in one line: "file:line:col: path: what is wrong; what would be right".
func (p *Problem) Error() string {
	if p.Path == "" {
		return p.Where() + ": " + p.Message()
	}
	return p.Where() + ": " + p.Path + ": " + p.Message()
}

// Problems is all that is wrong with a lab file, sorted by place. Parse returns it as its error.
type Problems []*Problem

// Error gives each problem with its excerpt.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Error())
		for line := range strings.Lines(p.Excerpt) {
			b.WriteString("\n  " + strings.TrimRight(line, "\n"))
		}
	}
	return b.String()
}

// Unwrap gives the problems one by one.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// maxProblems bounds what is reported: after so many a person mends first and asks again.
const maxProblems = 50

// sorted orders by place, drops what is said twice, and adds the excerpts.
func (ps Problems) sorted(src *source) Problems {
	slices.SortStableFunc(ps, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Path, b.Path))
	})
	ps = slices.CompactFunc(ps, func(a, b *Problem) bool { return a.Error() == b.Error() })
	ps = ps[:min(len(ps), maxProblems)]
	for _, p := range ps {
		p.Excerpt = src.excerpt(span{p.Line, p.Col, p.length})
	}
	return ps
}
