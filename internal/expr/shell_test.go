package expr

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"
)

func TestShell(t *testing.T) {
	tests := []struct{ source, want string }{
		{`echo hello "$x" '${y}'`, `echo hello "$x" '${y}'`},
		{`echo ${{ case.text }}`, `echo 'häuser'`},
		{`echo ${{ case.list }}`, `echo 'a' 'b c' '3'`},
		{`echo a${{ case.n }}b"c"${{ case.none }}`, `echo a'3'b"c"''`},
		{`echo ${{ case.none }}`, `echo ''`},
		{`echo ${{ [] }} x`, `echo  x`},
		{`echo ${{ case.map }}`, `echo '{"a":[1],"b":2}'`},
		{`echo ${{ "it's" }} ${{ "''" }} ${{ "'a" }}`, `echo 'it'"'"'s' "''" "'"'a'`},
		{`echo ${{ "-n ~ $x * \\ \" ! # ` + "`" + `" }}`, `echo '-n ~ $x * \ " ! # ` + "`" + `'`},
		{`X=${{ case.text }} Y=a${{ case.n }} cmd`, `X='häuser' Y=a'3' cmd`},
		{`export X=${{ case.text }}`, `export X='häuser'`},
		{`a=(${{ case.list }} x); local b=${{ case.n }}`, `a=('a' 'b c' '3' x); local b='3'`},
		{`for i in ${{ case.list }}; do echo "$i"; done`, `for i in 'a' 'b c' '3'; do echo "$i"; done`},
		{`cat <${{ case.text }} >>out-${{ case.n }} 2>&1`, `cat <'häuser' >>out-'3' 2>&1`},
		{`cat <<<${{ case.text }}`, `cat <<<'häuser'`},
		{`case $x in ${{ case.text }}) echo ${{ case.n }};; esac`, `case $x in 'häuser') echo '3';; esac`},
		{`[[ $x == ${{ case.text }} ]] && [ -e ${{ case.text }} ]`, `[[ $x == 'häuser' ]] && [ -e 'häuser' ]`},
		{`echo "$(cat ${{ case.text }})" $(ls ${{ case.n }})`, `echo "$(cat 'häuser')" $(ls '3')`},
		{`[[ x =~ (${{ case.text }}) ]]`, `[[ x =~ ('häuser') ]]`},
		{`diff <(cat ${{ case.text }}) b`, `diff <(cat 'häuser') b`},
		{`f() { (${{ case.text }} & ); }; ! f | g`, `f() { ('häuser' & ); }; ! f | g`},
		{`${{ vars.level }}=3`, `'2'=3`},
		{"echo a # not ${{ case.n }}\necho b", "echo a # not ${{ case.n }}\necho b"},
		{"# ${{ case.n\n + 1 }}\necho ${{ case.n }}", "# ${{ case.n  + 1 }}\necho '3'"},
		{`echo "${{ raw(case.n) }}" '${{ raw("a b") }}' ${{ raw(case.list) }}`, `echo "3" 'a b' a b c 3`},
		{"cat <<EOF\n${{ raw(case.text) }}\nEOF\necho ${{ case.n }}", "cat <<EOF\nhäuser\nEOF\necho '3'"},
		{`${{ raw("if true; then") }} echo; fi`, `if true; then echo; fi`},
		{`echo ${{ case.n > 2 ? raw("$x") : "y" }}`, `echo $x`},
		{`echo $${{ x }} '$${{' "$"`, `echo ${{ x }} '${{' "$"`},
		{`while read -r l; do echo ${{ run.id }}/$l; done`, `while read -r l; do echo 'run-1'/$l; done`},
		{`echo {a,${{ case.n }}} \\${{ case.n }}`, `echo {a,'3'} \\'3'`},
	}
	for _, tt := range tests {
		tmpl, err := ParseShell(tt.source, known.Step())
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		if got, err := tmpl.Shell(sample()); got != tt.want || err != nil {
			t.Errorf("%s\ngot  %s, %v\nwant %s", tt.source, got, err, tt.want)
		}
	}
}

