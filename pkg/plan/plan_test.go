package plan

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

var update = flag.Bool("update", false, "write the golden files")

// The golden files hold the plan of a recipe, as JSON and as text. go test ./pkg/plan -update writes them.
func TestGolden(t *testing.T) {
	for _, name := range []string{"everything", "plain"} {
		r, err := recipe.Load("testdata/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		p, err := Build(t.Context(), r, Options{
			LookupEnv: func(string) (string, bool) { return "hush", true },
			Set:       map[string]string{},
		})
		if err != nil {
			t.Fatal(err)
		}
		var json, text bytes.Buffer
		if err := p.JSON(t.Context(), &json); err != nil {
			t.Fatal(err)
		}
		if err := p.Text(t.Context(), &text); err != nil {
			t.Fatal(err)
		}
		for ext, got := range map[string]string{".json": json.String(), ".txt": text.String()} {
			file := "testdata/" + name + ext
			if strings.Contains(got, "hush") {
				t.Errorf("%s has the value of a secret", file)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		}
		if v, err := expr.DecodeJSON(json.Bytes()); err != nil {
			t.Errorf("%s: the plan is no JSON: %v", name, err)
		} else if n := len(v.(map[string]any)["cases"].([]any)); n != p.Cases {
			t.Errorf("%s: %d cases, want %d", name, n, p.Cases)
		}
	}
}

