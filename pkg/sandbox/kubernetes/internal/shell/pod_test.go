package shell_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// A pod is a root file system, PID and mount namespace of its own, in which an ordinary user runs a small server that does
// what a runtime does: run an argv, write a file. The test binary is that server as well.

const podVar = "SHELL_TEST_POD" // set in the processes that become a pod

func TestMain(m *testing.M) {
	switch os.Getenv(podVar) {
	case "enter":
		check(enterPod(os.Args[1], os.Args[2]))
	case "serve":
		check(servePod())
	default:
		goleak.VerifyTestMain(m)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "pod:", err)
		os.Exit(1)
	}
}

// podUser is who runs everything in a pod.
const podUser = 10001

// shells are the sh that a pod may have, of those that this machine has: with SBXRUN_REQUIRE_SHELLS it has to have them all.
// With busybox all utilities are busybox's.
var shells = slices.DeleteFunc([]string{"dash", "bash", "busybox"}, func(sh string) bool {
	_, err := exec.LookPath(sh)
	return err != nil && os.Getenv("SBXRUN_REQUIRE_SHELLS") == ""
})

// inShells runs a test with each of them, beside others.
func inShells(t *testing.T, test func(t *testing.T, sh string)) {
	t.Parallel()
	for _, sh := range shells {
		t.Run(sh, func(t *testing.T) {
			t.Parallel()
			test(t, sh)
		})
	}
}

// pod is the Transport into it.
type pod struct {
	client *http.Client
	cmd    *exec.Cmd
	exited <-chan struct{}
	dir    string // its root file system, on this machine
}

// newPod starts a pod with the sh; it is gone when the test ends.
func newPod(t testing.TB, sh string) *pod {
	t.Helper()
	p, err := startPod(sh)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

func startPod(sh string) (*pod, error) {
	dir, err := os.MkdirTemp("", "shell-pod-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(os.Args[0], dir, sh)
	cmd.Env = []string{podVar + "=enter", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC, Pdeathsig: unix.SIGKILL,
	}
	if os.Geteuid() != 0 { // then the user of the test is that of the pod, in a namespace where it may mount
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: podUser, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: podUser, HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p := &pod{cmd: cmd, dir: dir, client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "pod/sock"))
		},
		MaxIdleConnsPerHost: 16,
	}}}
	exited := make(chan struct{})
	p.exited = exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, err := p.Run(context.Background(), []string{"true"})
		if err == nil {
			return p, nil
		}
		over := time.Now().After(end)
		select {
		case <-exited:
			over = true
		default:
		}
		if over {
			said, _ := os.ReadFile(log.Name())
			p.stop()
			return nil, fmt.Errorf("the pod does not come up: %w\n%s", err, said)
		}
	}
}

// stop ends the pod with everything in it. The mounts are in its own namespace and go with it.
func (p *pod) stop() {
	_ = p.cmd.Process.Kill()
	<-p.exited
	p.client.CloseIdleConnections()
	// What the test left may not be searchable.
	_ = filepath.WalkDir(p.dir, func(name string, d os.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(p.dir)
}

func (p *pod) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	total := 0
	for _, a := range argv {
		total += len(a)
	}
	if total > shell.MaxArgv {
		return shell.Reply{}, fmt.Errorf("a request of %d bytes", total)
	}
	body, err := json.Marshal(argv)
	if err != nil {
		return shell.Reply{}, err
	}
	out, header, err := p.post(ctx, "http://pod/run", body)
	if err != nil {
		return shell.Reply{}, err
	}
	cut, _ := strconv.Atoi(header.Get("Stdout"))
	exit, _ := strconv.Atoi(header.Get("Exit"))
	if cut > len(out) {
		return shell.Reply{}, io.ErrUnexpectedEOF
	}
	return shell.Reply{Stdout: out[:cut], Stderr: out[cut:], Exit: exit}, nil
}

func (p *pod) Upload(ctx context.Context, name string, data []byte) (string, error) {
	if len(data) > shell.MaxPart || len(name) > 60 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fmt.Errorf("an upload of %d bytes as %q", len(data), name)
	}
	_, _, err := p.post(ctx, "http://pod/upload?"+name, data)
	return "/app/" + name, err
}

func (p *pod) post(ctx context.Context, url string, body []byte) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	var out bytes.Buffer
	out.Grow(int(max(resp.ContentLength, 0)))
	if _, err := io.Copy(&out, resp.Body); err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("status %d: %s", resp.StatusCode, out.String())
	}
	return out.Bytes(), resp.Header, nil
}

