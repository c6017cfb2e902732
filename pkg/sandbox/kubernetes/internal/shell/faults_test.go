package shell_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// faulty loses, delays and repeats what goes over another transport.
type faulty struct {
	shell.Transport
	before  atomic.Int64 // so many requests are lost on the way there
	after   atomic.Int64 // so many answers are lost on the way back
	garbled atomic.Int64 // so many answers are cut
	twice   atomic.Bool  // each request is carried out twice, the second time later
	odds    float64      // of either loss, beside those
	group   sync.WaitGroup
	faults  atomic.Int64
}

var errLost = errors.New("the line is dead")

func (f *faulty) take(n *atomic.Int64) bool {
	if n.Add(-1) >= 0 {
		f.faults.Add(1)
		return true
	}
	n.Add(1)
	if rand.Float64() < f.odds {
		f.faults.Add(1)
		return true
	}
	return false
}

func (f *faulty) again(call func()) {
	if f.twice.Load() {
		f.group.Go(func() {
			time.Sleep(rand.N(300 * time.Millisecond))
			call()
		})
	}
}

func (f *faulty) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	if f.take(&f.before) {
		return shell.Reply{}, errLost
	}
	reply, err := f.Transport.Run(ctx, argv)
	f.again(func() { _, _ = f.Transport.Run(context.Background(), argv) })
	if err == nil && f.take(&f.after) {
		return shell.Reply{}, errLost
	}
	if f.take(&f.garbled) {
		reply.Stdout = reply.Stdout[:rand.N(len(reply.Stdout)+1)]
	}
	return reply, err
}

func (f *faulty) Upload(ctx context.Context, name string, data []byte) (string, error) {
	if f.take(&f.before) {
		return "", errLost
	}
	path, err := f.Transport.Upload(ctx, name, data)
	f.again(func() { _, _ = f.Transport.Upload(context.Background(), name, data) })
	if err == nil && f.take(&f.after) {
		return "", errLost
	}
	return path, err
}

// counted is a command that leaves a line in a file each time it is carried out.
func counted(n int, then string) sandbox.Command {
	return sandbox.Command{Argv: []string{"sh", "-c", fmt.Sprintf("echo ran >> count.%d; %s", n, then)}}
}

func wantOnce(t *testing.T, s *shell.Shell, n int) {
	t.Helper()
	var out bytes.Buffer
	if _, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"cat", fmt.Sprintf("count.%d", n)}}, &out, nil); err != nil || out.String() != "ran\n" {
		t.Errorf("command %d: the file has %q, error %v, want one line: it was carried out once", n, out.String(), err)
	}
}

func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", 20_000)
	for _, sh := range shells {
		t.Run(sh, func(t *testing.T) {
			t.Parallel()
			f := &faulty{Transport: newPod(t, sh)}
			s := shell.New(shell.Options{ID: "once", Transport: f})
			for n, c := range []struct {
				name  string
				fault func()
			}{
				{"nothing lost", func() {}},
				{"request lost", func() { f.before.Store(1) }},
				{"requests lost", func() { f.before.Store(4) }},
				{"answer lost", func() { f.after.Store(1) }},
				{"answers lost", func() { f.after.Store(4) }},
				{"answers cut", func() { f.garbled.Store(4) }},
				{"carried out twice", func() { f.twice.Store(true) }},
				{"twice and lost", func() { f.after.Store(2) }},
			} {
				t.Run(c.name, func(t *testing.T) {
					c.fault()
					for i, cmd := range []sandbox.Command{
						counted(10*n, "echo out; echo err >&2; exit 3"),
						counted(10*n+1, "sleep 0.3; echo out; echo err >&2; exit 3"),
						counted(10*n+2, "cat; echo out; echo err >&2; exit 3"),
					} {
						if i == 2 {
							cmd.Stdin = io.MultiReader(strings.NewReader(big)) // a reader of unknown length is streamed
						}
						var out, errs bytes.Buffer
						res, err := s.Exec(t.Context(), cmd, &out, &errs)
						want := "out\n"
						if i == 2 {
							want = big + want
						}
						if err != nil || res.Exit != 3 || out.String() != want || errs.String() != "err\n" {
							t.Errorf("%d: %+v, %v, %d bytes of stdout, stderr %q", i, res, err, out.Len(), errs.String())
						}
						f.group.Wait()
						wantOnce(t, s, 10*n+i)
					}
				})
			}
		})
	}
}

