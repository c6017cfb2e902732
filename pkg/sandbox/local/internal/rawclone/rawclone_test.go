package rawclone

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func status(t *testing.T, c *Child) int {
	t.Helper()
	ws, err := Wait(c.PID, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws.ExitStatus()
}

func TestRegistersAndReport(t *testing.T) {
	var p Program
	path := t.TempDir() + "/made"
	p.Call("open", unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_CREAT|unix.O_WRONLY, 0o600).Save(3)
	p.Call("write", unix.SYS_WRITE, Reg(3), "hello", 5)
	p.Report()
	p.Exit(7)
	c, err := p.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := status(t, c); got != 7 {
		t.Errorf("status %d, want 7", got)
	}
	if b, _ := os.ReadFile(path); string(b) != "hello" {
		t.Errorf("file holds %q", b)
	}
}

func TestFailures(t *testing.T) {
	fail := func(p *Program) *Call { return p.Call("close nothing", unix.SYS_CLOSE, 1<<20) }
	for _, tc := range []struct {
		name  string
		build func(p *Program)
		want  error
	}{
		{"named", func(p *Program) { fail(p); p.Report() }, unix.EBADF},
		{"ignored", func(p *Program) { fail(p).Ignore(); p.Report() }, nil},
		{"allowed", func(p *Program) { fail(p).Allow(unix.EPERM, unix.EBADF); p.Report() }, nil},
		{"other allowed", func(p *Program) { fail(p).Allow(unix.EPERM); p.Report() }, unix.EBADF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p Program
			tc.build(&p)
			c, err := p.Start(0)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			var e *Error
			if tc.want != nil && (!errors.As(err, &e) || e.Name != "close nothing" || e.Index != 0) {
				t.Errorf("error %#v does not name the call", err)
			}
			if c != nil {
				status(t, c)
				c.Close()
			}
		})
	}
}

func TestEndsBeforeReport(t *testing.T) {
	var p Program
	p.Exit(3)
	if _, err := p.Start(0); err == nil {
		t.Error("a child that ends before it reports is no error")
	}
}

func TestLateFailure(t *testing.T) {
	var p Program
	p.Report()
	p.Call("close nothing", unix.SYS_CLOSE, 1<<20)
	c, err := p.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := status(t, c); got != FailedStatus {
		t.Errorf("status %d", got)
	}
	if err := c.Failure(); !errors.Is(err, unix.EBADF) {
		t.Errorf("failure %v", err)
	}
}

func TestExec(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/denied", []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/garbage", []byte("garbage"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		paths []string
		more  string // one more argument
		want  int
		err   string
		errno syscall.Errno
	}{
		{"found", []string{"/nowhere/sh", "/bin/sh"}, "", 42, "value of V", 0},
		{"not found", []string{"/nowhere/sh", dir + "/denied/x"}, "", 127, "N", unix.ENOENT},
		{"denied", []string{dir + "/denied", "/nowhere/sh"}, "", 126, "D", unix.EACCES},
		{"garbage", []string{dir + "/garbage"}, "", 126, "O", unix.ENOEXEC},
		{"too long", []string{"/bin/sh"}, strings.Repeat("x", 200_000), 126, "O", unix.E2BIG},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var p Program
			p.Report()
			p.ResetSignals(true)
			p.Call("dup", unix.SYS_DUP3, w.Fd(), 2, 0)
			p.Exec(tc.paths, []string{"sh", "-c", "printf %s \"$V\" >&2; exit 42", tc.more}, []string{"V=value of V"},
				[]Refusal{{unix.ENOENT, 127, "N"}, {unix.EACCES, 126, "D"}, {0, 126, "O"}})
			c, err := p.Start(0)
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := status(t, c); got != tc.want {
				t.Errorf("status %d, want %d", got, tc.want)
			}
			if b, _ := io.ReadAll(r); string(b) != tc.err {
				t.Errorf("stderr %q, want %q", b, tc.err)
			}
			if err, why := c.Failure(), c.Refused(); err != nil || why != tc.errno {
				t.Errorf("failure %v, refused %v, want %v", err, why, tc.errno)
			}
		})
	}
}