// A value where a quoted word would not stand for itself is an error before anything runs, at the value.
func TestShellPlaces(t *testing.T) {
	tests := []struct{ source, want string }{
		{`echo "a @"`, "inside quotes"},
		{`echo "a $(b "@")"`, "inside quotes"},
		{`echo 'a @ b'`, "inside quotes"},
		{`echo '@'`, "inside quotes"},
		{`echo $'@'`, "inside quotes"},
		{`echo $"@"`, "inside quotes"},
		{"cat <<EOF\n@\nEOF", "inside a here-document"},
		{"cat <<'EOF'\n@\nEOF", "inside a here-document"},
		{"cat <<-EOF\n\tx $(cat @)\n\tEOF", "inside a here-document"},
		{"cat <<@\nx\n@", ""},
		{"echo `echo @`", "inside backquotes"},
		{"echo \"`echo @`\"", "inside backquotes"},
		{`echo \@`, ""},
		{`echo a\\\@ 'b'`, ""},
		{`echo $((1 + @))`, "in arithmetic"},
		{`((x = @))`, "in arithmetic"},
		{`let x=@`, "cannot be quoted safely"},
		{`for ((i = @; i < 3; i++)); do :; done`, "in arithmetic"},
		{`echo ${x:-@}`, "inside ${...}"},
		{`echo ${x/@/b}`, "inside ${...}"},
		{`echo "${x#@}"`, "inside ${...}"},
		{`a[@]=3`, ""},
		{`echo ${a[@]}`, ""},
		{`@() { :; }`, ""},
		{`for @ in a; do :; done`, ""},
		{`if echo @`, "cannot be read as shell"},
		{`echo "abc @`, "cannot be read as shell"},
		{`echo @ )`, "cannot be read as shell"},
	}
	for _, tt := range tests {
		source := strings.Replace(tt.source, "@", "${{ case.text }}", 1)
		tmpl, err := ParseShell(source, known.Step())
		var wrong *Error
		if !errors.As(err, &wrong) {
			if err == nil {
				got, _ := tmpl.Shell(sample())
				t.Errorf("%s is accepted, as %s", source, got)
			} else {
				t.Errorf("%s: %v", source, err)
			}
			continue
		}
		if !strings.Contains(wrong.Message, tt.want) || !strings.Contains(wrong.Message, "raw()") || !strings.Contains(wrong.Message, "env") {
			t.Errorf("%s: %s, want %s", source, wrong.Message, tt.want)
		}
		if at := strings.Index(source, "${{ case"); wrong.Offset != at && !strings.Contains(wrong.Message, "cannot be read") {
			t.Errorf("%s: at %d, want %d", source, wrong.Offset, at)
		}
	}
}

func TestShellEvalErrors(t *testing.T) {
	tests := []struct{ source, want string }{
		{`x=${{ case.list }}`, "a list of 3 values stands where the shell takes one word"},
		{`cat > ${{ case.list }}`, "a list of 3 values"},
		{`echo --x=${{ case.list }}`, "a list of 3 values"},
		{`echo a > ${{ [] }}`, "a list of 0 values"},
		{`echo ${{ "a\x00b" }}`, "NUL"},
		{`echo ${{ raw("a\x00b") }}`, "NUL"},
		{`echo ${{ case.none.x }}`, "null has no field"},
	}
	for _, tt := range tests {
		tmpl, err := ParseShell(tt.source, known.Step())
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		var eval *EvalError
		if got, err := tmpl.Shell(sample()); !errors.As(err, &eval) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s is %q, %v, want %s", tt.source, got, err, tt.want)
		}
	}
}

func TestParseRaw(t *testing.T) {
	tmpl, err := ParseRaw(`print("${{ raw(case.text) }}", '$${{')`, known.Step())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tmpl.Shell(sample()); got != `print("häuser", '${{')` || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	var wrong *Error
	if _, err := ParseRaw(`print(${{ case.n }})`, known.Step()); !errors.As(err, &wrong) || wrong.Offset != 6 || !strings.Contains(err.Error(), "raw()") {
		t.Errorf("error is %v", err)
	}
}

// shells are those of this machine that scripts are written for.
func shells(t testing.TB) []string {
	var found []string
	for _, name := range []string{"sh", "bash", "dash", "ksh", "zsh"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		t.Fatal("no shell in PATH")
	}
	return found
}

