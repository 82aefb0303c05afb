package flowlogs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// DefaultLogFormat is the format of a subscription that names none, as DescribeFlowLogs shows it.
const DefaultLogFormat = vpc.DefaultLogFormat

// Format is an order of fields, compiled. It is immutable and safe for concurrent use.
type Format struct {
	fields  []field
	names   []string
	version uint8
}

// DefaultFormat gives the format of version 2.
func DefaultFormat() *Format { return defaultFormat }

var defaultFormat = func() *Format {
	f, err := ParseFormat(DefaultLogFormat)
	if err != nil {
		panic(err)
	}
	return f
}()

// ParseFormat compiles a subscription's LogFormat: "${version} ${account-id} ...", one space between
// fields and none around them, as AWS asks. Errors are *vpc.Error, in AWS's words, with the field
// "LogFormat". The fields of AWS's versions up to 11 are known; all those that tell of what this VPC
// does not have are "-". A field may be repeated.
func ParseFormat(logFormat string) (*Format, error) {
	if logFormat == "" {
		return nil, formatError(logFormat, "give at least one field, such as ${version}; without LogFormat the default format is used")
	}
	var names []string
	for _, token := range strings.Split(logFormat, " ") {
		name, ok := strings.CutPrefix(token, "${")
		if ok {
			name, ok = strings.CutSuffix(name, "}")
		}
		if !ok {
			return nil, formatError(logFormat, tokenHint(token))
		}
		if _, known := fieldByName[name]; !known {
			return nil, formatError(logFormat, unknownHint(name))
		}
		names = append(names, name)
	}
	return newFormat(names), nil
}

// formatError is what the EC2 API answers to any LogFormat that it cannot take.
func formatError(logFormat, hint string) error {
	return &vpc.Error{
		Code:    "InvalidParameter",
		Message: fmt.Sprintf("1 validation error detected: Value '%s' at 'logFormat' has an invalid format", logFormat),
		Field:   "LogFormat",
		Hint:    hint,
	}
}

func tokenHint(token string) string {
	if token == "" {
		return "put one space between fields, and none before the first or after the last"
	}
	if name := strings.Trim(token, "${}"); fieldIsKnown(name) {
		return fmt.Sprintf("write ${%s} instead of %s", name, token)
	}
	return fmt.Sprintf("%q is not of the form ${field}", token)
}

func fieldIsKnown(name string) bool {
	_, ok := fieldByName[name]
	return ok
}

// unknownHint names the field that was likely meant.
func unknownHint(name string) string {
	plain := strings.NewReplacer("-", "", "_", "", ".", "")
	for _, f := range fields {
		if strings.EqualFold(plain.Replace(f.name), plain.Replace(name)) {
			return fmt.Sprintf("unknown field ${%s}; use ${%s}", name, f.name)
		}
	}
	return fmt.Sprintf("unknown field ${%s}", name)
}

// ParseHeader reads the first line of a file: names of fields, "_" allowed for "-", in any order.
// Names that are not known are kept as columns; ok is false if the line is not a header.
func ParseHeader(line string) (f *Format, ok bool) {
	names := strings.Fields(line)
	for i, name := range names {
		if !isFieldName(name) {
			return nil, false
		}
		names[i] = strings.ReplaceAll(name, "_", "-")
		ok = ok || fieldIsKnown(names[i])
	}
	if !ok {
		return nil, false
	}
	return newFormat(names), true
}

// isFieldName tells names from values: small letters, digits and dashes, beginning with a letter.
func isFieldName(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !(c == '-' || c == '_' || '0' <= c && c <= '9')) {
			return false
		}
	}
	return s != ""
}

func newFormat(names []string) *Format {
	f := &Format{names: names, version: 2}
	for _, name := range names {
		n, ok := fieldByName[name]
		if !ok {
			n = fieldUnknown
		} else {
			f.version = max(f.version, fields[n].version)
		}
		f.fields = append(f.fields, n)
	}
	return f
}

// Version is the version of the records: the highest among the fields.
func (f *Format) Version() int { return int(f.version) }

// Fields gives the names of the fields, in order.
func (f *Format) Fields() []string { return slices.Clone(f.names) }

// Header is the first line of a file, without a newline.
func (f *Format) Header() string { return strings.Join(f.names, " ") }

// String gives the format as ParseFormat takes it.
func (f *Format) String() string { return "${" + strings.Join(f.names, "} ${") + "}" }

// MaxLine is the length of the longest line, without a newline, for identifiers of AWS's shape.
func (f *Format) MaxLine() int {
	n := len(f.fields) - 1
	for _, x := range f.fields {
		if x == fieldUnknown {
			n += widthNone
		} else {
			n += fields[x].width
		}
	}
	return n
}

// NeedsTagFields says whether a field shows a tag. AWS refuses such a format without
// TagFieldSpecifications: "InvalidParameter: The TagFieldSpecifications parameter must be set when
// including tag fields in the log format".
func (f *Format) NeedsTagFields() bool {
	return slices.ContainsFunc(f.names, func(name string) bool {
		return strings.Contains(name, "-tag") && fieldIsKnown(name)
	})
}
