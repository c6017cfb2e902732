package shell

import (
	"encoding/base64"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Marks: every process of a command has, as its soft limit of the resident set, a number of its command's own. The kernel does
// not enforce that limit, children inherit it through fork, exec and setsid, and /proc shows it. All marks lie between
// markBase and markBase+2^40 bytes, where no limit that means something is; 2^60 has its first digits in common with all.
const (
	markBase   = int64(1) << 60
	markDigits = `11529[0-9]\{14\}` // of every mark, for grep
	resetMark  = int64(1) << 59     // of a reset, which is none of them
)

// mark returns the marks of the processes of command number n, and of those of its supervisor, in bytes.
func mark(n uint32) (command, supervisor int64) {
	command = markBase + int64(n&(1<<28-1))<<11
	return command, command + 1024
}

// spec is what the supervisor reads: a shell script that sets its variables, enters the directory, and leaves the command
// as the positional parameters.
func (s *Shell) spec(cmd sandbox.Command, m int64, streaming bool, scriptPath bool) []byte {
	var b strings.Builder
	blocks := int64(0)
	if cmd.OutputLimit > 0 {
		blocks = (cmd.OutputLimit+2)/512 + 1 // so that there is room for the byte that is too much, and for what a supervisor puts before
	}
	feed := "-"
	if streaming {
		feed = "1"
	}
	fmt.Fprintf(&b, "T=%d L=%d B=%d M=%d N=%d F=%s Q=%d\n", hundredths(cmd.Timeout), blocks, m, m/1024, m/1024+1, feed, s.opts.Files)
	b.WriteString("P=" + quote(s.opts.Workspace) + " d=" + quote(directory(cmd.Dir)) + "\nenter\n")
	b.WriteString(`set -- env -i --`)
	base := [][2]string{
		{"PATH", `"${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"`}, {"HOME", `"$W"`}, {"PWD", `"$PWD"`},
		{"TMPDIR", `"$S/tmp"`}, {"LANG", "C.UTF-8"}, {"TZ", "UTC"}, {"SBXRUN_WORKSPACE", `"$W"`},
	}
	for _, kv := range base {
		if _, own := cmd.Env[kv[0]]; !own {
			b.WriteString(" " + kv[0] + "=" + kv[1])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(cmd.Env)) {
		b.WriteString(" " + quote(k+"="+cmd.Env[k]))
	}
	argv := cmd.Argv
	name := argv[0]
	switch {
	case len(path.Base(name)) > 255: // env takes it for one that cannot be executed
		argv = []string{"sh", "-c", `echo "$0: not found" >&2; exit 127`, name[:255]}
	case strings.Contains(name, "="): // env takes it for a variable
		argv = append([]string{"sh", "-c", `exec "$0" "$@"`}, argv...)
	}
	for _, a := range argv {
		b.WriteString(" " + quote(a))
	}
	if scriptPath {
		b.WriteString(` "$D.script"`)
	}
	b.WriteString("\n")
	return []byte(b.String())
}

// directory returns what the supervisor does cd to: a path that starts with . or /, or nothing for the workspace.
func directory(dir string) string {
	switch dir = path.Clean(dir); {
	case dir == ".":
		return ""
	case path.IsAbs(dir):
		return dir
	}
	return "./" + dir
}

// hundredths rounds up.
func hundredths(d time.Duration) int64 {
	const unit = 10 * time.Millisecond
	return int64((d + unit - 1) / unit)
}

// quote makes one word of the shell's of any bytes but zero.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// payload writes data as part of a request: as it is where it is text, else as base64.
func payload(data []byte) string {
	for _, c := range data {
		if c != '\n' && c != '\t' && (c < ' ' || c > '~') {
			return "+" + base64.StdEncoding.EncodeToString(data)
		}
	}
	return "=" + string(data)
}