// Where sandboxes come from that name nothing is shown, and is no part of what decides the results.
func TestOrigin(t *testing.T) {
	dir := t.TempDir()
	head := "sandboxes: {a: {}, b: {image: debian}, c: {spec: {podTemplate: {}}}}"
	plain, err := Build(t.Context(), load(t, dir, head), Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Build(t.Context(), load(t, dir, head), Options{Origin: "template python"})
	if err != nil {
		t.Fatal(err)
	}
	var text, json bytes.Buffer
	if err := errors.Join(p.Text(t.Context(), &text), p.JSON(t.Context(), &json)); err != nil {
		t.Fatal(err)
	}
	if want := "sandboxes: a (template python), b (image debian), c (spec)\n"; !strings.Contains(text.String(), want) {
		t.Errorf("%s\nwant %s", text.String(), want)
	}
	if !strings.Contains(json.String(), `"origin": "template python"`) {
		t.Error(json.String())
	}
	if p.Digest != plain.Digest {
		t.Error("the digest depends on where sandboxes come from")
	}
}

// write makes a folder with these files.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads a recipe with this head (vars, cases, ...) in dir.
func load(t testing.TB, dir, head string) *recipe.Recipe {
	t.Helper()
	path := filepath.Join(dir, "recipe.yaml")
	r, err := recipe.Parse(path, []byte("version: 1\nname: test\nsteps: [{name: a, run: \"true\"}]\n"+head))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rows are the ids of a plan, and for each the fields as text.
func rows(t testing.TB, p *Plan) (ids, fields []string) {
	t.Helper()
	for c, err := range p.Rows(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := expr.TextOf(c.Fields)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, c.ID)
		fields = append(fields, fmt.Sprintf("%d %s", c.Number, text))
	}
	return ids, fields
}

func TestCases(t *testing.T) {
	files := map[string]string{
		"t/b.in": "", "t/a.in": "", "t/a.b/c.in": "", "t/x.out": "", "d/one/f": "", "d/two/f": "",
		"rows.jsonl": "{\"id\": \"p\", \"n\": 1}\n\n{\"id\": \"q\", \"n\": 2.50, \"big\": 12345678901234567890}\r\n{\"id\": 3, \"n\": null}",
		"bom.jsonl":  "\ufeff{\"n\": 1}\n",
		"rows.json":  "[\n {\"n\": 1},\n {\"n\": [1, {\"a\": \"b\"}]}\n]\n",
		"empty.json": "[]",
		"rows.csv":   "id,name, n\na,\"x, \"\"y\"\"\",1\nb,\"two\nlines\",2\n",
		"rows.yaml":  "- {n: 1, d: 2026-01-02}\n- &x {n: 2}\n- *x\n",
		"docs.yml":   "n: 1\n---\nn: 2\n---\n",
	}
	tests := []struct {
		name, head string
		opts       Options
		ids        string
		fields     []string // nil: not looked at
	}{
		{"none", "", Options{}, "main", []string{"1 {}"}},
		{"matrix", `cases: {matrix: {py: ["3.11", "3.12"], os: [bookworm, trixie]}}`, Options{},
			"py=3.11,os=bookworm py=3.11,os=trixie py=3.12,os=bookworm py=3.12,os=trixie", nil},
		{"list", `cases: {list: [{id: a, n: 1}, {n: 2}]}`, Options{}, "a 2", []string{`1 {"id":"a","n":1}`, `2 {"n":2}`}},
		{"list and matrix", `cases: {list: [{id: a}, {id: b}], matrix: {f: [x, y]}}`, Options{}, "a,f=x a,f=y b,f=x b,f=y", nil},
		{"id and matrix", `cases: {list: [{k: a}, {k: b}], matrix: {f: [x], g: [1]}, id: "${{ case.k }}-${{ case.f }}"}`, Options{}, "a-x,g=1 b-x,g=1", nil},
		{"glob", `cases: {glob: "t/**/*.in"}`, Options{}, "t/a.b/c.in t/a.in t/b.in", []string{
			`1 {"name":"c.in","path":"t/a.b/c.in","stem":"c"}`, `2 {"name":"a.in","path":"t/a.in","stem":"a"}`, `3 {"name":"b.in","path":"t/b.in","stem":"b"}`}},
		{"glob of folders", `cases: {glob: "d/*/"}`, Options{}, "d/one d/two", nil},
		{"glob with vars", "vars: {k: t}\ncases: {glob: \"${{ vars.k }}/{b,a,b}.in\"}", Options{}, "t/a.in t/b.in", nil},
		{"jsonl", `cases: {file: rows.jsonl}`, Options{}, "p q 3", []string{`1 {"id":"p","n":1}`, `2 {"big":12345678901234567890,"id":"q","n":2.5}`, `3 {"id":3,"n":null}`}},
		{"byte order mark", `cases: {file: bom.jsonl}`, Options{}, "1", []string{`1 {"n":1}`}},
		{"json", `cases: {file: rows.json}`, Options{}, "1 2", []string{`1 {"n":1}`, `2 {"n":[1,{"a":"b"}]}`}},
		{"csv", `cases: {file: rows.csv}`, Options{}, "a b", []string{`1 {"id":"a","n":"1","name":"x, \"y\""}`, `2 {"id":"b","n":"2","name":"two\nlines"}`}},
		{"yaml", `cases: {file: rows.yaml}`, Options{}, "1 2 3", []string{`1 {"d":"2026-01-02","n":1}`, `2 {"n":2}`, `3 {"n":2}`}},
		{"documents", `cases: {file: docs.yml}`, Options{}, "1 2", nil},
		{"where and limit", `cases: {list: [{n: 1}, {n: 2}, {n: 3}, {n: 4}], where: case.n > 1, limit: 2}`, Options{}, "2 3", []string{`2 {"n":2}`, `3 {"n":3}`}},
		{"where after matrix", `cases: {matrix: {a: [1, 2], b: [1, 2]}, where: case.a != case.b}`, Options{}, "a=1,b=2 a=2,b=1", nil},
		{"limit of a file", `cases: {file: rows.jsonl, limit: 1}`, Options{}, "p", nil},
		{"case", `cases: {matrix: {py: [3.11, 3.12], os: [a, b]}}`, Options{Case: `^py=3\.12,.*a$`}, "py=3.12,os=a", nil},
		{"set", "vars: {max: 1}\ncases: {list: [{n: 1}, {n: 2}, {n: 3}], where: case.n <= vars.max}", Options{Set: map[string]string{"max": "2"}}, "1 2", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Build(t.Context(), load(t, write(t, files), tt.head), tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // rows may be read again
				ids, fields := rows(t, p)
				if got := strings.Join(ids, " "); got != tt.ids {
					t.Errorf("ids are %s, want %s", got, tt.ids)
				}
				if tt.fields != nil && !cmp.Equal(fields, tt.fields) {
					t.Errorf("fields: %s", cmp.Diff(tt.fields, fields))
				}
				if len(ids) != p.Cases {
					t.Errorf("%d rows, the plan says %d", len(ids), p.Cases)
				}
			}
		})
	}
}

