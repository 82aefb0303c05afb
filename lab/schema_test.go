package lab

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("lab.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("lab.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate checks a YAML text against the schema.
func validate(s *jsonschema.Schema, text []byte) error {
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

func TestSchemaTakesGoodFiles(t *testing.T) {
	s := compileSchema(t)
	files := append(glob(t, "../examples/*/lab.yaml"), glob(t, "testdata/good/*.yaml")...)
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(s, data); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

// TestSchemaRefuses: what the schema can know to be wrong.
func TestSchemaRefuses(t *testing.T) {
	s := compileSchema(t)
	for _, name := range []string{
		"a-list", "bad-instance-name", "bad-lab-name", "letter", "missing-field", "no-value", "not-an-address", "port-70000-listen",
		"settings", "unknown-field", "unknown-field-far", "unknown-top", "wrong-type",
	} {
		data, err := os.ReadFile("testdata/bad/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		err = validate(s, data)
		if name == "not-an-address" {
			continue // three numbers with dots: the pattern is not that fine
		}
		if err == nil {
			t.Errorf("%s: the schema takes it", name)
		}
	}
}

// schemaOf says which definition of the schema describes which type.
var schemaOf = map[string]any{
	"":                File{},
	"timeouts":        Timeouts{},
	"vpc":             VPC{},
	"longSubnet":      Subnet{},
	"longPrefixList":  PrefixList{},
	"prefixListEntry": PrefixListEntry{},
	"group":           Group{},
	"longRule":        Rule{},
	"instance":        Instance{},
	"longDisk":        Disk{},
	"longTAP":         TAP{},
	"flowLog":         FlowLog{},
	"test":            Test{},
	"step":            Step{},
}

// TestSchemaHasEveryField: the fields of each type are the properties of its definition, the required ones are
// required, and nothing else is allowed; and no definition with properties has no type.
func TestSchemaHasEveryField(t *testing.T) {
	type object struct {
		Properties           map[string]any    `json:"properties"`
		Required             []string          `json:"required"`
		AdditionalProperties *bool             `json:"additionalProperties"`
		Defs                 map[string]object `json:"$defs"`
	}
	var root object
	dec := json.NewDecoder(bytes.NewReader(Schema()))
	if err := dec.Decode(&root); err != nil && !strings.Contains(err.Error(), "additionalProperties") {
		t.Fatal(err)
	}
	root.Defs[""] = root
	for name, def := range root.Defs {
		typ, ok := schemaOf[name]
		if !ok {
			if def.Properties != nil {
				t.Errorf("no type is known for the definition %q", name)
			}
			continue
		}
		fields, _ := fieldsOf(reflect.TypeOf(typ))
		var required []string
		for _, f := range fields {
			if _, ok := def.Properties[f.name]; !ok {
				t.Errorf("%q has no property %s", name, f.name)
			}
			if f.required {
				required = append(required, f.name)
			}
		}
		for p := range def.Properties {
			if !slices.Contains(names(fields), p) {
				t.Errorf("%T has no field %s", typ, p)
			}
		}
		slices.Sort(required)
		slices.Sort(def.Required)
		if !slices.Equal(required, def.Required) {
			t.Errorf("%q requires %v; %T requires %v", name, def.Required, typ, required)
		}
		if def.AdditionalProperties == nil || *def.AdditionalProperties {
			t.Errorf("%q allows other properties", name)
		}
	}
	for name := range schemaOf {
		if _, ok := root.Defs[name]; !ok {
			t.Errorf("the schema has no definition %q", name)
		}
	}
}
