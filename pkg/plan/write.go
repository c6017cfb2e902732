package plan

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/sbxrun/sbxrun/internal/expr"
	"github.com/sbxrun/sbxrun/internal/mask"
	"github.com/sbxrun/sbxrun/pkg/recipe"
)

// caseJSON is a case in the plan as JSON.
type caseJSON struct {
	ID     string         `json:"id"`
	Number int            `json:"number"`
	Fields map[string]any `json:"case,omitempty"`
}

// JSON writes the plan for programs: one object, indented, whose last field is the list of cases, a line each. Cases are
// written as they are read. Secrets are masked in it.
func (p *Plan) JSON(ctx context.Context, w io.Writer) error {
	secrets := mask.New(p.Secrets)
	head, err := marshal(p.describe(secrets))
	if err != nil {
		return err
	}
	head = secrets.JSON(head)
	var indented bytes.Buffer
	if err := json.Indent(&indented, head, "", "  "); err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	out.Write(bytes.TrimSuffix(indented.Bytes(), []byte("\n}"))) // the writer keeps its first error for Flush
	out.WriteString(",\n  \"cases\": [")
	between := "\n    "
	for c, err := range p.Rows(ctx) {
		if err != nil {
			return err
		}
		line, err := marshal(caseJSON(mask.Value(secrets, c)))
		if err != nil {
			return fmt.Errorf("case %s: %w", c.ID, err)
		}
		out.WriteString(between)
		out.Write(line)
		between = ",\n    "
	}
	if between[0] == ',' {
		out.WriteString("\n  ")
	}
	out.WriteString("]\n}\n")
	return out.Flush()
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// shown is how many cases Text shows.
const shown = 20

// Text writes the plan for people: what is run where, and the first cases. Secrets are masked in it.
func (p *Plan) Text(ctx context.Context, w io.Writer) error {
	shown := mask.New(p.Secrets).Writer(w)
	if err := p.text(ctx, shown); err != nil {
		return err
	}
	return shown.Close()
}

func (p *Plan) text(ctx context.Context, w io.Writer) error {
	r := p.Recipe
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s (%s): ", r.Name, r.Path)
	if r.Cases == nil {
		fmt.Fprint(out, plural(p.Total, "sample"))
	} else {
		fmt.Fprint(out, plural(p.Cases, "case"))
		if p.Samples > 1 {
			fmt.Fprintf(out, " x %s = %d", plural(p.Samples, "sample"), p.Total)
		}
	}
	fmt.Fprintf(out, ", %d at a time\n", p.Pool.Size)
	if r.Description != "" {
		fmt.Fprintf(out, "%s\n", strings.TrimSpace(r.Description))
	}
	if len(p.Vars) > 0 {
		fmt.Fprintf(out, "vars: %s\n", strings.Join(varsText(p.Vars), ", "))
	}
	if len(r.Secrets) > 0 {
		fmt.Fprintf(out, "secrets: %s\n", strings.Join(each(r.Secrets, secretName), ", "))
	}
	fmt.Fprintf(out, "sandboxes: %s\n", strings.Join(each(r.Sandboxes, p.boxText), ", "))
	for _, part := range []struct {
		name  string
		items []recipe.Item
	}{{"steps", r.Steps}, {"finally", r.Finally}, {"verify", r.Verify}} {
		if len(part.items) > 0 {
			fmt.Fprintf(out, "%s:\n", part.name)
		}
		for _, item := range part.items {
			itemText(out, item)
		}
	}
	for _, c := range r.Collect {
		fmt.Fprintf(out, "collect: %s\n", c.Src.Source())
	}
	for _, g := range r.Gates {
		fmt.Fprintf(out, "gate: %s\n", g.Expr.Source())
	}
	if r.Cases != nil {
		fmt.Fprintf(out, "cases:\n")
		n := 0
		for c, err := range p.Rows(ctx) {
			if err != nil {
				return err
			}
			if n++; n > shown {
				fmt.Fprintf(out, "  ... and %d more\n", p.Cases-shown)
				break
			}
			fmt.Fprintf(out, "  %s\n", printable(c.ID))
		}
	}
	return out.Flush()
}

func (p *Plan) boxText(s recipe.Sandbox) string {
	for _, from := range []struct {
		key string
		t   *expr.Template
	}{{"warm pool", s.WarmPool}, {"template", s.Template}, {"image", s.Image}} {
		if from.t != nil {
			return fmt.Sprintf("%s (%s %s)", s.Name, from.key, from.t.Source())
		}
	}
	switch {
	case s.Spec != nil:
		return s.Name + " (spec)"
	case p.origin != "":
		return fmt.Sprintf("%s (%s)", s.Name, p.origin)
	}
	return s.Name
}

func itemText(out io.Writer, item recipe.Item) {
	indent := "  "
	if item.Parallel {
		fmt.Fprintf(out, "  in parallel:\n")
		indent = "    "
	}
	for _, s := range item.Steps {
		fmt.Fprintf(out, "%s%s [%s]: %s\n", indent, s.Name.Source(), s.Sandbox, command(s))
	}
}

// command is the first line of a step's command.
func command(s recipe.Step) string {
	if s.Run == nil {
		return printable(strings.Join(each(s.Argv, (*expr.Template).Source), " "))
	}
	first, rest, more := strings.Cut(strings.TrimSpace(s.Run.Source()), "\n")
	if more && strings.TrimSpace(rest) != "" {
		first += " ..."
	}
	return printable(first)
}

// printable is s on one line, without what a terminal would act on.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return '\uFFFD'
		}
		return c
	}, s)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
