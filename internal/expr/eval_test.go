package expr

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// known and sample are a recipe's names, and values for them.
var known = Known{
	Case: []string{"n", "big", "text", "list", "map", "hy-phen", "none", "csv"}, Vars: []string{"level"}, Env: []string{"HOME"},
	Secrets: []string{"TOKEN"}, Steps: map[string][]string{"build": {"score"}, "test": nil}, Sandboxes: []string{"web"},
}

func sample() Env {
	return Env{
		"case": map[string]any{
			"n": 3.0, "big": uint64(1<<64 - 1), "text": "häuser", "list": []any{"a", "b c", 3}, "hy-phen": 1, "none": nil, "csv": "7",
			"map": map[string]any{"b": 2, "a": []any{1}},
		},
		"vars":    map[string]any{"level": 2},
		"env":     map[string]any{"HOME": "/workspace"},
		"secrets": map[string]any{"TOKEN": "hush"},
		"run":     map[string]any{"id": "run-1", "sample": 1},
		"sandbox": map[string]any{"web": map[string]any{"host": "10.0.0.2"}},
		"steps": map[string]any{"build": map[string]any{
			"verdict": "passed", "exit": 0, "score": 0.75, "stdout": Lazy(func() (any, error) { return "built\n", nil }),
		}},
		"exit": 0, "duration": 1.5, "stderr": "",
		"stdout": Lazy(func() (any, error) { return "{\"score\": 3, \"id\": 12345678901234567890}\n", nil }),
		"file": func(path string) (string, error) {
			if path != "out.txt" {
				return "", errors.New("no such file: " + path)
			}
			return "1\n2\n", nil
		},
	}
}

