package local

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// What runs in a sandbox changes neither its own script nor those of commands that come later, whoever it is.
func TestAttackScripts(t *testing.T) {
	for name, local := range map[string]sandbox.Local{"host": {}, "rootfs": {}} {
		t.Run(name, func(t *testing.T) {
			if name == "rootfs" {
				if os.Getenv(withoutVar) != "" {
					t.Skip("a rootfs folder needs user namespaces")
				}
				local.Rootfs = makeRootfs(t)
			}
			ctx := context.Background()
			sb := acquire(t, sandbox.Spec{Local: local})
			script := func(argv []string, text string) (string, sandbox.Result) {
				t.Helper()
				var out bytes.Buffer
				res, err := sb.Exec(ctx, sandbox.Command{Argv: argv, Script: []byte(text)}, &out, &out)
				if err != nil {
					t.Fatalf("%v; %s", err, out.String())
				}
				return out.String(), res
			}
			// It needs no more than the rootfs has.
			const evil = `
cd /run/sbxrun
(echo x > x) 2>/dev/null && echo made a file
(echo x > "$0") 2>/dev/null && echo wrote to the script
(echo x >> "$0") 2>/dev/null && echo wrote to the script
(echo x > /proc/self/fd/10) 2>/dev/null && echo wrote to the open script
mkdir d 2>/dev/null && echo made a folder
rm -f "$0" 2>/dev/null; stat "$0" >/dev/null || echo removed the script
chmod 777 "$0" 2>/dev/null && echo changed the mode
chmod 777 /run/sbxrun 2>/dev/null && echo changed the mode of the folder
stat /run/sbxrun/../sbxrun/.. >/dev/null
(echo x > /run/../run/sbxrun/y) 2>/dev/null && echo made another file
exit 0
`
			if out, res := script([]string{"sh"}, evil); out != "" || res.Exit != 0 {
				t.Errorf("%+v: %s", res, out)
			}
			// One that is a background's stays what it was, when others have come after it.
			const stays = `[ -n "$1" ] && exit 42; sh -c 'while ! [ -e go ]; do :; done; sh "$0" again; echo $? > status' "$0" >/dev/null 2>&1 &`
			if out, res := script([]string{"sh"}, stays); out != "" || res.Exit != 0 {
				t.Errorf("%+v: %s", res, out)
			}
			long := strings.Repeat("# a line of a script that is longer than a page of memory\n", 200)
			if out, res := script([]string{"sh"}, long+"exit 7"); out != "" || res.Exit != 7 {
				t.Errorf("a long script: %+v: %s", res, out)
			}
			out, res := script([]string{"sh"}, `echo > go; while ! [ -s status ]; do :; done; read -r s < status; exit "$s"`)
			if res.Exit != 42 {
				t.Errorf("the script of before: %+v: %s", res, out)
			}
		})
	}
}

// The same with what only a program can do, and while scripts are being written.
func TestAttackScriptsOfOthers(t *testing.T) {
	ctx := context.Background()
	sb := acquire(t, sandbox.Spec{})
	out := attacker(t, sb, `
import hashlib
d = "/run/sbxrun"
def sc(*a): return libc.syscall(*a)
class attr(ctypes.Structure): _fields_ = [("set", ctypes.c_uint64), ("clr", ctypes.c_uint64), ("prop", ctypes.c_uint64), ("ns", ctypes.c_uint64)]
fd = os.open(d, os.O_RDONLY)
for what, call in {
    "remount": lambda: sc(165, b"none", b"/run/sbxrun", b"", 0x1000 | 0x20, 0),
    "unmount": lambda: sc(166, b"/run/sbxrun", 2),
    "setattr": lambda: sc(442, fd, b"", 0x1000, ctypes.byref(attr(0, 1, 0, 0)), 32),
    "clone":   lambda: sc(428, fd, b"", 0x1000 | 1),
    "move":    lambda: sc(429, fd, b"", -100, b"/tmp", 4),
    "memory":  lambda: os.open("/proc/1/fd/0", os.O_RDONLY),
    "tmpfile": lambda: os.open(d, os.O_TMPFILE | os.O_WRONLY, 0o600),
    "folder":  lambda: os.mkdir("%s/%s" % (d, hashlib.sha256(b"exit 3").hexdigest()[:8])),
    "rename":  lambda: os.rename("/workspace", d + "/w"),
}.items():
    try:
        if call() not in (-1,): print(what, flush=True)
    except OSError: pass
print("up", flush=True)
while True:
    for n in os.listdir(d):
        n = os.path.join(d, n)
        try: open(n, "w").write("exit 0"); print("wrote", n, flush=True)
        except OSError: pass
        try: os.unlink(n); print("removed", n, flush=True)
        except OSError: pass
`)
	for range 50 {
		res, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh"}, Script: []byte("exit 3"), Timeout: 10 * time.Second}, nil, nil)
		if err != nil || res.Exit != 3 {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if text := out.String(); text != "up\n" {
		t.Errorf("%.1000s", text)
	}
}

func TestAttacksOnScriptsAsOrdinaryUser(t *testing.T) {
	asOrdinaryUser(t, "TestAttackScripts(OfOthers)?")
}
