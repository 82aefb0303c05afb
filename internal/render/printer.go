package render

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/term"
)

// Format is a form of output.
type Format string

// The forms of output. Every list has all of them.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
	CSV   Format = "csv"
)

// Formats gives all of them.
func Formats() []Format { return []Format{Table, JSON, YAML, CSV} }

// Printer prints in one form to one writer. It is not safe for concurrent use.
type Printer struct {
	W      io.Writer
	Format Format // of Formats; anything else prints as Table
	Color  bool   // only tables have colours
	Zone   *time.Location
	Now    time.Time // "now" of ages and of dates that may be left out
	Labs   bool      // name the labs also where not all rows are known yet
}

// UseColor says whether output to w shall have colours: never if NO_COLOR is set (https://no-color.org) or TERM is
// "dumb", else if w is a terminal. getenv is os.Getenv.
func UseColor(w io.Writer, getenv func(string) string) bool {
	if getenv("NO_COLOR") != "" || getenv("TERM") == "dumb" {
		return false
	}
	return IsTerminal(w)
}

// IsTerminal says whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// value prints v as JSON or YAML and says whether the format was one of these.
func (p *Printer) value(v any) (bool, error) {
	switch p.Format {
	case JSON:
		return true, p.json(v, "  ")
	case YAML:
		return true, p.yaml(v)
	}
	return false, nil
}

func (p *Printer) json(v any, indent string) error {
	raw, err := encode(v, indent)
	if err != nil {
		return err
	}
	_, err = p.W.Write(raw)
	return err
}

// yaml goes through JSON, so that both have the same keys in the same order.
func (p *Printer) yaml(v any) error {
	raw, err := encode(v, "")
	if err != nil {
		return err
	}
	text, err := yaml.JSONToYAML(raw)
	if err != nil {
		return err
	}
	_, err = p.W.Write(text)
	return err
}

func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	err := enc.Encode(lists(reflect.ValueOf(v)).Interface())
	return b.Bytes(), err
}

// lists gives a copy of v in which no list is nil: a program that reads JSON can go through a list without asking
// whether it is there. Fields marked omitempty are left out all the same.
func lists(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(lists(v.Elem()))
		return p
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v
		}
		s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			s.Index(i).Set(lists(v.Index(i)))
		}
		return s
	case reflect.Struct:
		return structLists(v)
	}
	return v
}

func structLists(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			c.Field(i).Set(lists(v.Field(i)))
		}
	}
	return c
}

// field is one column of a CSV file.
type field[T any] struct {
	name  string
	value func(*T) any
}

// writeCSV prints rows, with the header first if it is wanted.
func writeCSV[T any](w io.Writer, header bool, fields []field[T], rows []T) error {
	out := csv.NewWriter(w)
	if header {
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.name
		}
		out.Write(names)
	}
	for i := range rows {
		record := make([]string, len(fields))
		for k, f := range fields {
			record[k] = csvText(f.value(&rows[i]))
		}
		out.Write(record)
	}
	out.Flush()
	return out.Error() // tells of the Writes too
}

// csvText gives a value as a program reads it back: times in RFC 3339, lists with spaces between.
func csvText(v any) string {
	switch x := v.(type) {
	case time.Time:
		if x.IsZero() {
			return ""
		}
		return x.UTC().Format(time.RFC3339Nano)
	case []string:
		return strings.Join(x, " ")
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice {
		texts := make([]string, r.Len())
		for i := range texts {
			texts[i] = fmt.Sprint(r.Index(i).Interface())
		}
		return strings.Join(texts, " ")
	}
	return fmt.Sprint(v)
}

// UnknownFormat says what -o takes; allowed are the formats, and more are a command's own.
func UnknownFormat(got string, more ...string) error {
	names := make([]string, 0, 6)
	for _, f := range Formats() {
		names = append(names, string(f))
	}
	names = append(names, more...)
	last := len(names) - 1
	return fmt.Errorf("%q is not an output format; use %s or %s", got, strings.Join(names[:last], ", "), names[last])
}

// Known says whether a format is one of Formats or of more.
func Known(f Format, more ...string) bool {
	return slices.Contains(Formats(), f) || slices.Contains(more, string(f))
}
