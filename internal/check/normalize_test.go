package check

import (
	"context"
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// Replacing agrees with regexp.ReplaceAll.
func TestReplaceAll(t *testing.T) {
	atoms := []string{"a", "b", "ab", ".", "(?s:.)", "^", "$", `\b`, `\B`, `\A`, `\z`, "(?m:^)", "(?m:$)", "[^a]", "é", `\x{FFFD}`,
		"(a)", "(b|)", "(?i:A)", "(?P<n>a|é)", "a*", "b*?", "a{0,2}", "(?:ab)+", "|", `\s`, `\n`, `\w+`, "(a){0}", `\Qa.`}
	letters := []string{"a", "b", "A", ".", " ", "\n", "é", "\xc3", "\xa9", "\xe2\x82", "\uFFFD"}
	withs := []string{"", "x", "[$0]", "<$1>", "$$${1}$n", "${0}$", "${n}é$1x$", "${x y}$0"}
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string, most int) string {
		var s strings.Builder
		for range rnd.IntN(most + 1) {
			s.WriteString(from[rnd.IntN(len(from))])
		}
		return s.String()
	}
	for range 30000 {
		re, err := regexp.Compile(pick(atoms, 4))
		if err != nil {
			continue
		}
		text, with := pick(letters, 10), withs[rnd.IntN(len(withs))]
		r, err := newReplacer(re, with)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.replace(t.Context(), []byte(text))
		if want := re.ReplaceAll([]byte(text), []byte(with)); err != nil || string(got) != string(want) {
			t.Fatalf("/%s/ in %q with %q: got %q, want %q (%v)", re, text, with, got, want, err)
		}
	}
}

// No text and no pattern outlives the context.
func TestSearchEnds(t *testing.T) {
	over := errors.New("over")
	slow := `.{0,200}ERROR.{0,200}`
	replace := []recipe.Normalize{{Kind: "replace", Replace: expr.Literal(slow), With: expr.Literal("q")}}
	long := strings.Repeat("a", 8<<20)
	for name, tt := range map[string]struct {
		got  string
		text recipe.Text
	}{
		"replace":             {long, recipe.Text{Contains: match("z"), Normalize: replace}},
		"replace in expected": {"", recipe.Text{Equals: match(long), Normalize: replace}},
		"matches":             {long[:heavy], recipe.Text{Matches: match(strings.Repeat(slow, 4))}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, over)
			defer cancel()
			_, err := Step(ctx, &recipe.Step{Expect: recipe.Expect{Stdout: &tt.text}}, "", Outcome{Stdout: Bytes([]byte(tt.got))}, nil, false)
			if !errors.Is(err, over) {
				t.Errorf("got %v", err)
			}
			if since, _ := ctx.Deadline(); time.Since(since) > 2*time.Second {
				t.Errorf("it ended %v late", time.Since(since))
			}
		})
	}
}

// A replacement does not grow beyond what a normalised text may have.
func TestReplaceLimit(t *testing.T) {
	for _, with := range []string{strings.Repeat("y", 100<<10), strings.Repeat("$0", 50<<10)} {
		re := "x"
		if with[0] == '$' {
			re = "x+"
		}
		text := &recipe.Text{Contains: match("z"), Normalize: []recipe.Normalize{
			{Kind: "replace", Replace: expr.Literal(re), With: expr.Literal(with), Pos: at}}}
		r := step(t, recipe.Expect{Stdout: text}, Outcome{Stdout: Bytes([]byte(strings.Repeat("x", 100<<10)))})
		if want := "stdout.normalize: stdout cannot be normalised: with its replacements it is over 32 MiB long"; messages(r) != want {
			t.Errorf("got %s\nwant %s", messages(r), want)
		}
	}
}
