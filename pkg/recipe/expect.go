package recipe

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/sbxrun/sbxrun/internal/expr"
)

// expect decodes expectations: at is the scope of values, outcome that of conditions.
func (d *decoder) expect(v *value, at, outcome place) Expect {
	if v == nil || v.kind != mapping {
		return Expect{}
	}
	e := Expect{
		Pos:    v.pos,
		Exit:   d.exit(v.get("exit"), at),
		Stdout: d.text(v.get("stdout"), at),
		Stderr: d.text(v.get("stderr"), at),
	}
	if files := v.get("files"); files != nil {
		for _, f := range files.entries {
			e.Files = append(e.Files, d.fileExpect(f, at))
		}
	}
	for _, c := range oneOrMore(v.get("that")) {
		e.That = append(e.That, That{Expr: d.condition(c, outcome), Pos: c.pos})
	}
	return e
}

func (d *decoder) exit(v *value, at place) Exit {
	switch {
	case v == nil:
		return Exit{}
	case v.kind == text && v.text == "any":
		return Exit{Any: true, Pos: v.pos}
	}
	return Exit{Values: d.values(v, at), Pos: v.pos}
}

// text decodes what must hold of a text; nil where nothing is said.
func (d *decoder) text(v *value, at place) *Text {
	if v == nil {
		return nil
	}
	if v.scalar() {
		return &Text{Pos: v.pos, Equals: d.matches(v, at), Normalize: d.defaults.normalize}
	}
	t := &Text{
		Pos:         v.pos,
		Equals:      d.matches(v.get("equals"), at),
		Contains:    d.matches(v.get("contains"), at),
		NotContains: d.matches(v.get("not_contains"), at),
		Matches:     d.patterns(v.get("matches"), at),
		NotMatches:  d.patterns(v.get("not_matches"), at),
		Golden:      d.matches(v.get("golden"), at),
		Normalize:   d.normalize(v.get("normalize"), at, d.defaults.normalize),
	}
	if json := v.get("json"); json != nil {
		t.JSON, t.JSONPos = d.values(json, at), json.pos
	}
	for i, g := range oneOrMore(v.get("golden")) {
		if i < len(t.Golden) {
			d.golden(g, t.Golden[i].Text)
		}
	}
	return t
}

func (d *decoder) matches(v *value, at place) []Match {
	var all []Match
	for _, item := range oneOrMore(v) {
		all = append(all, Match{Text: d.template(item, at), Pos: item.pos})
	}
	return all
}

func (d *decoder) patterns(v *value, at place) []Match {
	all := d.matches(v, at)
	for i, item := range oneOrMore(v) {
		d.pattern(item, all[i].Text)
	}
	return all
}

func (d *decoder) fileExpect(e *entry, at place) FileExpect {
	v := e.value
	f := FileExpect{
		Path:   d.template(e.keyText(), at),
		Pos:    e.pos,
		SHA256: d.template(v.get("sha256"), at),
		Size:   d.values(v.get("size"), at),
	}
	d.confined("files", e.pos, e.key)
	if exists := v.get("exists"); exists != nil {
		f.Exists = d.flag(exists, at)
		if exists.kind == boolean && !exists.truth() && len(v.entries) > 1 {
			d.errorf(exists.pos, "exists: false leaves nothing for the other expectations to hold of")
		}
	}
	for _, key := range []string{"equals", "contains", "matches", "json", "golden", "normalize"} {
		if v.get(key) != nil {
			f.Text = d.text(v, at)
			break
		}
	}
	return f
}

func (d *decoder) normalize(v *value, at place, otherwise []Normalize) []Normalize {
	if v == nil || v.kind != list {
		return otherwise
	}
	all := make([]Normalize, 0, len(v.items))
	for _, item := range v.items {
		if item.kind == text {
			all = append(all, Normalize{Kind: item.text, Pos: item.pos})
			continue
		}
		replace, with := item.get("replace"), item.get("with")
		before := len(d.mistakes)
		n := Normalize{Kind: "replace", Replace: d.template(replace, at), With: d.template(with, at), Pos: item.pos}
		if re := d.pattern(replace, n.Replace); re != nil && with.scalar() && len(d.mistakes) == before {
			for _, g := range UnknownGroups(re, with.text) {
				d.errorf(d.src.within(with.node, g.At), "%s", g)
			}
		}
		if with == nil {
			n.With = expr.Literal("")
		}
		all = append(all, n)
	}
	return all
}

// groupUse is what regexp.Expand takes for a group, or for a dollar.
var groupUse = regexp.MustCompile(`\$(?:\$|\{(\w+)\}|(\w+))`)

// Group is a group that a replacement names.
type Group struct {
	Name string
	At   int // in the replacement, in bytes
}

// UnknownGroups returns the groups in a replacement that are not the expression's: Expand would put in nothing for them.
func UnknownGroups(re *regexp.Regexp, with string) (unknown []Group) {
	for _, m := range groupUse.FindAllStringSubmatchIndex(with, -1) {
		name := ""
		for _, g := range []int{2, 4} {
			if m[g] >= 0 {
				name = with[m[g]:m[g+1]]
			}
		}
		n, err := strconv.Atoi(name)
		if name == "" || err == nil && n <= re.NumSubexp() || err != nil && slices.Contains(re.SubexpNames(), name) {
			continue
		}
		unknown = append(unknown, Group{name, m[0]})
	}
	return unknown
}

// String says what is wrong with an unknown one.
func (g Group) String() string {
	return fmt.Sprintf("replace has no group %q: write $$ for a dollar, and ${1} where letters or digits follow", g.Name)
}
