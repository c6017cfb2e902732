package recipe

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxSize is the largest recipe, in bytes. Data belongs in the files of cases.
const maxSize = 1 << 20

// syntax reads the one YAML document of a recipe into nodes. What it cannot read is a mistake in d; nil is returned
// where nothing could be read.
func (d *decoder) syntax(data []byte) *yaml.Node {
	if !d.characters(data) {
		return nil
	}
	root, second, err := parseYAML(d.src.text)
	if err == nil {
		if second != (Pos{}) {
			d.errorf(second, "a recipe is one YAML document: remove the second one")
		}
		if root == nil {
			d.errorf(Pos{Line: 1, Column: 1}, "the recipe is empty")
		}
		return root
	}
	if root := d.unquoted(); root != nil {
		return root
	}
	d.syntaxError(err)
	return nil
}

// characters checks that the text is UTF-8 that YAML allows, and makes the source.
func (d *decoder) characters(data []byte) bool {
	text := strings.TrimPrefix(string(data), "\ufeff")
	d.src = newSource(text)
	if len(data) > maxSize {
		d.errorf(Pos{Line: 1, Column: 1}, "the recipe is larger than %d KiB: put data into files and name them in cases.file or files", maxSize>>10)
		return false
	}
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		d.errorf(Pos{Line: 1, Column: 1}, "the file is UTF-16: save it as UTF-8")
		return false
	}
	for i, r := range text {
		if r == utf8.RuneError {
			if _, width := utf8.DecodeRuneInString(text[i:]); width == 1 {
				d.errorf(d.src.pos(i), "the byte 0x%02x is not UTF-8: save the file as UTF-8", text[i])
				return false
			}
		}
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r >= 0x7f && r < 0xa0 && r != 0x85 || r == 0xfeff || r == 0xfffe || r == 0xffff {
			d.errorf(d.src.pos(i), `YAML does not allow the character U+%04X: write it as "\u%04X" in double quotes`, r, r)
			return false
		}
	}
	return true
}

// parseYAML returns the first document, nil if there is none, and where a second one begins.
func parseYAML(text string) (root *yaml.Node, second Pos, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var document, next yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, Pos{}, nil
	} else if err != nil {
		return nil, Pos{}, err
	}
	if err := decoder.Decode(&next); err == nil {
		second = Pos{Line: next.Line, Column: next.Column}
	} else if !errors.Is(err, io.EOF) {
		return nil, Pos{}, err
	}
	return document.Content[0], second, nil
}

var yamlError = regexp.MustCompile(`^yaml: (?:line \d+: )?(.*)`)

func problem(err error) string {
	if err == nil {
		return ""
	}
	return yamlError.ReplaceAllString(err.Error(), "$1")
}

// syntaxError reports what the YAML library says, in terms of recipes.
func (d *decoder) syntaxError(err error) {
	text, what := d.src.text, problem(err)
	end := d.problemEnd(what)
	last := strings.TrimRight(text[:end], " \t\r\n")
	at := strings.LastIndexAny(last, " \t\r\n,[]{}") + 1 // the word before
	if at >= len(last) {
		at = max(0, len(last)-1)
	}
	message := "not valid YAML: " + what
	switch {
	case strings.Contains(what, "cannot start any token") && text[end-1] != '\t':
		at = end - 1
		message = fmt.Sprintf("text that begins with %c must be quoted", text[at])
	case strings.Contains(what, "cannot start any token"), strings.Contains(what, "tab character"):
		at = strings.LastIndexByte(text[:end], '\t')
		message = "a tab cannot indent YAML: use spaces"
	case strings.HasPrefix(what, "unknown anchor"), strings.Contains(what, "alphabetic or numeric"):
		message = "unknown alias: define it before with &, or quote text that begins with *"
	case strings.HasPrefix(what, "mapping values are not allowed"):
		message = `a mapping cannot begin here: quote text that contains ": ", or correct the indentation`
	case strings.HasPrefix(what, "block sequence entries"):
		message = `a list item cannot begin here: quote text that begins with "- ", or begin a new line`
	case what == "did not find expected key", what == "did not find expected '-' indicator":
		message = "a key or list item was expected here: correct the indentation or the quotes"
	case what == "could not find expected ':'":
		message = `a key without ":" and value`
	case what == "found unexpected end of stream":
		message = "quoted text that is not closed"
	case strings.HasPrefix(what, "did not find expected ',' or"):
		message = "a [ or { that is not closed, or a missing comma in it"
	case strings.HasPrefix(what, "did not find expected node content"):
		message = "a value was expected here"
	case strings.HasPrefix(what, "found incompatible YAML document"):
		message = "remove the line that begins with %YAML"
	case what == "found unknown escape character":
		message = `unknown escape in double quotes: write \\ for a backslash, or use single quotes`
	}
	d.errorf(d.src.pos(max(0, at)), "%s", message)
}

