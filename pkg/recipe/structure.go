package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v5"
	"github.com/sbxrun/sbxrun/internal/nearest"
	"github.com/sbxrun/sbxrun/schemas"
)

// rules is the schema of recipes, compiled. It is compiled as one of draft 7, in which all that it uses means the same and
// one keyword has another name: the library checks a schema against that of its draft first, and for draft 2020-12 that
// takes longer than everything else.
var rules = sync.OnceValue(compileRules)

func compileRules() *jsonschema.Schema {
	return jsonschema.MustCompileString("recipe.schema.json", draft7.Replace(schemas.Recipe))
}

var draft7 = strings.NewReplacer(
	`"https://json-schema.org/draft/2020-12/schema"`, `"http://json-schema.org/draft-07/schema#"`,
	`"dependentRequired"`, `"dependencies"`)

// published is the schema of recipes as it is written, to take titles and keys from.
var published = sync.OnceValue(func() (doc any) {
	if err := json.Unmarshal([]byte(schemas.Recipe), &doc); err != nil {
		panic(err)
	}
	return doc
})

// structure checks root against the schema. A misspelt key is reported and then taken as the key that it was meant to
// be, so that it hides no other mistake and causes none.
func (d *decoder) structure(root *value) {
	for {
		err := &jsonschema.ValidationError{}
		failed := errors.As(rules().Validate(root.data()), &err)
		if !failed {
			return
		}
		c := structureCheck{root: root}
		c.explain(err)
		for _, r := range c.renames {
			if r.entry.key == r.key {
				continue // renamed where another alias of it stands
			}
			d.errorf(r.entry.pos, "unknown key %q, did you mean %q?", shorten(r.entry.key), r.key)
			r.entry.key = r.key
		}
		if len(c.renames) == 0 {
			d.report(c.found)
			return
		}
	}
}

// structureCheck turns what the schema library found into messages.
type structureCheck struct {
	root    *value
	found   []Diagnostic
	renames []rename
}

type rename struct {
	entry *entry
	key   string
}

func (c *structureCheck) explain(e *jsonschema.ValidationError) {
	if len(c.found) > maxMistakes {
		return
	}
	path := pointer(e.AbsoluteKeywordLocation)
	keyword := ""
	if len(path) > 0 {
		keyword = path[len(path)-1]
	}
	if len(e.Causes) > 0 && keyword != "oneOf" && keyword != "anyOf" {
		for _, cause := range e.Causes {
			c.explain(cause)
		}
		return
	}
	if len(path) > 2 && path[len(path)-3] == "dependencies" {
		keyword, path = "dependentRequired", path[:len(path)-2]
	}
	at := c.instance(pointer(e.InstanceLocation))
	rule, _ := lookup(path[:max(0, len(path)-1)]).(map[string]any)
	expected, _ := rule["title"].(string)
	if strings.Contains(e.KeywordLocation, "/propertyNames/") {
		if empty := at.value.entry(""); empty != nil { // of which the library's path says nothing
			at.key, at.name = empty.pos, ""
		}
		c.add(at.key, "%sexpected %s, got %q", at.in, expected, shorten(at.name))
		return
	}
	v := at.value
	if v.bad && keyword != "additionalProperties" {
		return
	}
	switch keyword {
	case "additionalProperties":
		c.unknownKeys(at, rule)
	case "required":
		for _, key := range texts(rule["required"]) {
			if v.entry(key) == nil {
				c.add(v.pos, "%smissing key %q", at.label, key)
			}
		}
	case "oneOf", "anyOf":
		c.alternatives(at, rule[keyword])
	case "dependentRequired":
		for key, needs := range rule["dependentRequired"].(map[string]any) {
			for _, need := range texts(needs) {
				if e := v.entry(key); e != nil && v.entry(need) == nil {
					c.add(e.pos, "%skey %q needs key %q beside it", at.label, key, need)
				}
			}
		}
	case "not":
		message, _ := rule["errorMessage"].(string)
		c.add(at.key, "%s", message)
	case "minLength", "minItems", "minProperties":
		c.add(v.pos, "%smust not be empty", at.label)
	default:
		if expected == "" {
			expected = "something else: " + e.Message
		}
		c.add(v.pos, "%sexpected %s, got %s%s", at.label, expected, v, hint(v, rule))
	}
}

