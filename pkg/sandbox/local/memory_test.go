package local

import (
	"testing"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// What is memory, and what is the disk though it is in memory too.
func TestMemory(t *testing.T) {
	const fill = `
import mmap, os, time
def fill(f):
    for i in range(200): f.write(b"x" * (1 << 20))
`
	for name, c := range map[string]struct {
		program string
		cgroups bool // where there are none a mapped file counts, and files without a name are refused
		want    sandbox.Limit
	}{
		"shared memory":          {`fill(mmap.mmap(-1, 200 << 20)); time.sleep(60)`, false, sandbox.LimitOOM},
		"of many processes":      {`[os.fork() for i in range(4)]; b = b"x" * (20 << 20); time.sleep(60)`, false, sandbox.LimitOOM},
		"a file without a place": {`fill(open(os.memfd_create("x"), "wb")); time.sleep(60)`, true, sandbox.LimitOOM},
		"a file without a name":  {`f = open("x", "w+b"); os.unlink("x"); fill(f); time.sleep(.2)`, false, sandbox.LimitNone},
		"files that come and go": {`for i in range(10): fill(open("x", "wb")); os.unlink("x")`, false, sandbox.LimitNone},
		"a file that is mapped":  {`f = open("x", "w+b"); fill(f); m = mmap.mmap(f.fileno(), 0); print(sum(m[::4096])); time.sleep(.2)`, true, sandbox.LimitNone},
		"a file in /dev/shm":     {`fill(open("/dev/shm/x", "wb")); time.sleep(.2)`, false, sandbox.LimitNone},
	} {
		t.Run(name, func(t *testing.T) {
			sb := acquire(t, sandbox.Spec{Limits: sandbox.Limits{Memory: 64 << 20}})
			if c.cgroups && !sb.(*Sandbox).p.cgroups.Enforces("memory") {
				t.Skip("without control groups")
			}
			res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"/usr/bin/python3", "-c", fill + c.program}}, nil, nil)
			if err != nil || res.Limit != c.want || (res.Exit == 0) != (c.want == sandbox.LimitNone) {
				t.Errorf("%+v, %v, want the limit %q", res, err, c.want)
			}
		})
	}
}

func TestMemoryAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestMemory") }
