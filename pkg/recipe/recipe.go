// Package recipe reads recipes: YAML to a typed, validated Recipe with source positions, or every mistake in one
// pass. Its types are the one definition of what a step, a sandbox or an expectation is; pkg/plan adds what options
// and data make of them. It runs nothing and reads no data files.
//
// A file goes through three rooms: nodes of the YAML library (syntax), values without aliases and merge keys (tree), the
// typed recipe (decode). Between the last two the JSON Schema in package schemas is the judge of shape: which keys
// there are, which types, which words and numbers. The decoder passes over what has the wrong shape, and checks what a
// schema cannot: names, expressions, paths, what keys mean together.
package recipe

import (
	"github.com/sbxrun/sbxrun/internal/expr"
)

// Pos is a place in the recipe's file.
type Pos = expr.Pos

// Recipe is a valid recipe: defaults are filled in (ids, sandboxes of steps, time limits, shells, retry,
// normalisation), names are known, expressions are compiled. Nothing is interpolated yet.
type Recipe struct {
	Path   string // as it was given
	Dir    string // absolute folder that relative paths start from
	Digest string // sha256 of the file, hex

	Name        string // the file's base name without extension where the recipe has none
	Description string
	Vars        []Var // in the order of the file
	Env         []EnvVar
	Secrets     []Secret
	Sandboxes   []Sandbox
	Pool        Pool
	Cases       *Cases // nil: one case, "main", without fields
	Files       []File
	Steps       []Item
	Finally     []Item
	Collect     []Collect
	Verify      []Item
	Samples     *expr.Value // a whole number; may use vars; nil: 1
	Gates       []Gate
	Timeout     *expr.Value // a duration, of one sample; may use vars

	places map[any]textPlace // of expressions, by pointer
}

// The most that a recipe may ask for, as its schema says.
const (
	MaxSamples  = 1_000_000
	MaxCases    = 1_000_000_000 // of cases.limit
	MaxAttempts = 1000
)

// Var is a default of vars.NAME.
type Var struct {
	Name  string
	Value any
	Pos   Pos
}

// Secret is a name in sbxrun's own environment.
type Secret struct {
	Name string
	Pos  Pos
}

// EnvVar is one variable of the environment. In the env of the recipe and of sandboxes expressions know what a sample
// knows before its steps: case, vars, run, sandbox. In a step's they also know steps, secrets, and as env the variables
// of the recipe and of the step's sandbox. What else a step has knows the step's own variables too, and no secrets.
type EnvVar struct {
	Name  string
	Value *expr.Template
	Pos   Pos
}

// Sandbox is a named way to get a sandbox. Text may use case and vars.
type Sandbox struct {
	Name string // "default" where the recipe names none
	Pos  Pos

	WarmPool, Template, Image *expr.Template // nil: not given
	Spec                      *expr.Value    // a SandboxTemplate spec
	Runtime                   string         // auto, python, sandboxd or exec; empty: auto
	Port                      int
	Env                       []EnvVar
	Labels                    *expr.Value
	PodLabels, PodAnnotations *expr.Value
	Volumes                   *expr.Value
	Limits                    Limits
	Network                   string // none, case, host, or empty
	Rootfs                    *expr.Template
	Mounts                    []Mount
	Isolation                 string // namespaces, gvisor, none, or empty
}

// Limits are Kubernetes quantities ("1Gi", "500m"); nil is the default.
type Limits struct {
	CPU, Memory, PIDs, Disk, Inodes, Files, Output *expr.Template
}

// Mount adds a file or folder of the host to a local sandbox.
type Mount struct {
	Src, Dst *expr.Template // Dst nil: as Src
	Writable bool
	Pos      Pos
}

// Pool says how many samples are in flight; zero is the provider's default.
type Pool struct {
	Size  int
	Warm  int // -1: auto
	Reuse string
}

// Cases says where the rows come from. Sources given together are multiplied by Matrix.
type Cases struct {
	Pos    Pos
	Matrix []Axis
	List   []Row
	Glob   *expr.Template // relative to the recipe; may use vars
	File   *expr.Template
	ID     *expr.Template
	Where  *expr.Expr
	Limit  *expr.Value // a whole number; may use vars; nil: all
}

// Axis is a dimension of the matrix.
type Axis struct {
	Name   string
	Values []any
	Pos    Pos
}