// roundTrip has a real shell print the words of a script, each ended by a NUL.
func roundTrip(t testing.TB, shell string, words []string) {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	tmpl, err := ParseShell("printf '%s\\0' ${{ case.list }} x${{ case.text }}y\n# ${{ case.text }}\nv=${{ case.text }}; printf '%s\\0' \"$v\" \"$(printf '%s_' ${{ case.text }})\"\n", known.Step())
	if err != nil {
		t.Fatal(err)
	}
	last := words[len(words)-1]
	script, err := tmpl.Shell(Env{"case": map[string]any{"list": list, "text": last}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(shell, file)
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%q", shell, err, stderr.String(), script)
	}
	want := append(append([]string(nil), words...), "x"+last+"y", last, last+"_")
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); strings.Join(got, "\x00") != strings.Join(want, "\x00") {
		t.Fatalf("%s: got %q, want %q", shell, got, want)
	}
}

func TestQuotingInRealShells(t *testing.T) {
	words := []string{
		"", " ", "a", "a b", "'", "''", "'''a", "a'", `"`, `\`, `\\`, `\'`, "$x", "$(id)", "`id`", "-n", "--", "~", "~root", "=ls", "*", "?", "[a]",
		"{a,b}", "!", "!!", "#", "#x", ";", "&", "|", "<", ">", "(", ")", "\n", "a\nb\n", "\t", "\r\n", "\x01\x7f", "é\u00a0\u2028", "\xff\xfe", "if", "x=1", "%s", `\n`, "^", "@",
	}
	for _, shell := range shells(t) {
		roundTrip(t, shell, words)
		r := rand.New(rand.NewPCG(1, 2))
		const alphabet = "'\"\\$`!*?[]{}()<>|&;#~=%^-\n\t ab1é\xff\x01"
		for range 20 {
			words := make([]string, 1+r.IntN(20))
			for i := range words {
				b := make([]byte, r.IntN(12))
				for j := range b {
					b[j] = alphabet[r.IntN(len(alphabet))]
				}
				words[i] = string(b)
			}
			roundTrip(t, shell, words)
		}
	}
}

func FuzzQuoting(f *testing.F) {
	f.Add("it's", "$(id)")
	f.Add("`\\", "-n\n")
	all := shells(f)
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Contains(a+b, "\x00") || len(a+b) > 10_000 {
			return
		}
		for _, shell := range all {
			roundTrip(t, shell, []string{a, b})
		}
	})
}

// What ParseShell accepts runs the same words whatever the value is: a hostile value adds no command.
func FuzzShellPlaces(f *testing.F) {
	for _, s := range []string{"echo @", "echo \"@\"", "x=@; echo $(echo @)", "cat <<E\n@\nE\n", "# @\n: @", "echo `: @`", "[[ @ == a ]]", "echo \\@ ${x:-@}", "echo $((@))", "a=(@)"} {
		f.Add(s)
	}
	marker := "sbxrun_marker"
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 200 || !strings.Contains(s, "@") {
			return
		}
		source := strings.ReplaceAll(s, "@", "${{ case.text }}")
		tmpl, err := ParseShell(source, known.Step())
		if err != nil {
			var wrong *Error
			if !errors.As(err, &wrong) || wrong.Offset < 0 || wrong.Offset > len(source) {
				t.Fatalf("%q: error is %#v", source, err)
			}
			return
		}
		plain, err := tmpl.Shell(Env{"case": map[string]any{"text": "plain"}})
		if err != nil {
			return
		}
		hostile, err := tmpl.Shell(Env{"case": map[string]any{"text": "'\n" + marker + "\n\"\n)\n`" + marker + "`\n$(" + marker + ")\n" + marker + " '"}})
		if err != nil {
			t.Fatalf("%q: %v", source, err)
		}
		if a, b := commands(t, plain), commands(t, hostile); a != b {
			t.Fatalf("%q has %d commands with a plain value, %d with a hostile one:\n%s", source, a, b, hostile)
		}
	})
}

// commands counts the commands of a script, as the first dialect that can read it sees them.
func commands(t *testing.T, script string) int {
	for _, dialect := range dialects {
		file, err := syntax.NewParser(syntax.Variant(dialect)).Parse(strings.NewReader(script), "")
		if err != nil {
			continue
		}
		n := 0
		syntax.Walk(file, func(node syntax.Node) bool {
			if _, ok := node.(*syntax.Stmt); ok {
				n++
			}
			return true
		})
		return n
	}
	return -1
}
