package spawner

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// hide covers what is sbxrun's own in a mount with an empty folder: what a sandbox writes there would be taken for what runs
// have recorded. Each folder on the way down is a mount of its own, since a mount point is not to be renamed or removed.
func (b *builder) hide(m sandbox.Mount, source, target string, latest bool) error {
	source, err := filepath.EvalSymlinks(source)
	if err != nil {
		return kinded(sandbox.KindUnsupported, "mount: %w", err)
	}
	for _, link := range b.hello.Links {
		if m.Writable && within(link, source) {
			return kinded(sandbox.KindUnsupported, "mount %s: %s is a symbolic link on the way to where sbxrun keeps its own files, which a sandbox could replace: mount it read-only, or name the run's folder with --out", m.Source, link)
		}
	}
	var covers, ways []string // below source
	for _, private := range b.hello.Private {
		switch {
		case within(source, private):
			return kinded(sandbox.KindUnsupported, "mount %s: sbxrun keeps its own files in %s, which no sandbox may see: mount another folder", m.Source, private)
		case within(private, source):
			covers = append(covers, strings.TrimPrefix(private, source))
		}
	}
	for _, c := range covers {
		for way := range parents(c) {
			ways = append(ways, way)
		}
	}
	slices.Sort(ways)
	for _, way := range slices.Compact(ways) {
		if err := b.mount(source+way, path.Join(target, way), false, m.Writable, latest); err != nil {
			return err
		}
	}
	for _, c := range covers {
		if err := b.cover(path.Join(target, c), latest); err != nil {
			return err
		}
	}
	return nil
}

// cover mounts an empty folder that is there.
func (b *builder) cover(target string, latest bool) error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cover %s: %w", target, err)
	}
	defer unix.Close(fs)
	for key, value := range map[string]string{"mode": "555", "size": "4k", "nr_inodes": "1"} {
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return fmt.Errorf("cover %s: %w", target, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("cover %s: %w", target, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return fmt.Errorf("cover %s: %w", target, err)
	}
	if latest {
		l := late{source: fmt.Sprintf("%s%d", stash, len(b.sh.late)), target: target, there: true}
		b.sh.late = append(b.sh.late, l)
		target = l.source
	}
	b.trees = append(b.trees, tree{fd, target, false})
	return nil
}