func TestEval(t *testing.T) {
	tests := []struct {
		source string
		want   any
	}{
		{`case.n == 3`, true},
		{`3 == 3.0`, true},
		{`[1, {"a": 2.0}] == [1.0, {"a": 2}]`, true},
		{`case.n != "3"`, true},
		{`"3" == case.n`, false},
		{`case.big`, uint64(1<<64 - 1)},
		{`case.big == 18446744073709551615.0`, true},
		{`case.big > 9223372036854775807 && 9223372036854775807 < case.big && case.big >= case.big && !(case.big <= 1)`, true},
		{`-1 < case.big && case.big > 0.5 && case.big > -case.big`, true},
		{`case.big - 1 > 1.8e19 && case.big * 2 > 3.6e19 && case.big + 1 > 1.8e19`, true},
		{`float("nan") == float("nan") || case.big > float("nan") || case.big < float("nan")`, false},
		{`max(case.big, 1) > 1.8e19 && min(case.big, 1) == 1 && sum([case.big, 1]) > 1.8e19 && sort([case.big, 1])[0] == 1`, true},
		{`9223372036854775806 + 1 == 9223372036854775807 && -9223372036854775807 - 1 < 0 && -1 * 9223372036854775807 < 0`, true},
		{`case["hy-phen"] + 1`, 2},
		{`case.none == null && case.none == nil`, true},
		{`int(case.csv) > case.n`, true},
		{`vars.level * 2.5`, 5.0},
		{`7 / 2`, 3.5},
		{`7 % 2`, 1},
		{`steps.build.score > 0.5 and steps["build"].exit == 0`, true},
		{`steps.build.stdout`, "built\n"},
		{`sandbox.web.host + ":8080"`, "10.0.0.2:8080"},
		{`run.id + "/" + string(run.sample)`, "run-1/1"},
		{`env.HOME startsWith "/"`, true},
		{`json(stdout).score`, 3},
		{`json(stdout).id`, uint64(12345678901234567890)},
		{`json("[1, 2.5, 1e3, null, true]")`, []any{1, 2.5, 1000.0, nil, true}},
		{`fromJSON("3")`, 3},
		{`len(lines(stdout)) == 1 and duration < 2 and exit == 0`, true},
		{`lines("a\r\nb\n\nc")`, []any{"a", "b", "", "c"}},
		{`lines("")`, []any{}},
		{`sum(map(lines(file("out.txt")), int(#)))`, 3},
		{`case.text[1]`, "ä"},
		{`case.text[1:3]`, "äu"},
		{`case.text[-2:]`, "er"},
		{`len(case.text)`, 6},
		{`case.list[-1]`, 3},
		{`case.list[1:]`, []any{"b c", 3}},
		{`case.list[5:9]`, []any{}},
		{`"a" in case.list and "x" not in case.list and "b" in case.map and 3.0 in case.list`, true},
		{`case.map`, map[string]any{"b": 2, "a": []any{1}}},
		{`keys(case.map)`, []any{"a", "b"}},
		{`values(case.map)`, []any{[]any{1}, 2}},
		{`toPairs(case.map)`, []any{[]any{"a", []any{1}}, []any{"b", 2}}},
		{`fromPairs([["x", 1]]).x`, 1},
		{`case.map?.c?.d`, nil},
		{`get(case.map, "c") ?? "none"`, "none"},
		{`get(case.list, 9)`, nil},
		{`filter(1..10, # % 3 == 0)`, []any{3, 6, 9}},
		{`map([{"a": 1}, {"a": 2}], .a)`, []any{1, 2}},
		{`reduce(1..4, #acc * #, 1)`, 24},
		{`groupBy(1..3, # % 2 == 0 ? "even" : "odd").odd`, []any{1, 3}},
		{`sortBy([3, 1, 2], #, "desc")`, []any{3, 2, 1}},
		{`sort(["b", "a"])`, []any{"a", "b"}},
		{`uniq([1, 1.0, "1", [1], [1.0], null, null])`, []any{1, "1", []any{1}, nil}},
		{`flatten([1, [2, [3]]])`, []any{1, 2, 3}},
		{`concat([1], [2])`, []any{1, 2}},
		{`max(1, 2.5, 2)`, 2.5},
		{`mean([1, 2])`, 1.5},
		{`join([1, "a", true], "-")`, "1-a-true"},
		{`string(1e6) + string(0.1) + string(true) + string(null)`, "10000000.1true"},
		{`toJSON([1])`, "[\n  1\n]"},
		{`upper("ä") + trim("  x ") + replace("aXa", "X", "-") + repeat("z", 2)`, "Äxa-azz"},
		{`split("a,b", ",")`, []any{"a", "b"}},
		{`"abc" matches "^a.c$"`, true},
		{`"abc" matches ("b" + "+")`, true},
		{`null contains "x" or null matches "x"`, false},
		{`let x = case.n; let y = x + 1; y * x`, 12.0},
		{`case.n > 2 ? "big" : "small"`, "big"},
		{`if case.n > 2 { "big" } else { "small" }`, "big"},
		{`1 < 2 < 3`, true},
		{`"abc" | upper()`, "ABC"},
		{` ${{ case.n }} `, 3.0},
		{`${{ {"a": {"b": 1}}.a.b }}`, 1},
		{`"}}" + "${{"`, "}}${{"},
		{`// note` + "\n" + `1`, 1},
		{`duration > 1 ? round(duration) : 0`, 2.0},
		{`toBase64("a") + fromBase64("YQ==")`, "YQ==a"},
		{`raw("a b")`, "a b"},
		{`[raw("a"), {"b": raw("c")}]`, []any{"a", map[string]any{"b": "c"}}},
	}
	for _, tt := range tests {
		e, err := Compile(tt.source, known.Outcome())
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		got, err := e.Eval(sample())
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
		} else if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.source, diff)
		}
	}
}