func TestBuildErrors(t *testing.T) {
	files := map[string]string{
		"rows.csv":  "task_id,n\na,1\n",
		"bad.jsonl": "{\"n\": 1}\n{\"n\": }\n", "list.jsonl": "[1]\n", "two.jsonl": "{} {}\n", "cut.json": "[{\"n\": 1},\n{\"n\"", "bad.json": "[\n{\"n\": 1}\n\n,x]", "more.json": "[]\n[]",
		"object.json": "\n{}", "scalar.json": "[{},\n\n 3]", "empty.json": "", "same.jsonl": "{\"id\": 1}\n{\"id\": 2}\n{\"id\": \"1\"}\n",
		"short.csv": "a,b\n1,2\n3\n", "twice.csv": "a,a\n", "unnamed.csv": "a,,b\n", "quote.csv": "a\n\"x\n", "none.csv": "",
		"bad.yaml": "- a: 1\n- {b\n", "key.yaml": "- {a: 1}\n- {b: 1, b: 2}\n", "text.yaml": "- a\n", "nan.yaml": "- {a: 1}\n- {a: .nan}\n",
		"octal.yaml": "- {a: 1}\n- {a: [{b: 010}]}\n", "long.yaml": "- {a: 12345678901234567890123}\n",
		"id.jsonl": "{\"id\": \"\"}\n", "packed.jsonl.gz": "nothing", "packed.jsonl.zst": "nothing", "odd.tsv": "", "huge.json": "[1e999]", "t/a.in": "",
	}
	tests := []struct {
		name, head string
		opts       Options
		want       []string
	}{
		{"unknown var", "vars: {level: 1, name: x}", Options{Set: map[string]string{"levle": "2", "zzz": "3"}}, []string{"--set levle: ", "did you mean level?", "--set zzz: ", "it has level, name"}},
		{"bad list", "vars: {a: 1}", Options{Set: map[string]string{"a": "[1"}}, []string{"--set a: line 1: did not find expected"}},
		{"secret", "secrets: [A, B]", Options{}, []string{"recipe.yaml:4:11: the secret A is not set in the environment", "recipe.yaml:4:14: the secret B"}},
		{"case", "", Options{Case: "("}, []string{"--case: error parsing regexp: missing closing )"}},
		{"shard 0", "", Options{ShardIndex: 0, ShardCount: 3}, []string{"--shard 0/3: the shards of 3 are 1 to 3"}},
		{"shard 4", "", Options{ShardIndex: 4, ShardCount: 3}, []string{"--shard 4/3"}},
		{"no match", `cases: {list: [{id: a}]}`, Options{Case: "b"}, []string{"recipe.yaml:4:8: no case is left to run: --case \"b\" matches none of 1 ids"}},
		{"no file", `cases: {glob: "t/*.out"}`, Options{}, []string{"recipe.yaml:4:8: no case is left to run: cases.glob matches no file"}},
		{"no row", `cases: {list: [{n: 1}], where: case.n > 1}`, Options{}, []string{"no case is left to run: cases.where holds for no row"}},
		{"where", "cases:\n  list:\n    - {n: 1}\n    - {n: x}\n  where: case.n < 2", Options{}, []string{"recipe.yaml:7:7: cases.where, row 2: case.n < 2: cannot do string < int"}},
		{"id", `cases: {list: [{k: ""}], id: "${{ case.k }}"}`, Options{}, []string{"cases.id is empty for row 1"}},
		{"own id", `cases: {file: id.jsonl}`, Options{}, []string{"id.jsonl:1: the row's id: it is empty"}},
		{"same id", "cases:\n  list:\n    - {id: a}\n    - {id: b}\n    - {id: a}", Options{}, []string{"recipe.yaml:8:7: rows 1 and 3 have the same id \"a\" (the other is at ", "recipe.yaml:6:7)"}},
		{"same id in a file", `cases: {file: same.jsonl}`, Options{}, []string{"same.jsonl:3: rows 1 and 3 have the same id \"1\" (the other is at ", "same.jsonl:1)"}},
		{"axis is a field", `cases: {list: [{f: 1}], matrix: {f: [1]}}`, Options{}, []string{`the row has a field "f", and so has cases.matrix`}},
		{"unknown field", "cases: {file: rows.csv}\ncollect:\n  - {src: \"${{ case?.none }}${{ case.taskid }}\"}", Options{},
			[]string{"recipe.yaml:6:33: unknown name case.taskid: no row of the data has this field, did you mean case.task_id?"}},
		{"unknown field in where", "cases: {file: rows.csv, matrix: {py: [1]}, where: case.m == case.py}", Options{}, []string{"recipe.yaml:4:51: unknown name case.m"}},
		{"jsonl", `cases: {file: bad.jsonl}`, Options{}, []string{"bad.jsonl:2: invalid character '}'"}},
		{"jsonl list", `cases: {file: list.jsonl}`, Options{}, []string{"list.jsonl:1: a row must be an object with fields, this is a list"}},
		{"jsonl two", `cases: {file: two.jsonl}`, Options{}, []string{"two.jsonl:1: there is more after the JSON value"}},
		{"json cut", `cases: {file: cut.json}`, Options{}, []string{"cut.json:2: the file ends within the list"}},
		{"json", `cases: {file: bad.json}`, Options{}, []string{"bad.json:4: invalid character 'x'"}},
		{"json more", `cases: {file: more.json}`, Options{}, []string{"more.json:2: there is more after the list"}},
		{"json object", `cases: {file: object.json}`, Options{}, []string{"object.json:2: a list of objects is needed"}},
		{"json scalar", `cases: {file: scalar.json}`, Options{}, []string{"scalar.json:3: a row must be an object with fields, this is a number"}},
		{"json empty", `cases: {file: empty.json}`, Options{}, []string{"empty.json: the file is empty"}},
		{"json huge", `cases: {file: huge.json}`, Options{}, []string{"huge.json:1: a number is too large"}},
		{"csv short", `cases: {file: short.csv}`, Options{}, []string{"short.csv:3: 1 fields, the first line names 2"}},
		{"csv twice", `cases: {file: twice.csv}`, Options{}, []string{`twice.csv:1: two fields are named "a"`}},
		{"csv unnamed", `cases: {file: unnamed.csv}`, Options{}, []string{"unnamed.csv:1: field 2 has no name"}},
		{"csv quote", `cases: {file: quote.csv}`, Options{}, []string{"quote.csv:", "extraneous or missing"}},
		{"csv empty", `cases: {file: none.csv}`, Options{}, []string{"none.csv: the file is empty"}},
		{"yaml", `cases: {file: bad.yaml}`, Options{}, []string{"bad.yaml:", "did not find expected"}},
		{"yaml key", `cases: {file: key.yaml}`, Options{}, []string{"key.yaml:2: mapping key \"b\" already defined"}},
		{"yaml text", `cases: {file: text.yaml}`, Options{}, []string{"text.yaml:1: a row must be an object with fields, this is text"}},
		{"yaml octal", `cases: {file: octal.yaml}`, Options{}, []string{"octal.yaml:2: 010 is the octal number 8 in YAML: quote it"}},
		{"yaml beyond", `cases: {file: long.yaml}`, Options{}, []string{"long.yaml:1: 12345678901234567890123 is beyond what numbers hold"}},
		{"yaml nan", `cases: {file: nan.yaml}`, Options{}, []string{"nan.yaml:2: a number is not finite"}},
		{"gz", `cases: {file: packed.jsonl.gz}`, Options{}, []string{"packed.jsonl.gz: not a gzip file"}},
		{"zst", `cases: {file: packed.jsonl.zst}`, Options{}, []string{"packed.jsonl.zst:1: invalid input: magic number mismatch"}},
		{"format", "vars: {x: odd.tsv}\ncases: {file: \"${{ vars.x }}\"}", Options{}, []string{"recipe.yaml:5:8: cases.file: odd.tsv: what the rows are is told by the end of the name"}},
		{"folder", "vars: {x: t.json}\ncases: {file: \"${{ vars.x }}\"}", Options{}, []string{"cases.file: ", "no such file"}},
		{"limit by a var", "vars: {m: 1Gi}\nsandboxes:\n  a: {limits: {memory: \"${{ vars.m }}\"}}\n  b: {local: {mounts: [{src: /etc, dst: \"${{ vars.m }}\"}]}}",
			Options{Set: map[string]string{"m": "lots"}}, []string{`recipe.yaml:6:3: sandbox a: limits.memory: "lots" is no quantity`, "recipe.yaml:7:3: sandbox b: local.mounts[0].dst: lots must be an absolute path"}},
		{"limit of a case", "cases: {list: [{id: a, m: 1Gi}, {id: b, m: lots}]}\nsandboxes:\n  x: {limits: {memory: \"${{ case.m }}\"}}", Options{},
			[]string{`recipe.yaml:6:3: sandbox x: limits.memory: "lots" is no quantity`, "(case b)"}},
		{"pattern", `cases: {glob: "t/[a"}`, Options{}, []string{`cases.glob: "t/[a" is no valid pattern`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.LookupEnv = func(string) (string, bool) { return "", false }
			_, err := Build(t.Context(), load(t, write(t, files), tt.head), tt.opts)
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("error is %v, want an Error", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nwant %s", err, want)
				}
			}
			if none := strings.HasPrefix(tt.name, "no "); none != errors.Is(err, ErrNoCases) {
				t.Errorf("ErrNoCases is %t", !none)
			}
		})
	}
}
