package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func TestSetValues(t *testing.T) {
	tests := []struct {
		text string
		want any
	}{
		{"3", 3}, {"0.5", 0.5}, {"true", true}, {"text", "text"}, {"", ""}, {"null", nil}, {`"3"`, "3"}, {"[1, a]", []any{1, "a"}},
		{"{a: {b: 1}}", map[string]any{"a": map[string]any{"b": 1}}}, {"2026-01-02", "2026-01-02"}, {"http://x:80/y", "http://x:80/y"},
		{"*.py", "*.py"}, {"@me", "@me"}, {"a: b: c", "a: b: c"}, {"%d", "%d"}, {"${{ x }}", "${{ x }}"}, {"18446744073709551615", uint64(1<<64 - 1)},
	}
	for _, tt := range tests {
		if got, err := setValue(tt.text, nil); !cmp.Equal(got, tt.want) || err != nil {
			t.Errorf("%s is %#v, %v, want %#v", tt.text, got, err, tt.want)
		}
	}
	for text, want := range map[string]any{"3.10": "3.10", "007": "007", "true": "true", "null": "null", `"q"`: "q", "[1]": []any{1}, "a: b": "a: b", "a:": "a:", "# c": "# c", "- a": "- a", "a # b": "a # b"} {
		if got, err := setValue(text, "text"); !cmp.Equal(got, want) || err != nil {
			t.Errorf("%s for a text is %#v, %v, want %#v", text, got, err, want)
		}
	}
	if got, err := setValue("3", ""); got != 3 || err != nil {
		t.Errorf("3 for an empty default is %#v, %v", got, err)
	}
	for _, text := range []string{"[1", "{a", "[.inf]", "3.10", "007", ".inf"} {
		if got, err := setValue(text, 1); err == nil {
			t.Errorf("%s is %#v", text, got)
		}
	}
}

// Every case is in exactly one shard, which one does not depend on the others, and an empty shard is no error.
func TestShards(t *testing.T) {
	dir := t.TempDir()
	head := "cases: {matrix: {a: [1, 2, 3, 4, 5], b: [x, y, z, \"long\"]}}"
	in := map[string]int{}
	for shard := 1; shard <= 3; shard++ {
		p, err := Build(t.Context(), load(t, dir, head), Options{ShardIndex: shard, ShardCount: 3})
		if err != nil {
			t.Fatal(err)
		}
		ids, _ := rows(t, p)
		for _, id := range ids {
			if in[id] != 0 {
				t.Errorf("%s is in shards %d and %d", id, in[id], shard)
			}
			in[id] = shard
		}
		one, err := Build(t.Context(), load(t, dir, head), Options{ShardIndex: shard, ShardCount: 3, Case: "^a=2,b=x$"})
		if err != nil {
			t.Fatal(err)
		}
		if ids, _ := rows(t, one); (len(ids) == 1) != (in["a=2,b=x"] == shard) {
			t.Errorf("shard %d has %v", shard, ids)
		}
	}
	if len(in) != 20 {
		t.Errorf("%d cases in all shards, want 20", len(in))
	}
	// The hash is kept: shards of different versions of the program fit together.
	if hash := hashID("main"); hash != 0x0d6e4079e36703eb {
		t.Errorf("the hash of main is %#x", hash)
	}
}

func TestPoolAndTotal(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		head              string
		jobs, defaultJobs int
		size, total       int
	}{
		{"", 0, 0, 1, 1},
		{"", 0, 8, 8, 1},
		{"pool: {size: 3}", 0, 8, 3, 1},
		{"pool: {size: 3}\nsamples: 4", 2, 8, 2, 4},
		{"samples: 4\ncases: {matrix: {a: [1, 2]}}", 0, 8, 8, 8},
	}
	for _, tt := range tests {
		p, err := Build(t.Context(), load(t, dir, tt.head), Options{Jobs: tt.jobs, DefaultJobs: tt.defaultJobs})
		if err != nil {
			t.Fatal(err)
		}
		if p.Pool.Size != tt.size || p.Total != tt.total {
			t.Errorf("%q: size %d, total %d, want %d, %d", tt.head, p.Pool.Size, p.Total, tt.size, tt.total)
		}
	}
}

