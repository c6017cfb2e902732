package procs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const childVar = "SBXRUN_PROCS_TEST"

func init() {
	if os.Getenv(childVar) != "" {
		runtime.LockOSThread() // the first thread
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		go func() {
			time.Sleep(time.Minute)
			os.Exit(0)
		}()
		os.Stdout.WriteString("up\n")
		unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0) // the thread, not the process
	}
	os.Exit(m.Run())
}

func TestMarkIsHandedDown(t *testing.T) {
	const mark = 1<<60 + 12345
	var old unix.Rlimit
	if err := unix.Prlimit(0, MarkLimit, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(MarkLimit, &unix.Rlimit{Cur: mark, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "exec env -i /bin/sh -c 'echo up; read x'")
	in, out := start(t, cmd)
	if err := unix.Setrlimit(MarkLimit, &old); err != nil {
		t.Fatal(err)
	}
	out.Scan()
	if soft, hard, ok := Mark(cmd.Process.Pid); !ok || soft != mark || hard != old.Max {
		t.Errorf("mark %d, %d, %t", soft, hard, ok)
	}
	if soft, _, ok := Mark(os.Getpid()); !ok || soft != old.Cur {
		t.Errorf("own mark %d, %t", soft, ok)
	}
	in.Close()
	for {
		// A zombie, until it is waited for.
		if _, _, ok := Mark(cmd.Process.Pid); !ok {
			break
		}
		time.Sleep(time.Millisecond)
	}
	_ = cmd.Wait()
	if _, _, ok := Mark(cmd.Process.Pid); ok {
		t.Error("a process that is gone has a mark")
	}
}

// A process whose first thread has ended is shown as a zombie, and is none.
func TestFirstThreadEnded(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVar+"=1")
	_, out := start(t, cmd)
	defer cmd.Wait()
	defer cmd.Process.Kill()
	out.Scan()
	stat := fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)
	for shown, end := "", time.Now().Add(10*time.Second); !strings.Contains(shown, ") Z "); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(stat)
		if shown = string(b); err != nil || time.Now().After(end) {
			t.Fatalf("the process is not shown as a zombie: %s, %v", shown, err)
		}
	}
	if _, _, ok := Mark(cmd.Process.Pid); !ok {
		t.Error("taken for one that has ended")
	}
}

func start(t *testing.T, cmd *exec.Cmd) (in interface{ Close() error }, out *bufio.Scanner) {
	t.Helper()
	w, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return w, bufio.NewScanner(r)
}
