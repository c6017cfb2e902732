package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/sbxrun/sbxrun/pkg/event"
)

// syncInterval is how much can be lost when the machine, not the process, dies.
const syncInterval = time.Second

// lineFile is a file of lines that is only appended to: each line by one write call, so that the kernel has it when
// write returns, and on the disk within a second. A write that did not succeed is undone, and is the error of all
// later ones: the file never has half a line with others behind it.
type lineFile struct {
	stop, stopped chan struct{}

	mu    sync.Mutex
	f     *os.File
	size  int64
	dirty bool
	err   error
}

// openLines opens the file at path to append to it, and makes it where it is not there. Half a line at its end, left by
// a process that was killed, is cut off.
func openLines(path string) (*lineFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	l := &lineFile{f: f, stop: make(chan struct{}), stopped: make(chan struct{})}
	if l.size, err = mendTail(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("mend the end of %s: %w", path, err)
	}
	go l.keepSynced()
	return l, nil
}

// mendTail makes the file end after a line, and returns its size.
func mendTail(f *os.File) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if errors.Is(err, syscall.ESPIPE) {
		return 0, nil // a pipe or a terminal
	}
	if err != nil {
		return 0, err
	}
	block := make([]byte, 64<<10)
	end := size
	for end > 0 {
		start := max(end-int64(len(block)), 0)
		part := block[:end-start]
		if _, err := f.ReadAt(part, start); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			end = start + int64(i) + 1
			break
		}
		end = start
	}
	if end == size {
		return size, nil
	}
	if size-end <= event.MaxLine {
		last := make([]byte, size-end)
		if _, err := f.ReadAt(last, end); err != nil {
			return 0, err
		}
		if last[0] == '{' && json.Valid(last) {
			_, err := f.WriteString("\n") // only the newline was missing
			return size + 1, err
		}
	}
	return end, f.Truncate(end)
}

// write appends a line, which ends in a newline.
func (l *lineFile) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if n, err := l.f.Write(line); err != nil {
		if n > 0 {
			err = errors.Join(err, l.f.Truncate(l.size))
		}
		l.err = err
		return err
	}
	l.size += int64(len(line))
	l.dirty = true
	return nil
}

func (l *lineFile) keepSynced() {
	defer close(l.stopped)
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			l.sync()
		}
	}
}

// sync runs beside writes: it holds the lock only to see whether there is something to do, and to say how it went.
func (l *lineFile) sync() {
	l.mu.Lock()
	dirty := l.dirty
	l.dirty = false
	l.mu.Unlock()
	if !dirty {
		return
	}
	err := l.f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return // not a file that can be synced
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// close syncs and closes the file, and returns the first error there was.
func (l *lineFile) close() error {
	close(l.stop)
	<-l.stopped
	l.sync()
	return errors.Join(l.err, l.f.Close())
}
