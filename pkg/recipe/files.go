package recipe

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/sbxrun/sbxrun/internal/expr"
)

// filesPlace says whose files they are.
type filesPlace int

const (
	filesOfRecipe filesPlace = iota
	filesOfStep
	filesOfVerify
)

func (d *decoder) file(v *value, at place) (File, bool) {
	if v.kind != mapping {
		return File{}, false
	}
	f := File{
		Pos:      v.pos,
		Src:      d.template(v.get("src"), at),
		Content:  d.template(v.get("content"), at),
		Dst:      d.template(v.get("dst"), at),
		Mode:     d.mode(v.get("mode")),
		Sandbox:  d.sandboxName(v.get("sandbox")),
		Optional: v.get("optional").truth(),
	}
	if from := v.entry("from"); from != nil {
		f.From = d.sandboxName(from.value)
		switch at.files {
		case filesOfRecipe:
			d.errorf(from.pos, "from is for the files of a step: at the start there is nothing to copy from another sandbox")
		case filesOfVerify:
			d.errorf(from.pos, "from cannot be used in verify, whose sandboxes get only what collect took out")
		}
	} else if f.Src != nil && f.Src.IsLiteral() {
		d.staged(v.get("src"), f.Optional)
	}
	if dst := v.get("dst"); f.Dst != nil && climbs(dst.text) {
		d.errorf(dst.pos, "dst: %q leaves the workspace: use a path in it, or an absolute path", shorten(dst.text))
	}
	return f, true
}

// climbs says whether a relative path leaves the folder that it starts from, as far as that can be seen before its
// expressions have values.
func climbs(p string) bool {
	if i := strings.Index(p, "${{"); i >= 0 {
		p = p[:strings.LastIndex(p[:i], "/")+1]
	}
	p = path.Clean(p)
	return p == ".." || strings.HasPrefix(p, "../")
}

var octal = regexp.MustCompile(`^(?:0o)?([0-7]{1,4})$`)

// mode reads permission bits as chmod does, whether or not YAML took them for a number: 644, 0644 and "0644" are one.
func (d *decoder) mode(v *value) uint32 {
	if !v.scalar() {
		return 0
	}
	digits := octal.FindStringSubmatch(v.text)
	if digits == nil {
		if v.kind == number {
			d.errorf(v.pos, "mode: expected permission bits as chmod takes them, such as \"0644\", got %s", v)
		}
		return 0 // of text, the schema has said so
	}
	mode, _ := strconv.ParseUint(digits[1], 8, 32)
	if mode < 1 || mode > 0o777 {
		d.errorf(v.pos, "mode: permission bits must be from 0001 to 0777, got %s", v.text)
		return 0
	}
	return uint32(mode)
}

// staged checks that what is to be staged is there. A glob may match nothing until it runs.
func (d *decoder) staged(v *value, optional bool) {
	name := d.beside(v.text)
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.Mode().IsRegular() && !info.IsDir():
		d.errorf(v.pos, "src: %s is neither a file nor a folder", v.text)
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && (optional || isGlob(v.text)):
		if isGlob(v.text) && !doublestar.ValidatePattern(v.text) {
			d.errorf(v.pos, "src: not a valid glob: %s", v.text)
		}
	default:
		d.errorf(v.pos, "src: %s", d.unreadable(v.text, err))
	}
}

// readable checks that a file beside the recipe is there, if its name is known.
func (d *decoder) readable(key string, v *value, t *expr.Template) {
	if t == nil || !t.IsLiteral() {
		return
	}
	info, err := os.Stat(d.beside(v.text))
	if err != nil {
		d.errorf(v.pos, "%s: %s", key, d.unreadable(v.text, err))
	} else if info.IsDir() {
		d.errorf(v.pos, "%s: %s is a folder", key, v.text)
	}
}

func (d *decoder) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(d.recipe.Dir, name)
}

func (d *decoder) unreadable(name string, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "no such file or folder beside the recipe: " + shorten(name)
	}
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		err = of.Err
	}
	return "cannot read " + shorten(name) + ": " + err.Error()
}

func isGlob(name string) bool { return strings.ContainsAny(name, `*?[{\`) }

// golden checks that a golden file is one within the recipe's folder, also where symlinks lead. It may be missing.
func (d *decoder) golden(v *value, t *expr.Template) {
	if t == nil {
		return
	}
	if strings.HasPrefix(v.text, "/") || climbs(v.text) {
		d.errorf(v.pos, "golden: %q is outside of the recipe's folder", shorten(v.text))
		return
	}
	if !t.IsLiteral() {
		return
	}
	if d.root == nil {
		root, err := os.OpenRoot(d.recipe.Dir)
		if err != nil {
			return // a recipe that was not read from a file
		}
		d.root = root
	}
	info, err := d.root.Stat(filepath.Clean(v.text))
	switch {
	case err == nil && info.IsDir():
		d.errorf(v.pos, "golden: %s is a folder", shorten(v.text))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		if of, ok := errors.AsType[*fs.PathError](err); ok {
			err = of.Err
		}
		d.errorf(v.pos, "golden: %s must be within the recipe's folder, without symlinks out of it: %s", shorten(v.text), err)
	}
}

// dataFormats are the files that cases can come from, each also as .gz and .zst.
var dataFormats = regexp.MustCompile(`\.(jsonl|json|csv|yaml|yml)(\.gz|\.zst)?$`)

// dataFile checks the file of cases.
func (d *decoder) dataFile(v *value, t *expr.Template) {
	if t == nil || !t.IsLiteral() {
		return
	}
	if !dataFormats.MatchString(v.text) {
		d.errorf(v.pos, "file: expected a .jsonl, .json, .csv or .yaml file, plain, .gz or .zst, got %q", shorten(v.text))
		return
	}
	d.readable("file", v, t)
}
