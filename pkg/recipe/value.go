package recipe

import (
	"fmt"
	"math"

	"gopkg.in/yaml.v3"
)

type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	mapping
)

// value is a value of the recipe with its place: aliases and merge keys are resolved, keys are unique. Values that
// aliases stand for are shared.
type value struct {
	kind    kind
	text    string // of a scalar: as it is written, which is what text is made of ("3.10", not 3.1)
	pos     Pos
	node    *yaml.Node
	items   []*value
	entries []*entry
	size    int  // values in it, itself included
	height  int  // levels below it
	bad     bool // a mistake in it has been reported
}

// entry is a key of a mapping with its value.
type entry struct {
	key   string
	pos   Pos        // of the key
	node  *yaml.Node // the key
	value *value
}

// keyText is e's key as text, for keys with expressions in them.
func (e *entry) keyText() *value { return &value{kind: text, text: e.key, pos: e.pos, node: e.node} }

// get returns what stands under key, nil if v is not a mapping or has no such key.
func (v *value) get(key string) *value {
	if e := v.entry(key); e != nil {
		return e.value
	}
	return nil
}

func (v *value) entry(key string) *entry {
	if v != nil {
		for _, e := range v.entries {
			if e.key == key {
				return e
			}
		}
	}
	return nil
}

// scalar says whether v is text, or a number or a truth value that can be taken as text.
func (v *value) scalar() bool {
	return v != nil && (v.kind == boolean || v.kind == number || v.kind == text)
}

// list returns the items of a list.
func (v *value) list() []*value {
	if v == nil {
		return nil
	}
	return v.items
}

// truth is v as a truth value; false where it is none.
func (v *value) truth() bool {
	if v == nil || v.kind != boolean {
		return false
	}
	b, _ := v.data().(bool)
	return b
}

// integer is v as a whole number, or otherwise.
func (v *value) integer(otherwise int) int {
	if v == nil || v.kind != number {
		return otherwise
	}
	switch x := v.data().(type) {
	case int:
		return x
	case float64:
		return int(x)
	}
	return otherwise
}

// word is the text of one of the words that a key can have.
func (v *value) word() string {
	if v == nil || v.kind != text {
		return ""
	}
	return v.text
}

// oneOrMore is a list, or a value alone as one.
func oneOrMore(v *value) []*value {
	if v.scalar() {
		return []*value{v}
	}
	return v.list()
}

// data is v as Go values: nil, bool, int, float64, string, []any, map[string]any.
func (v *value) data() any {
	switch v.kind {
	case boolean, number:
		var x any
		if err := v.node.Decode(&x); err == nil {
			switch x := x.(type) {
			case bool, int, uint64:
				return x
			case float64:
				if !math.IsNaN(x) && !math.IsInf(x, 0) {
					return x
				}
			}
		}
		return v.text // beyond what JSON has: .nan, .inf, large integers
	case text:
		return v.text
	case list:
		items := make([]any, len(v.items))
		for i, item := range v.items {
			items[i] = item.data()
		}
		return items
	case mapping:
		fields := make(map[string]any, len(v.entries))
		for _, e := range v.entries {
			fields[e.key] = e.value.data()
		}
		return fields
	}
	return nil
}

// String says what v is, for messages.
func (v *value) String() string {
	switch v.kind {
	case boolean:
		return v.text
	case number:
		return "the number " + shorten(v.text)
	case text:
		return fmt.Sprintf("text %q", shorten(v.text))
	case list:
		return "a list"
	case mapping:
		return "a mapping"
	}
	return "nothing"
}

func shorten(s string) string {
	const most = 60
	if r := []rune(s[:min(len(s), 4*most)]); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
