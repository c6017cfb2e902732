package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// image is one image of an archive; Layers are folders, the lowest first.
type image struct {
	Name   string
	Config config
	Layers []string
}

// config is the part of an image's configuration that is used here, as the OCI image specification names it.
type config struct {
	Entrypoint []string
	WorkingDir string   `json:",omitempty"`
	User       string   `json:",omitempty"`
	Env        []string `json:",omitempty"`
}

// pack writes images in the format of `docker save`, which containerd imports. A folder that several images have is in
// the archive once. work is for temporary files.
func pack(ctx context.Context, archive, work string, images []image) error {
	out, err := os.Create(archive + ".new")
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	digests := map[string]string{}
	layerName := func(dir string) string { return digests[dir] + "/layer.tar" }
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifest []entry
	for i, img := range images {
		e := entry{Config: fmt.Sprintf("%d.json", i), RepoTags: []string{registry + img.Name + ":1"}}
		var ids []string
		for _, dir := range img.Layers {
			if digests[dir] == "" {
				if digests[dir], err = addLayer(ctx, w, dir, work); err != nil {
					return err
				}
			}
			e.Layers = append(e.Layers, layerName(dir))
			ids = append(ids, "sha256:"+digests[dir])
		}
		manifest = append(manifest, e)
		if err := addJSON(w, e.Config, map[string]any{
			"architecture": runtime.GOARCH, "os": "linux", "config": img.Config,
			"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
		}); err != nil {
			return err
		}
	}
	if err := addJSON(w, "manifest.json", manifest); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(archive+".new", archive)
}

// addLayer adds a folder as a layer and returns its digest. tar makes it: owners, links and special files are kept.
func addLayer(ctx context.Context, w *tar.Writer, dir, work string) (string, error) {
	layer, err := os.CreateTemp(work, "layer-")
	if err != nil {
		return "", err
	}
	defer os.Remove(layer.Name())
	defer layer.Close()
	cmd := exec.CommandContext(ctx, "tar", "-C", dir, "--numeric-owner", "-c", ".")
	cmd.Stderr = os.Stderr
	digest := sha256.New()
	cmd.Stdout = io.MultiWriter(layer, digest)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	size, err := layer.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	sum := fmt.Sprintf("%x", digest.Sum(nil))
	if err := w.WriteHeader(&tar.Header{Name: filepath.Join(sum, "layer.tar"), Mode: 0o644, Size: size}); err != nil {
		return "", err
	}
	_, err = io.Copy(w, layer)
	return sum, err
}

func addJSON(w *tar.Writer, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
