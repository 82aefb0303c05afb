package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Parse reads a lab file. name stands in messages and is not opened. The error is Problems: all that is wrong, each
// with its place and with what would be right.
//
// What Parse takes, an empty model takes too, but for AWS's quotas, which are the model's to set.
func Parse(name string, data []byte) (*File, error) {
	f := &File{source: newSource(name, "")}
	d, err := decodeFile(name, data, f)
	if d == nil {
		return nil, err
	}
	f.source, f.spans = d.src, d.spans
	c := &checker{decoder: d, f: f, groups: map[string]*Group{}, lists: map[string]*PrefixList{}}
	c.all()
	if len(d.problems) > 0 {
		return nil, d.problems.sorted(d.src)
	}
	return f, nil
}

// testsFile is a file of tests alone.
type testsFile struct {
	About string  `yaml:"about"`
	Tests []*Test `yaml:"tests,required"`
}

// WithTests gives the lab with the tests of another file, one that has only tests, instead of its own. What they name
// and the lab does not have is no error: such tests fail when they are run, because the lab may be a student's.
// The error is Problems.
func (f *File) WithTests(name string, data []byte) (*File, error) {
	var t testsFile
	d, err := decodeFile(name, data, &t)
	if d == nil {
		return nil, err
	}
	merged := *f
	merged.Tests = t.Tests
	c := &checker{decoder: d, f: &merged, groups: map[string]*Group{}, lists: map[string]*PrefixList{}}
	for _, g := range f.Groups {
		c.groups[g.Name] = g
	}
	for _, l := range f.PrefixLists {
		c.lists[l.Name] = l
	}
	c.tests(t.Tests, true)
	if len(d.problems) > 0 {
		return nil, d.problems.sorted(d.src)
	}
	return &merged, nil
}

// decodeFile decodes a whole file into v. If it is not a mapping of fields, the decoder is nil and the error says so.
func decodeFile(name string, data []byte, v any) (*decoder, error) {
	alone := func(s *source, at span, wrong, right string) error {
		return Problems{{File: name, Line: at.line, Col: at.col, Wrong: wrong, Right: right, Excerpt: s.excerpt(at)}}
	}
	none := newSource(name, "")
	if len(data) > maxFile {
		return nil, alone(none, span{}, fmt.Sprintf("the file has %d bytes", len(data)), fmt.Sprintf("a lab file has at most %d", maxFile))
	}
	text, bad := cleanText(data)
	if bad != nil {
		return nil, alone(none, bad.at, bad.wrong, bad.right)
	}
	if strings.TrimSpace(text) == "" {
		return nil, alone(none, span{}, "the file is empty", beginning)
	}
	src := newSource(name, text)
	root, bad := parseYAML(text)
	if bad != nil {
		return nil, alone(src, bad.at, bad.wrong, bad.right)
	}
	if root == nil {
		return nil, alone(none, span{}, "the file has nothing but comments", beginning)
	}
	d := newDecoder(src)
	m, ok := d.resolve(root, "").(*ast.MappingNode)
	if !ok {
		return nil, alone(src, spanOf(root), "this is not a lab: a mapping of fields is expected, and here is "+kindOf(root), beginning)
	}
	d.mapping(m, reflect.ValueOf(v).Elem(), "")
	return d, nil
}

// beginning tells how a lab file begins.
const beginning = "a lab file begins with lab: NAME and has vpcs and instances; see examples/three-tier/lab.yaml"

// ReadFile reads the lab file at a path, or in a folder the file lab.yaml. It gives the name that stands in messages.
// The error says what would be right.
func ReadFile(path string) (name string, data []byte, err error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "lab.yaml")
	}
	data, err = os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = Problems{{File: path, Wrong: "there is no such file", Right: nearFile(path)}}
	case err != nil:
		reason := err
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			reason = e.Err
		}
		err = Problems{{File: path, Wrong: "the file cannot be read: " + reason.Error()}}
	}
	return path, data, err
}

// nearFile says which file was perhaps meant: one with a similar name, or the only lab there is.
func nearFile(path string) string {
	dir, base := filepath.Split(path)
	var here []string
	for _, pattern := range []string{"*.yaml", "*.yml", filepath.Join("*", "lab.yaml")} {
		found, _ := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
		for _, f := range found {
			here = append(here, strings.TrimPrefix(f, dir))
		}
	}
	slices.Sort(here)
	near := nearest(base, here)
	switch {
	case near == "" && len(here) == 1:
		near = here[0]
	case near == "":
		return "give the path of a lab file, such as examples/three-tier/lab.yaml"
	}
	return "did you mean " + dir + near + "?"
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}
