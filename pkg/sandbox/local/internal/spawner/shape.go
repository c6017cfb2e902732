package spawner

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/internal/beneath"
	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/hostfs"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// A shape is a mount namespace that holds, read-only, what sandboxes of one kind have in common, and no process. A
// sandbox begins with a copy of it, which costs far less than mounting the same again.
//
// While it is a shape, its /proc is a tmpfs, the stash, with what a sandbox mounts elsewhere and then drops: see stash. A
// shape that has nothing of the kind has no stash.
type shape struct {
	ns      int // descriptor of the namespace
	path    string
	overlay bool     // the sandbox makes its root of layers
	layers  []string // in the stash, the uppermost first
	owner   *ids     // of the files in the layers, where that is to appear as the sandbox's user; nil: it does already
	inside  ids
	late    []late
	used    uint64
	users   int
}

// stash is where a shape keeps things for its sandboxes: disk, the mount point of the sandbox's tmpfs; new and lower, for
// an overlay; and the sources of late mounts by number.
const stash = "/proc/"

// stashes says whether there is a stash.
func (sh *shape) stashes() bool { return sh.overlay || len(sh.late) > 0 }

// late is a mount that each sandbox makes itself, because it is to lie on what the sandbox mounts, or has to be
// id-mapped to the sandbox's own id.
type late struct {
	source string // in the stash
	target string // absolute, in the sandbox
	file   bool
	owner  *ids // if set, who has to appear as the sandbox's user
	there  bool // the target is, in a mount before this one
}

// maxShapes bounds how many shapes are kept for later sandboxes: a recipe may name a folder for each case.
const maxShapes = 8

type shapes struct {
	hello   *wire.Hello
	exposed beneath.Folders // that sandboxes can write to, or could
	mu      sync.Mutex
	all     map[string]*shape
	clock   uint64
}

// get returns the shape for a spec, to be given back with put.
func (c *shapes) get(spec sandbox.Spec) (*shape, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	key := fmt.Sprintf("%q %#v %t", spec.Local.Rootfs, spec.Local.Mounts, spec.Network == sandbox.NetworkHost)
	sh := c.all[key]
	if sh == nil {
		var err error
		if sh, err = c.build(spec); err != nil {
			return nil, err
		}
		if c.all == nil {
			c.all = map[string]*shape{}
		}
		c.all[key] = sh
		c.evict()
	}
	sh.used = c.clock
	sh.users++
	return sh, nil
}

// put gives a shape back once the sandbox has its copy.
func (c *shapes) put(sh *shape) {
	c.mu.Lock()
	sh.users--
	c.mu.Unlock()
}

func (c *shapes) evict() {
	for len(c.all) > maxShapes {
		var oldest string
		for key, sh := range c.all {
			if sh.users == 0 && sh.used != 0 && (oldest == "" || sh.used < c.all[oldest].used) {
				oldest = key
			}
		}
		if oldest == "" {
			return
		}
		unix.Close(c.all[oldest].ns)
		delete(c.all, oldest)
	}
}

// build makes a shape in a thread of its own, which ends with it.
func (c *shapes) build(spec sandbox.Spec) (sh *shape, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread has other mounts than the rest
		b := &builder{hello: c.hello, exposed: &c.exposed, spec: spec, sh: &shape{ns: -1}}
		if err = b.build(); err != nil {
			if b.sh.ns >= 0 {
				unix.Close(b.sh.ns)
			}
			return
		}
		sh = b.sh
	}()
	<-done
	return sh, err
}

type builder struct {
	hello   *wire.Hello
	exposed *beneath.Folders
	opened  []int // by source
	spec    sandbox.Spec
	sh      *shape
	root    string // where the new root is while the host's is still there
	trees   []tree
}

// tree is a detached mount and where it goes.
type tree struct {
	fd     int
	target string
	file   bool
}