// hint is what to write instead, where that can be guessed.
func hint(v *value, rule map[string]any) string {
	if options := texts(rule["enum"]); v.scalar() && len(options) > 0 {
		if near, ok := nearest.Nearest(v.text, options); ok {
			return fmt.Sprintf(", did you mean %q?", near)
		}
	}
	if rule["title"] == "true or false" && v.kind == text {
		switch strings.ToLower(v.text) {
		case "yes", "y", "on":
			return ": write true"
		case "no", "n", "off":
			return ": write false"
		}
	}
	if title, _ := rule["title"].(string); strings.HasPrefix(title, "a duration") && v.kind == number {
		if n, err := strconv.ParseFloat(v.text, 64); err == nil && n <= 0 {
			return ": it must be more than 0"
		}
		return ": add a unit, such as " + shorten(v.text) + "s"
	}
	return ""
}

// unknownKeys reports keys that a rule does not have. One that is near a key that is missing is to be renamed; one at a
// time, so that two are not taken for the same key.
func (c *structureCheck) unknownKeys(at instance, rule map[string]any) {
	valid := validKeys(rule)
	free := slices.DeleteFunc(slices.Clone(valid), func(k string) bool { return at.value.entry(k) != nil })
	renamed := false
	for _, e := range at.value.entries {
		if slices.Contains(valid, e.key) || len(c.found) > maxMistakes {
			continue
		}
		if near, ok := nearest.Nearest(e.key, free); ok && !renamed {
			renamed = true
			c.renames = append(c.renames, rename{e, near})
			continue
		}
		c.add(e.pos, "%sunknown key %q; valid keys are %s", at.label, shorten(e.key), strings.Join(valid, ", "))
	}
}

// alternatives reports that none or several of the keys that exclude each other are there.
func (c *structureCheck) alternatives(at instance, branches any) {
	var keys []string
	for _, b := range branches.([]any) {
		keys = append(keys, texts(b.(map[string]any)["required"])...)
	}
	var present []*entry
	for _, e := range at.value.entries {
		if slices.Contains(keys, e.key) {
			present = append(present, e)
		}
	}
	if len(present) == 0 {
		last := len(keys) - 1
		c.add(at.value.pos, "%smissing key %s or %s", at.label, strings.Join(keys[:last], ", "), keys[last])
		return
	}
	for _, e := range present[1:] {
		c.add(e.pos, "%skey %q cannot stand beside %q", at.label, e.key, present[0].key)
	}
}

func (c *structureCheck) add(pos Pos, format string, args ...any) {
	c.found = append(c.found, Diagnostic{Pos: pos, Message: fmt.Sprintf(format, args...)})
}

// instance is a value that the schema library talks about.
type instance struct {
	value *value
	name  string // its key
	key   Pos    // of its key, or of itself
	label string // begins messages about it
	in    string // begins messages about its key
}

func (c *structureCheck) instance(path []string) instance {
	at := instance{value: c.root, key: c.root.pos}
	for _, token := range path {
		if at.value.kind == list {
			i, _ := strconv.Atoi(token)
			at.value = at.value.items[i]
			at.key, at.label = at.value.pos, "in "+strings.TrimPrefix(at.label, "in ")
			continue
		}
		e := at.value.entry(token)
		at = instance{value: e.value, name: token, key: e.pos, label: shorten(token) + ": ", in: at.label}
	}
	return at
}

// pointer splits a JSON pointer, or what follows # in a URL.
func pointer(s string) []string {
	_, after, found := strings.Cut(s, "#")
	if found {
		s = after
	}
	if s == "" {
		return nil
	}
	tokens := strings.Split(strings.TrimPrefix(s, "/"), "/")
	for i, t := range tokens {
		if u, err := url.PathUnescape(t); err == nil {
			t = u
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
	}
	return tokens
}

// lookup returns the part of the schema that path leads to.
func lookup(path []string) any {
	at := published()
	for _, token := range path {
		switch x := at.(type) {
		case map[string]any:
			at = x[token]
		case []any:
			i, _ := strconv.Atoi(token)
			at = x[i]
		}
	}
	return at
}

// validKeys are the keys of a rule, in alphabetical order.
func validKeys(rule map[string]any) []string {
	properties, _ := rule["properties"].(map[string]any)
	keys := make([]string, 0, len(properties))
	for k := range properties {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func texts(v any) []string {
	items, _ := v.([]any)
	var all []string
	for _, item := range items {
		if s, ok := item.(string); ok {
			all = append(all, s)
		}
	}
	return all
}
