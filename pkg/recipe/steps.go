package recipe

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sbxrun/sbxrun/internal/expr"
)

// What holds where a recipe does not say.
const (
	defaultSampleTimeout = "1h"
	defaultStepTimeout   = "10m"
	defaultReadyTimeout  = "1m"
)

// bourne are the shells in whose scripts values are quoted, and how a script for each is read.
var bourne = map[string]func(string, *expr.Scope) (*expr.Template, error){
	"sh": expr.ParsePOSIX, "dash": expr.ParsePOSIX, "bash": expr.ParseShell, "ksh": expr.ParseShell, "zsh": expr.ParseShell,
}

// defaults are what steps have that do not say otherwise.
type defaults struct {
	timeout   *expr.Value
	shell     []string
	retry     Retry
	normalize []Normalize
}

func (d *decoder) decodeDefaults(v *value) defaults {
	at := place{scope: d.known.Row()}
	all := defaults{timeout: d.durationValue(v.get("timeout"), at, defaultStepTimeout)}
	all.shell = d.shell(v.get("shell"), []string{"sh", "-e"})
	all.retry = d.retry(v.get("retry"), at, Retry{})
	all.normalize = d.normalize(v.get("normalize"), at, nil)
	return all
}

func (d *decoder) items(v *value, part int) []Item {
	var all []Item
	for i, item := range v.list() {
		it := Item{Pos: item.pos, Parallel: item.get("parallel") != nil, Max: item.get("max").integer(0)}
		for _, step := range stepsOf(item) {
			if step.kind == mapping && d.steps < maxSteps {
				it.Steps = append(it.Steps, d.step(step, part, i))
			}
		}
		all = append(all, it)
	}
	return all
}

func (d *decoder) step(v *value, part, item int) Step {
	d.steps++
	ref := &stepRef{part: part, item: item, pos: v.pos}
	if id := v.get("id"); id != nil {
		ref.pos = id.pos
	}
	s := Step{Pos: v.pos, Sandbox: d.sandboxName(v.get("sandbox"))}
	if s.Sandbox == "" {
		s.Sandbox = d.known.Sandboxes[0]
	}
	s.Name, s.ID = d.stepName(v)

	inherited := [][]EnvVar{d.recipe.Env}
	if i := slices.IndexFunc(d.recipe.Sandboxes, func(b Sandbox) bool { return b.Name == s.Sandbox }); i >= 0 {
		inherited = append(inherited, d.recipe.Sandboxes[i].Env)
	}
	s.Env = d.env(v.get("env"), place{scope: withEnv(d.scopes.stepEnv, inherited...), step: ref})
	env := slices.Concat(inherited, [][]EnvVar{s.Env})
	at := place{scope: withEnv(d.scopes.step, env...), step: ref, files: filesOfStep}
	if part == partVerify {
		at.files = filesOfVerify
	}

	s.If = d.condition(v.get("if"), at)
	d.command(&s, v, at)
	s.Files = d.files(v.get("files"), at)
	if stdin := v.get("stdin"); stdin.scalar() {
		s.Stdin = d.template(stdin, at)
	} else if file := stdin.get("file"); file != nil {
		s.StdinFile = d.template(file, at)
		d.readable("stdin.file", file, s.StdinFile)
	}
	s.Dir = d.template(v.get("dir"), at)
	s.Retry = d.retry(v.get("retry"), at, d.defaults.retry)
	s.ContinueOnError = d.flag(v.get("continue_on_error"), at)
	s.Background = v.get("background").truth()
	s.Timeout = d.durationValue(v.get("timeout"), at, "")
	if s.Timeout == nil && !s.Background {
		s.Timeout = d.defaults.timeout
	}
	s.Ready = d.ready(v, at, bourne[path.Base(s.Shell[0])])
	if s.Background && v.get("retry") == nil {
		s.Retry = Retry{}
	}
	outcome := place{scope: withEnv(d.scopes.outcome, env...), step: ref}
	s.Expect = d.expect(v.get("expect"), at, outcome)
	s.Capture = d.capture(v.get("capture"), outcome)
	return s
}