func TestEvalErrors(t *testing.T) {
	tests := []struct {
		source string
		offset int
		want   string
	}{
		{`case.none.x`, 10, `null has no field "x"`},
		{`case.list[7]`, 9, "the list has no element 7: its length is 3"},
		{`case.n.x`, 7, `a number has no field "x"`},
		{`case.text.x`, 10, `a text has no field "x"`},
		{`case.n > "x"`, 7, "cannot do number > string"},
		{`case.n and true`, 7, "a number where true or false is needed"},
		{`1 + json(stderr).x`, 4, "json(): there is no JSON in it, it is empty"},
		{`json("{")`, 0, "json(): the JSON ends too early"},
		{`json("1 2")`, 0, "json(): there is more after the JSON value, at byte 2"},
		{`json("1e999")`, 0, "json(): a number is too large"},
		{`json(case.n)`, 0, "json(): needs text, got a number"},
		{`int(case.text)`, 0, "int(): cannot do int(häuser)"},
		{`upper(case.n)`, 0, "upper(): a number where text is needed"},
		{`map(case.n, #)`, 0, "map() needs a list, got a number"},
		{`case.text contains case.n`, 10, "contains needs text on its right, got a number"},
		{`"ä" matches case.text + "("`, 5, "missing closing )"},
		{`file("gone")`, 0, "no such file: gone"},
		{`1 % 0`, 2, "division by zero"},
		{`1..9000000000`, 1, "is too long a list"},
		{`case.big % 10`, 9, "the remainder is there for whole numbers up to 9223372036854775807"},
		{`int(case.big)`, 0, "is beyond the whole numbers of 64 bits"},
		{`9223372036854775807 + 1`, 20, "is beyond the whole numbers of 64 bits"},
		{`-9223372036854775807 - 2`, 21, "is beyond the whole numbers of 64 bits"},
		{`4294967296 * 4294967296`, 11, "is beyond the whole numbers of 64 bits"},
		{`reduce([], #)`, 0, "reduce of empty array"},
		{`repeat("x", -1)`, 0, "wants a count of at least 0"},
	}
	for _, tt := range tests {
		e, err := Compile(tt.source, known.Outcome())
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		_, err = e.Eval(sample())
		var eval *EvalError
		if !errors.As(err, &eval) {
			t.Errorf("%s: error is %v, want an EvalError", tt.source, err)
			continue
		}
		if !strings.Contains(eval.Message, tt.want) || eval.Offset != tt.offset || eval.Source != tt.source {
			t.Errorf("%s: at %d: %s\nwant at %d: %s", tt.source, eval.Offset, eval.Message, tt.offset, tt.want)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	tests := []struct {
		source string
		offset int
		want   string
	}{
		{``, 0, "the expression is empty"},
		{`${{ }}`, 3, "the expression is empty"},
		{`1 +`, 2, "the expression ends too early"},
		{`exit = 0`, 5, `to compare, write "=="`},
		{`"abc`, 4, "literal not terminated"},
		{`stdot`, 0, "unknown name stdot, did you mean stdout?"},
		{`1 + ${{ x }}`, 5, "this is an expression already"},
		{`ä + 1`, 0, "unknown name ä"},
		{`"ä" + stdot`, 7, "did you mean stdout?"},
		{`${{ stdot }}`, 4, "did you mean stdout?"},
		{`case.lst`, 5, "unknown name case.lst, did you mean case.list?"},
		{`case.hy-phen`, 5, `did you mean case["hy-phen"]?`},
		{`steps.biuld.exit`, 6, "did you mean steps.build?"},
		{`steps.build.scor`, 12, "did you mean steps.build.score?"},
		{`steps["build"]["scor"]`, 15, "did you mean steps.build.score?"},
		{`steps.build.nothing`, 12, "steps.build has duration, exit, score, stderr, stdout, verdict"},
		{`sandbox.db.host`, 8, "unknown name sandbox.db"},
		{`secrets.TOKEN`, 0, "secrets can only be used in the env of a step"},
		{`lens(stdout)`, 0, "unknown function lens(), did you mean len()?"},
		{`json`, 0, "json is a function: call it as json(...)"},
		{`stdout()`, 0, "stdout is not a function"},
		{`stdout > 3`, 7, "mismatched types string and int"},
		{`upper(exit)`, 6, "cannot use int as argument"},
		{`stdout matches "("`, 7, "missing closing )"},
		{`now().Year()`, 6, "values have no methods"},
		{`$env`, 0, "unknown name $env"},
		{`map(case.list, x)`, 15, "unknown name x"},
		{`let exit = 1; exit`, 4, "cannot redeclare exit"},
		{`(let x = 1; x) + x`, 17, "unknown name x"},
		{strings.Repeat("(", sourceLimit) + "1", 0, "longer than 16 KiB"},
		{strings.Repeat("(", sourceLimit-1) + "1", 0, "ends too early"},
		{strings.Repeat("!", sourceLimit-1) + "1", 0, "nodes"},
		{strings.Repeat("[", sourceLimit-1) + "1", 0, "ends too early"},
		{strings.Repeat("1+", 6000) + "1", 0, "exceeds maximum allowed nodes"},
		{strings.Repeat("1 < (", 60) + "1" + strings.Repeat(") < 1", 60), 0, "too complex"},
	}
	for _, tt := range tests {
		_, err := Compile(tt.source, known.Outcome())
		name := tt.source[:min(len(tt.source), 40)]
		var wrong *Error
		if !errors.As(err, &wrong) {
			t.Errorf("%s: error is %v, want an Error", name, err)
			continue
		}
		if !strings.Contains(wrong.Message, tt.want) || (wrong.Offset != tt.offset && len(tt.source) < 40) {
			t.Errorf("%s: at %d: %s\nwant at %d: %s", name, wrong.Offset, wrong.Message, tt.offset, tt.want)
		}
	}
}

func TestConditions(t *testing.T) {
	if _, err := CompileCondition(`exit`, known.Outcome()); err == nil || !strings.Contains(err.Error(), "must be true or false, this is int") {
		t.Errorf("a condition that is a number compiles: %v", err)
	}
	e, err := CompileCondition(`case.text`, known.Outcome())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Bool(sample()); err == nil || !strings.Contains(err.Error(), "must be true or false, this is text") {
		t.Errorf("text is taken for true or false: %v", err)
	}
	e, err = CompileCondition(`case.n == 3`, known.Outcome())
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := e.Bool(sample()); !ok || err != nil {
		t.Errorf("case.n == 3: %t, %v", ok, err)
	}
}

// Scopes of places: which roots are known where.
func TestScopes(t *testing.T) {
	roots := []string{"case", "vars", "env", "secrets", "steps", "sandbox", "run", "exit", "stdout", "total"}
	tests := []struct {
		name  string
		scope *Scope
		want  string
	}{
		{"vars only", known.VarsOnly(), "vars"},
		{"row", known.Row(), "case vars"},
		{"sample", known.Sample(), "case vars run"},
		{"step", known.Step(), "case vars env steps sandbox run"},
		{"step env", known.StepEnv(), "case vars env secrets steps sandbox run"},
		{"outcome", known.Outcome(), "case vars env steps sandbox run exit stdout"},
		{"gate", known.Gate(), "steps total"},
		{"none", nil, ""},
	}
	for _, tt := range tests {
		var got []string
		for _, root := range roots {
			if _, err := Compile(root, tt.scope); err == nil {
				got = append(got, root)
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s knows %q, want %q", tt.name, s, tt.want)
		}
	}
	open := Known{CaseOpen: true, Case: []string{"py"}}.Row()
	if _, err := Compile(`case.whatever == case.py`, open); err != nil {
		t.Errorf("fields of data files: %v", err)
	}
}

func TestGateFunctions(t *testing.T) {
	e, err := CompileCondition(`pass_rate >= 0.9 and duration_p(95) < 30 and mean(steps.build.score) > 0.5`, known.Gate())
	if err != nil {
		t.Fatal(err)
	}
	env := Env{
		"pass_rate":  0.95,
		"duration_p": func(args ...any) (any, error) { return float64(args[0].(int)) / 10, nil },
		"mean":       func(args ...any) (any, error) { return args[0], nil },
		"steps":      map[string]any{"build": map[string]any{"score": 0.6}},
	}
	if ok, err := e.Bool(env); !ok || err != nil {
		t.Errorf("got %t, %v", ok, err)
	}
	delete(env, "duration_p")
	if _, err := e.Bool(env); err == nil || !strings.Contains(err.Error(), "duration_p() is not available here") {
		t.Errorf("a function that is not there: %v", err)
	}
}

func TestUses(t *testing.T) {
	tests := []struct {
		source string
		path   string
		want   bool
	}{
		{`case.a.b`, "case", true},
		{`case.a.b`, "case.a", true},
		{`case.a.b`, "case.a.b.c", true},
		{`case.a.b`, "case.c", false},
		{`case["a"]`, "case.a", true},
		{`case[vars.x]`, "case.a", true},
		{`case[vars.x]`, "vars.x", true},
		{`case`, "case.a", true},
		{`vars.x`, "case", false},
		{`map(case.list, .a)`, "case.a", false},
		{`let y = case.a; y.b`, "case.a.b", true},
		{`case?.a`, "case.b", true}, // not known which
		{`len("x") + 1`, "len", false},
	}
	scope := Known{CaseOpen: true, Vars: []string{"x"}}.Row()
	for _, tt := range tests {
		e, err := Compile(tt.source, scope)
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		path := strings.Split(tt.path, ".")
		if got := e.Uses(path[0], path[1:]...); got != tt.want {
			t.Errorf("%s uses %s: %t, want %t", tt.source, tt.path, got, tt.want)
		}
	}
}

func TestFields(t *testing.T) {
	v, err := ParseValue([]any{"${{ case.a + case.b.c }} ${{ case?.d }}", "${{ get(case, 'e') }}", map[string]any{"k": "${{ vars.x }}${{ case['f'] }}"}}, Known{CaseOpen: true, Vars: []string{"x"}}.Row())
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Fields("case"); !cmp.Equal(got, []Field{{"a", 4}, {"b", 13}, {"f", 17}}) {
		t.Errorf("fields are %v", got)
	}
}

// A Lazy is called only when it is needed, and once.
func TestLazy(t *testing.T) {
	calls := 0
	lazy := Lazy(func() (any, error) { calls++; return "text", nil })
	env := Env{"stdout": lazy, "exit": 0, "steps": map[string]any{"build": map[string]any{"stdout": lazy}}}
	for source, want := range map[string]int{
		`exit == 0 or stdout == ""`:                                         0,
		`all(1..100, stdout contains "e" and steps.build.stdout == stdout)`: 2,
		`steps.build`: 1,
	} {
		calls = 0
		e, err := Compile(source, known.Outcome())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Eval(env); err != nil || calls != want {
			t.Errorf("%s: %d calls, want %d; %v", source, calls, want, err)
		}
	}
	boom := errors.New("boom")
	e, err := Compile(`stdout == ""`, known.Outcome())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Eval(Env{"stdout": Lazy(func() (any, error) { return nil, boom })}); !errors.Is(err, boom) {
		t.Errorf("the error of a Lazy is lost: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	scope := known.Outcome()
	shared, err := Compile(`"b c" in case.list and stdout matches "score"`, scope)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if ok, err := shared.Bool(sample()); !ok || err != nil {
					t.Errorf("%t, %v", ok, err)
				}
				if _, err := Compile(`steps.build.score + len(case.list)`, scope); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCondition(b *testing.B) {
	e, err := Compile(`case.n == 3 and exit == 0`, known.Outcome())
	if err != nil {
		b.Fatal(err)
	}
	env := sample()
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := e.Bool(env); !ok || err != nil {
			b.Fatal(err)
		}
	}
}