// servePod is the runtime.
func servePod() error {
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGQUIT) // so that they are not ignored in what it starts
	_ = os.Remove("/pod/sock")                                        // of the one before
	// Nobody reaps what its parent has left, as in a pod whose first process is a runtime.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	l, err := net.Listen("unix", "/pod/sock")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/run", func(w http.ResponseWriter, r *http.Request) {
		var argv []string
		if json.NewDecoder(r.Body).Decode(&argv) != nil || len(argv) == 0 {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		var out, errs bytes.Buffer
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &errs, "/app"
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		timer := time.AfterFunc(shell.MaxRun+5*time.Second, func() { // as the runtimes, which end a session
			if cmd.Process != nil {
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			}
		})
		err := cmd.Run()
		timer.Stop()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Exit", strconv.Itoa(cmd.ProcessState.ExitCode()))
		w.Header().Set("Stdout", strconv.Itoa(out.Len()))
		w.Header().Set("Content-Length", strconv.Itoa(out.Len()+errs.Len()))
		_, _ = w.Write(out.Bytes())
		_, _ = w.Write(errs.Bytes())
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err == nil {
			err = os.WriteFile("/app/"+r.URL.RawQuery, data, 0o644)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return http.Serve(l, mux)
}

// enterPod makes the root file system in dir, goes into it and becomes its first process.
func enterPod(dir, sh string) error {
	runtime.LockOSThread() // whose rights are those of what it executes at the end
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, d := range []string{"proc", "dev", "sys", "etc", "usr", "tmp", "app", "pod", "workspace", "podbin"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if target, err := os.Readlink("/" + l); err == nil {
			if err := os.Symlink(target, filepath.Join(dir, l)); err != nil {
				return err
			}
		} else if _, err := os.Stat("/" + l); err == nil {
			if err := bind("/"+l, filepath.Join(dir, l)); err != nil {
				return err
			}
		}
	}
	for _, d := range []string{"usr", "etc", "dev", "sys"} {
		if err := bind("/"+d, filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "small"), 0o755); err != nil {
		return err
	}
	if err := unix.Mount("small", filepath.Join(dir, "small"), "tmpfs", 0, "size=1m,mode=1777"); err != nil {
		return err
	}
	// A control group of the pod's own, as far as its files go.
	group := filepath.Join(dir, "sys/fs/cgroup")
	if err := unix.Mount("cgroup", group, "tmpfs", 0, ""); err != nil {
		return err
	}
	for name, content := range map[string]string{"memory.events": "oom 0\noom_kill 0\n", "memory.max": "536870912\n", "pids.max": "max\n"} {
		if err := os.WriteFile(filepath.Join(group, name), []byte(content), 0o666); err != nil {
			return err
		}
		if err := os.Chown(filepath.Join(group, name), podUser, podUser); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", filepath.Join(dir, "proc"), "proc", 0, ""); err != nil {
		return err
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "pod/runtime"), self, 0o755); err != nil {
		return err
	}
	program, err := exec.LookPath(sh)
	if err != nil {
		return fmt.Errorf("%w: install it, on Debian: apt-get install %s", err, sh)
	}
	if err := os.Symlink(program, filepath.Join(dir, "podbin/sh")); err != nil {
		return err
	}
	if sh == "busybox" {
		applets, err := exec.Command(program, "--list").Output()
		if err != nil {
			return err
		}
		for a := range strings.FieldsSeq(string(applets)) {
			if a != "sh" {
				if err := os.Symlink(program, filepath.Join(dir, "podbin", a)); err != nil {
					return err
				}
			}
		}
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o1777); err != nil {
		return err
	}
	for _, d := range []string{"app", "pod", "workspace"} {
		if err := os.Chown(filepath.Join(dir, d), podUser, podUser); err != nil {
			return err
		}
	}
	if err := unix.Chroot(dir); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if os.Geteuid() == podUser {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
			return err
		}
	} else {
		if err := syscall.Setgroups(nil); err != nil {
			return err
		}
		if err := syscall.Setgid(podUser); err != nil {
			return err
		}
		if err := syscall.Setuid(podUser); err != nil {
			return err
		}
	}
	// With the test the pod ends: the change of the user has taken its Pdeathsig away.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	// A shell reaps, and the kernel keeps signals from inside away from a first process that does not handle them; dash does
	// handle INT. What runs in the pod may kill the runtime, which in a real one is the first process.
	return syscall.Exec("/bin/sh", []string{"sh", "-c", "trap '' INT; while :; do " + podVar + "=serve /pod/runtime; done"},
		[]string{"PATH=/podbin:/usr/local/bin:/usr/bin:/bin", "HOME=/"})
}

func bind(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
}
