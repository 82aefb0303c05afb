package render

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/vpclab/vpclab/api/agent"
)

var fileFields = []field[agent.FlowLogFile]{
	{"flow_log_id", func(f *agent.FlowLogFile) any { return f.FlowLogID }},
	{"name", func(f *agent.FlowLogFile) any { return f.Name }},
	{"resource", func(f *agent.FlowLogFile) any { return f.Resource }},
	{"key", func(f *agent.FlowLogFile) any { return f.Key }},
	{"path", func(f *agent.FlowLogFile) any { return f.Path }},
	{"size", func(f *agent.FlowLogFile) any { return f.Size }},
	{"modified", func(f *agent.FlowLogFile) any { return f.Modified }},
}

// FlowLogFiles prints the list of published files.
func (p *Printer) FlowLogFiles(files []agent.FlowLogFile) error {
	if done, err := p.value(files); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, fileFields, files)
	}
	t := newTable(column{head: "PUBLISHED"}, column{head: "RESOURCE"}, column{head: "FLOW LOG"}, column{head: "SIZE", right: true}, column{head: "KEY"})
	for _, f := range files {
		t.add(text(p.local(f.Modified).Format(time.DateTime)), text(f.Resource), text(f.FlowLogID), text(size(f.Size)), text(f.Key))
	}
	return t.flush(p.W, p.Color)
}

// LogLines prints the lines of flow-log files as they come: as they are, or by the names in the file's header.
type LogLines struct {
	p      *Printer
	header string
	names  []string
}

// FollowLogLines makes a LogLines.
func (p *Printer) FollowLogLines() *LogLines { return &LogLines{p: p} }

// Add prints one line. A header that says what the last one said is not repeated.
func (l *LogLines) Add(x *agent.FlowLogLine) error {
	if x.Header {
		if x.Line == l.header {
			return nil
		}
		l.header, l.names = x.Line, strings.Fields(x.Line)
		switch l.p.Format {
		case JSON, YAML:
			return nil
		}
	}
	switch l.p.Format {
	case JSON:
		raw, err := l.object(x.Line)
		if err != nil {
			return err
		}
		_, err = l.p.W.Write(append(raw, '\n'))
		return err
	case YAML:
		raw, err := l.object(x.Line)
		if err != nil {
			return err
		}
		text, err := yaml.JSONToYAML(raw)
		if err != nil {
			return err
		}
		_, err = l.p.W.Write(append([]byte("---\n"), text...))
		return err
	case CSV:
		out := csv.NewWriter(l.p.W)
		out.Write(strings.Fields(x.Line))
		out.Flush()
		return out.Error()
	}
	_, err := fmt.Fprintln(l.p.W, printable(x.Line))
	return err
}

// object gives a line as JSON, its fields named and in the header's order.
func (l *LogLines) object(line string) ([]byte, error) {
	values := strings.Fields(line)
	if len(values) != len(l.names) {
		return nil, fmt.Errorf("a flow-log line has %s, its header names %d: %s", count(len(values), "field"), len(l.names), line)
	}
	b := []byte{'{'}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		name, _ := json.Marshal(l.names[i]) // strings always marshal
		value, _ := json.Marshal(v)
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}
