package lab

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// decoder fills the types of file.go from YAML nodes. It is strict and goes on after a problem, so that a person sees
// all of them at once; a value with a problem stays zero.
type decoder struct {
	src      *source
	problems Problems
	spans    map[string]span     // of each value by path
	broken   map[string]bool     // paths whose value had a problem: not to be checked further
	anchors  map[string]ast.Node // seen so far
	budget   int                 // nodes that may still be visited: aliases can stand for very many
}

// maxNodes bounds what a file's aliases may expand to.
const maxNodes = 1 << 18

func newDecoder(src *source) *decoder {
	return &decoder{src: src, spans: map[string]span{}, broken: map[string]bool{}, anchors: map[string]ast.Node{}, budget: maxNodes}
}

// decodable is a type with a form of its own besides a mapping of its fields: the short form.
type decodable interface {
	// decodeShort reads nodes other than mappings. It reports what is wrong itself, and false if the node has no form
	// that it knows.
	decodeShort(d *decoder, n ast.Node, path string) bool
	// form says what is right: "a CIDR, or a mapping with cidr".
	form() string
}

// bad reports a problem at a node.
func (d *decoder) bad(n ast.Node, path, wrong, right string) {
	d.badAt(spanOf(n), path, wrong, right)
}

func (d *decoder) badAt(at span, path, wrong, right string) {
	d.broken[path] = true
	d.report(at, path, wrong, right)
}

// report reports a problem that does not spoil the value at the path.
func (d *decoder) report(at span, path, wrong, right string) {
	if len(d.problems) < maxCollected {
		d.problems = append(d.problems, &Problem{File: d.src.name, Line: at.line, Col: at.col, Path: path, Wrong: wrong, Right: right, length: at.length})
	}
}

// maxCollected bounds the problems that are kept to be sorted.
const maxCollected = 1000

// field is one field of a struct as its yaml tag says.
type field struct {
	index    []int
	name     string
	required bool
	isMap    bool // a slice of pointers that the file writes as a mapping by name
	isList   bool // a slice that the file may write as its only element
}

// fieldsOf lists a struct's fields in order, those of embedded structs among them; key is the one that gets the name
// under which the struct stands in a mapping (nil: none).
func fieldsOf(t reflect.Type) (fields []field, key []int) {
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		has := func(o string) bool { return slices.Contains(strings.Split(options, ","), o) }
		if has("key") {
			key = f.Index
			continue
		}
		fields = append(fields, field{f.Index, name, has("required"), has("map"), has("list")})
	}
	return fields, key
}

func names(fields []field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.name
	}
	return out
}

// resolve follows anchors and aliases to the node that they stand for; nil (reported) if there is none.
func (d *decoder) resolve(n ast.Node, path string) ast.Node {
	if d.budget--; d.budget < 0 {
		if d.budget == -1 {
			d.bad(n, path, "the file's aliases stand for too much", "write fewer of them")
		}
		return nil
	}
	switch v := n.(type) {
	case *ast.AnchorNode:
		d.anchors[v.Name.GetToken().Value] = v.Value
		return d.resolve(v.Value, path)
	case *ast.AliasNode:
		name := v.Value.GetToken().Value
		target, ok := d.anchors[name]
		if !ok {
			d.bad(n, path, fmt.Sprintf("the alias *%s has no anchor before it", name), "write &"+name+" before the value that is meant")
			return nil
		}
		return d.resolve(target, path) // no type of file.go has itself in it, so that circles end
	case *ast.TagNode:
		d.bad(n, path, "YAML tags such as "+v.GetToken().Value+" have no meaning here", "leave it out")
		return nil
	case *ast.MappingValueNode:
		return &ast.MappingNode{BaseNode: v.BaseNode, Start: v.Start, Values: []*ast.MappingValueNode{v}}
	}
	return n
}

// into decodes a node into v, a settable value.
func (d *decoder) into(n ast.Node, v reflect.Value, path string) {
	if n = d.resolve(n, path); n == nil {
		d.broken[path] = true
		return
	}
	d.spans[path] = spanOf(n)
	if text, ok := textOf(n); ok && strings.ContainsFunc(text, isControl) {
		d.bad(n, path, "the text has an invisible character", "take it out")
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.into(n, v.Elem(), path)
		return
	}
	m, isMapping := n.(*ast.MappingNode)
	if short, ok := v.Addr().Interface().(decodable); ok {
		if !isMapping || !hasFields(v.Type()) {
			if !short.decodeShort(d, n, path) {
				d.bad(n, path, kindOf(n)+" is not "+short.form(), "")
			}
			return
		}
		d.mapping(m, v, path)
		return
	}
	switch {
	case d.scalar(n, v, path):
	case v.Kind() == reflect.Struct && isMapping:
		d.mapping(m, v, path)
	case v.Kind() == reflect.Struct:
		d.bad(n, path, kindOf(n)+" stands where a mapping of fields is expected", "the fields are "+and(names(first(fieldsOf(v.Type())))))
	case v.Kind() == reflect.Slice:
		d.sequence(n, v, path)
	}
}

func first[A, B any](a A, _ B) A { return a }

func hasFields(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && len(first(fieldsOf(t))) > 0
}

// examples of the fields that may not be missing.
var examples = map[string]string{
	"lab": "lab: my-lab", "vpcs": "vpcs: { main: { cidr: 10.0.0.0/16 } }", "cidr": "cidr: 10.0.1.0/24",
	"subnet": "subnet: NAME", "path": "path: IMAGE", "name": "name: NAME of a network interface", "resource": "resource: NAME of a VPC, subnet or instance", "tests": "tests: [ ... ]",
}