// TestFaults runs many commands, and moves files, over a way that loses a good part of everything.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := &faulty{Transport: newPod(t, shells[0]), odds: 0.15}
	f.twice.Store(true)
	s := shell.New(shell.Options{ID: "faults", Transport: f})
	var group sync.WaitGroup
	for n := range 6 {
		group.Go(func() {
			in := strings.Repeat(fmt.Sprintf("line of %d\n", n), 30_000)
			cmd := counted(n, "cat; sleep 0.2; exit 7")
			cmd.Stdin = strings.NewReader(in)
			var out bytes.Buffer
			res, err := s.Exec(t.Context(), cmd, &out, nil)
			if err != nil || res.Exit != 7 || out.String() != in {
				t.Errorf("command %d: %+v, %v, %d bytes of %d", n, res, err, out.Len(), len(in))
			}
			b := sender{s}
			file := sandbox.File{Name: fmt.Sprintf("d/%d", n), Mode: 0o600, Size: int64(len(in))}
			if err := sandbox.Put(t.Context(), b, file, strings.NewReader(in)); err != nil {
				t.Errorf("put %d: %v", n, err)
				return
			}
			_, r, err := sandbox.Get(t.Context(), b, file.Name)
			if err != nil {
				t.Errorf("get %d: %v", n, err)
				return
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || string(got) != in {
				t.Errorf("get %d: %d bytes of %d, %v", n, len(got), len(in), err)
			}
		})
	}
	group.Wait()
	f.odds = 0
	f.group.Wait()
	for n := range 6 {
		wantOnce(t, s, n)
	}
	if f.faults.Load() == 0 {
		t.Error("nothing was lost")
	}
}

// sender makes a Sandbox of a Shell for the helpers of package sandbox.
type sender struct{ *shell.Shell }

func (sender) ID() string                    { return "sender" }
func (sender) Release(context.Context) error { return nil }

// A start that arrives when its command has been cancelled does not start it.
func TestLateStart(t *testing.T) {
	pod := newPod(t, shells[0])
	held := &holding{Transport: pod, release: make(chan struct{}), arrived: make(chan struct{})}
	s := shell.New(shell.Options{ID: "late", Transport: held})
	why := errors.New("not wanted any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-held.arrived
		cancel(why)
	}()
	if _, err := s.Exec(ctx, counted(1, ":"), nil, nil); !errors.Is(err, why) {
		t.Errorf("error %v, want the cause of the context", err)
	}
	close(held.release)
	held.group.Wait()
	var out bytes.Buffer
	if _, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"ls"}}, &out, nil); err != nil || out.String() != "" {
		t.Errorf("the workspace has %q, error %v: the command was carried out after its cancellation", out.String(), err)
	}
}

// A start that has come to the sandbox and is slow there, as where many processes want few processors, is waited for by the
// poll that looks after it: its command has neither begun nor removed its files.
func TestSlowStart(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		slow := func(argv []string) []string {
			if strings.Contains(argv[2], "mkfifo") {
				argv = slices.Clone(argv)
				argv[2] = "sleep 2\n" + argv[2]
			}
			return argv
		}
		s := shell.New(shell.Options{ID: "slow", Transport: rewriting{newPod(t, sh), slow}})
		var out bytes.Buffer
		if res, err := s.Exec(t.Context(), counted(1, "echo word"), &out, nil); err != nil || res.Exit != 0 || out.String() != "word\n" {
			t.Errorf("%+v, %v, %q", res, err, out.String())
		}
	})
}

// holding keeps the first request back.
type holding struct {
	shell.Transport
	once             sync.Once
	arrived, release chan struct{}
	group            sync.WaitGroup
}

func (h *holding) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	first := false
	h.once.Do(func() { first = true })
	if !first {
		return h.Transport.Run(ctx, argv)
	}
	h.group.Go(func() {
		<-h.release
		_, _ = h.Transport.Run(context.Background(), argv)
	})
	close(h.arrived)
	<-ctx.Done()
	return shell.Reply{}, ctx.Err()
}

// A request of before a reset that arrives after it does nothing.
func TestRequestFromBeforeReset(t *testing.T) {
	pod := newPod(t, shells[0])
	recorded := &recording{Transport: pod}
	s := shell.New(shell.Options{ID: "reset", Transport: recorded})
	if _, err := s.Exec(t.Context(), counted(1, ":"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, argv := range recorded.runs {
		if strings.Contains(argv[2], "mkfifo") && len(argv) > 5 {
			if _, err := pod.Run(t.Context(), argv); err != nil {
				t.Fatal(err)
			}
		}
	}
	var out bytes.Buffer
	if _, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"ls"}}, &out, nil); err != nil || out.String() != "" {
		t.Errorf("the workspace has %q, error %v", out.String(), err)
	}
}