// stepName returns a step's name and id.
func (d *decoder) stepName(v *value) (*expr.Template, string) {
	name, id := v.get("name"), v.get("id").word()
	if !name.scalar() {
		n := strconv.Itoa(d.steps)
		if id == "" {
			id = "step_" + n
		}
		return expr.Literal("step-" + n), id
	}
	if id == "" {
		id = idOf(name.text)
	}
	t := d.template(name, place{scope: d.scopes.sample})
	return t, id
}

func (d *decoder) command(s *Step, v *value, at place) {
	s.Shell = d.shell(v.get("shell"), d.defaults.shell)
	parse := bourne[path.Base(s.Shell[0])]
	s.QuotesValues = parse != nil
	if run := v.get("run"); run.scalar() {
		if parse == nil {
			parse = expr.ParseRaw
		}
		s.Run = d.compileText(run, at, parse)
	}
	for i, word := range v.get("argv").list() {
		if i == 0 && word.kind == text && word.text == "" {
			d.errorf(word.pos, "argv: the program must not be empty")
		}
		if t := d.template(word, at); t != nil {
			s.Argv = append(s.Argv, t)
		}
	}
}

// shell is the program that runs a script, and its arguments. A list is taken as it is.
func (d *decoder) shell(v *value, otherwise []string) []string {
	var argv []string
	switch {
	case v == nil:
	case v.kind == list:
		for _, item := range v.items {
			if item.scalar() && item.text != "" {
				argv = append(argv, d.plain(item))
			}
		}
	case v.text == "sh":
		argv = []string{"sh", "-e"}
	case v.text == "bash":
		argv = []string{"bash", "-eo", "pipefail"}
	case v.scalar():
		if strings.ContainsAny(v.text, `"'\`) {
			d.errorf(v.pos, "shell: write a program and its arguments with quotes in them as a list")
		}
		argv = strings.Fields(d.plain(v))
	}
	if len(argv) == 0 {
		return otherwise
	}
	return argv
}

func (d *decoder) retry(v *value, at place, otherwise Retry) Retry {
	if v == nil || v.kind != mapping {
		return otherwise
	}
	r := Retry{Attempts: d.count(v.get("attempts"), at, MaxAttempts)}
	if backoff := v.get("backoff"); backoff != nil && backoff.text != "0s" {
		r.Backoff = d.durationValue(backoff, at, "")
	}
	for _, reason := range v.get("on").list() {
		r.On = append(r.On, reason.word())
	}
	return r
}

// ready is how a background step says that it is. parse is for scripts of its shell; nil: its command is for sh.
func (d *decoder) ready(step *value, at place, parse func(string, *expr.Scope) (*expr.Template, error)) *Ready {
	e := step.entry("ready")
	if e == nil || e.value.kind != mapping {
		return nil
	}
	v := e.value
	if background := step.get("background"); background != nil && background.kind == boolean && !background.truth() {
		d.errorf(e.pos, "ready is for background steps: set background to true")
	}
	r := &Ready{
		Pos:     v.pos,
		Port:    d.values(v.get("port"), at),
		Output:  d.template(v.get("output"), at),
		Timeout: d.durationValue(v.get("timeout"), at, defaultReadyTimeout),
	}
	if command := v.get("command"); command != nil {
		if parse == nil {
			parse = expr.ParsePOSIX
		}
		r.Command = d.compileText(command, at, parse)
	}
	d.pattern(v.get("output"), r.Output)
	return r
}

// captureTaken are names of steps.ID that are not captures.
var captureTaken = []string{"verdict", "exit", "stdout", "stderr", "duration"}

func (d *decoder) capture(v *value, at place) []Capture {
	if v == nil {
		return nil
	}
	var all []Capture
	for _, e := range v.entries {
		if slices.Contains(captureTaken, e.key) {
			d.errorf(e.pos, "capture: the name %s is taken, as are %s", e.key, strings.Join(captureTaken, ", "))
		}
		all = append(all, Capture{Name: e.key, Expr: d.expression(e.value, at), Pos: e.pos})
	}
	return all
}
