package plan

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/nearest"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// vars are the recipe's defaults, and what --set says instead.
func vars(r *recipe.Recipe, set map[string]string) (map[string]any, error) {
	values := make(map[string]any, len(r.Vars))
	names := make([]string, len(r.Vars))
	for i, v := range r.Vars {
		names[i] = v.Name
		values[v.Name] = expr.Normalize(v.Value)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if _, ok := values[name]; !ok {
			errs = append(errs, unknownVar(r, name, names))
			continue
		}
		v, err := setValue(set[name], values[name])
		if err != nil {
			errs = append(errs, &Error{Message: fmt.Sprintf("--set %s: %s", name, err)})
		}
		values[name] = v
	}
	return values, errors.Join(errs...)
}

func unknownVar(r *recipe.Recipe, name string, names []string) error {
	message := fmt.Sprintf("--set %s: %s has no var of this name", name, r.Path)
	if near, ok := nearest.Nearest(name, names); ok {
		message += fmt.Sprintf(", did you mean %s?", near)
	} else if len(names) > 0 {
		message += fmt.Sprintf(" (it has %s)", strings.Join(names, ", "))
	}
	return &Error{Message: message}
}

// setValue reads a value of --set as YAML. What is no YAML is text, such as *.txt or @name, unless it starts as a list
// or a map. Where the default is text, so is what is neither in quotes nor in brackets, whatever YAML makes of it.
func setValue(s string, otherwise any) (any, error) {
	if s == "" {
		return "", nil
	}
	if text, ok := otherwise.(string); ok && text != "" && !strings.ContainsAny(s[:1], `"'[{`) { // an empty one may stand for nothing of any kind
		return s, nil
	}
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(s), &node); err != nil {
		if strings.HasPrefix(s, "[") || strings.HasPrefix(s, "{") {
			return nil, fmt.Errorf("%s", yamlMessage(err))
		}
		return s, nil
	}
	if len(node.Content) == 1 && node.Content[0].Kind == yaml.ScalarNode && node.Content[0].Style == 0 {
		if why := recipe.Surprising(node.Content[0]); why != "" {
			return nil, errors.New(why)
		}
	}
	return yamlValue(&node)
}

// yamlValue decodes a node. A date stays the text that was written.
func yamlValue(node *yaml.Node) (any, error) {
	datesAsText(node)
	var v any
	if err := node.Decode(&v); err != nil {
		return nil, err
	}
	v = expr.Normalize(v)
	if !finite(v) {
		return nil, errors.New("a number is not finite")
	}
	return v, nil
}

func datesAsText(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!timestamp" {
		node.Tag = "!!str"
	}
	for _, n := range node.Content {
		datesAsText(n)
	}
}

// yamlMessage is the library's message without its name.
func yamlMessage(err error) string { return strings.TrimPrefix(err.Error(), "yaml: ") }

// finite says whether every number in v can be written as JSON.
func finite(v any) bool {
	switch v := v.(type) {
	case float64:
		return !math.IsInf(v, 0) && !math.IsNaN(v)
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !finite(e) })
	case map[string]any:
		for _, e := range v {
			if !finite(e) {
				return false
			}
		}
	}
	return true
}

// secrets are the values that the recipe's secrets have in sbxrun's own environment.
func secrets(r *recipe.Recipe, lookup func(string) (string, bool)) (map[string]string, error) {
	if lookup == nil {
		lookup = os.LookupEnv
	}
	values := make(map[string]string, len(r.Secrets))
	var errs []error
	for _, s := range r.Secrets {
		v, ok := lookup(s.Name)
		if !ok {
			errs = append(errs, place{r.Path, s.Pos}.errorf("the secret %s is not set in the environment", s.Name))
		}
		values[s.Name] = v
	}
	return values, errors.Join(errs...)
}
