package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sbxrun/sbxrun/internal/expr"
)

// maxMistakes bounds the work on a file that is no recipe at all.
const maxMistakes = 1000

// Load reads and checks the recipe in a file. The error is Diagnostics, with all mistakes in it, also where the file
// cannot be read. Paths in the recipe are checked where they do not depend on anything that only a run knows.
func Load(path string) (*Recipe, error) {
	data, err := read(path)
	if err != nil {
		if of, ok := errors.AsType[*fs.PathError](err); ok {
			err = of.Err
		}
		return nil, Diagnostics{{File: path, Message: "cannot read the recipe: " + err.Error()}}
	}
	return Parse(path, data)
}

// read reads no more than tells that a file is too large.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

// Parse is Load for a recipe that has been read from path.
func Parse(path string, data []byte) (*Recipe, error) {
	d := &decoder{path: path}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, Diagnostics{{File: path, Message: "cannot tell the recipe's folder: " + err.Error()}}
	}
	digest := sha256.Sum256(data)
	d.recipe = &Recipe{Path: path, Dir: dir, Digest: hex.EncodeToString(digest[:])}
	if node := d.syntax(data); node != nil {
		root := d.tree(node)
		if root.kind == null {
			d.errorf(Pos{Line: 1, Column: 1}, "the recipe is empty")
		} else {
			d.structure(root)
		}
		if root.kind == mapping {
			d.decode(root)
		}
	}
	if d.root != nil {
		d.root.Close()
	}
	if len(d.mistakes) > 0 {
		return nil, d.diagnostics()
	}
	return d.recipe, nil
}

// decoder makes a typed recipe of values, and notes every mistake on the way. What has a mistake is left out of the
// recipe; the shape of values is the schema's business, so a value of the wrong shape is passed over in silence.
type decoder struct {
	path     string
	src      *source
	mistakes []Diagnostic
	recipe   *Recipe

	known  expr.Known
	scopes scopes
	// Names are not checked against what has a mistake itself.
	sandboxesUnknown bool
	isolated         map[string]bool // sandboxes with network none
	defaults         defaults
	refs             map[string][]*stepRef
	steps            int      // decoded so far
	root             *os.Root // the recipe's folder, opened when first needed
}

// full says that there are so many mistakes that no more need to be found.
func (d *decoder) full() bool { return len(d.mistakes) > maxMistakes }

func (d *decoder) errorf(pos Pos, format string, args ...any) {
	if !d.full() {
		d.mistakes = append(d.mistakes, Diagnostic{Pos: pos, Message: fmt.Sprintf(format, args...)})
	}
}

func (d *decoder) report(all []Diagnostic) {
	for _, m := range all {
		d.errorf(m.Pos, "%s", m.Message)
	}
}

// diagnostics are the mistakes as they are shown.
func (d *decoder) diagnostics() Diagnostics {
	all := make(Diagnostics, len(d.mistakes))
	for i, m := range d.mistakes {
		m.File = d.path
		m.Message = strings.Join(strings.FieldsFunc(m.Message, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
		all[i] = m
	}
	all = all.sorted()
	if len(all) > maxMistakes {
		all = append(all[:maxMistakes], Diagnostic{File: d.path, Pos: all[maxMistakes].Pos, Message: "too many mistakes: the rest is not shown"})
	}
	return all
}

// decode fills in the recipe. Names are gathered first, since expressions may use names that are defined below them.
func (d *decoder) decode(root *value) {
	r := d.recipe
	r.Name = strings.TrimSuffix(filepath.Base(d.path), filepath.Ext(d.path))
	if v := root.get("name"); v.scalar() {
		r.Name = d.plain(v)
	}
	if v := root.get("description"); v.scalar() {
		r.Description = v.text
	}
	r.Vars = d.vars(root.get("vars"))
	r.Secrets = d.secrets(root.get("secrets"))
	d.names(root)

	r.Env = d.env(root.get("env"), d.recipeEnv())
	r.Sandboxes = d.sandboxes(root.get("sandboxes"))
	r.Pool = d.pool(root.get("pool"))
	r.Cases = d.cases(root.get("cases"))
	r.Files = d.files(root.get("files"), place{scope: d.scopes.sample, files: filesOfRecipe})
	d.defaults = d.decodeDefaults(root.get("defaults"))
	r.Steps = d.items(root.get("steps"), partSteps)
	r.Finally = d.items(root.get("finally"), partFinally)
	r.Verify = d.items(root.get("verify"), partVerify)
	for _, v := range root.get("collect").list() {
		at := place{scope: d.scopes.sample}
		c := Collect{Pos: v.pos, Src: d.template(v.get("src"), at), Sandbox: d.sandboxName(v.get("sandbox")), Optional: d.flag(v.get("optional"), at)}
		d.inSandbox(v.get("src"), c.Src)
		if c.Sandbox == "" {
			c.Sandbox = d.known.Sandboxes[0]
		}
		r.Collect = append(r.Collect, c)
	}
	used, _ := r.Held()
	for _, f := range r.Files {
		if f.Sandbox != "" && !slices.Contains(used, r.SandboxIndex(f.Sandbox)) {
			d.errorf(f.Pos, "sandbox: steps and finally do not use %s, so that nothing is staged there: give files to the step that needs them", f.Sandbox)
		}
	}
	r.Samples = d.count(root.get("samples"), place{scope: d.known.VarsOnly()}, MaxSamples)
	for _, v := range root.get("gates").list() {
		r.Gates = append(r.Gates, Gate{Expr: d.condition(v, place{scope: d.known.Gate(), step: &stepRef{part: partGates}}), Pos: v.pos})
	}
	r.Timeout = d.durationValue(root.get("timeout"), place{scope: d.known.VarsOnly()}, defaultSampleTimeout)
}
