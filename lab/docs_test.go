package lab

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// filePage is the page of all fields. What stands above the mark is written by hand, the rest by this test.
const (
	filePage = "../docs/lab-file.md"
	fileMark = "<!-- What follows is written by: go test ./lab -run TestFilePage -write-golden -->\n"
)

// TestFilePage holds docs/lab-file.md to the schema, and the lab files that stand in it to Parse.
func TestFilePage(t *testing.T) {
	raw, err := os.ReadFile(filePage)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(raw), fileMark)
	if !ok {
		t.Fatalf("%s has no line %s", filePage, fileMark)
	}
	want := head + fileMark + newPage(t).write()
	if *writeGolden {
		if err := os.WriteFile(filePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(raw) {
		t.Errorf("%s is not as the schema is; this writes it anew: go test ./lab -run TestFilePage -write-golden", filePage)
	}
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(lab: .*?)^```$")

// TestFilesInPages: each whole lab file that stands in a page is valid, by Parse and by the schema.
func TestFilesInPages(t *testing.T) {
	s := compileSchema(t)
	n := 0
	for _, path := range append(append(glob(t, "../docs/*.md"), glob(t, "../examples/*/README.md")...), "../README.md") {
		for _, m := range yamlBlock.FindAllStringSubmatch(text(t, path), -1) {
			n++
			if _, err := Parse("lab.yaml", []byte(m[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if err := validate(s, []byte(m[1])); err != nil {
				t.Errorf("%s: the schema: %v", path, err)
			}
		}
	}
	if n < 3 {
		t.Errorf("only %d lab files were found in the pages", n)
	}
}

// page is the schema on its way to text. Fields keep the schema's order.
type page struct {
	t    *testing.T
	root yaml.MapSlice
	defs yaml.MapSlice
	at   map[string]string // definitions with a section of their own, by name: its title
	todo []section
}

type section struct {
	title string // "instances.NAME"
	def   yaml.MapSlice
}

func newPage(t *testing.T) *page {
	p := &page{t: t, at: map[string]string{}}
	if err := yaml.UnmarshalWithOptions(Schema(), &p.root, yaml.UseOrderedMap()); err != nil {
		t.Fatal(err)
	}
	p.defs = p.object(p.root, "$defs")
	p.todo = []section{{"The file", p.root}}
	return p
}

func (p *page) write() string {
	var b strings.Builder
	for len(p.todo) > 0 {
		s := p.todo[0]
		p.todo = p.todo[1:]
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if d := p.text(s.def, "description"); d != "" && s.title != "The file" {
			fmt.Fprintf(&b, "%s\n\n", d)
		}
		b.WriteString("| field | value | |\n|---|---|---|\n")
		required, _ := value(s.def, "required").([]any)
		for _, f := range p.object(s.def, "properties") {
			name := f.Key.(string)
			def := f.Value.(yaml.MapSlice)
			below := name
			if s.title != "The file" {
				below = s.title + "." + name
			}
			kind := p.kind(def, below)
			if slices.Contains(required, any(name)) {
				kind += "; required"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, cell(kind), cell(p.about(def)))
		}
	}
	return b.String()
}

// about is a field's description, or that of what it refers to, unless that has a section of its own.
func (p *page) about(def yaml.MapSlice) string {
	if d := p.text(def, "description"); d != "" {
		return d
	}
	if name, target := p.ref(def); target != nil && p.at[name] == "" {
		return p.about(target)
	}
	return ""
}

// kind says in words what values a definition takes. What has fields gets a section with a title.
func (p *page) kind(def yaml.MapSlice, title string) string {
	if name, target := p.ref(def); target != nil {
		if len(p.object(target, "properties")) == 0 {
			return p.kind(target, title)
		}
		if p.at[name] == "" {
			p.at[name] = title
			p.todo = append(p.todo, section{title, target})
		}
		return "mapping, see [" + p.at[name] + "](#" + anchor(p.at[name]) + ")"
	}
	if any, ok := value(def, "anyOf").([]any); ok {
		var ways []string
		for _, a := range any {
			if way := p.kind(a.(yaml.MapSlice), title); !slices.Contains(ways, way) {
				ways = append(ways, way)
			}
		}
		if last := len(ways) - 1; last > 0 && ways[last] == "list of "+strings.Join(ways[:last], ", or ") {
			ways[last] = "a list of such"
		}
		return strings.Join(ways, ", or ")
	}
	if enum, ok := value(def, "enum").([]any); ok {
		var words []string
		for _, e := range enum {
			words = append(words, fmt.Sprintf("`%v`", e))
		}
		return strings.Join(words, ", ")
	}
	types, ok := value(def, "type").([]any)
	if !ok {
		types = []any{value(def, "type")}
	}
	var ways []string
	for _, t := range types {
		ways = append(ways, p.plain(t, def, title))
	}
	return strings.Join(ways, ", or ")
}

// plain is kind for one of JSON schema's own types.
func (p *page) plain(kind any, def yaml.MapSlice, title string) string {
	switch kind {
	case "string":
		var samples []string
		list, _ := value(def, "examples").([]any)
		for _, e := range list {
			samples = append(samples, fmt.Sprintf("`%v`", e))
		}
		if len(samples) > 0 {
			return "text, such as " + strings.Join(samples, ", ")
		}
		return "text"
	case "integer":
		low, high := value(def, "minimum"), value(def, "maximum")
		if low != nil && high != nil {
			return fmt.Sprintf("number, %v to %v", low, high)
		}
		return "number"
	case "boolean":
		return "`true`, `false`"
	case "null":
		return "nothing"
	case "array":
		items, _ := value(def, "items").(yaml.MapSlice)
		return "list of " + p.kind(items, title+".N")
	case "object":
		if values, ok := value(def, "additionalProperties").(yaml.MapSlice); ok {
			return "by name: " + p.kind(values, title+".NAME")
		}
		return "mapping"
	}
	p.t.Errorf("%s: the page has no word for type %v", title, kind)
	return ""
}

// ref follows "$ref".
func (p *page) ref(def yaml.MapSlice) (string, yaml.MapSlice) {
	name, ok := strings.CutPrefix(p.text(def, "$ref"), "#/$defs/")
	if !ok {
		return "", nil
	}
	target := p.object(p.defs, name)
	if target == nil {
		p.t.Errorf("the schema has no definition %s", name)
	}
	return name, target
}

func (p *page) object(m yaml.MapSlice, key string) yaml.MapSlice {
	o, _ := value(m, key).(yaml.MapSlice)
	return o
}

func (p *page) text(m yaml.MapSlice, key string) string {
	s, _ := value(m, key).(string)
	return s
}

func value(m yaml.MapSlice, key string) any {
	for _, f := range m {
		if f.Key == key {
			return f.Value
		}
	}
	return nil
}

// anchor is what GitHub makes of a heading.
func anchor(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '.':
			return -1
		}
		return r
	}, strings.ToLower(title))
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
