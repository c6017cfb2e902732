package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// streams are the pipes of a command and the goroutines at our ends of them.
type streams struct {
	theirs []int // the command's ends: stdin if there is one, stdout, stderr
	stdin  *os.File
	source io.Reader
	outs   []*output
	over   chan struct{} // closed when a stream exceeds its limit

	mu     sync.Mutex
	inErr  error // of reading the source
	closed bool
}

func openStreams(cmd sandbox.Command, stdout, stderr io.Writer) (st *streams, err error) {
	st = &streams{source: cmd.Stdin, over: make(chan struct{})}
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	if cmd.Stdin != nil {
		r, w, err := pipe()
		if err != nil {
			return st, err
		}
		st.theirs = append(st.theirs, r)
		if st.stdin, err = ours(w, "stdin"); err != nil {
			return st, err
		}
	}
	var once sync.Once
	for i, w := range []io.Writer{stdout, stderr} {
		r, theirs, err := pipe()
		if err != nil {
			return st, err
		}
		st.theirs = append(st.theirs, theirs)
		f, err := ours(r, []string{"stdout", "stderr"}[i])
		if err != nil {
			return st, err
		}
		st.outs = append(st.outs, &output{
			r: f, w: w, limit: cmd.OutputLimit, done: make(chan struct{}),
			over: func() { once.Do(func() { close(st.over) }) },
		})
	}
	return st, nil
}

// pipe makes a pipe, blocking on both ends: how the command's end behaves is the command's.
func pipe() (r, w int, err error) {
	var pp [2]int
	if err := unix.Pipe2(pp[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, fmt.Errorf("pipe: %w", err)
	}
	return pp[0], pp[1], nil
}

// ours makes one end of a pipe a file that can be given up on.
func ours(fd int, name string) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.SetDeadline(time.Time{}); err != nil { // it would be read without being waited for
		f.Close()
		return nil, fmt.Errorf("%s cannot be waited for (%w): see fs.epoll.max_user_watches, which other programs of this user may have used up", name, err)
	}
	return f, nil
}

func (st *streams) closeTheirs() {
	for _, fd := range st.theirs {
		unix.Close(fd)
	}
	st.theirs = nil
}

// run starts to move bytes.
func (st *streams) run() {
	for _, o := range st.outs {
		o.started = true
		go o.run()
	}
	if st.stdin != nil {
		go st.feed()
	}
}

// feed copies the source to the command until either ends. A command that does not read it all is no error.
func (st *streams) feed() {
	defer st.stdin.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := st.source.Read(buf)
		if n > 0 {
			if _, err := st.stdin.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			st.mu.Lock()
			defer st.mu.Unlock()
			if !errors.Is(err, io.EOF) && !st.closed {
				st.inErr = fmt.Errorf("stdin: %w", err)
			}
			return
		}
	}
}

// drain passes on what the command wrote before it ended, and nothing that others write later.
func (st *streams) drain() error {
	errs := make([]error, 0, 3)
	for _, o := range st.outs {
		errs = append(errs, o.finish())
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.closed = true
	return errors.Join(append(errs, st.inErr)...)
}

// close gives everything up. No writer is called afterwards.
func (st *streams) close() {
	st.closeTheirs()
	if st.stdin != nil {
		st.stdin.Close()
	}
	for _, o := range st.outs {
		_ = o.finish() // drain has told it
		o.r.Close()
	}
}

// output is stdout or stderr.
type output struct {
	r       *os.File
	w       io.Writer // nil: nobody wants it
	limit   int64     // zero: none
	over    func()
	started bool
	done    chan struct{}

	passed int64
	cut    bool
	err    error // of w
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (o *output) run() {
	defer close(o.done)
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		n, err := o.r.Read(buf[:])
		o.pass(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.rest(buf[:])
			return
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) && o.err == nil {
				o.err = err // what is not read is not to look as if it had not been written
			}
			return
		}
	}
}

// rest passes on what is in the pipe now. What comes in meanwhile is not waited for: a process that the command left may
// write for ever.
func (o *output) rest(buf []byte) {
	raw, err := o.r.SyscallConn()
	if err != nil {
		return
	}
	// Control, unlike Read, does not look at the deadline.
	_ = raw.Control(func(fd uintptr) {
		left, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		for err == nil && left > 0 {
			var n int
			n, err = unix.Read(int(fd), buf[:min(left, len(buf))])
			if n <= 0 {
				return
			}
			o.pass(buf[:n])
			left -= n
		}
	})
}

func (o *output) pass(b []byte) {
	if o.limit > 0 && o.passed+int64(len(b)) > o.limit {
		b = b[:o.limit-o.passed]
		if !o.cut {
			o.cut = true
			o.over()
		}
	}
	o.passed += int64(len(b))
	if o.w == nil || o.err != nil || len(b) == 0 {
		return
	}
	if _, err := o.w.Write(b); err != nil {
		o.err = fmt.Errorf("%s: %w", o.r.Name(), err)
	}
}

// finish ends run and waits for it.
func (o *output) finish() error {
	if !o.started {
		return nil
	}
	select {
	case <-o.done:
	default:
		if err := o.r.SetReadDeadline(time.Unix(1, 0)); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
		<-o.done
	}
	return o.err
}
