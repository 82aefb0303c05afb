package render

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vpclab/vpclab/api/agent"
)

// Error prints a failed request: what was wrong, where, and what would be right. The problems of a file come one a
// line with the place first, as compilers print them, so that editors find it.
func Error(w io.Writer, err error, color bool) {
	mark := paint("error: ", red, color)
	var e *agent.Error
	if !errors.As(err, &e) {
		fmt.Fprintln(w, mark+printable(err.Error()))
		return
	}
	if len(e.Problems) > 0 {
		Problems(w, e.Problems, color)
	} else {
		fmt.Fprintln(w, mark+printable(e.Error())+awsCode(e.Code))
	}
	if len(e.Near) > 0 {
		fmt.Fprintln(w, "  did you mean "+printable(strings.Join(e.Near, ", "))+"?")
	}
	if e.Fix != "" {
		fmt.Fprintln(w, "  "+printable(e.Fix))
	}
}

// Problems prints what is wrong with a file, with the places shown.
func Problems(w io.Writer, list []agent.Problem, color bool) {
	for i := range list {
		p := &list[i]
		place := ""
		if p.Where != "" {
			place = paint(printable(p.Where), bold, color) + ": "
		}
		rest := agent.Problem{Field: p.Field, Message: p.Message}
		fmt.Fprintln(w, place+printable(rest.Error()))
		for line := range strings.Lines(p.Excerpt) {
			// A tab stays a tab: the caret below it is placed by one.
			parts := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
			for k := range parts {
				parts[k] = printable(parts[k])
			}
			fmt.Fprintln(w, "  "+strings.Join(parts, "\t"))
		}
	}
}

// awsCode gives AWS's code in brackets: people look for it. The agent's own codes are for programs.
func awsCode(code string) string {
	switch code {
	case "", agent.CodeInternal, agent.CodeBadRequest, agent.CodeInvalidLab, agent.CodeUnknownObject, agent.CodeAmbiguousObject, agent.CodeUnsupported,
		agent.CodeNoDriver, agent.CodeUnreachable, agent.CodeInUse, agent.CodeNoPermission, agent.CodeBroken, agent.CodeNoTests:
		return ""
	}
	return " (" + printable(code) + ")"
}

// Progress prints one line of what a long request is doing.
func Progress(w io.Writer, p *agent.Progress, color bool) {
	at := ""
	if p.Total > 0 {
		at = fmt.Sprintf("[%d/%d] ", p.Done, p.Total)
	}
	fmt.Fprintln(w, paint(printable(at+strings.Join(nonEmpty(p.Action, p.Kind, p.Name, p.Detail), " ")), dim, color))
}
