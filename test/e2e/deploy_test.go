//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var jobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}

// shippedNamespace is that of the manifests of deploy/.
const shippedNamespace = "sbxrun"

// TestDeploy applies what ships in deploy/ as its README says, and runs it: with no more rights than rbac/ gives, a Job, the
// shards and their report, and from inside the cluster a recipe and the conformance suite over each connection of a pod.
func TestDeploy(t *testing.T) {
	t.Parallel()
	selfImage(t)
	w := &world{t: t, name: shippedNamespace}
	w.kubectl("apply", "rbac")
	t.Cleanup(func() { w.kubectl("delete", "rbac") })
	w.apply(templatesFor())
	for _, pool := range []string{"python", "plain", "sandboxd", "service"} {
		w.pool(pool, 2)
	}
	t.Run("job", func(t *testing.T) {
		w := w.in(t)
		w.kubectl("apply", "job")
		w.completes("sbxrun", "1 passed")
	})
	t.Run("shards", func(t *testing.T) {
		w := w.in(t)
		w.volume("results")
		w.kubectl("apply", "shards")
		w.completes("sbxrun-shards", "")
		w.kubectl("apply", "merge")
		w.completes("sbxrun-merge", "9 passed")
	})
	for i, c := range insideCombinations {
		w.recipeJob(fmt.Sprintf("recipe-%d", i), c)
		job := fmt.Sprintf("inside-%d", i)
		w.apply(fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: %s}
spec:
  backoffLimit: 0
  template:
    spec:
      serviceAccountName: sbxrun
      restartPolicy: Never
      containers:
      - name: e2e
        image: %s
        command: [e2e.test, -test.run, ^TestSuite$]
        env: [{name: %s, value: %s}, {name: %s, value: %s}]
`, job, set.self, suiteVar, c, suiteNamespaceVar, w.name))
	}
	for i, c := range insideCombinations {
		t.Run("inside "+c.mode+" "+c.runtime, func(t *testing.T) {
			w := w.in(t)
			w.completes(fmt.Sprintf("recipe-%d", i), "1 passed")
			w.completes(fmt.Sprintf("inside-%d", i), "PASS")
		})
	}
	w.clean()
}

// recipeJob makes a Job that runs recipes/runtimes.yaml from inside the cluster.
func (w *world) recipeJob(name string, c combination) {
	w.t.Helper()
	text, err := os.ReadFile(runtimesRecipe(w.t, c.pool, c.runtime))
	if err != nil {
		w.t.Fatal(err)
	}
	w.make(configMaps, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name},
		"data": map[string]any{"recipe.yaml": string(text)},
	}})
	command, err := json.Marshal(append([]string{"sbxrun", "/recipes/recipe.yaml", "--provider=kubernetes", "--out=/tmp/run"}, c.way().flags()...))
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: %[1]s}
spec:
  backoffLimit: 0
  template:
    spec:
      serviceAccountName: sbxrun
      restartPolicy: Never
      containers:
      - name: sbxrun
        image: %[2]s
        command: %[3]s
        volumeMounts: [{name: recipes, mountPath: /recipes}, {name: tmp, mountPath: /tmp}]
      volumes: [{name: recipes, configMap: {name: %[1]s}}, {name: tmp, emptyDir: {}}]
`, name, set.self, command))
}

// kubectl applies or deletes a folder of deploy/ through a kustomization that sets the image.
func (w *world) kubectl(verb, folder string) {
	w.t.Helper()
	dir := w.t.TempDir()
	base, err := filepath.Rel(dir, absolute(w.t, "../../deploy/"+folder))
	if err != nil {
		w.t.Fatal(err)
	}
	name, tag, _ := cutTag(set.self)
	text := fmt.Sprintf("resources: [%s]\nimages: [{name: sbxrun, newName: %s, newTag: %q}]\n", base, name, tag)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	args := []string{verb, "-k", dir}
	if verb == "delete" {
		args = append(args, "--wait=false")
	}
	if out, err := exec.Command("kubectl", args...).CombinedOutput(); err != nil {
		w.t.Errorf("kubectl %s: %v\n%s", verb, err, out)
	}
}

func cutTag(image string) (name, tag string, found bool) {
	i := strings.LastIndexByte(image, ':')
	if i < strings.LastIndexByte(image, '/') || i < 0 {
		return image, "latest", false
	}
	return image[:i], image[i+1:], true
}

// completes waits until a job is complete; its log has to have a text.
func (w *world) completes(job, says string) {
	w.t.Helper()
	err := within(5*patience, func() error {
		j, err := api.Resource(jobs).Namespace(w.name).Get(w.t.Context(), job, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !isTrue(j, "Complete") && !isTrue(j, "Failed") {
			return fmt.Errorf("%v", j.Object["status"])
		}
		if log := w.logs(job); isTrue(j, "Failed") || !strings.Contains(log, says) {
			w.t.Errorf("job %s, want %q in its log:\n%v\n%s", job, says, j.Object["status"], log)
		}
		return nil
	})
	if err != nil {
		w.t.Errorf("job %s does not end: %v\n%s", job, err, w.logs(job))
	}
}

// logs are those of all pods of a job.
func (w *world) logs(job string) string {
	w.t.Helper()
	var all strings.Builder
	for _, p := range w.list(pods) {
		if p.GetLabels()["batch.kubernetes.io/job-name"] == job {
			log, err := get("/api/v1/namespaces/" + w.name + "/pods/" + p.GetName() + "/log")
			fmt.Fprintf(&all, "%s: %v\n%s\n", p.GetName(), err, log)
		}
	}
	return all.String()
}

// volume makes a volume for a claim of this name, where the cluster is test/cluster's; others have a storage class.
func (w *world) volume(claim string) {
	w.t.Helper()
	if own == nil {
		return
	}
	dir := filepath.Join(own.state, "volumes", runID+"-"+claim)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { // past the umask: pods of any user write there
		w.t.Fatal(err)
	}
	w.apply(strings.NewReplacer("NAMESPACE", w.name, "NAME", "e2e-"+runID+"-"+claim, "CLAIM", claim, "DIR", dir).Replace(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: NAME}
spec:
  accessModes: [ReadWriteMany]
  capacity: {storage: 1Gi}
  claimRef: {namespace: NAMESPACE, name: CLAIM}
  hostPath: {path: DIR}
`))
}

var imageOnce sync.Once

// selfImage makes the image of this checkout where the cluster is test/cluster's.
func selfImage(t *testing.T) {
	t.Helper()
	imageOnce.Do(func() {
		if own == nil {
			return // it was said
		}
		self, err := os.Executable()
		if err == nil {
			err = own.command("image", "e2e", binary, self)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}