func (b *builder) build() error {
	defer func() {
		for _, t := range b.trees {
			unix.Close(t.fd)
		}
		for _, fd := range b.opened {
			unix.Close(fd)
		}
	}()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	var err error
	if b.sh.ns, err = unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	// Everything is taken from the host before the new root covers a folder of it.
	tree, err := b.collect()
	if err != nil {
		return err
	}
	b.root = b.hello.State
	if err := unix.Mount("tmpfs", b.root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64m"); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	if err := b.populate(tree); err != nil {
		return err
	}
	if b.sh.stashes() {
		if err := b.mountStash(); err != nil {
			return err
		}
	}
	for _, t := range b.trees {
		if err := b.attach(t); err != nil {
			return err
		}
	}
	if err := unix.Chdir(b.root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot to the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("drop the host's root: %w", err)
	}
	return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV})
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// collect decides what goes into the root and clones the host's mounts for it.
func (b *builder) collect() (hostfs.Tree, error) {
	var t hostfs.Tree
	env := hostfs.Env{
		Path: b.hello.Path, Home: b.hello.Home, Dir: b.hello.Dir, UID: b.hello.UID,
		Getenv:      func(name string) string { return b.hello.Env[name] },
		HostNetwork: b.spec.Network == sandbox.NetworkHost,
	}
	if dir := b.spec.Local.Rootfs; dir != "" {
		if err := b.collectOverlay(dir); err != nil {
			return t, err
		}
	} else {
		var err error
		if t, err = hostfs.Discover(env); err != nil {
			return t, fmt.Errorf("what to show of the host: %w", err)
		}
		b.sh.path, b.sh.inside = t.Path, ids{hostfs.UID, hostfs.GID}
		for _, bind := range t.Binds {
			if bind.IDMap {
				err = b.addLate(bind.Source, bind.Target, false)
			} else {
				err = b.clone(bind.Source, bind.Target, bind.File, true)
			}
			if err != nil {
				return t, err
			}
		}
	}
	for _, m := range b.spec.Local.Mounts {
		if err := b.collectMount(m); err != nil {
			return t, err
		}
	}
	for _, dev := range existing("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty") {
		if err := b.clone(dev, dev, true, true); err != nil {
			return t, err
		}
	}
	return t, nil
}

// clone takes a mount of the host. Devices keep working on a read-only mount; what cannot be done is to change their
// owner, mode or times.
func (b *builder) clone(source, target string, file, readonly bool) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("mount %s: %w", source, err)
	}
	b.trees = append(b.trees, tree{fd, target, file})
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID}
	if readonly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if !strings.HasPrefix(target, "/dev/") {
		attr.Attr_set |= unix.MOUNT_ATTR_NODEV
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("mount %s read-only: %w", source, err)
	}
	return nil
}

// own are the folders that each sandbox mounts for itself.
var own = []string{sandbox.Workspace, "/tmp", "/run", "/dev/shm", "/dev/pts", "/proc"}

// populate makes what the root itself holds.
func (b *builder) populate(t hostfs.Tree) error {
	for _, d := range t.Dirs {
		if err := mkdir(b.root+d.Path, os.FileMode(d.Mode)); err != nil {
			return err
		}
	}
	for _, p := range append([]string{"/dev"}, own...) {
		if err := mkdir(b.root+p, 0o755); err != nil {
			return err
		}
	}
	for _, l := range t.Links {
		if err := os.Symlink(l.Target, b.root+l.Name); err != nil {
			return err
		}
	}
	for _, f := range t.Files {
		if err := os.WriteFile(b.root+f.Path, f.Data, os.FileMode(f.Mode)); err != nil {
			return err
		}
	}
	for _, l := range [][2]string{
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
		{"pts/ptmx", "ptmx"},
	} {
		if err := os.Symlink(l[0], b.root+"/dev/"+l[1]); err != nil {
			return err
		}
	}
	if !b.sh.overlay { // late mounts need a mount point that is not on what the sandbox mounts
		for _, l := range b.sh.late {
			if err := b.mountPoint(l.target, l.file); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) mountStash() error {
	if err := unix.Mount("tmpfs", b.root+stash, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("mount the stash: %w", err)
	}
	for _, d := range []string{"disk", "new", "lower-mapped", "layer-mapped"} {
		if err := os.Mkdir(b.root+stash+d, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) attach(t tree) error {
	if err := b.mountPoint(t.target, t.file); err != nil {
		return err
	}
	if err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, b.root+t.target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount at %s: %w", t.target, err)
	}
	return nil
}

// mountPoint makes what a mount is mounted on, unless it is there, in a tree that was mounted before perhaps.
func (b *builder) mountPoint(target string, file bool) error {
	at := b.root + target
	if _, err := os.Lstat(at); err == nil {
		return nil
	}
	err := mkdir(path.Dir(at), 0o755)
	if err == nil && file {
		err = os.WriteFile(at, nil, 0o644)
	} else if err == nil {
		err = mkdir(at, 0o755)
	}
	if errors.Is(err, unix.EROFS) {
		return kinded(sandbox.KindUnsupported, "mount at %s: it does not exist and lies in a read-only folder of the host; choose a target outside of it", target)
	}
	return err
}

func mkdir(p string, mode os.FileMode) error { return os.MkdirAll(p, mode) }
