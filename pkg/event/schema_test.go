package event_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v5"

	"github.com/sbxrun/sbxrun/pkg/event"
)

const schemaFile = "../../schemas/events.schema.json"

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	c.AssertFormat = true
	s, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, line []byte) error {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(string(line)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return s.Validate(v)
}

// Every event of recorded runs is valid, and takes no notice of what it does not know.
func TestSchemaOfRecordedRuns(t *testing.T) {
	s := schema(t)
	logs, err := filepath.Glob("../../internal/report/testdata/*/events.jsonl")
	if err != nil || len(logs) < 4 {
		t.Fatalf("%d recorded logs, %v", len(logs), err)
	}
	for _, path := range logs {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewReader(f)
		for n := 1; ; n++ {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				break // the end, or a torn line
			}
			if strings.Contains(string(line), "future.event") {
				continue
			}
			if err := validate(t, s, line); err != nil {
				t.Errorf("%s:%d: %#v", path, n, err)
			}
		}
	}
}

// What Go writes with every field set is valid.
func TestSchemaOfFullEvents(t *testing.T) {
	s := schema(t)
	for _, typ := range []event.Type{
		event.TypeRunStart, event.TypeRecipeStart, event.TypeSampleStart, event.TypeStepStart, event.TypeTryEnd, event.TypeStepEnd,
		event.TypeInfraRetry, event.TypeSampleEnd, event.TypeWarning, event.TypeLeft, event.TypeRecipeEnd, event.TypeRunEnd,
	} {
		var e event.Event
		fill(reflect.ValueOf(&e).Elem())
		e.Type, e.Time = typ, time.Now()
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, line); err != nil {
			t.Errorf("%s: %#v", typ, err)
		}
		line, _ = json.Marshal(event.Event{Type: typ, Time: time.Now()})
		if err := validate(t, s, line); err == nil {
			t.Errorf("%s is valid without what it tells", typ)
		}
	}
}

// fill sets every field to what is valid in most places.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		return
	case event.Verdict:
		v.SetString(string(event.Failed))
		return
	case event.Reason:
		v.SetString(string(event.ReasonOOM))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("steps")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
			if v.Type().Field(i).Name == "SHA256" {
				v.Field(i).SetString(strings.Repeat("0f", 32))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		elem := reflect.New(v.Type().Elem()).Elem()
		if elem.Kind() == reflect.Interface {
			elem.Set(reflect.ValueOf([]any{"x", 1, nil}))
		} else {
			fill(elem)
		}
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), elem)
	}
}

// The schema describes exactly the fields that the types have.
func TestSchemaHasAllFields(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	compareFields(t, doc, doc, reflect.TypeFor[event.Event](), "event")
}

func compareFields(t *testing.T, doc, node map[string]any, typ reflect.Type, where string) {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct {
		typ, node = typ.Elem(), node["items"].(map[string]any)
	}
	if name, ok := node["$ref"].(string); ok {
		node = doc["$defs"].(map[string]any)[strings.TrimPrefix(name, "#/$defs/")].(map[string]any)
	}
	if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[time.Time]() {
		if node["description"] == nil {
			t.Errorf("%s has no description", where)
		}
		return
	}
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(typ) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && !(typ == reflect.TypeFor[event.Step]() && name == "step") { // Try.Step is not used there
			fields[name] = f.Type
		}
	}
	properties := node["properties"].(map[string]any)
	if diff := cmp.Diff(sorted(fields), sorted(properties)); diff != "" {
		t.Errorf("%s (-type +schema):\n%s", where, diff)
		return
	}
	for name, f := range fields {
		compareFields(t, doc, properties[name].(map[string]any), f, where+"."+name)
	}
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
