package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// bare is a sandbox that isolates nothing: a folder in which commands run as the user who runs sbxrun.
type bare struct {
	files
	p    *Provider
	dir  string
	once sync.Once
	err  error // of the release

	starting sync.Mutex      // held while a command is started
	marks    map[uint64]bool // of its commands
	over     bool            // no more of them
}

func (p *Provider) acquireBare(id string, spec sandbox.Spec) (*bare, error) {
	fail := func(kind sandbox.Kind, err error) (*bare, error) {
		return nil, &sandbox.Error{Op: "acquire", ID: id, Kind: kind, Err: err}
	}
	switch {
	case !p.opts.AllowNoIsolation:
		return fail(sandbox.KindUnsupported, errors.New("isolation: none runs commands on this machine with all your rights, and has to be allowed with --allow-no-isolation"))
	case spec.Local.Rootfs != "" || len(spec.Local.Mounts) > 0:
		return fail(sandbox.KindUnsupported, errors.New("isolation: none has the host's files as they are: leave rootfs and mounts out"))
	case spec.Network != sandbox.NetworkHost:
		return fail(sandbox.KindUnsupported, fmt.Errorf("isolation: none has the host's network: network: %s cannot be had, say network: host", spec.Network))
	}
	folder, err := p.bareFolder()
	if err != nil {
		return fail(sandbox.KindUnavailable, err)
	}
	b := &bare{
		p: p, dir: filepath.Join(folder, id), marks: map[uint64]bool{},
		files: files{id: id, spec: spec, released: make(chan struct{})},
	}
	if err := b.open(); err != nil {
		return fail(sandbox.KindUnavailable, errors.Join(err, removeAll(b.dir)))
	}
	return b, nil
}

// bareFolder returns the folder of all bare sandboxes of the run. With the first it is made, and written down for gc.
func (p *Provider) bareFolder() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bare != nil {
		return p.bare.Folder, nil
	}
	r := newBareRecord(p.opts.Dir)
	if err := r.write(p.owner); err != nil {
		return "", err
	}
	if err := os.Mkdir(r.Folder, 0o700); err != nil {
		return "", err
	}
	p.bare = r
	return r.Folder, nil
}

func (b *bare) open() (err error) {
	for _, d := range []string{b.dir, b.workspace(), b.tmp(), b.scripts()} {
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
		b.starting.Lock()
		b.over = true
		b.starting.Unlock()
		signalMarked(func(mark uint64) bool { return b.marks[mark] }, unix.SIGKILL)
		b.close()
		b.err = wrap(context.Background(), "release", b.id, removeAll(b.dir))
		b.p.forget(b.id)
	})
	return b.err
}

// removeAll removes a folder, also where folders in it forbid that.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if errors.Is(err, os.ErrPermission) {
		// Best effort: the second attempt says what cannot be changed.
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
