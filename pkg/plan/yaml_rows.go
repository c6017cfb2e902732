package plan

import (
	"errors"
	"io"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// decodeYAML reads a list of objects, or a document for each object. The library holds one document at a time; rows
// that are many are better documents than one list.
func decodeYAML(r *rowReader, f func(map[string]any, int) error) error {
	d := yaml.NewDecoder(r)
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return yamlError(err, 0)
		}
		rows := doc.Content
		if len(rows) == 1 && rows[0].Kind == yaml.SequenceNode {
			rows = rows[0].Content
		}
		for _, node := range rows {
			if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" && len(rows) == 1 {
				continue // an empty document, as after a last "---"
			}
			if err := altered(node); err != nil {
				return err
			}
			v, err := yamlValue(node)
			if err != nil {
				return yamlError(err, node.Line)
			}
			fields, err := rowFields(v)
			if err != nil {
				return &lineError{node.Line, err}
			}
			if err := f(fields, node.Line); err != nil {
				return err
			}
		}
	}
}

// altered refuses a number that is another one than people would read: an id of 007 is not 7.
func altered(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode && node.Style == 0 {
		if why := recipe.Altered(node); why != "" {
			return &lineError{node.Line, errors.New(why)}
		}
	}
	for _, n := range node.Content {
		if err := altered(n); err != nil {
			return err
		}
	}
	return nil
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:unmarshal errors:\n\s*)?line (\d+): (?s)(.*)$`)

// yamlError takes the line out of the library's message; where it has none it is otherwise, if that is known.
func yamlError(err error, otherwise int) error {
	if errors.Is(err, errLongRow) {
		return err
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, aerr := strconv.Atoi(m[1]); aerr == nil {
			return &lineError{n, errors.New(m[2])}
		}
	}
	err = errors.New(yamlMessage(err))
	if otherwise > 0 {
		return &lineError{otherwise, err}
	}
	return err
}
