// Package hostfs decides what an untrusted sandbox sees of the host's file system when its root is `host`: a read-only
// allowlist of programs, libraries and the toolchains that PATH shows, with a made-up /etc. It only reads and decides;
// whoever makes the sandbox mounts what the Tree says. What is writable in a sandbox (workspace, /tmp, /dev, /proc) and
// the mounts that a recipe adds do not belong here.
package hostfs

// Env is what Discover looks at. The zero value of each field is usable.
type Env struct {
	// Root is put before every path of the host; tests give a made-up tree. Empty: the host itself.
	Root string
	// Path is the host's PATH.
	Path string
	// Home is the home folder of the user who runs sbxrun.
	Home string
	// Dir is the folder sbxrun was started in; version managers look for their version files from there upwards.
	Dir string
	// Getenv looks up other variables of the host that say where toolchains are (PYENV_ROOT, CARGO_HOME, ...). nil: none.
	Getenv func(string) string
	// UID is the user id that sbxrun runs as.
	UID int
	// HostNetwork adds the host's resolv.conf and hosts, for sandboxes on the host's network.
	HostNetwork bool
}

// Tree is the root file system of a sandbox apart from what is writable. Paths are absolute and clean. To build it on
// an empty tmpfs: make Dirs, then Links, then Files, then Binds, each in its order; nothing lies within a Bind.
type Tree struct {
	Dirs  []Dir  // every parent folder that something else needs, parents first
	Links []Link // symbolic links
	Files []File // small files with their content
	Binds []Bind // read-only bind mounts; sources are free of symbolic links
	// Path is the sandbox's PATH: the host's, cut to what is in the tree, with the folders of version managers' shims
	// replaced by the folders of the versions that they choose.
	Path string
	// Notes say, one line each, what of the host's PATH is not there or is found elsewhere.
	Notes []string
}

// Dir is a folder that belongs to root and that all may read.
type Dir struct {
	Path string
	Mode uint32
}

// Link is a symbolic link at Name that says Target.
type Link struct{ Name, Target string }

// File is a regular file.
type File struct {
	Path string
	Mode uint32
	Data []byte
}

// Bind is a read-only bind mount, without its submounts' write access, nosuid and nodev.
type Bind struct {
	Source, Target string
	// IDMap is true where others than the owner may not read the source: for a sandbox with a user id of its own it has
	// to be mounted id-mapped (owner to the sandbox's id). An ordinary user's sandbox has its owner's id and needs none.
	IDMap bool
	// File is true where Source is not a folder; the mount point has to be a file then.
	File bool
}

// The user that commands run as where the root file system is the host's; the made-up passwd and group name it.
const (
	UID      = 1000
	GID      = 1000
	UserName = "sandbox"
	HostName = "sandbox"
)
