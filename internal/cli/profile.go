package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"github.com/sbxrun/sbxrun/internal/nearest"
)

// profileFile holds profiles: names for where sandboxes come from.
//
//	default: lab
//	profiles:
//	  lab: {provider: kubernetes, connection: gateway, gateway-name: sandboxes, template: python}
//
// A profile has the flags that say where as keys. It decides where code runs and who gets a token, as a Makefile does.
const profileFile = ".sbxrun.yaml"

// paths are the values of a profile that are relative to its file.
var paths = []string{"kubeconfig", "ca-file", "token-file"}

// findProfiles looks for the file in dir and above it, up to the root of the repository. Outside of one only dir is
// looked at.
func findProfiles(dir string) (string, error) {
	root := dir
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			root = d
			break
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	for d := dir; ; d = filepath.Dir(d) {
		path := filepath.Join(d, profileFile)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", usagef("%v", err)
		}
		if d == root {
			return "", nil
		}
	}
}

// readProfile takes from the profile what neither flags nor the environment say.
func (w *where) readProfile(dir string) error {
	path, err := findProfiles(dir)
	if err != nil {
		return err
	}
	if path == "" {
		if w.profile != "" {
			return usagef("%s %s: no %s is here, nor above in this repository", w.said("profile"), w.profile, profileFile)
		}
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return usagef("%v", err)
	}
	file := profiles{path: path, shown: relativeTo(dir, path)}
	if err := file.parse(data); err != nil {
		return errors.Join(err, file.each(w.flags, nil)) // all mistakes at once
	}
	name := w.profile
	if name == "" {
		name = file.chosen
	}
	if name == "" {
		return file.each(w.flags, nil)
	}
	if _, ok := file.byName[name]; !ok {
		message := fmt.Sprintf("%s %s: %s has no profile of this name", w.said("profile"), name, file.shown)
		if w.profile == "" {
			message = fmt.Sprintf("%s: default: no profile is named %s", file.at(file.chosenAt), name)
		}
		if near, ok := nearest.Nearest(name, file.names); ok {
			message += fmt.Sprintf("; did you mean %s?", near)
		} else if len(file.names) > 0 {
			message += fmt.Sprintf("; it has %s", strings.Join(file.names, ", "))
		}
		return usagef("%s", message)
	}
	return file.each(w.flags, func(profile string, key *yaml.Node, f *pflag.Flag, text string) error {
		if profile != name {
			return nil
		}
		if _, given := w.from[f.Name]; given {
			return nil
		}
		w.from[f.Name] = source{byProfile, fmt.Sprintf("%s: %s of the profile %s", file.at(key), f.Name, name)}
		return f.Value.Set(text)
	})
}

// profiles is a file of them.
type profiles struct {
	path, shown string
	chosen      string // the default
	chosenAt    *yaml.Node
	names       []string
	byName      map[string]*yaml.Node
}

func (p *profiles) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", p.shown, n.Line, n.Column) }

func (p *profiles) wrong(n *yaml.Node, format string, args ...any) error {
	return usagef("%s: %s", p.at(n), fmt.Sprintf(format, args...))
}

// parse reads what the file is made of, without what is in the profiles.
func (p *profiles) parse(data []byte) error {
	p.byName = map[string]*yaml.Node{}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return usagef("%s: %s", p.shown, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return p.entries(doc.Content[0], "the file", func(key, value *yaml.Node) error {
		switch key.Value {
		case "default":
			if value.Kind != yaml.ScalarNode || value.Value == "" {
				return p.wrong(value, "default: the name of a profile is needed")
			}
			p.chosen, p.chosenAt = value.Value, value
			return nil
		case "profiles":
			return p.entries(value, "profiles", func(key, value *yaml.Node) error {
				p.names = append(p.names, key.Value)
				p.byName[key.Value] = value
				return nil
			})
		}
		return p.unknown(key, []string{"default", "profiles"})
	})
}

// entries calls f for the entries of a mapping, which have different keys.
func (p *profiles) entries(n *yaml.Node, what string, f func(key, value *yaml.Node) error) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return p.wrong(n, "%s must be a mapping", what)
	}
	seen := map[string]bool{}
	var errs []error
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if seen[key.Value] {
			errs = append(errs, p.wrong(key, "duplicate key %q", key.Value))
			continue
		}
		seen[key.Value] = true
		errs = append(errs, f(key, n.Content[i+1]))
	}
	return errors.Join(errs...)
}

func (p *profiles) unknown(key *yaml.Node, known []string) error {
	if near, ok := nearest.Nearest(key.Value, known); ok {
		return p.wrong(key, "unknown key %q; did you mean %q?", key.Value, near)
	}
	return p.wrong(key, "unknown key %q; known are %s", key.Value, strings.Join(known, ", "))
}

// each checks every value of every profile, and calls f for it, unless it is nil.
func (p *profiles) each(flags *pflag.FlagSet, f func(profile string, key *yaml.Node, flag *pflag.Flag, text string) error) error {
	var known []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "profile" {
			known = append(known, f.Name)
		}
	})
	var errs []error
	for _, name := range p.names {
		errs = append(errs, p.entries(p.byName[name], "profiles."+name, func(key, value *yaml.Node) error {
			if !slices.Contains(known, key.Value) {
				return p.unknown(key, known)
			}
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			if value.Kind != yaml.ScalarNode || value.Value == "" || value.Tag == "!!null" {
				return p.wrong(value, "%s: a text is needed", key.Value)
			}
			flag, text := flags.Lookup(key.Value), value.Value
			if slices.Contains(paths, flag.Name) && !filepath.IsAbs(text) {
				text = filepath.Join(filepath.Dir(p.path), text)
			}
			if err := trySet(flag, text); err != nil {
				return p.wrong(value, "%s: %v", key.Value, valueError(flag, text, err))
			}
			if f == nil {
				return nil
			}
			return f(name, key, flag, text)
		}))
	}
	return errors.Join(errs...)
}

// trySet says whether a flag takes a value, and leaves the flag as it was.
func trySet(f *pflag.Flag, text string) error {
	was := f.Value.String()
	err := f.Value.Set(text)
	return errors.Join(err, f.Value.Set(was))
}
