package spawner

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// collectOverlay makes the root an overlay over a folder.
func (b *builder) collectOverlay(dir string) error {
	b.sh.overlay, b.sh.path, b.sh.layers = true, defaultPath, []string{"lower"}
	info, err := os.Stat(dir)
	if err != nil {
		return kinded(sandbox.KindUnsupported, "rootfs: %w", err)
	}
	if folder, _ := b.exposed.Enter(dir); folder != "" {
		return kinded(sandbox.KindUnsupported, "rootfs: %s lies in %s, which a sandbox can write to: take another folder", dir, folder)
	}
	if !info.IsDir() {
		return kinded(sandbox.KindUnsupported, "rootfs: %s is not a folder", dir)
	}
	for _, p := range []string{"/etc", "/dev", "/proc", "/run", "/tmp", sandbox.Workspace} {
		// A symlink in their place would lead the mount elsewhere.
		if info, err := os.Lstat(dir + p); err == nil && !info.IsDir() {
			return kinded(sandbox.KindUnsupported, "rootfs: %s%s is not a folder", dir, p)
		}
	}
	if b.hello.UID == 0 {
		st := info.Sys().(*syscall.Stat_t)
		b.sh.owner = &ids{int(st.Uid), int(st.Gid)}
		if err := b.collectLayer(dir, *b.sh.owner); err != nil {
			return fmt.Errorf("rootfs: %w", err)
		}
	}
	return b.clone(dir, stash+"lower", false, true)
}

// collectLayer makes a layer that gives the files of other users to the owner of the folder, since an id-mapped mount
// can put the sandbox's user in the place of one user only. The layer holds owners and modes, not content.
func (b *builder) collectLayer(dir string, owner ids) error {
	var foreign []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != owner.uid || int(st.Gid) != owner.gid {
			rel, err := filepath.Rel(dir, p)
			if err != nil {
				return err
			}
			foreign = append(foreign, rel)
		}
		return nil
	})
	if err != nil || len(foreign) == 0 {
		return err
	}
	// The state folder serves as the mount point; what is mounted is gone from it again when the root comes there.
	at := b.hello.State
	if err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	defer func() { _ = unix.Unmount(at, unix.MNT_DETACH) }()
	for _, d := range []string{"upper", "work", "lower", "all"} {
		if err := os.Mkdir(filepath.Join(at, d), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(dir, at+"/lower", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work,metacopy=on", at)
	if err := unix.Mount("overlay", at+"/all", "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return err
	}
	for _, rel := range foreign {
		name := filepath.Join(at, "all", rel)
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		if err := os.Lchown(name, owner.uid, owner.gid); err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 { // chown clears set-id bits, which nosuid makes pointless anyway
			if err := os.Chmod(name, info.Mode().Perm()); err != nil {
				return err
			}
		}
	}
	if err := os.Chown(at+"/upper", owner.uid, owner.gid); err != nil {
		return err
	}
	if err := unix.Unmount(at+"/all", 0); err != nil {
		return err
	}
	b.sh.layers = []string{"layer", "lower"}
	return b.clone(at+"/upper", stash+"layer", false, true)
}