func TestEnv(t *testing.T) {
	p, err := Build(t.Context(), load(t, t.TempDir(), "vars: {v: 1}"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := expr.Parse("${{ case.x }} ${{ vars.v }} ${{ run.id }} ${{ run.sample }}", expr.Known{CaseOpen: true, Vars: []string{"v"}}.Sample())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tmpl.Text(p.Env(Case{Fields: map[string]any{"x": 2}}, 3, "r")); got != "2 1 r 3" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestDigest(t *testing.T) {
	build := func(content, head string, set map[string]string) string {
		p, err := Build(t.Context(), load(t, write(t, map[string]string{"r.jsonl": content, content + ".in": ""}), head), Options{Set: set})
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	file, glob := "vars: {v: 1}\ncases: {file: r.jsonl}", "vars: {v: 1}\ncases: {glob: '*.in'}"
	base := build("{}", file, nil)
	if again := build("{}", file, map[string]string{"v": "1"}); again != base {
		t.Error("the same inputs have another digest")
	}
	for name, other := range map[string]string{
		"a data file": build("{} ", file, nil), "--set": build("{}", file, map[string]string{"v": "2"}), "the recipe": build("{}", file+"\n", nil),
	} {
		if other == base {
			t.Errorf("%s is not in the digest", name)
		}
	}
	if build("a", glob, nil) == build("b", glob, nil) {
		t.Error("the files of a glob are not in the digest")
	}
}

func TestDuration(t *testing.T) {
	tests := []struct {
		value any
		want  time.Duration // 0: an error
	}{
		{"10s", 10 * time.Second}, {"1h30m", 90 * time.Minute}, {90, 90 * time.Second}, {0.5, 500 * time.Millisecond}, {"2.5", 2500 * time.Millisecond},
		{0, 0}, {-1, 0}, {"-1s", 0}, {"soon", 0}, {"", 0}, {true, 0}, {nil, 0}, {[]any{}, 0}, {1e30, 0}, {"NaN", 0}, {"inf", 0}, {1e-12, 0},
		{"${{ vars.t }}", 3 * time.Second},
	}
	env := expr.Env{"vars": map[string]any{"t": 3}}
	for _, tt := range tests {
		v, err := expr.ParseValue(tt.value, expr.Known{Vars: []string{"t"}}.VarsOnly())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Duration(v, env); got != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%v is %s, %v, want %s", tt.value, got, err, tt.want)
		}
	}
}

func TestQuantity(t *testing.T) {
	tests := []struct {
		text  string
		milli bool
		want  int64 // 0: an error
	}{
		{"64Mi", false, 64 << 20}, {"1Gi", false, 1 << 30}, {"100k", false, 100_000}, {"1e3", false, 1000}, {"12", false, 12}, {"0.5", false, 1},
		{"500m", true, 500}, {"2", true, 2000}, {"0.5", true, 500},
		{"0", false, 0}, {"-1", false, 0}, {"1 GB", false, 0}, {"x", false, 0}, {"9223372036854775807", true, 0}, {"100E", false, 0},
	}
	for _, tt := range tests {
		if got, err := quantity(tt.text, tt.milli); got != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%s is %d, %v, want %d", tt.text, got, err, tt.want)
		}
	}
}

func TestSandboxSpec(t *testing.T) {
	text := func(s string) *expr.Template {
		tmpl, err := expr.Parse(s, expr.Known{CaseOpen: true}.Row())
		if err != nil {
			t.Fatal(err)
		}
		return tmpl
	}
	value := func(v any) *expr.Value {
		val, err := expr.ParseValue(v, expr.Known{CaseOpen: true}.Row())
		if err != nil {
			t.Fatal(err)
		}
		return val
	}
	p := &Plan{Recipe: &recipe.Recipe{Path: "r.yaml", Dir: "/recipes"}}
	env := expr.Env{"case": map[string]any{"mem": "64Mi", "image": "busybox", "n": 3, "none": ""}}
	full := recipe.Sandbox{
		Name: "web", Network: "case", Isolation: "namespaces", Runtime: "exec", Port: 8080,
		WarmPool: text("pool"), Template: text("t"), Image: text("${{ case.image }}:1"), Spec: value(map[string]any{"n": "${{ case.n }}"}),
		Labels: value(map[string]any{"n": "${{ case.n }}", "t": true}), PodLabels: value(map[string]any{"a": "b"}), Volumes: value([]any{1}),
		Limits: recipe.Limits{Memory: text("${{ case.mem }}"), CPU: text("1500m"), Disk: text("${{ case.none }}")},
		Rootfs: text("roots/x"), Mounts: []recipe.Mount{{Src: text("data"), Dst: text("/data"), Writable: true}, {Src: text("/opt/../usr")}},
	}
	want := sandbox.Spec{
		Name: "web", Network: "case", Limits: sandbox.Limits{CPU: 1500, Memory: 64 << 20},
		Local: sandbox.Local{Rootfs: "/recipes/roots/x", Isolation: "namespaces",
			Mounts: []sandbox.Mount{{Source: "/recipes/data", Target: "/data", Writable: true}, {Source: "/usr"}}},
		Cluster: sandbox.Cluster{WarmPool: "pool", Template: "t", Image: "busybox:1", Spec: []byte(`{"n":3}`), Runtime: "exec", Port: 8080,
			Labels: map[string]string{"n": "3", "t": "true"}, PodLabels: map[string]string{"a": "b"}, Volumes: []byte("[1]")},
	}
	got, err := p.SandboxSpec(full, env)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := p.SandboxSpec(recipe.Sandbox{Name: "default", Rootfs: text("host")}, nil); err != nil || !cmp.Equal(got, sandbox.Spec{Name: "default"}) {
		t.Errorf("the default sandbox is %+v, %v", got, err)
	}
	for _, tt := range []struct {
		sb   recipe.Sandbox
		want string
	}{
		{recipe.Sandbox{Name: "x", Pos: recipe.Pos{Line: 3, Column: 5}, Limits: recipe.Limits{PIDs: text("many")}}, `r.yaml:3:5: sandbox x: limits.pids: "many" is no quantity`},
		{recipe.Sandbox{Name: "x", Image: text("${{ case.none }}")}, "sandbox x: warmpool, template, image or spec is empty"},
		{recipe.Sandbox{Name: "x", Image: text("${{ case.n.x }}")}, `sandbox x: image: case.n.x: a number has no field "x"`},
		{recipe.Sandbox{Name: "x", Labels: value("${{ case.n }}")}, "labels: a map is needed, got a number"},
		{recipe.Sandbox{Name: "x", Mounts: []recipe.Mount{{Src: text("a"), Dst: text("b")}}}, "local.mounts[0].dst: b must be an absolute path"},
		{recipe.Sandbox{Name: "x", Mounts: []recipe.Mount{{Src: text("${{ case.none }}")}}}, "local.mounts[0].src is empty"},
	} {
		var own *Error
		if _, err := p.SandboxSpec(tt.sb, env); !errors.As(err, &own) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error is %v, want %s", err, tt.want)
		}
	}
}

func TestFit(t *testing.T) {
	const gi = 1 << 30
	one := []sandbox.Limits{{Memory: gi, Disk: gi}}
	tests := []struct {
		name    string
		size    int
		sample  []sandbox.Limits
		warning bool
		err     bool
	}{
		{"defaults are not counted", 1000, []sandbox.Limits{{}, {CPU: 1}}, false, false},
		{"fits", 4, one, false, false},
		{"more than there is at once", 5, one, true, false},
		{"one alone", 1, []sandbox.Limits{{Memory: 9 * gi}}, false, true},
		{"one alone, of two sandboxes", 1, []sandbox.Limits{{Memory: 5 * gi}, {Disk: 4 * gi}}, false, true},
		{"overflow", 1, []sandbox.Limits{{Memory: 1<<63 - 1, Disk: 1<<63 - 1}}, false, true},
	}
	for _, tt := range tests {
		warning, err := Fit(tt.size, tt.sample, 8*gi)
		if (warning != "") != tt.warning || (err != nil) != tt.err {
			t.Errorf("%s: %q, %v", tt.name, warning, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	p, err := Build(t.Context(), load(t, write(t, map[string]string{"r.jsonl": strings.Repeat("{}\n", 100)}), "cases: {file: r.jsonl}"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range p.Rows(ctx) {
		if n++; n == 3 {
			cancel()
		}
		last = err
	}
	if n != 4 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d rows, then %v", n, last)
	}
	if _, err := Build(ctx, p.Recipe, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Build: %v", err)
	}
}

// Two ids with one hash are not the same id.
func TestHashes(t *testing.T) {
	var h hashes
	for i := range 3*block + 5 {
		h.add(uint64(i))
	}
	h.add(7)
	h.add(uint64(3 * block))
	if got := h.twice(); !cmp.Equal(got, map[uint64]bool{7: true, 3 * block: true}) {
		t.Errorf("twice: %v", got)
	}
	p, err := Build(t.Context(), load(t, t.TempDir(), "cases: {matrix: {a: [1, 2]}}"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var same hashes
	same.add(hashID("a=1"))
	same.add(hashID("a=1"))
	if err := p.duplicates(t.Context(), &same); err != nil {
		t.Errorf("a collision of hashes is taken for one of ids: %v", err)
	}
}

func ExampleError() {
	fmt.Println(&Error{File: "rows.jsonl", Pos: recipe.Pos{Line: 7}, Message: "a row must be an object"})
	fmt.Println(&Error{Message: "--set x: the recipe has no var of this name"})
	// Output:
	// rows.jsonl:7: a row must be an object
	// --set x: the recipe has no var of this name
}
