package recipe

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sbxrun/sbxrun/internal/expr"
)

// place is where an expression stands: which names it may use.
type place struct {
	scope *expr.Scope
	step  *stepRef // of the step that it belongs to; nil outside of steps
	files filesPlace
}

// plain is the text of a value that is not interpolated.
func (d *decoder) plain(v *value) string {
	for at := 0; ; {
		i := strings.Index(v.text[at:], "${{")
		if i < 0 {
			return strings.ReplaceAll(v.text, "$${{", "${{")
		}
		at += i
		if at == 0 || v.text[at-1] != '$' {
			d.errorf(d.src.within(v.node, at), "an expression is not possible here; $${{ is a literal ${{")
			return v.text
		}
		at++
	}
}

// template compiles text with the expressions in it; nil where v is no text.
func (d *decoder) template(v *value, at place) *expr.Template {
	return d.compileText(v, at, expr.Parse)
}

// compileText reports every expression in v that is wrong: one by one, the wrong ones are taken for text.
func (d *decoder) compileText(v *value, at place, parse func(string, *expr.Scope) (*expr.Template, error)) *expr.Template {
	if !v.scalar() || d.full() {
		return nil
	}
	source := v.text
	for {
		t, err := parse(source, narrow(at.scope, source))
		if err != nil {
			t, err = parse(source, at.scope) // to be told of all names
		}
		var wrong *expr.Error
		if !errors.As(err, &wrong) {
			if err != nil {
				d.errorf(v.pos, "%s", err)
				return nil
			}
			d.uses(v, at, t.Find)
			d.placed(t, v)
			return t
		}
		for _, m := range wrong.All() {
			d.errorf(d.src.within(v.node, m.Offset), "%s", m.Message)
		}
		next, ok := maskExpression(source, wrong.Offset)
		if !ok || d.full() {
			return nil
		}
		source = next
	}
}

// placed notes where an expression or a template stands, for what is found out about it later.
func (d *decoder) placed(compiled any, v *value) {
	if d.recipe.places == nil {
		d.recipe.places = map[any]textPlace{}
	}
	d.recipe.places[compiled] = textPlace{d.src, v.node}
}

// narrow leaves out the steps that a text does not name. Compiling takes time for every name that is known, and each
// of many steps is known to all the others.
func narrow(scope *expr.Scope, source string) *expr.Scope {
	steps := scope.Names["steps"]
	if steps == nil || len(steps.Fields) < 10 {
		return scope
	}
	named := map[string]*expr.Name{}
	for id, name := range steps.Fields {
		if strings.Contains(source, id) {
			named[id] = name
		}
	}
	return scope.With(map[string]*expr.Name{"steps": {Kind: steps.Kind, Open: steps.Open, Fields: named}})
}

// maskExpression makes text of the expression that a mistake is in; false where it is in none that ends.
func maskExpression(source string, offset int) (string, bool) {
	// A mistake at the opening itself counts as inside.
	from := strings.LastIndex(source[:min(len(source), offset+len("${{"))], "${{")
	if from < 0 {
		return "", false
	}
	inside := min(max(from, offset), len(source))
	end := strings.Index(source[inside:], "}}")
	if end < 0 {
		return "", false
	}
	to := inside + end + len("}}")
	return source[:from] + strings.Repeat("x", to-from) + source[to:], true
}

func (d *decoder) condition(v *value, at place) *expr.Expr {
	return d.compile(v, at, expr.CompileCondition)
}

func (d *decoder) expression(v *value, at place) *expr.Expr {
	return d.compile(v, at, expr.Compile)
}

func (d *decoder) compile(v *value, at place, compile func(string, *expr.Scope) (*expr.Expr, error)) *expr.Expr {
	if !v.scalar() || v.kind == number || v.text == "" || d.full() {
		return nil
	}
	e, err := compile(v.text, narrow(at.scope, v.text))
	if err != nil {
		e, err = compile(v.text, at.scope)
	}
	var wrong *expr.Error
	switch {
	case errors.As(err, &wrong):
		for _, m := range wrong.All() {
			d.errorf(d.src.within(v.node, m.Offset), "%s", m.Message)
		}
		return nil
	case err != nil:
		d.errorf(v.pos, "%s", err)
		return nil
	}
	d.uses(v, at, e.Find)
	d.placed(e, v)
	return e
}

// values compiles a value of any shape; nil where it is not given.
func (d *decoder) values(v *value, at place) *expr.Value {
	if v == nil {
		return nil
	}
	before := len(d.mistakes)
	d.leaves(v, at)
	if len(d.mistakes) > before {
		return nil
	}
	x, err := expr.ParseValue(v.data(), at.scope)
	if err != nil {
		d.errorf(v.pos, "%s", err)
		return nil
	}
	if v.scalar() {
		d.placed(x, v)
	}
	return x
}