// recording keeps the requests.
type recording struct {
	shell.Transport
	mu   sync.Mutex
	runs [][]string
}

func (r *recording) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	r.mu.Lock()
	r.runs = append(r.runs, argv)
	r.mu.Unlock()
	return r.Transport.Run(ctx, argv)
}

// What is uploaded for a command lies nowhere once the command is over, also when nothing took it, nor after a reset.
func TestUploadsAreRemoved(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("s", 200<<10)
	left := func(t *testing.T, p *pod) string {
		t.Helper()
		reply, err := p.Run(t.Context(), []string{"sh", "-c", "cd /app && ls; ls -a /tmp/.sbxrun-files /tmp/.sbxrun/parts 2>/dev/null"})
		if err != nil {
			t.Fatal(err)
		}
		return string(reply.Stdout)
	}
	t.Run("cancelled before the start", func(t *testing.T) {
		p := newPod(t, shells[0])
		ctx, cancel := context.WithCancel(t.Context())
		s := shell.New(shell.Options{ID: "up", Transport: uploading{p, cancel}})
		cmd := sandbox.Command{Argv: []string{"true"}, Env: map[string]string{"TOKEN": secret}}
		if _, err := s.Exec(ctx, cmd, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the cancellation", err)
		}
		if got := left(t, p); got != "" {
			t.Errorf("left: %q", got)
		}
	})
	t.Run("the command has ended", func(t *testing.T) {
		p := newPod(t, shells[0])
		s := shell.New(shell.Options{ID: "up", Transport: uploading{p, func() {}}})
		r, w := io.Pipe()
		go func() {
			time.Sleep(100 * time.Millisecond) // beyond what goes with the start
			for range 64 {
				if _, err := io.WriteString(w, secret); err != nil {
					return
				}
			}
			w.Close()
		}()
		res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sh", "-c", "sleep 1; exit 3"}, Stdin: r}, nil, nil)
		r.Close()
		if err != nil || res.Exit != 3 {
			t.Errorf("%+v, %v", res, err)
		}
		if got := left(t, p); got != "" {
			t.Errorf("left: %q", got)
		}
	})
	t.Run("reset", func(t *testing.T) {
		p := newPod(t, shells[0])
		s := shell.New(shell.Options{ID: "up", Transport: p})
		dump(t, s, "mkdir -p /tmp/.sbxrun-files /tmp/.sbxrun/parts; touch /app/sbx-0123456789abcdef-1-spec /app/own /tmp/.sbxrun-files/a /tmp/.sbxrun/parts/a")
		if err := s.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := left(t, p); got != "own\n" {
			t.Errorf("left: %q, want what is not ours", got)
		}
	})
}

// uploading tells of each upload.
type uploading struct {
	*pod
	uploaded func()
}

func (u uploading) Upload(ctx context.Context, name string, data []byte) (string, error) {
	p, err := u.pod.Upload(ctx, name, data)
	u.uploaded()
	return p, err
}

// unwatched loses every poll.
type unwatched struct{ *pod }

func (u unwatched) Run(ctx context.Context, argv []string) (shell.Reply, error) {
	if strings.Contains(argv[2], "arrived") {
		return shell.Reply{}, errLost
	}
	return u.pod.Run(ctx, argv)
}

// A command that nobody could look after, and that was over by itself after its limit, has met it.
func TestLimitUnwatched(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "unwatched", Transport: unwatched{newPod(t, sh)}})
		for seconds, want := range map[string]sandbox.Limit{"1": sandbox.LimitNone, "3.5": sandbox.LimitTimeout} {
			res, err := s.Exec(t.Context(), sandbox.Command{Argv: []string{"sleep", seconds}, Timeout: 3 * time.Second}, nil, nil)
			if err != nil || res.Limit != want || (res.Exit == 0) != (want == sandbox.LimitNone) {
				t.Errorf("sleep %s: %+v, %v, want the limit %q", seconds, res, err, want)
			}
		}
	})
}

// What a command sends to its own process group, and handles, ends nothing else.
func TestSignalToGroup(t *testing.T) {
	inShells(t, func(t *testing.T, sh string) {
		s := shell.New(shell.Options{ID: "group", Transport: newPod(t, sh)})
		for _, name := range []string{"HUP", "INT", "ALRM", "TERM", "USR1", "USR2"} {
			if got := dump(t, s, "trap 'echo handled' "+name+"; kill -"+name+" 0; echo fine"); got != "handled\nfine\n" {
				t.Errorf("%s: printed %q", name, got)
			}
		}
	})
}
