package recipe

import (
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/sbxrun/sbxrun/schemas"
	"gopkg.in/yaml.v3"
)

// asPublished is the schema as editors compile it. The library checks it against the meta-schema that it names.
func asPublished(t *testing.T) *jsonschema.Schema {
	s, err := jsonschema.CompileString("recipe.schema.json", schemas.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	if s.Draft != jsonschema.Draft2020 {
		t.Error("the schema is not of draft 2020-12")
	}
	return s
}

// What is compiled as draft 7 judges as what is published does.
func TestDraft7MeansTheSame(t *testing.T) {
	want := asPublished(t)
	if rules().Draft != jsonschema.Draft7 {
		t.Errorf("compiled as %v", rules().Draft)
	}
	refused := 0
	for _, pattern := range []string{"testdata/good/*.txtar", "testdata/bad/*.txtar"} {
		archives(t, pattern, func(t *testing.T, _ string, a *txtar.Archive) {
			var v any
			if yaml.Unmarshal(a.Files[0].Data, &v) != nil {
				return
			}
			was, is := want.Validate(v), rules().Validate(v)
			if (was == nil) != (is == nil) {
				t.Errorf("as published %v, as draft 7 %v", was, is)
			}
			if is != nil {
				refused++
			}
		})
	}
	if refused < 15 {
		t.Errorf("only %d recipes were refused", refused)
	}
}

// The keywords that draft 7 and draft 2020-12 read alike, and those that stand beside them for readers.
var alike = []string{
	"$schema", "$id", "$defs", "$ref", "title", "description", "default", "errorMessage",
	"type", "enum", "const", "properties", "additionalProperties", "propertyNames", "required", "minProperties", "items", "minItems",
	"pattern", "minLength", "maxLength", "minimum", "maximum", "oneOf", "anyOf", "not", "if", "then", "else",
	"dependentRequired", // which draft7 renames
}

// What is compiled as draft 7 uses no other keywords, and nothing beside a $ref but text for readers: draft 7 ignores it.
func TestKeywordsOfBothDrafts(t *testing.T) {
	var look func(rule any, path string)
	look = func(rule any, path string) {
		for key, child := range rule.(map[string]any) {
			_, refers := rule.(map[string]any)["$ref"]
			if !slices.Contains(alike, key) || refers && !slices.Contains([]string{"$ref", "title", "description", "default"}, key) {
				t.Errorf("%s: %q", path, key)
			}
			at := path + "/" + key
			switch key {
			case "properties", "$defs":
				for name, rule := range child.(map[string]any) {
					look(rule, at+"/"+name)
				}
			case "oneOf", "anyOf":
				for _, rule := range child.([]any) {
					look(rule, at)
				}
			case "items", "propertyNames", "additionalProperties", "not", "if", "then", "else":
				if child != false {
					look(child, at)
				}
			}
		}
	}
	look(published(), "#")
}

// eachKey walks the part of the schema at path, and calls visit for each key of a mapping with its rule.
func eachKey(node any, path string, visit func(path string, rule map[string]any)) {
	switch x := node.(type) {
	case map[string]any:
		if properties, ok := x["properties"].(map[string]any); ok {
			for key, rule := range properties {
				visit(path+"/properties/"+key, rule.(map[string]any))
			}
		}
		for key, child := range x {
			eachKey(child, path+"/"+key, visit)
		}
	case []any:
		for _, child := range x {
			eachKey(child, path+"/[]", visit)
		}
	}
}

func dereference(rule map[string]any) map[string]any {
	if ref, ok := rule["$ref"].(string); ok {
		rule, _ = lookup(pointer(ref)).(map[string]any)
	}
	return rule
}

func TestEveryKeyIsDescribed(t *testing.T) {
	seen := 0
	eachKey(published(), "", func(path string, rule map[string]any) {
		seen++
		if rule["errorMessage"] != nil {
			return // a key that cannot stand there
		}
		description, _ := rule["description"].(string)
		if description == "" {
			description, _ = dereference(rule)["description"].(string)
		}
		if !strings.HasSuffix(description, ".") {
			t.Errorf("%s: the description %q is no sentence", path, description)
		}
		// What messages say was expected.
		if dereference(dereference(rule))["title"] == nil && !strings.HasSuffix(path, "/json") {
			t.Errorf("%s has no title", path)
		}
	})
	if seen < 90 {
		t.Errorf("only %d keys seen", seen)
	}
}

// covered notes the keys of the schema that v uses.
func covered(rule map[string]any, path string, v *value, seen map[string]bool) {
	if ref, ok := rule["$ref"].(string); ok {
		covered(dereference(rule), ref, v, seen)
	}
	if rule["if"] != nil {
		branch := "else"
		if v.get("parallel") != nil {
			branch = "then"
		}
		covered(rule[branch].(map[string]any), path+"/"+branch, v, seen)
	}
	properties, _ := rule["properties"].(map[string]any)
	additional, _ := rule["additionalProperties"].(map[string]any)
	for _, e := range v.entries {
		if child, ok := properties[e.key].(map[string]any); ok {
			seen[strings.TrimPrefix(path, "#")+"/properties/"+e.key] = true
			covered(child, path+"/properties/"+e.key, e.value, seen)
		} else if additional != nil {
			covered(additional, path+"/additionalProperties", e.value, seen)
		}
	}
	if items, ok := rule["items"].(map[string]any); ok {
		for _, item := range v.items {
			covered(items, path+"/items", item, seen)
		}
	}
}

// Every key of the schema is in a recipe of the corpus, whose recipes together fill in every field: see
// TestFullRecipeFillsEveryField. So schema and decoder know the same keys.
func TestEveryKeyIsInAGoodRecipe(t *testing.T) {
	seen := map[string]bool{}
	archives(t, "testdata/good/*.txtar", func(t *testing.T, _ string, a *txtar.Archive) {
		var n yaml.Node
		if err := yaml.Unmarshal(a.Files[0].Data, &n); err != nil {
			t.Fatal(err)
		}
		d := &decoder{src: newSource(string(a.Files[0].Data))}
		covered(published().(map[string]any), "#", d.tree(n.Content[0]), seen)
	})
	var missing []string
	eachKey(published(), "", func(path string, rule map[string]any) {
		if !seen[path] && rule["errorMessage"] == nil {
			missing = append(missing, path)
		}
	})
	sort.Strings(missing)
	for _, path := range missing {
		t.Errorf("%s is in no good recipe", path)
	}
}

// An editor gives the schema what a YAML library makes of the text, not what this package does.
func TestSchemaAcceptsGoodRecipesAsEditorsReadThem(t *testing.T) {
	schema := asPublished(t)
	archives(t, "testdata/good/*.txtar", func(t *testing.T, _ string, a *txtar.Archive) {
		var v any
		if err := yaml.Unmarshal(a.Files[0].Data, &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%#v", err)
		}
	})
}