// maxSearch bounds the search for the place of a problem one by one, in bytes to read. Beyond it the search is by halves,
// which a text that has the problem only apparently, as it ends too early, can mislead.
const maxSearch = 8 << 20

// problemEnd is where the YAML library meets a problem. It tells a line at best, and not always the right one; so this
// is the end of the text that cannot be made shorter, first by lines and then by characters, and have the same problem.
func (d *decoder) problemEnd(what string) int {
	text, lines := d.src.text, d.src.lines
	same := func(end int) bool {
		_, _, err := parseYAML(text[:end])
		return problem(err) == what
	}
	ends := append(slices.Clone(lines[1:]), len(text))
	line := len(ends) - 1
	if len(ends)*len(text) <= maxSearch {
		for line > 0 && same(ends[line-1]) {
			line--
		}
	} else {
		line = sort.Search(line, func(i int) bool { return same(ends[i]) })
	}
	start, end := lines[line], ends[line]
	if (end-start)*len(text) <= maxSearch {
		for end > start+1 && same(end-1) {
			end--
		}
	} else {
		end = start + 1 + sort.Search(end-start-1, func(i int) bool { return same(start + 1 + i) })
	}
	return max(end, 1)
}

// An expression within one line.
var expression = regexp.MustCompile(`\$\{\{.*?\}\}`)

// unquoted reads a recipe whose text YAML cannot read because of expressions that are not quoted, within [ ] or { }
// or with ": " or " #" in them. Each is a mistake; the nodes are as if they were quoted. It returns nil where something
// else is wrong.
func (d *decoder) unquoted() *yaml.Node {
	text := d.src.text
	all := expression.FindAllStringIndex(text, -1)
	masked := mask(text, all)
	root, _, err := parseYAML(masked)
	if err != nil || root == nil || len(all) == 0 {
		return nil
	}
	var wrong [][]int
	plainScalars(root, false, func(n *yaml.Node, flow bool) {
		at := d.src.offset(Pos{Line: n.Line, Column: n.Column})
		i := sort.Search(len(all), func(i int) bool { return all[i][0] >= at })
		for ; i < len(all) && all[i][1] <= at+len(n.Value); i++ {
			source := text[all[i][0]:all[i][1]]
			if flow || strings.Contains(source, ": ") || strings.Contains(source, " #") {
				wrong = append(wrong, all[i])
				d.errorf(d.src.pos(all[i][0]), `quote it: YAML reads an unquoted ${{ as a mapping in [ ] and { }, ": " as a mapping and " #" as a comment`)
			}
		}
	})
	masked = mask(text, wrong)
	root, _, err = parseYAML(masked)
	if len(wrong) == 0 || err != nil || root == nil {
		return nil
	}
	plainScalars(root, false, func(n *yaml.Node, _ bool) {
		at := d.src.offset(Pos{Line: n.Line, Column: n.Column})
		if strings.HasPrefix(masked[at:], n.Value) {
			n.Value = text[at : at+len(n.Value)]
		}
	})
	return root
}

// mask replaces stretches of text by letters, so that everything keeps its place.
func mask(text string, stretches [][]int) string {
	b := []byte(text)
	for _, s := range stretches {
		for i := s[0]; i < s[1]; i++ {
			b[i] = 'x'
		}
	}
	return string(b)
}

// plainScalars visits scalars without quotes, and whether they are within [ ] or { }.
func plainScalars(n *yaml.Node, flow bool, visit func(*yaml.Node, bool)) {
	if n.Kind == yaml.ScalarNode && n.Style&^yaml.TaggedStyle == 0 && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0 {
		visit(n, flow)
	}
	for _, c := range n.Content {
		plainScalars(c, flow || n.Style&yaml.FlowStyle != 0, visit)
	}
}