// What does not fit is an error, not a file that is cut short.
func TestWrite(t *testing.T) {
	content := []byte(strings.Repeat("0123456789", 1000))
	for _, tc := range []struct {
		name string
		most uint64
		want error
	}{{"whole", 1 << 20, nil}, {"cut short", 4096, unix.EFBIG}} {
		t.Run(tc.name, func(t *testing.T) {
			path := t.TempDir() + "/out"
			var p Program
			p.Call("limit", unix.SYS_PRLIMIT64, 0, unix.RLIMIT_FSIZE, Bytes(&unix.Rlimit{Cur: tc.most, Max: tc.most}), 0)
			p.Call("open", unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_CREAT|unix.O_WRONLY, 0o600).Save(3)
			p.Write("write", Reg(3), content)
			p.Report()
			p.Exit(0)
			c, err := p.Start(0)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if c != nil {
				status(t, c)
				c.Close()
				if b, _ := os.ReadFile(path); string(b) != string(content) {
					t.Errorf("%d bytes, want %d", len(b), len(content))
				}
			}
		})
	}
}

func TestCopy(t *testing.T) {
	data := strings.Repeat("0123456789", 100_000)
	for _, tc := range []struct {
		name string
		size int64
		want error
	}{{"whole", int64(len(data)), nil}, {"input ends early", int64(len(data)) + 1, unix.EPIPE}} {
		t.Run(tc.name, func(t *testing.T) {
			in, feed, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := os.Create(t.TempDir() + "/out")
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			var p Program
			p.Call("close", unix.SYS_CLOSE, feed.Fd())
			p.Copy("copy", in.Fd(), out.Fd(), tc.size)
			p.Report()
			p.Exit(0)
			go func() {
				io.WriteString(feed, data)
				feed.Close()
			}()
			c, err := p.Start(0)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if c != nil {
				status(t, c)
				c.Close()
			}
			if b, _ := os.ReadFile(out.Name()); string(b) != data {
				t.Errorf("copied %d bytes, want %d", len(b), len(data))
			}
		})
	}
}

// A held child ends when the other end of its pipe is gone, and no handler of this program runs in it.
func TestHold(t *testing.T) {
	var pp [2]int
	if err := unix.Pipe2(pp[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	var p Program
	p.ResetSignals(false)
	p.Call("close", unix.SYS_CLOSE, pp[1])
	p.Report()
	p.Hold(pp[0])
	c, err := p.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGURG} {
		if err := unix.Kill(c.PID, s); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(10 * time.Millisecond)
	if err := unix.Kill(c.PID, 0); err != nil {
		t.Errorf("a blocked signal ended the child: %v", err)
	}
	unix.Close(pp[1])
	if got := status(t, c); got != 0 {
		t.Errorf("status %d", got)
	}
}

// Programs beyond what the region holds, by their number and by their size, run like others, also while memory is hidden.
func TestManyPrograms(t *testing.T) {
	if err := Slim(); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 3*chunkSize)
	for round := range 2 {
		var all []*Program
		for i := range 2 * chunks {
			p := &Program{}
			defer p.Free()
			if i%8 == 0 {
				p.Call("a large argument", unix.SYS_FACCESSAT, unix.AT_FDCWD, large, 0).Allow(unix.ENAMETOOLONG)
			}
			p.Call("a small argument", unix.SYS_FACCESSAT, unix.AT_FDCWD, "/", 0)
			p.Report()
			p.Exit(i % 100)
			all = append(all, p)
		}
		if outside == 0 {
			t.Error("no program is outside of the region")
		}
		for i, p := range all {
			c, err := p.Start(0)
			if err != nil {
				t.Fatal(err)
			}
			if got := status(t, c); got != i%100 {
				t.Errorf("round %d, program %d: status %d, %v", round, i, got, c.Failure())
			}
			c.Close()
		}
		if outside != 0 || len(spare) != chunks {
			t.Errorf("%d programs stay outside, %d chunks are free", outside, len(spare))
		}
	}
}

var secret = new([64]byte)

func TestSlimChild(t *testing.T) {
	if err := Slim(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time after what was shown to the first was hidden again
		var p Program
		defer p.Free()
		p.ResetSignals(true)
		p.Report()
		p.Call("wait", unix.SYS_PPOLL, 0, 0, 0, 0)
		c, err := p.Start(0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var there [1]byte
		n, err := unix.ProcessVMReadv(c.PID, []unix.Iovec{{Base: &there[0], Len: 1}},
			[]unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(secret)), Len: 1}}, 0)
		if err == nil {
			t.Errorf("the child has %d bytes of the heap", n)
		} else if !errors.Is(err, unix.EFAULT) {
			t.Error(err)
		}
		unix.Kill(c.PID, unix.SIGKILL)
		status(t, c)
	}
}
