package flowlogs

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Reader reads flow-log files: AWS's own, this package's, and what tools make of them. It takes gzip
// or plain text, a header on any line (fields in any order) or none (then the default format), and
// CloudWatch Logs JSON: one envelope after another, with the lines as their messages.
type Reader struct {
	format  *Format
	next    func() (string, error)
	skipped int
}

// maxText bounds one line.
const maxText = 1 << 20

// NewReader makes a Reader. It fails if r does, or if a gzip header is damaged.
func NewReader(r io.Reader) (*Reader, error) {
	in := bufio.NewReader(r)
	if magic, _ := in.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		gz, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = bufio.NewReader(gz)
	}
	first, err := firstByte(in)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	reader := &Reader{format: DefaultFormat(), next: textLines(in)}
	if first == '{' || first == '[' {
		reader.next = envelopes(in)
	}
	return reader, nil
}

// firstByte looks at the first byte that is not blank.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		c, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			return c, in.UnreadByte()
		}
	}
}

// textLines reads lines; an empty line at the end is none.
func textLines(in *bufio.Reader) func() (string, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxText)
	return func() (string, error) {
		if lines.Scan() {
			return lines.Text(), nil
		}
		if err := lines.Err(); err != nil {
			return "", err
		}
		return "", io.EOF
	}
}

// messages appends the lines in a JSON value: a line is a string, or an event's message; events
// stand in a list, in the logEvents of a subscription's batch, or in the events that FilterLogEvents
// and GetLogEvents answer.
func messages(dst []string, value any) []string {
	switch v := value.(type) {
	case string:
		return append(dst, v)
	case []any:
		for _, x := range v {
			dst = messages(dst, x)
		}
	case map[string]any:
		for _, name := range []string{"message", "logEvents", "events"} {
			dst = messages(dst, v[name])
		}
	}
	return dst
}

// envelopes reads the lines of JSON values that follow each other, with or without newlines.
func envelopes(in io.Reader) func() (string, error) {
	values := json.NewDecoder(in)
	var waiting []string
	return func() (string, error) {
		for len(waiting) == 0 {
			var v any
			if err := values.Decode(&v); err != nil {
				return "", err
			}
			waiting = messages(nil, v)
		}
		line := waiting[0]
		waiting = waiting[1:]
		return line, nil
	}
}

// Next gives the next row, io.EOF after the last. Lines that are no rows are skipped and counted.
// A damaged file gives its rows up to the damage and then an error.
func (r *Reader) Next() (Row, error) {
	for {
		line, err := r.next()
		if err != nil {
			return Row{}, err
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		if f, ok := ParseHeader(line); ok {
			r.format = f
			continue
		}
		row, err := ParseLine(r.format, line)
		if err == nil {
			return row, nil
		}
		r.skipped++
	}
}

// Format is that of the rows now: the default one until a header was read.
func (r *Reader) Format() *Format { return r.format }

// Skipped is the number of lines that were no rows.
func (r *Reader) Skipped() int { return r.skipped }

// ReadFile reads all rows of a file.
func ReadFile(path string) (rows []Row, skipped int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	r, err := NewReader(f)
	if err != nil {
		return nil, 0, err
	}
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			return rows, r.Skipped(), nil
		}
		if err != nil {
			return rows, r.Skipped(), err
		}
		rows = append(rows, row)
	}
}