// mapping decodes a mapping into a struct.
func (d *decoder) mapping(m *ast.MappingNode, v reflect.Value, path string) {
	fields, _ := fieldsOf(v.Type())
	d.pos(v, spanOf(m))
	seen := map[string]bool{}
	for key, kv := range d.pairs(m, path, "take one of them out") {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if i < 0 {
			d.bad(kv.Key, child(path, key), fmt.Sprintf("unknown field %s", short(key)), oneOf("fields here", key, names(fields)))
			if meant := nearest(key, names(fields)); meant != "" { // and is not missing
				seen[meant] = true
				d.broken[child(path, meant)] = true
			}
			continue
		}
		seen[key] = true
		d.field(kv.Value, v, fields[i], child(path, key))
	}
	for _, f := range fields {
		if f.required && !seen[f.name] {
			d.report(spanOf(m), path, f.name+" is missing", "add "+examples[f.name])
			d.broken[child(path, f.name)] = true
		}
	}
}

// field decodes the value of one field of a struct.
func (d *decoder) field(n ast.Node, v reflect.Value, f field, path string) {
	target := v.FieldByIndex(f.index)
	value := d.resolve(n, path)
	switch {
	case value == nil:
		d.broken[path] = true
	case value.Type() == ast.NullType:
		right := "give it one, or leave the field out"
		if target.Kind() == reflect.Slice && !f.isMap {
			right = "write [] for none, or leave the field out"
		}
		d.bad(n, path, "the field has no value", right)
	case f.isMap:
		d.named(value, target, path)
	case f.isList && value.Type() != ast.SequenceType:
		target.Set(reflect.MakeSlice(target.Type(), 1, 1))
		d.into(value, target.Index(0), element(path, 0))
	default:
		d.into(value, target, path)
	}
}

// named decodes a mapping by name into a slice of pointers to structs with a key, in the order of the file.
func (d *decoder) named(n ast.Node, v reflect.Value, path string) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.bad(n, path, kindOf(n)+" stands where a mapping by name is expected", "write NAME: { ... } for each")
		return
	}
	d.spans[path] = spanOf(n)
	for name, kv := range d.pairs(m, path, "give each a name of its own") {
		element := reflect.New(v.Type().Elem().Elem())
		_, key := fieldsOf(element.Elem().Type())
		element.Elem().FieldByIndex(key).SetString(name)
		at := child(path, name)
		value := d.resolve(kv.Value, at)
		switch {
		case value == nil:
			d.broken[at] = true
		case value.Type() == ast.NullType: // "quiet:" has no fields
			d.mapping(&ast.MappingNode{BaseNode: &ast.BaseNode{}, Start: kv.Key.GetToken(), IsFlowStyle: true}, element.Elem(), at)
		default:
			d.into(value, element.Elem(), at)
		}
		if d.broken[at] { // what names it is not wrong for that
			d.broken[path] = true
			continue
		}
		d.spans[at] = spanOf(kv.Key)
		d.pos(element.Elem(), spanOf(kv.Key))
		v.Set(reflect.Append(v, element))
	}
}

// pairs iterates over a mapping's keys and values; keys that cannot be and repeated ones are reported and left out.
// once says what is right where a key is repeated.
func (d *decoder) pairs(m *ast.MappingNode, path, once string) func(yield func(string, *ast.MappingValueNode) bool) {
	return func(yield func(string, *ast.MappingValueNode) bool) {
		before := map[string]span{}
		for _, kv := range m.Values {
			at := spanOf(kv.Key)
			key, ok := d.key(kv, path)
			if !ok {
				continue
			}
			if old, twice := before[key]; twice {
				d.badAt(at, child(path, key), fmt.Sprintf("%s stands here a second time", key), fmt.Sprintf("the first is on line %d; %s", old.line, once))
				continue
			}
			before[key] = at
			if !yield(key, kv) {
				return
			}
		}
	}
}

// key gives a mapping's key as text.
func (d *decoder) key(kv *ast.MappingValueNode, path string) (string, bool) {
	switch k := kv.Key.(type) {
	case *ast.StringNode:
		if strings.ContainsFunc(k.Value, isControl) {
			d.bad(kv.Key, path, "the name has an invisible character", "take it out")
			return "", false
		}
		return k.Value, true
	case *ast.MergeKeyNode:
		d.bad(kv.Key, path, "YAML's merge key << has no meaning here", "write the fields out")
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return kv.Key.GetToken().Value, true
	default:
		d.bad(kv.Key, path, kindOf(kv.Key)+" cannot be a field's name", "write plain text before the colon")
	}
	return "", false
}

// sequence decodes a list.
func (d *decoder) sequence(n ast.Node, v reflect.Value, path string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.bad(n, path, kindOf(n)+" stands where a list is expected", "write [ ... ], or a dash before each element")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values))) // [] is not nil
	for i, e := range s.Values {
		at := element(path, i)
		if e == nil || e.Type() == ast.NullType {
			d.bad(n, at, "the element has no value", "give it one, or take it out")
			continue
		}
		d.into(e, v.Index(i), at)
	}
}

// pos notes where a struct stands, if it has room for that.
func (d *decoder) pos(v reflect.Value, at span) {
	if f := v.FieldByName("Pos"); f.IsValid() {
		f.Set(reflect.ValueOf(d.src.pos(at)))
	}
}

// isControl says whether a terminal might act upon a character that YAML can escape; line ends and tabs stay.
func isControl(r rune) bool {
	return r != '\n' && r != '\t' && !unicode.IsPrint(r)
}

// element is the path of an element of a list.
func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// child is the path of a field.
func child(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
