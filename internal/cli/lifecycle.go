package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// lifecycle takes one sandbox through its whole life and prints each part with its time. It goes on after a part that
// went wrong where that makes sense, and deletes the sandbox in any case.
func lifecycle(ctx context.Context, w io.Writer, provider sandbox.Provider) error {
	var sb sandbox.Sandbox
	var failed []error
	part := func(name string, f func() error) bool {
		start := time.Now()
		err := f()
		took := time.Since(start)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
			fmt.Fprintf(w, "  %-8s FAILED  %9.1f ms  %v\n", name, ms(took), err)
			return false
		}
		fmt.Fprintf(w, "  %-8s ok      %9.1f ms\n", name, ms(took))
		return true
	}
	content := []byte("written by doctor\x00\xff\n")
	if !part("create", func() (err error) {
		sb, err = provider.Acquire(ctx, sandbox.Spec{Name: "doctor", Group: "doctor"})
		return err
	}) {
		return failed[0]
	}
	part("execute", func() error {
		var out strings.Builder
		r, err := sb.Exec(ctx, sandbox.Command{Argv: []string{"sh", "-c", "echo out; exit 3"}, Timeout: time.Minute}, &out, io.Discard)
		if err == nil && (r.Exit != 3 || out.String() != "out\n") {
			err = fmt.Errorf("a command that prints and exits with 3 came back with %d and %q", r.Exit, out.String())
		}
		return err
	})
	part("write", func() error {
		f := sandbox.File{Name: "doctor/file", Mode: 0o640, Size: int64(len(content))}
		return sandbox.Put(ctx, sb, f, bytes.NewReader(content))
	})
	part("read", func() error {
		_, r, err := sandbox.Get(ctx, sb, "doctor/file")
		if err != nil {
			return err
		}
		back, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		if !bytes.Equal(back, content) {
			return errors.New("what was read is not what was written")
		}
		return nil
	})
	part("list", func() error {
		entries, err := sandbox.List(ctx, sb, "doctor/*")
		if err == nil && (len(entries) != 1 || entries[0].Name != "doctor/file") {
			err = fmt.Errorf("the folder lists as %v", entries)
		}
		return err
	})
	part("exists", func() error {
		there, err := sandbox.Exists(ctx, sb, "doctor/file")
		if err == nil && !there {
			err = errors.New("the file that was written is said not to exist")
		}
		return err
	})
	part("delete", func() error { return sb.Release(context.WithoutCancel(ctx)) })
	return errors.Join(failed...)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
