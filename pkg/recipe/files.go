package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
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
		Mode:     d.mode(v.get("mode"), at),
		Sandbox:  d.sandboxName(v.get("sandbox")),
		Optional: d.flag(v.get("optional"), at),
	}
	isFile := f.Content != nil
	if from := v.entry("from"); from != nil {
		f.From = d.sandboxName(from.value)
		switch at.files {
		case filesOfRecipe:
			d.errorf(from.pos, "from is for the files of a step: at the start there is nothing to copy from another sandbox")
		case filesOfVerify:
			d.errorf(from.pos, "from cannot be used in verify, whose sandboxes get only what collect took out")
		}
		d.inSandbox(v.get("src"), f.Src)
	} else if f.Src != nil && f.Src.IsLiteral() {
		wrong := f.Optional == nil && v.get("optional") != nil // which is reported: whether src is required is not known
		isFile = d.staged(v.get("src"), wrong || !f.Required())
	}
	if dst := v.get("dst"); f.Dst != nil {
		d.confined("dst", dst.pos, dst.text)
		into := f.Content == nil && (dst.text == "." || strings.HasSuffix(dst.text, "/"))
		if isFile && !into && f.Dst.IsLiteral() && slices.Contains(folders, path.Clean(dst.text)) {
			d.errorf(dst.pos, "dst: %q is a folder: write the path of a file in it", shorten(dst.text))
		}
	}
	return f, true
}

// folders are in every sandbox; no file can take their place.
var folders = []string{".", "/", "/tmp", "/workspace"}

// files decodes a list of files. None may need a folder where another is a file.
func (d *decoder) files(v *value, at place) []File {
	type dst struct {
		key string // so that what lies below a file comes right after it
		pos Pos
	}
	var all []File
	var known []dst
	for _, item := range v.list() {
		f, ok := d.file(item, at)
		if !ok {
			continue
		}
		if all = append(all, f); f.Content != nil && f.Dst != nil && f.Dst.IsLiteral() {
			known = append(known, dst{f.Sandbox + "\x00" + strings.ReplaceAll(path.Clean(f.Dst.Source()), "/", "\x00"), item.get("dst").pos})
		}
	}
	slices.SortStableFunc(known, func(a, b dst) int { return strings.Compare(a.key, b.key) })
	for i, above := 1, 0; i < len(known); i++ {
		if strings.HasPrefix(known[i].key, known[above].key+"\x00") {
			d.errorf(known[i].pos, "dst: this is below the file at %s: a path is a file or a folder", known[above].pos)
		} else {
			above = i
		}
	}
	return all
}

// inSandbox checks the src of what is taken out of a sandbox.
func (d *decoder) inSandbox(v *value, t *expr.Template) {
	if t == nil {
		return
	}
	d.confined("src", v.pos, v.text)
	if t.IsLiteral() && !doublestar.ValidatePattern(v.text) {
		d.errorf(v.pos, "src: not a valid glob: %s", shorten(v.text))
	}
}

// confined checks a path in a sandbox.
func (d *decoder) confined(key string, pos Pos, p string) {
	if climbs(p) {
		d.errorf(pos, "%s: %q leaves the workspace: use a path in it, or an absolute path", key, shorten(p))
	}
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

// ModeOf is permission bits as chmod reads them: 644, 0644 and 0o644 are one.
func ModeOf(text string) (uint32, error) {
	digits := octal.FindStringSubmatch(text)
	if digits == nil {
		return 0, fmt.Errorf("expected permission bits as chmod takes them, such as \"0644\", got %q", shorten(text))
	}
	mode, _ := strconv.ParseUint(digits[1], 8, 32)
	if mode < 1 || mode > 0o777 {
		return 0, fmt.Errorf("permission bits must be from 0001 to 0777, got %s", text)
	}
	return uint32(mode), nil
}

// mode decodes permission bits, whether or not YAML took them for a number.
func (d *decoder) mode(v *value, at place) *expr.Template {
	t := d.template(v, at)
	if t == nil || !t.IsLiteral() {
		return t
	}
	literal, _ := t.Text(nil)
	if _, err := ModeOf(literal); err != nil && (v.kind == number || octal.MatchString(literal) || strings.Contains(literal, "${{")) {
		d.errorf(v.pos, "mode: %s", err) // the schema has seen the others
	}
	return t
}

// Required says whether it is a mistake, as far as that can be seen before its expressions have values, if Src is missing.
func (f File) Required() bool { return f.Optional == nil || f.Optional.Source() == false }

// staged checks that what is to be staged is there, and says whether it is a file. A glob may match nothing until it runs.
func (d *decoder) staged(v *value, optional bool) bool {
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
	return err == nil && info.Mode().IsRegular()
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
