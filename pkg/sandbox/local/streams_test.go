package local

import (
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Output that cannot be read is not taken for output that was not written.
func TestOutputThatCannotBeRead(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := &output{r: dir, w: &bytes.Buffer{}, done: make(chan struct{}), started: true}
	o.run()
	if err := o.finish(); err == nil {
		t.Error("no error")
	}
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0) // as good as a pipe for which there is no epoll watch
	if err != nil {
		t.Fatal(err)
	}
	if f, err := ours(fd, "stdout"); err == nil {
		f.Close()
		t.Error("a file that cannot be waited for is no error")
	}
	st, err := openStreams(sandbox.Command{Stdin: &bytes.Buffer{}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	st.close()
}
