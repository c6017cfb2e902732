package recipe

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// Bounds on what aliases may make of a recipe.
const (
	maxValues = 200_000
	maxDepth  = 100
)

// tree makes values of nodes, and reports what has no sense as a value.
func (d *decoder) tree(root *yaml.Node) *value {
	t := tree{d: d, active: map[*yaml.Node]bool{}, done: map[*yaml.Node]*value{}}
	return t.value(root, 0)
}

type tree struct {
	d      *decoder
	active map[*yaml.Node]bool
	done   map[*yaml.Node]*value
	full   bool // maxValues has been reported
}

func (t *tree) value(n *yaml.Node, depth int) *value {
	pos := t.d.src.clamp(Pos{Line: n.Line, Column: n.Column}) // nothing may stand after the end
	v := &value{pos: pos, node: n, size: 1}
	switch {
	case n.Kind == yaml.AliasNode:
		return t.alias(n, depth)
	case depth > maxDepth:
		t.d.errorf(pos, "nested more than %d levels deep", maxDepth)
		v.bad = true
		return v
	case n.Kind == yaml.ScalarNode:
		t.scalar(v)
	}
	t.active[n] = true
	switch n.Kind {
	case yaml.SequenceNode:
		v.kind = list
		t.tag(v, "!!seq")
		for _, c := range n.Content {
			if item := t.value(c, depth+1); t.grow(v, item, c) {
				v.items = append(v.items, item)
			}
		}
	case yaml.MappingNode:
		v.kind = mapping
		t.tag(v, "!!map")
		t.mapping(v, depth)
	}
	delete(t.active, n)
	if n.Anchor != "" {
		t.done[n] = v
	}
	return v
}

// grow accounts for a child, and says whether it may be added.
func (t *tree) grow(v, child *value, n *yaml.Node) bool {
	pos := Pos{Line: n.Line, Column: n.Column}
	if v.height = max(v.height, child.height+1); v.height > maxDepth {
		t.d.errorf(pos, "nested more than %d levels deep", maxDepth)
		v.height, v.bad = 0, true
		return false
	}
	if v.size+child.size > maxValues {
		if !t.full {
			t.d.errorf(pos, "more than %d values, aliases counted as what they stand for: put rows into a file for cases.file", maxValues)
		}
		t.full, v.bad = true, true
		return false
	}
	v.size += child.size
	return true
}

func (t *tree) alias(n *yaml.Node, depth int) *value {
	pos := Pos{Line: n.Line, Column: n.Column}
	if t.active[n.Alias] {
		t.d.errorf(pos, "*%s stands within what it stands for: an endless cycle", n.Value)
		return &value{pos: pos, node: n.Alias, size: 1, bad: true}
	}
	if v, ok := t.done[n.Alias]; ok {
		return v
	}
	return t.value(n.Alias, depth)
}

func (t *tree) scalar(v *value) {
	n := v.node
	v.text, v.kind = n.Value, text
	if n.Style&yaml.TaggedStyle != 0 {
		var x any
		if !strings.HasPrefix(n.Tag, "!!") || n.Tag == "!!binary" || n.Decode(&x) != nil {
			t.d.errorf(v.pos, "unknown or unfit YAML tag %s: quote text that begins with !", n.Tag)
			v.bad = true
			return
		}
	}
	switch n.Tag {
	case "!!null":
		v.kind = null
	case "!!bool":
		v.kind = boolean
	case "!!int", "!!float":
		v.kind = number
	}
}

// tag reports a tag on a list or mapping that says it is something else.
func (t *tree) tag(v *value, plain string) {
	if v.node.Tag != plain {
		t.d.errorf(v.pos, "unknown YAML tag %s: quote text that begins with !", v.node.Tag)
	}
}

func (t *tree) mapping(v *value, depth int) {
	n := v.node
	seen := make(map[string]*entry, len(n.Content)/2)
	var merges []*value
	for i := 0; i+1 < len(n.Content); i += 2 {
		keyNode := n.Content[i]
		key, pos := t.key(n, keyNode)
		child := t.value(n.Content[i+1], depth+1)
		if child.kind == null && child.text == "" {
			child.pos = pos // nothing is nowhere: say it of the key
		}
		if key == nil {
			v.bad = true
			continue
		}
		e := &entry{key: *key, pos: pos, node: keyNode, value: child}
		if first := seen[e.key]; first != nil {
			t.d.errorf(pos, "duplicate key %q, first at %s", shorten(e.key), first.pos)
			continue
		}
		if !t.grow(v, child, n.Content[i+1]) {
			continue
		}
		seen[e.key] = e
		if keyNode.Tag != "!!merge" {
			v.entries = append(v.entries, e)
			continue
		}
		switch child.kind {
		case mapping:
			merges = append(merges, child)
		case list:
			merges = append(merges, child.items...)
		default:
			t.d.errorf(child.pos, "<< takes a mapping or a list of mappings, got %s", child)
		}
	}
	delete(seen, "<<")
	for _, m := range merges {
		if m.kind != mapping {
			t.d.errorf(m.pos, "<< takes a mapping or a list of mappings, got %s", m)
		}
		for _, e := range m.entries {
			if seen[e.key] == nil {
				seen[e.key] = e
				c := *e
				v.entries = append(v.entries, &c)
			}
		}
	}
}

// key returns a key's text, nil where it has none, and its place.
func (t *tree) key(m, n *yaml.Node) (*string, Pos) {
	pos := Pos{Line: n.Line, Column: n.Column}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind != yaml.ScalarNode && m.Style&n.Style&yaml.FlowStyle != 0 && n.Kind == yaml.MappingNode:
		t.d.errorf(Pos{Line: m.Line, Column: m.Column}, "quote it: YAML reads unquoted {{ as a mapping; an expression is \"${{ ... }}\"")
		return nil, pos
	case n.Kind != yaml.ScalarNode:
		t.d.errorf(pos, "a key must be text")
		return nil, pos
	case n.Tag == "!!null" && n.Value == "":
		t.d.errorf(pos, "a key is missing before \":\"")
		return nil, pos
	}
	return &n.Value, pos
}
