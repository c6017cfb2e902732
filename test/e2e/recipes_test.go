//go:build e2e

package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The examples of the local provider run as they are.
func TestExamples(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Glob("../../recipes/examples/*.yaml")
	if err != nil || len(examples) < 8 {
		t.Fatalf("%d examples, %v", len(examples), err)
	}
	w := newWorld(t, "python", 3)
	for _, path := range examples {
		t.Run(filepath.Base(path), func(t *testing.T) {
			source := []string{"--warmpool", "python"}
			if filepath.Base(path) == "web-server.yaml" {
				// Its network is case, and the policy of a pool that is not the run's own says nothing of that.
				source = []string{"--image", set.plain}
			}
			w := w.in(t)
			w.start(append(source, absolute(t, path), "-j", "2")...).ends(0)
		})
	}
	w.clean()
}

// The recipes of this folder, each for what only a cluster has.
func TestRecipes(t *testing.T) {
	t.Parallel()
	recipes, err := filepath.Glob("recipes/*.yaml")
	if err != nil || len(recipes) == 0 {
		t.Fatalf("%d recipes, %v", len(recipes), err)
	}
	w := newWorld(t, "python", 2)
	w.env = []string{"E2E_SECRET=correct-horse"}
	t.Cleanup(func() { w.clean() })
	for _, path := range recipes {
		if filepath.Base(path) == "runtimes.yaml" {
			continue // TestRuntimes
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			args := []string{absolute(t, path), "--warmpool", "python"}
			if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte("vars: {image: none}")) {
				args = append(args, "--set", "image="+set.plain)
			}
			s := w.start(args...).ends(0)
			for _, r := range s.rows() {
				if r.Flaky {
					t.Errorf("%s needed a retry: %s", r.ID, r.Message)
				}
			}
			if filepath.Base(path) == "secrets.yaml" {
				nowhere(t, s.dir, "correct-horse")
			}
		})
	}
}

// One recipe over each runtime, and over those that are found.
func TestRuntimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Cleanup(func() { w.clean() })
	for _, r := range append(runtimes, runtime{"auto", "python"}, runtime{"auto", "plain"}, runtime{"auto", "sandboxd"}) {
		t.Run(r.name+" of "+r.template, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			w.start(runtimesRecipe(t, r.template, r.name)).ends(0).verdict("passed", "")
		})
	}
}

// What goes over a connection, each way: commands of each kind, and files of many sizes and names. TestDeploy has the
// connections of a pod.
func TestModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "python", 2)
	t.Cleanup(func() { w.clean() })
	for _, m := range outside[1:] { // TestRecipes and TestRuntimes have the first
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			w.start(append(m.flags(), runtimesRecipe(t, "python", "python"))...).ends(0).verdict("passed", "")
			files := []string{absolute(t, "recipes/files.yaml"), "--set", "large=3000000", "--warmpool", "python"}
			w.start(append(m.flags(), files...)...).ends(0).verdict("passed", "")
		})
	}
}

// runtimesRecipe is recipes/runtimes.yaml for a template and a runtime.
func runtimesRecipe(t *testing.T, template, runtime string) string {
	t.Helper()
	text, err := os.ReadFile("recipes/runtimes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return recipe(t, strings.NewReplacer("TEMPLATE", template, "RUNTIME", runtime).Replace(string(text)))
}

// Labels, annotations and volumes go from the recipe into the claim and the pod.
func TestClaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(strings.NewReplacer("CLASS", "e2e-"+runID, "PLAIN", set.plain).Replace(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: CLASS}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Mi}
  storageClassName: CLASS
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: /var/tmp/CLASS, type: DirectoryOrCreate}
---
apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxTemplate
metadata: {name: volume}
spec:
  volumeClaimTemplatesPolicy: Allowed
  podTemplate:
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "PLAIN", volumeMounts: [{name: data, mountPath: /data}]}]
`))
	s := w.start(recipe(t, strings.ReplaceAll(`
version: 1
name: claimed
sandboxes:
  box:
    template: volume
    runtime: exec
    labels: {team: tests}
    pod: {labels: {sandbox.users.io/purpose: e2e}, annotations: {note: from-the-recipe}}
    volumes:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], storageClassName: CLASS, resources: {requests: {storage: 1Mi}}}
steps:
- run: |
    grep " /data " /proc/mounts
    echo has-begun
    sleep 5
`, "CLASS", "e2e-"+runID)))
	s.awaits("has-begun")
	for _, claim := range w.list(claims) {
		if claim.GetLabels()["team"] != "tests" {
			t.Errorf("the claim has labels %v", claim.GetLabels())
		}
	}
	if !slices.ContainsFunc(w.list(pods), func(p unstructured.Unstructured) bool {
		return p.GetLabels()["sandbox.users.io/purpose"] == "e2e" && p.GetAnnotations()["note"] == "from-the-recipe"
	}) {
		t.Error("no pod has the label and the annotation of the recipe")
	}
	s.ends(0).verdict("passed", "")
	w.clean("volume")
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// nowhere checks that no file below dir has a text.
func nowhere(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), text) {
			t.Errorf("%s has it", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