// leaves checks every text below v, each with its place.
func (d *decoder) leaves(v *value, at place) {
	if v.kind == text {
		d.template(v, at)
	}
	for _, item := range v.items {
		d.leaves(item, at)
	}
	for _, e := range v.entries {
		if strings.Contains(e.key, "${{") {
			d.errorf(e.pos, "an expression is not possible in a key: compare with that, as in that: json(stdout)[vars.k] == 1")
		}
		d.leaves(e.value, at)
	}
}

// data is a value that is not interpolated: a default of vars, a field of a case. A number that would not look as it is
// written once it is interpolated is a mistake where it may be more than a number: versions such as 3.10, ids such as 007.
func (d *decoder) data(v *value) any {
	switch v.kind {
	case text:
		return d.plain(v)
	case number:
		d.surprising(v)
	case list:
		items := make([]any, len(v.items))
		for i, item := range v.items {
			items[i] = d.data(item)
		}
		return items
	case mapping:
		fields := make(map[string]any, len(v.entries))
		for _, e := range v.entries {
			fields[e.key] = d.data(e.value)
		}
		return fields
	}
	return v.data()
}

var (
	leadingZero = regexp.MustCompile(`^[-+]?0[0-9_]+$`)
	whole       = regexp.MustCompile(`^[-+]?[0-9_]+$`)
	// 3.10 is hardly meant as a number; 1.0 and 0.50 are.
	trailingZero = regexp.MustCompile(`^[1-9][0-9]*\.[0-9]*[1-9]0+$`)
)

func (d *decoder) surprising(v *value) {
	if why := Surprising(v.node); why != "" {
		d.errorf(v.pos, "%s", why)
	}
}

// Surprising says why an unquoted number would not look as it is written once it is interpolated; empty: it would.
func Surprising(number *yaml.Node) string {
	if why := Altered(number); why != "" {
		return why
	}
	var x float64
	if number.ShortTag() != "!!float" || number.Decode(&x) != nil {
		return ""
	}
	switch text := number.Value; {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return beyond(text)
	case trailingZero.MatchString(text):
		short := strconv.FormatFloat(x, 'f', -1, 64)
		return fmt.Sprintf("%s is the number %s in YAML: quote it to have the text, or write %s", shorten(text), short, short)
	}
	return ""
}

func beyond(number string) string {
	return shorten(number) + " is beyond what numbers hold: quote it to have the text"
}

// Altered says why an unquoted number is another one than people would read; empty: it is not.
func Altered(number *yaml.Node) string {
	var x any
	if !whole.MatchString(number.Value) { // rows may be many
		return ""
	}
	if err := number.Decode(&x); err != nil {
		return ""
	}
	text := number.Value
	switch x := x.(type) {
	case int:
		if leadingZero.MatchString(text) {
			return fmt.Sprintf("%s is the octal number %d in YAML: quote it to have the text, or write %d", shorten(text), x, x)
		}
	case float64:
		return beyond(text)
	}
	return ""
}

var durationShape = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)

// durationValue is a duration that may be an expression; otherwise where none is given, nil for an empty one.
func (d *decoder) durationValue(v *value, at place, otherwise string) *expr.Value {
	if v == nil || v.kind != text {
		if otherwise == "" {
			return nil
		}
		return expr.LiteralValue(otherwise)
	}
	if durationShape.MatchString(v.text) { // else the schema has said so
		switch t, err := time.ParseDuration(v.text); {
		case err != nil:
			d.errorf(v.pos, "a duration of more than 290 years")
		case t <= 0:
			d.errorf(v.pos, "a time limit must be more than 0")
		}
		return d.values(v, at)
	}
	return d.decided(v, at, func(any) error { return errors.New("this is no duration such as 10s or 1m30s") })
}

// flag is true or false, or an expression.
func (d *decoder) flag(v *value, at place) *expr.Value {
	return d.decided(v, at, func(x any) error { _, err := expr.TruthOf(x); return err })
}

// count is a whole number from 1 to most, or an expression.
func (d *decoder) count(v *value, at place, most int) *expr.Value {
	return d.decided(v, at, func(x any) error { _, err := expr.CountOf(x, most); return err })
}

// decided is a value that is no text, unless expressions in it make one. The schema lets all pass that looks like an expression.
func (d *decoder) decided(v *value, at place, fits func(any) error) *expr.Value {
	x := d.values(v, at)
	if x == nil || v.kind != text || !x.IsLiteral() || !strings.Contains(v.text, "${{") {
		return x
	}
	source, err := x.Eval(nil)
	if err == nil {
		err = fits(source)
	}
	if err != nil {
		d.errorf(v.pos, "%s", err)
	}
	return x
}

// pattern checks a regular expression; one with expressions in it is compiled when it is used: nil.
func (d *decoder) pattern(v *value, t *expr.Template) *regexp.Regexp {
	if t == nil || !t.IsLiteral() {
		return nil
	}
	source, err := t.Text(nil)
	if err != nil {
		return nil
	}
	return d.regexp(v, source)
}

// regexp is nil where the source is none.
func (d *decoder) regexp(v *value, source string) *regexp.Regexp {
	re, err := regexp.Compile(source)
	if err != nil {
		d.errorf(v.pos, "not a regular expression (RE2): %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re
}
