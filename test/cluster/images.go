package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// debian is what the root of the runtimes' images holds: all that the Python runtime imports, what the recipes of the
// tests call, and the gateway's data plane.
const debian = "python3,python3-fastapi,python3-uvicorn,python3-multipart,procps,ca-certificates,nginx-light"

// makeImages packs every image of the cluster into one archive, in which the Debian root is one layer of three.
func (c *cluster) makeImages(ctx context.Context) error {
	if err := c.makeRoot(ctx); err != nil {
		return err
	}
	sandboxes, err := c.module(ctx, "agent-sandbox", "sigs.k8s.io/agent-sandbox")
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(c.home, "images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	root := c.path("root")
	layers := map[string]map[string]string{ // image to the files of its upper layer
		"pause":                    {"pause": c.program("pause")},
		"sandbox-router":           {"sandbox-router": c.program("sandbox-router")},
		"agent-sandbox-controller": {"agent-sandbox-controller": c.program("agent-sandbox-controller")},
		"python-runtime":           {"app/main.py": filepath.Join(sandboxes, "examples/python-runtime-sandbox/main.py")},
		"sandboxd":                 {"usr/local/bin/sandboxd": c.program("sandboxd")},
	}
	dirs := map[string]string{}
	for name, files := range layers {
		dirs[name] = filepath.Join(work, name)
		if err := place(dirs[name], files); err != nil {
			return err
		}
	}
	for _, dir := range []string{filepath.Join(dirs["python-runtime"], "app"), filepath.Join(dirs["sandboxd"], "workspace")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chown(dir, 1000, 1000); err != nil {
			return err
		}
	}
	python := "python3 -m uvicorn main:app --host 0.0.0.0 --port 8888 --log-level warning"
	images := []image{
		{Name: "pause", Config: config{Entrypoint: []string{"/pause"}}, Layers: []string{dirs["pause"]}},
		{Name: "sandbox-router", Config: config{Entrypoint: []string{"/sandbox-router"}}, Layers: []string{dirs["sandbox-router"]}},
		{Name: "agent-sandbox-controller", Config: config{Entrypoint: []string{"/agent-sandbox-controller"}}, Layers: []string{dirs["agent-sandbox-controller"]}},
		{Name: "python-runtime", Config: config{Entrypoint: strings.Fields(python), WorkingDir: "/app", User: "1000", Env: []string{path}}, Layers: []string{root, dirs["python-runtime"]}},
		{Name: "sandboxd", Config: config{Entrypoint: []string{"/usr/local/bin/sandboxd"}, WorkingDir: "/workspace", User: "1000", Env: []string{path}}, Layers: []string{root, dirs["sandboxd"]}},
		// Any image with a shell: it serves nothing, and takes a file system of its own for its work.
		{Name: "debian", Config: config{Entrypoint: []string{"sleep", "infinity"}, User: "1000", Env: []string{path}}, Layers: []string{root}},
	}
	fmt.Fprintln(os.Stderr, "cluster: packing images")
	return pack(ctx, c.path("images.tar"), work, images)
}

// makeRoot makes the Debian root once for each list of packages.
func (c *cluster) makeRoot(ctx context.Context) error {
	root, done := c.path("root"), c.path("root.packages")
	if made, err := os.ReadFile(done); err == nil && string(made) == debian {
		return nil
	}
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+debian, "bookworm", root)
	if err := announce("making a Debian root", cmd); err != nil {
		return err
	}
	for _, dir := range []string{"var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"} {
		if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	return os.WriteFile(done, []byte(debian), 0o644)
}

// image makes an image of static programs on top of the Debian root, and hands it to the cluster's containerd; an image
// of this name is replaced.
func (c *cluster) image(ctx context.Context, name string, programs []string) error {
	if !exists(c.kubeconfig()) {
		return errors.New("no cluster is up: make cluster-up")
	}
	work, err := os.MkdirTemp(c.home, "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	layer, to := filepath.Join(work, "layer"), map[string]string{}
	for _, f := range programs {
		to[filepath.Join("usr/local/bin", filepath.Base(f))] = f
	}
	if err := place(layer, to); err != nil {
		return err
	}
	archive := filepath.Join(work, "image.tar")
	img := image{Name: name, Config: config{Entrypoint: []string{filepath.Base(programs[0])}, User: "1000", Env: []string{path}}, Layers: []string{c.path("root"), layer}}
	if err := pack(ctx, archive, work, []image{img}); err != nil {
		return err
	}
	return c.importImages(ctx, archive)
}

// place makes a layer of files (path to what is copied there) and of a /tmp.
func place(layer string, files map[string]string) error {
	tmp := filepath.Join(layer, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		return err
	}
	for to, from := range files {
		to = filepath.Join(layer, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		info, err := os.Stat(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, data, info.Mode().Perm()|0o444); err != nil {
			return err
		}
	}
	return nil
}
