package fake_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/sandboxtest/fake"
)

var errInjected = errors.New("injected")

func openFake(t *testing.T, o fake.Options) *fake.Provider {
	t.Helper()
	p, err := fake.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Clear()
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Live != 0 || s.Acquired != s.Released {
			t.Errorf("sandboxes leak: %+v", s)
		}
	})
	return p
}

func acquire(t *testing.T, p *fake.Provider, name string) *fake.Sandbox {
	t.Helper()
	s, err := p.Acquire(t.Context(), sandbox.Spec{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*fake.Sandbox)
}

func script(text string) sandbox.Command {
	return sandbox.Command{Argv: []string{"sh", "-e"}, Script: []byte(text)}
}

// calls are one call of every kind, each with its error.
var calls = map[fake.Point]func(context.Context, *fake.Sandbox) error{
	fake.ExecStart: func(ctx context.Context, s *fake.Sandbox) error {
		_, err := s.Exec(ctx, script("echo x >> ran"), nil, nil)
		return err
	},
	fake.ExecEnd: func(ctx context.Context, s *fake.Sandbox) error {
		_, err := s.Exec(ctx, script("echo x >> ran"), nil, nil)
		return err
	},
	fake.Send: func(ctx context.Context, s *fake.Sandbox) error {
		return sandbox.Put(ctx, s, sandbox.File{Name: "f"}, strings.NewReader(""))
	},
	fake.Receive: func(ctx context.Context, s *fake.Sandbox) error {
		_, err := s.Receive(ctx, []string{"**"})
		return err
	},
	fake.ReceiveRead: func(ctx context.Context, s *fake.Sandbox) error {
		r, err := s.Receive(ctx, []string{"**"})
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil && n != 512 {
			return errors.New("the stream did not break after 512 bytes")
		}
		return err
	},
	fake.Release: func(ctx context.Context, s *fake.Sandbox) error { return s.Release(ctx) },
}

func TestFaultStrikesThenStops(t *testing.T) {
	for at, call := range calls {
		t.Run(string(at), func(t *testing.T) {
			p := openFake(t, fake.Options{})
			s := acquire(t, p, "a")
			if err := s.WriteFile("f", make([]byte, 2000), 0o644); err != nil {
				t.Fatal(err)
			}
			p.Inject(fake.Fault{At: at, Skip: 1, Times: 2, Kind: sandbox.KindLost, Err: errInjected})
			wants := []bool{false, true, true, false}
			if at == fake.Release {
				wants = wants[1:]
				p.Clear()
				p.Inject(fake.Fault{At: at, Times: 2, Kind: sandbox.KindLost, Err: errInjected})
			}
			for i, want := range wants {
				err := call(t.Context(), s)
				if struck := errors.Is(err, errInjected) && sandbox.KindOf(err) == sandbox.KindLost; struck != want || !want && err != nil {
					t.Errorf("call %d: error %v, want the fault's: %v", i, err, want)
				}
			}
		})
	}
}

func TestFaultIsOfOneName(t *testing.T) {
	p := openFake(t, fake.Options{})
	p.Inject(fake.Fault{At: fake.Acquire, Name: "b", Times: 2, Kind: sandbox.KindUnavailable, Err: errInjected})
	acquire(t, p, "a")
	for range 2 {
		if _, err := p.Acquire(t.Context(), sandbox.Spec{Name: "b"}); sandbox.KindOf(err) != sandbox.KindUnavailable || !errors.Is(err, errInjected) {
			t.Errorf("error %v", err)
		}
	}
	acquire(t, p, "b")
	if s := p.Stats(); s.Acquired != 2 || s.Refused != 2 || s.Live != 2 || s.MostLive != 2 {
		t.Errorf("%+v", s)
	}
}

func TestFaultBeforeAndAfterTheCommand(t *testing.T) {
	p := openFake(t, fake.Options{})
	for at, want := range map[fake.Point]string{fake.ExecStart: "", fake.ExecEnd: "x\n"} {
		s := acquire(t, p, "")
		p.Inject(fake.Fault{At: at, Times: 1, Kind: sandbox.KindLost, Err: errInjected})
		if err := calls[at](t.Context(), s); !errors.Is(err, errInjected) {
			t.Errorf("%s: error %v", at, err)
		}
		if got, _ := s.ReadFile("ran"); string(got) != want {
			t.Errorf("%s: the command left %q, want %q", at, got, want)
		}
	}
	if got := p.Stats().Execs; got != 1 {
		t.Errorf("%d commands were started, want 1", got)
	}
}

func TestFaultDelaysAndHangs(t *testing.T) {
	why := errors.New("enough")
	for at, call := range calls {
		t.Run(string(at), func(t *testing.T) {
			p := openFake(t, fake.Options{})
			s := acquire(t, p, "a")
			p.Inject(fake.Fault{At: at, Times: 1, Delay: time.Millisecond})
			if at != fake.Release {
				if err := call(t.Context(), s); err != nil {
					t.Errorf("a delay alone gave the error %v", err)
				}
			}
			p.Clear()
			if at == fake.ReceiveRead {
				return // it has no time of its own
			}
			p.Inject(fake.Fault{At: at, Hang: true})
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
			if err := call(ctx, s); !errors.Is(err, why) {
				t.Errorf("error %v, want the cause of the context", err)
			}
			if at != fake.Release {
				time.AfterFunc(20*time.Millisecond, func() { s.Release(context.Background()) })
				if err := call(t.Context(), s); sandbox.KindOf(err) != sandbox.KindReleased {
					t.Errorf("error %v after release, want %v", err, sandbox.KindReleased)
				}
			}
		})
	}
}

func TestSandboxIsLost(t *testing.T) {
	for _, lose := range []func(p *fake.Provider, s *fake.Sandbox){
		func(_ *fake.Provider, s *fake.Sandbox) { time.AfterFunc(20*time.Millisecond, s.Lose) },
		func(p *fake.Provider, _ *fake.Sandbox) {
			p.Inject(fake.Fault{At: fake.ExecStart, Times: 1, Gone: true})
		},
	} {
		p := openFake(t, fake.Options{})
		s := acquire(t, p, "")
		lose(p, s)
		if _, err := s.Exec(t.Context(), script("sleep 100"), nil, nil); sandbox.KindOf(err) != sandbox.KindLost || err == nil {
			t.Errorf("the command's error is %v", err)
		}
		for _, at := range []fake.Point{fake.ExecStart, fake.Send, fake.Receive} {
			if err := calls[at](t.Context(), s); err == nil || sandbox.KindOf(err) != sandbox.KindLost {
				t.Errorf("%s: error %v", at, err)
			}
		}
		if err := s.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if err := calls[fake.Send](t.Context(), s); sandbox.KindOf(err) != sandbox.KindReleased {
			t.Errorf("after release: %v", err)
		}
	}
}

func TestSandboxDies(t *testing.T) {
	for name, die := range map[string]func(p *fake.Provider, s *fake.Sandbox){
		"while it runs":    func(_ *fake.Provider, s *fake.Sandbox) { time.AfterFunc(20*time.Millisecond, s.Die) },
		"before its start": func(p *fake.Provider, _ *fake.Sandbox) { p.Inject(fake.Fault{At: fake.ExecStart, Times: 1, Die: true}) },
		"right after it":   func(p *fake.Provider, _ *fake.Sandbox) { p.Inject(fake.Fault{At: fake.ExecEnd, Times: 1, Die: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			p := openFake(t, fake.Options{})
			s := acquire(t, p, "")
			die(p, s)
			text := "sleep 100"
			if name == "right after it" {
				text = "exit 3"
			}
			res, err := s.Exec(t.Context(), script(text), nil, nil)
			if err != nil || !res.SandboxDied || res.Exit == 0 {
				t.Errorf("%+v, %v", res, err)
			}
			if _, err := s.Exec(t.Context(), script("true"), nil, nil); err == nil || sandbox.KindOf(err) != sandbox.KindLost {
				t.Errorf("the next command: %v", err)
			}
		})
	}
}

func TestCloseFault(t *testing.T) {
	p := openFake(t, fake.Options{})
	acquire(t, p, "")
	p.Inject(fake.Fault{At: fake.Close, Times: 1, Kind: sandbox.KindUnavailable, Err: errInjected})
	if err := p.Close(t.Context()); !errors.Is(err, errInjected) || p.Stats().Live != 1 {
		t.Errorf("error %v, %+v", err, p.Stats())
	}
	p.Inject(fake.Fault{At: fake.Release, Times: 1, Err: errInjected})
	if err := p.Close(t.Context()); !errors.Is(err, errInjected) || p.Stats().Live != 1 {
		t.Errorf("error %v, %+v", err, p.Stats())
	}
	if err := p.Close(t.Context()); err != nil || p.Stats().Live != 0 {
		t.Errorf("error %v, %+v", err, p.Stats())
	}
}

func TestPrograms(t *testing.T) {
	p := openFake(t, fake.Options{Programs: map[string]fake.Program{
		"greet": func(_ context.Context, p *fake.Process) int {
			p.Printf("%s, %s", p.Args[1:], p.Env("WHOM"))
			_, _ = io.Copy(p.Stdout, p.Stdin)
			return 7
		},
		"hog":   func(ctx context.Context, p *fake.Process) int { p.Strike(sandbox.LimitOOM); <-ctx.Done(); return 0 },
		"forks": func(_ context.Context, p *fake.Process) int { p.Strike(sandbox.LimitPIDs); return 2 },
		"true":  func(context.Context, *fake.Process) int { return 9 },
	}})
	s := acquire(t, p, "")
	for _, c := range []struct {
		cmd    sandbox.Command
		want   sandbox.Result
		stdout string
	}{
		{sandbox.Command{Argv: []string{"greet", "a", "b"}, Env: map[string]string{"WHOM": "you"}, Stdin: strings.NewReader("!")}, sandbox.Result{Exit: 7}, "[a b], you!"},
		{sandbox.Command{Argv: []string{"sh", "-c", "echo ! | WHOM=me greet c || exit $?"}}, sandbox.Result{Exit: 7}, "[c], me!\n"},
		{sandbox.Command{Argv: []string{"hog"}}, sandbox.Result{Exit: 137, Signal: 9, Limit: sandbox.LimitOOM}, ""},
		{sandbox.Command{Argv: []string{"sh", "-c", "hog; echo on"}}, sandbox.Result{Exit: 137, Signal: 9, Limit: sandbox.LimitOOM}, ""},
		{sandbox.Command{Argv: []string{"forks"}}, sandbox.Result{Exit: 2, Limit: sandbox.LimitPIDs}, ""},
		{script("true"), sandbox.Result{}, ""}, // the shell's own
		{sandbox.Command{Argv: []string{"true"}}, sandbox.Result{Exit: 9}, ""},
	} {
		var out bytes.Buffer
		got, err := s.Exec(t.Context(), c.cmd, &out, nil)
		got.Duration = 0
		if err != nil || got != c.want || out.String() != c.stdout {
			t.Errorf("%q: %+v, %v, stdout %q, want %+v and %q", c.cmd.Argv, got, err, out.String(), c.want, c.stdout)
		}
	}
	if got := p.Stats().Execs; got != 7 {
		t.Errorf("%d commands were counted", got)
	}
}

// BenchmarkTrue is the fake's part of a no-op case.
func BenchmarkTrue(b *testing.B) {
	p, err := fake.Open(b.Context(), fake.Options{})
	if err != nil {
		b.Fatal(err)
	}
	cmd := script("true\n")
	cmd.Timeout = time.Minute
	b.ReportAllocs()
	for b.Loop() {
		s, err := p.Acquire(b.Context(), sandbox.Spec{})
		if err != nil {
			b.Fatal(err)
		}
		if res, err := s.Exec(b.Context(), cmd, nil, nil); res.Exit != 0 || err != nil {
			b.Fatal(res, err)
		}
		if err := s.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
