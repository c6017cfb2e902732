package local

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/procs"
)

// A command of a bare sandbox is marked (see package procs) by the soft limit, which may be set to anything below the
// hard one and back: 1, 32 bits of the run, 28 bits of the command.
const (
	bareMark = uint64(1) << 60
	runShift = 28
)

// bareRecord is what a run writes down about its bare sandboxes, so that gc finds what is left of them.
type bareRecord struct {
	Folder string // of the folders of the sandboxes
	Marks  uint64 // the mark of a command without its number

	commands atomic.Uint64
}

func newBareRecord(dir string) *bareRecord {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return &bareRecord{
		Folder: filepath.Join(dir, "bare-"+strconv.FormatInt(time.Now().UnixNano(), 36)),
		Marks:  bareMark | uint64(binary.LittleEndian.Uint32(b[:]))<<runShift,
	}
}

func (r *bareRecord) write(f *os.File) error {
	_, err := fmt.Fprintf(f, "bare %d %q\n", r.Marks, r.Folder)
	return err
}

// readBareRecord reads what write wrote; nil where the run had none, or what is there cannot have been written by it.
func readBareRecord(data []byte) *bareRecord {
	var r bareRecord
	if n, err := fmt.Sscanf(string(data), "bare %d %q\n", &r.Marks, &r.Folder); err != nil || n != 2 {
		return nil
	}
	if !filepath.IsAbs(r.Folder) || filepath.Clean(r.Folder) != r.Folder || !strings.HasPrefix(filepath.Base(r.Folder), "bare-") {
		return nil
	}
	return &r
}

// next returns the mark of a new command.
func (r *bareRecord) next() (uint64, error) {
	n := r.commands.Add(1)
	if n >= 1<<runShift {
		return 0, errors.New("too many commands in one run")
	}
	return r.Marks | n, nil
}

// owns says whether a mark is of this run.
func (r *bareRecord) owns(mark uint64) bool {
	return mark != unix.RLIM_INFINITY && mark>>runShift == r.Marks>>runShift
}

// forking is held while a process is started, so that a mark goes to the process that it is for.
var forking sync.Mutex

// marked calls start, whose new process gets the mark.
func marked(mark uint64, start func() error) error {
	forking.Lock()
	defer forking.Unlock()
	var old unix.Rlimit
	if err := unix.Prlimit(0, procs.MarkLimit, nil, &old); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	if err := unix.Prlimit(0, procs.MarkLimit, &unix.Rlimit{Cur: mark, Max: old.Max}, nil); err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	err := start()
	return errors.Join(err, unix.Prlimit(0, procs.MarkLimit, &old, nil))
}

// killPatience bounds how long processes are hunted that multiply as fast as they are killed.
const killPatience = 10 * time.Second

// signalMarked signals the processes with these marks and says how many there were. For KILL it goes on until none is
// left, or its patience has an end.
func signalMarked(ours func(mark uint64) bool, sig unix.Signal) int {
	end := time.Now().Add(killPatience)
	for {
		hits := 0
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			if pid, err := strconv.Atoi(e.Name()); err == nil && pid <= math.MaxInt32 && signalOne(pid, ours, sig) {
				hits++
			}
		}
		if hits == 0 || sig != unix.SIGKILL || time.Now().After(end) {
			return hits
		}
		time.Sleep(time.Millisecond)
	}
}

func signalOne(pid int, ours func(mark uint64) bool, sig unix.Signal) bool {
	// The descriptor keeps the number from being used again between the look and the signal.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	mark, _, ok := procs.Mark(pid)
	return ok && pid != os.Getpid() && ours(mark) && unix.PidfdSendSignal(fd, sig, nil, 0) == nil
}
