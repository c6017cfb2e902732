package spawner

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// collectMount adds a mount that the recipe asks for.
func (b *builder) collectMount(m sandbox.Mount) error {
	if m.Target == "" {
		m.Target = m.Source
	}
	target := path.Clean(m.Target)
	if !path.IsAbs(m.Source) || !path.IsAbs(m.Target) || within(target, "/proc") || within(target, "/dev") || within(target, scripts) || within(scripts, target) {
		return kinded(sandbox.KindUnsupported, "mount %s at %s: not a place for a mount", m.Source, m.Target)
	}
	source, err := b.source(m.Source)
	if err != nil {
		return kinded(sandbox.KindUnsupported, "mount: %w", err)
	}
	info, err := os.Stat(source)
	if err != nil {
		return kinded(sandbox.KindUnsupported, "mount: %w", err)
	}
	if b.sh.overlay {
		for dir := range parents(target + "/x") {
			if in, err := os.Lstat(path.Join(b.spec.Local.Rootfs, dir)); err == nil && in.Mode()&os.ModeSymlink != 0 {
				return kinded(sandbox.KindUnsupported, "mount %s at %s: %s is a symbolic link in the rootfs folder; name the place that it leads to",
					m.Source, target, dir)
			}
		}
	}
	covered := b.sh.overlay
	for _, dir := range own {
		covered = covered || within(target, dir)
	}
	latest := b.hello.UID == 0 || covered // root's sandboxes have ids of their own
	if err := b.mount(source, target, !info.IsDir(), m.Writable, latest); err != nil {
		return err
	}
	if m.Writable {
		if err := b.exposed.Add(source); err != nil {
			return kinded(sandbox.KindUnsupported, "mount: %w", err)
		}
	}
	return b.hide(m, source, target, latest)
}

// source is a path by which to mount a file or folder of the host, to which no link leads that a sandbox may have made.
func (b *builder) source(name string) (string, error) {
	folder, rest := b.exposed.Enter(name)
	if folder == "" || rest == "." {
		return name, nil
	}
	dir, err := unix.Open(folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: folder, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, rest, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
	switch {
	case errors.Is(err, unix.EXDEV):
		return "", fmt.Errorf("%s lies in %s, which sandboxes can write to, and a symbolic link leads out of that", name, folder)
	case err != nil:
		return "", fmt.Errorf("%s lies in %s, which sandboxes can write to: %w", name, folder, err)
	}
	b.opened = append(b.opened, fd)
	return fmt.Sprintf("/proc/thread-self/fd/%d", fd), nil
}

func (b *builder) mount(source, target string, file, writable, latest bool) error {
	if latest {
		return b.addLate(source, target, writable)
	}
	return b.clone(source, target, file, !writable)
}

func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

func (b *builder) addLate(source, target string, writable bool) error {
	var st unix.Stat_t
	if err := unix.Stat(source, &st); err != nil {
		return kinded(sandbox.KindUnsupported, "mount %s: %w", source, err)
	}
	l := late{source: fmt.Sprintf("%s%d", stash, len(b.sh.late)), target: target, file: st.Mode&unix.S_IFMT != unix.S_IFDIR}
	if b.hello.UID == 0 {
		l.owner = &ids{int(st.Uid), int(st.Gid)}
	}
	b.sh.late = append(b.sh.late, l)
	return b.clone(source, l.source, l.file, !writable)
}
