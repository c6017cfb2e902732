package expr

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// Whatever an expression says, its evaluation ends, and does not take the machine's memory.
func TestBudgets(t *testing.T) {
	defer func(all int) { workBudget = all }(workBudget)
	workBudget /= 10
	long := strings.Repeat("a", 1<<20)
	env := Env{"stdout": long, "case": map[string]any{"deep": nested(200), "wide": wide(1 << 16)}}
	tests := []struct{ name, source string }{
		{"nested loops", `all(1..100000, all(1..100000, true))`},
		{"a loop over one list", `let xs = 1..100000; all(xs, all(xs, # > 0))`},
		{"loops without bodies", `let xs = 1..1000000; all(1..1000000, sum(xs) > 0)`},
		{"counting", `let xs = map(1..1000000, true); all(1..1000000, count(xs) > 0)`},
		{"repeat", `repeat("x", 1000000000)`},
		{"repeat of repeat", `repeat(repeat("x", 100000), 100000)`},
		{"doubling", `reduce(1..64, #acc + #acc, "xxxxxxxx")`},
		{"doubling lists", `reduce(1..40, concat(#acc, #acc), [1])`},
		{"a long list", `1..100000000`},
		{"lists of lists", `map(1..1000, 1..100000)`},
		{"list literals", `map(1..1000000, [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16])`},
		{"shared text as JSON", `toJSON(map(1..10000, stdout))`},
		{"deep JSON indented", `len(toJSON(json(repeat("[", 5000) + repeat("0,", 100000) + "0" + repeat("]", 5000)))) > 3`},
		{"indentation alone", `len(toJSON(json("[" + repeat(repeat("[", 5000) + repeat("]", 5000) + ",", 10) + "0]"))) > 3`},
		{"deep JSON flattened", `len(flatten(json(repeat("[", 5000) + repeat("0,", 100000) + "0" + repeat("]", 5000)))) > 3`},
		{"deep JSON's median", `median(json(repeat("[", 5000) + repeat("0,", 100000) + "0" + repeat("]", 5000))) > 3`},
		{"one list in another", `len(toJSON(reduce(1..20000, [#acc], 1))) > 3`},
		{"a large map", `json("{" + repeat(repeat("\"\":0,", 1000), 3000) + "\"\":0}")`},
		{"shared text joined", `join(map(1..10000, stdout), "")`},
		{"shared text as text", `string(map(1..10000, stdout))`},
		{"flatten", `flatten(map(1..10000, case.wide))`},
		{"replace", `replace(stdout, "a", stdout)`},
		{"replace of nothing", `replace(stdout, "", stdout)`},
		{"search in a loop", `all(1..1000000, not (stdout contains "b"))`},
		{"comparison in a loop", `let a = stdout + "a"; let b = stdout + "a"; all(1..1000000, a == b)`},
		{"ordering in a loop", `let a = stdout + "a"; let b = stdout + "a"; all(1..1000000, a <= b)`},
		{"deep comparison in a loop", `let w = map(case.wide, #); all(1..1000000, w == case.wide)`},
		{"membership in a loop", `all(1..1000000, not (-1 in case.wide))`},
		{"a regular expression in a loop", `all(1..1000000, not (stdout matches "(a|aa)+b"))`},
		{"a large regular expression", `stdout matches "(a?){1000}(a?){1000}(a?){1000}b"`},
		{"compiling regular expressions", `all(1..1000000, not (string(#) matches ("(x{900}){1}" + string(#))))`},
		{"uniq", `uniq(map(1..1000000, #))`},
		{"sort in a loop", `all(1..1000000, len(sort(case.wide)) > 0)`},
		{"sortBy in a loop", `all(1..1000000, len(sortBy(case.wide, -#)) > 0)`},
		{"len in a loop", `all(1..1000000, len(stdout) > 0)`},
		{"slices in a loop", `all(1..1000000, stdout[1:] != "")`},
		{"case in a loop", `all(1..1000000, upper(stdout) != "")`},
		{"JSON in a loop", `all(1..1000000, json("[" + repeat("[],", 10000) + "1]") != null)`},
		{"a JSON bomb", `json("[" + repeat(repeat("[],", 1000), 5000) + "1]")`},
		{"deep JSON", `json(repeat("[", 1000000))`},
		{"lines in a loop", `all(1..1000000, len(lines(stdout)) > 0)`},
		{"split in a loop", `all(1..1000000, len(split(stdout, "")) > 0)`},
		{"base64", `reduce(1..100, toBase64(#acc), stdout)`},
		{"pairs in a loop", `all(1..1000000, len(fromPairs(map(case.wide, [string(#), #]))) > 0)`},
		{"groups in a loop", `all(1..1000000, len(groupBy(case.wide, #)) > 0)`},
		{"median in a loop", `all(1..1000000, median(case.wide) > 0)`},
		{"text of numbers", `all(1..1000000, string(case.wide) != "")`},
	}
	scope := Known{Case: []string{"deep", "wide"}}.Outcome()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Compile(tt.source, scope)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = e.Eval(env)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("it was evaluated")
			}
			if d := time.Since(start); d > time.Minute {
				t.Errorf("it took %s", d)
			}
			made := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%s, %d MiB: %v", time.Since(start).Round(time.Millisecond), made, err)
			if made > 2<<10 {
				t.Errorf("it made %d MiB", made)
			}
		})
	}
}

