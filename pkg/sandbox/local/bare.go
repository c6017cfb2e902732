package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// bare is a sandbox that isolates nothing: a folder in which commands run as the user who runs sbxrun.
type bare struct {
	files
	p    *Provider
	dir  string
	next atomic.Int64 // numbers of commands and scripts

	once sync.Once
	err  error // of the release
}

func (p *Provider) acquireBare(id string, spec sandbox.Spec) (*bare, error) {
	fail := func(kind sandbox.Kind, err error) (*bare, error) {
		return nil, &sandbox.Error{Op: "acquire", ID: id, Kind: kind, Err: err}
	}
	switch {
	case !p.opts.AllowNoIsolation:
		return fail(sandbox.KindUnsupported, errors.New("isolation none isolates nothing, and has to be allowed by a flag of its own"))
	case spec.Local.Rootfs != "" || len(spec.Local.Mounts) > 0:
		return fail(sandbox.KindUnsupported, errors.New("isolation none has the host's files: rootfs and mounts cannot be had"))
	case spec.Network == sandbox.NetworkCase:
		return fail(sandbox.KindUnsupported, errors.New("isolation none has the host's network: network case cannot be had"))
	}
	dir, err := os.MkdirTemp(p.opts.Dir, "bare-")
	if err != nil {
		return fail(sandbox.KindUnavailable, err)
	}
	b := &bare{p: p, dir: dir, files: files{id: id, spec: spec, released: make(chan struct{})}}
	if err := b.open(); err != nil {
		return fail(sandbox.KindUnavailable, errors.Join(err, os.RemoveAll(dir)))
	}
	return b, nil
}

func (b *bare) open() (err error) {
	for _, d := range []string{b.workspace(), b.tmp(), b.scripts()} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	if b.root, err = os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return err
	}
	if b.disk, err = os.OpenFile(b.workspace(), unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		b.root.Close()
	}
	return err
}

func (b *bare) workspace() string { return filepath.Join(b.dir, "work") }
func (b *bare) tmp() string       { return filepath.Join(b.dir, "tmp") }
func (b *bare) scripts() string   { return filepath.Join(b.dir, "scripts") }

// absolute resolves a path of the contract.
func (b *bare) absolute(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(b.workspace(), p)
}

// Release kills what commands left and removes the folder.
func (b *bare) Release(context.Context) error {
	b.once.Do(func() {
		close(b.released)
		signalMarked(b.id, unix.SIGKILL)
		b.close()
		b.err = wrap(context.Background(), "release", b.id, removeAll(b.dir))
		b.p.forget(b.id)
	})
	return b.err
}

// removeAll removes a folder, with folders in it that forbid that.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if errors.Is(err, os.ErrPermission) {
		// Best effort: what cannot be changed is told by the second attempt.
		_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				_ = os.Chmod(p, 0o700)
			}
			return nil
		})
		err = os.RemoveAll(dir)
	}
	return err
}
