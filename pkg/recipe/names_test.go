package recipe

import (
	"strings"
	"testing"
)

func TestIDOf(t *testing.T) {
	for name, want := range map[string]string{
		"build": "build", "Build it!": "Build_it_", "1st": "_st", "a-b.c": "a_b_c", "é": "__", "_": "_",
	} {
		if got := idOf(name); got != want {
			t.Errorf("idOf(%q) = %q, want %q", name, got, want)
		}
	}
}

// Among many steps an expression is compiled with the ones it names; names that are computed and names that are wrong
// must not be lost by that.
func TestManySteps(t *testing.T) {
	steps := "version: 1\nvars: {which: n3}\nsteps:\n" + distinct("  - {name: n%d, run: x}\n", 30)
	parse(t, steps+"  - run: echo ${{ steps.n3.exit }} ${{ steps[vars.which].stdout }}\n")
	_, err := Parse("recipe.yaml", []byte(steps+"  - run: echo ${{ steps.n3.exot }} ${{ steps.m29.exit }}\n"))
	want := "recipe.yaml:34:28: unknown name steps.n3.exot, did you mean steps.n3.exit?\n" +
		"recipe.yaml:34:46: unknown name steps.m29, did you mean steps.n29?"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestTooManySteps(t *testing.T) {
	head := "version: 1\nsteps:\n"
	parse(t, head+strings.Repeat("  - run: x\n", maxSteps))
	_, err := Parse("recipe.yaml", []byte(head+strings.Repeat("  - run: x\n", maxSteps-1)+"  - parallel: [{run: x}, {run: x}, {run: x}]\n"))
	if want := "recipe.yaml:1002:26: more than 1000 steps"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestTooManyMistakes(t *testing.T) {
	_, err := Parse("recipe.yaml", []byte("version: 1\nsteps:\n"+strings.Repeat("  - nothing\n", 5000)))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxMistakes+1 || !strings.HasSuffix(lines[maxMistakes], "too many mistakes: the rest is not shown") {
		t.Errorf("%d lines, the last: %s", len(lines), lines[len(lines)-1])
	}
}
