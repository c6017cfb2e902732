package local

import (
	"archive/tar"
	"context"
	"io"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// blameless are the kinds of errors that count against what runs in a sandbox.
func blameless(err error) bool {
	switch sandbox.KindOf(err) {
	case sandbox.KindInvalid, sandbox.KindNotFound, sandbox.KindNoSpace:
		return true
	}
	return err == nil
}

// Whatever is done to files while they are put in, looked for and taken out, and to the processes that do so and that are
// started meanwhile: it is the doing of the sandbox.
func TestAttackChurn(t *testing.T) {
	const churn = `
import random, resource
os.makedirs("out/d", exist_ok=True)
print("up", flush=True)
def write():
    fd = os.open("out/d/f", os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK)
    try: os.write(fd, b"x" * random.randrange(100000))
    finally: os.close(fd)
while True:
    for f in [lambda: os.rename("out/d", "out/e"), lambda: os.rename("out/e", "out/d"), write, lambda: os.truncate("out/d/f", 0),
              lambda: os.unlink("out/d/f"), lambda: os.symlink("/etc/passwd", "out/d/f"), lambda: os.mkfifo("out/d/f"),
              lambda: os.rmdir("out/d"), lambda: os.mkdir("out/d"), lambda: os.symlink("/", "out/d"), lambda: os.unlink("out/d"),
              lambda: os.mkdir("out/d/f"), lambda: os.rmdir("out/d/f"), lambda: os.chmod("out/d", random.choice([0, 0o755])),
              lambda: os.chmod("out", random.choice([0, 0o755, 0o755])), lambda: os.utime("out/d/f", (-2**40, 2**40))]:
        try: f()
        except OSError: pass
`
	const killer = `
import signal
for s in range(1, 64):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
print("up", flush=True)
while True:
    for s in 9, 15, 1, 18, 6:
        try: os.kill(-1, s)
        except OSError: pass
`
	for name, program := range map[string]string{"files": churn, "processes": killer} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			sb := acquire(t, sandbox.Spec{})
			attacker(t, sb, program)
			for range 60 {
				err := sb.Send(ctx, "", tarOf(t, tar.Header{Name: "out/d/f", Typeflag: tar.TypeReg}, tar.Header{Name: "out/d/x/y", Typeflag: tar.TypeReg}))
				if !blameless(err) {
					t.Fatalf("send: %v", err)
				}
				_, err = sb.Exec(ctx, sandbox.Command{Argv: []string{"sh"}, Script: []byte("cat f"), Dir: "out/d", Timeout: 10 * time.Second}, nil, nil)
				if !blameless(err) {
					t.Fatalf("exec: %v", err)
				}
				r, err := sb.Receive(ctx, []string{"out/**", "*", "/workspace/out/d/f"})
				if err == nil {
					in := tar.NewReader(r)
					for err == nil {
						if _, err = in.Next(); err == nil {
							_, err = io.Copy(io.Discard, in)
						}
					}
					if err == io.EOF {
						err = nil
					}
					r.Close()
				}
				if !blameless(err) {
					t.Fatalf("receive: %v", err)
				}
			}
		})
	}
}

func TestAttacksByChurnAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestAttackChurn") }