// Row is a row of cases.list.
type Row struct {
	Fields map[string]any
	Pos    Pos
}

// File is something to stage: exactly one of Src, Content and From is given (From together with Src).
type File struct {
	Pos      Pos
	Src      *expr.Template // beside the recipe; with From a path or glob in that sandbox
	Content  *expr.Template
	From     string // name of a sandbox
	Dst      *expr.Template
	Mode     *expr.Template // see ModeOf; nil: as the source, 0644 for Content
	Sandbox  string         // name; empty: every one (recipe level), the step's (step level)
	Optional *expr.Value    // true or false; nil: false
}

// Collect takes artifacts out of a sandbox.
type Collect struct {
	Pos      Pos
	Src      *expr.Template // glob
	Sandbox  string         // name; the first sandbox where none is named
	Optional *expr.Value    // true or false; nil: false
}

// Item is one step, or several in parallel.
type Item struct {
	Pos      Pos
	Parallel bool
	Max      int // steps at once in a parallel item; zero: all
	Steps    []Step
}

// Step is one command with its expectations.
type Step struct {
	Pos             Pos
	Name            *expr.Template // never nil; "step-N" by place where not given
	ID              string
	If              *expr.Expr
	Run             *expr.Template // a script for Shell, or nil
	Argv            []*expr.Template
	Shell           []string // of Run: the program and its arguments before the script's path
	QuotesValues    bool     // Shell is of the Bourne family, so values in Run become shell words
	Sandbox         string
	Files           []File
	Stdin           *expr.Template // nil: none
	StdinFile       *expr.Template // path beside the recipe
	Env             []EnvVar
	Dir             *expr.Template
	Timeout         *expr.Value // a duration; nil: none (background)
	Retry           Retry
	ContinueOnError *expr.Value // true or false; nil: false
	Background      bool
	Ready           *Ready
	Expect          Expect
	Capture         []Capture
}

// Retry says how often a failing step is tried.
type Retry struct {
	Attempts *expr.Value // in all, at least 1; nil: 1
	Backoff  *expr.Value // a duration; nil: none
	On       []string    // reasons; empty: every reason of failed
}

// Ready says when a background step is ready: exactly one of Port, Command and Output.
type Ready struct {
	Pos     Pos
	Port    *expr.Value // a TCP port that accepts connections
	Command *expr.Template
	Output  *expr.Template // a regular expression that a line of stdout or stderr matches
	Timeout *expr.Value    // a duration
}

// Capture names the value of an expression over the outcome.
type Capture struct {
	Name string
	Expr *expr.Expr
	Pos  Pos
}

// Gate is a condition on the finished run.
type Gate struct {
	Expr *expr.Expr
	Pos  Pos
}

// Expect is what must hold of a step's outcome.
type Expect struct {
	Pos    Pos
	Exit   Exit
	Stdout *Text
	Stderr *Text
	Files  []FileExpect
	That   []That
}

// Exit is the accepted exit statuses; the zero Exit accepts 0.
type Exit struct {
	Any    bool
	Values *expr.Value // an integer or a list of them; nil: 0
	Pos    Pos
}

// That is a condition.
type That struct {
	Expr *expr.Expr
	Pos  Pos
}

// Text is what must hold of a text. Each nil or empty field says nothing.
type Text struct {
	Pos                   Pos
	Equals                []Match
	Contains, NotContains []Match
	Matches, NotMatches   []Match
	JSON                  *expr.Value
	JSONPos               Pos
	Golden                []Match // paths beside the recipe
	Normalize             []Normalize
}

// Match is one text to compare with, with its place.
type Match struct {
	Text *expr.Template
	Pos  Pos
}

// FileExpect is what must hold of a file or folder in the sandbox.
type FileExpect struct {
	Path   *expr.Template
	Pos    Pos
	Exists *expr.Value // true or false; nil: true
	SHA256 *expr.Template
	Size   *expr.Value // bytes
	Text   *Text       // equals, contains, matches, json, golden, normalize; nil: none
}

// Normalize is one change made to both sides before they are compared: Kind is trim, ansi, crlf or replace; Replace
// (RE2) and With are for replace.
type Normalize struct {
	Kind    string
	Replace *expr.Template
	With    *expr.Template
	Pos     Pos
}
