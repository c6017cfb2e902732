package local

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// What people run has to run behind the walls: each script prints ok at its end. They reach for what filters of system
// calls like to break: threads, processes, pipes, polling, sockets, shared memory, personalities, memory that is
// executed.
var programScripts = []struct{ program, script string }{
	{"python3", `python3 - <<'E'
import ctypes, mmap, multiprocessing, select, socket, subprocess, threading
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: server.accept()[0].sendall(b"hi")).start()
assert socket.create_connection(server.getsockname()).recv(2) == b"hi"
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
q = multiprocessing.Queue(); q.put(1); assert q.get() == 1
mmap.mmap(-1, 4096).close()
select.epoll().close()
socket.if_nameindex()
a, b = socket.socketpair()
assert ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)() == 7
print("ok")
E`},
	{"git", `git init -q r; cd r; git config user.email a@b; git config user.name a; echo 1 > f; git add f; git commit -qm m
git clone -q . ../c; git -C ../c log --oneline | grep -q m; git -C ../c gc -q; echo ok`},
	{"gcc", `cat > m.c <<'E'
#include <pthread.h>
#include <stdio.h>
static void *f(void *p) { return p; }
int main(void) { pthread_t t; void *r; if (pthread_create(&t, 0, f, "ok") || pthread_join(t, &r)) return 1; puts(r); return 0; }
E
gcc -O1 -o m m.c -pthread; ./m`},
	{"go", `mkdir g; cd g; printf 'module m\n\ngo 1.20\n' > go.mod
cat > m.go <<'E'
package main

func main() {
	c := make(chan int)
	go func() { c <- 1 }()
	<-c
	print("ok\n")
}
E
GOTOOLCHAIN=local GOPROXY=off go build -o m . ; ./m 2>&1`},
	{"node", `node - <<'E'
const { Worker } = require("worker_threads"), net = require("net"), { execFileSync } = require("child_process"), fs = require("fs");
require("os").networkInterfaces();
fs.writeFileSync("f", execFileSync("echo", ["hi"]));
const server = net.createServer(s => s.end("hi")).listen(0, "127.0.0.1", () =>
  net.connect(server.address().port, "127.0.0.1").on("data", () =>
    new Worker("process.exit(0)", { eval: true }).on("exit", () => { console.log("ok"); server.close(); })));
E`},
	{"java", `cat > M.java <<'E'
public class M {
  public static void main(String[] a) throws Exception { Thread t = new Thread(() -> System.out.println("ok")); t.start(); t.join(); }
}
E
java -Xmx256m M.java`},
	{"perl", `perl -e 'use IO::Socket; my $p = fork // die; exit 0 unless $p; waitpid $p, 0; print "ok\n"'`},
	{"setarch", `setarch -R sh -c 'echo ok'`},
	{"cargo", `mkdir -p c/src; cd c; printf '[package]\nname = "m"\nversion = "0.1.0"\nedition = "2021"\n' > Cargo.toml
echo 'fn main() { std::thread::spawn(|| println!("ok")).join().unwrap(); }' > src/main.rs; cargo run -q --offline`},
}

func TestProgramsRun(t *testing.T) {
	p := open(t, sandbox.Run{ID: runID(t), Dir: t.TempDir()})
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, tc := range programScripts {
		t.Run(tc.program, func(t *testing.T) {
			if _, err := exec.LookPath(tc.program); err != nil {
				t.Skip("not installed")
			}
			sb, err := p.Acquire(t.Context(), sandbox.Spec{Limits: sandbox.Limits{Memory: 2 << 30}})
			if err != nil {
				t.Fatal(err)
			}
			defer sb.Release(t.Context())
			var out, errs bytes.Buffer
			cmd := sandbox.Command{Argv: []string{"sh", "-e"}, Script: []byte(tc.script), Timeout: 5 * time.Minute}
			res, err := sb.Exec(t.Context(), cmd, &out, &errs)
			if err != nil || res.Exit != 0 || !strings.HasSuffix(out.String(), "ok\n") {
				t.Errorf("%+v, %v, stdout %q, stderr %q", res, err, out.String(), errs.String())
			}
		})
	}
}

func TestProgramsRunAsOrdinaryUser(t *testing.T) { asOrdinaryUser(t, "TestProgramsRun") }
