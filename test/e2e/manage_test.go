//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes"
)

// What programs do with the Go API beside what recipes do: one makes a sandbox, another finds it, works in it and deletes it.
func TestManaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "python", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	provider := func(run string) *kubernetes.Provider {
		p, err := kubernetes.Open(ctx, kubernetes.Options{
			Run: sandbox.Run{ID: run, Dir: t.TempDir(), Size: 2}, Namespace: w.name, RouterNamespace: set.router,
			Default: kubernetes.Source{WarmPool: "python"},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close(context.Background()) })
		return p
	}
	maker, other := provider("maker"), provider("other")
	labelled := sandbox.Spec{Cluster: sandbox.Cluster{Labels: map[string]string{"team": "tests"}}}
	made, err := maker.Acquire(ctx, labelled)
	if err != nil {
		t.Fatal(err)
	}
	if err := sandbox.Put(ctx, made, sandbox.File{Name: "a/b", Mode: 0o640, Size: 3}, strings.NewReader("abc")); err != nil {
		t.Error(err)
	}

	list, err := other.List(ctx, "team=tests")
	if err != nil || len(list) != 1 || list[0].Name != made.ID() {
		t.Fatalf("list: %+v, %v; want %s", list, err, made.ID())
	}
	if list, err := other.List(ctx, "team=others"); err != nil || len(list) != 0 {
		t.Errorf("list of others: %+v, %v", list, err)
	}
	attached, err := other.Attach(ctx, made.ID(), sandbox.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if r, err := attached.Exec(ctx, sandbox.Command{Argv: []string{"cat", filepath.Join("a", "b")}}, &out, nil); err != nil || r.Exit != 0 || out.String() != "abc" {
		t.Errorf("what the one put, the other reads as %q: %+v, %v", out.String(), r, err)
	}
	if err := other.Close(ctx); err != nil {
		t.Error(err)
	}
	if there, err := sandbox.Exists(ctx, made, "a/b"); err != nil || !there {
		t.Errorf("the end of who attached took the sandbox: %v, %v", there, err)
	}

	other = provider("another")
	if err := other.Delete(ctx, made.ID()); err != nil {
		t.Error(err)
	}
	if _, err := made.Exec(ctx, sandbox.Command{Argv: []string{"true"}}, nil, nil); sandbox.KindOf(err) != sandbox.KindLost {
		t.Errorf("a command in what was deleted: %v", err)
	}
	if _, err := other.Attach(ctx, made.ID(), sandbox.Spec{}); sandbox.KindOf(err) != sandbox.KindNotFound {
		t.Errorf("attach to what was deleted: %v", err)
	}
	second, err := maker.Acquire(ctx, labelled)
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := other.DeleteAll(ctx, "team=tests"); err != nil || len(gone) != 1 || gone[0] != second.ID() {
		t.Errorf("deleted %v, %v; want %s", gone, err, second.ID())
	}
	if err := maker.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := other.Close(ctx); err != nil {
		t.Error(err)
	}
	w.clean()
}