// The whole budget ends in seconds.
func TestWholeBudget(t *testing.T) {
	e, err := Compile(`let xs = 1..100000; all(xs, all(xs, # > 0))`, known.Outcome())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := e.Eval(nil); !strings.Contains(err.Error(), errWork.Error()) {
		t.Error(err)
	}
	if d := time.Since(start); d > 2*time.Minute {
		t.Errorf("it took %s", d)
	}
}

// What people do with large outputs is within the budgets.
func TestBudgetsSuffice(t *testing.T) {
	out := strings.Repeat("{\"id\": 12, \"score\": 0.5, \"text\": \"some words of text\"}\n", 1<<16) // 3.5 MiB
	env := Env{"stdout": strings.Repeat(out, 4)}
	for _, source := range []string{
		`len(lines(stdout)) == 262144`,
		`all(lines(stdout), # contains "score")`,
		`not (stdout matches "id\": (13|14)[0-9]*,")`,
		`len(filter(lines(stdout)[:20000], json(#).score > 0.4)) == 20000`,
		`sum(map(1..100000, # * 2)) > 0`,
		`stdout == stdout`,
		`len(toJSON(map(1..100000, [#, [#, 0.5]]))) > 100000`,
		`len(flatten([1..1000000, [1..1000000]])) == 2000000`,
		`len(toJSON(json(repeat("[", 500) + repeat("0,", 10000) + "0" + repeat("]", 500)))) > 10000000`,
	} {
		e, err := Compile(source, known.Outcome())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ok, err := e.Bool(env)
		if err != nil || !ok {
			t.Errorf("%s: %t, %v", source, ok, err)
		}
		t.Logf("%s: %s", source, time.Since(start).Round(time.Millisecond))
	}
}

func nested(depth int) any {
	var v any = 1
	for range depth {
		v = []any{v, v}
	}
	return v
}

func wide(n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// A value that holds one list many times over is a tree of 2^200 leaves.
func TestSharedLists(t *testing.T) {
	defer func(all int) { workBudget = all }(workBudget)
	workBudget /= 10
	env := Env{"case": map[string]any{"deep": nested(200)}}
	scope := Known{Case: []string{"deep"}}.Row()
	for _, source := range []string{`case.deep`, `string(case.deep)`, `toJSON(case.deep)`, `case.deep == [case.deep]`, `flatten(case.deep)`, `max(case.deep)`, `uniq(case.deep)`, `len(case.deep) == 2 and case.deep == case.deep`} {
		e, err := Compile(source, scope)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := e.Eval(env); err == nil && source != `case.deep == [case.deep]` {
			t.Errorf("%s is %v", source, v)
		}
	}
}
