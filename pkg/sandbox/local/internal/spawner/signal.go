package spawner

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/procs"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// The processes of a command are told from those of other commands of the same sandbox, which may have ended and left
// some, by a mark that the kernel hands down to every child and that a process without privileges can only lower: the
// limit on the time of a real-time process, which nothing in a sandbox may become. Marks go down from command to
// command, so a process cannot take the mark of one that began before its own; a mark that was never given counts as
// forged by whichever command is being ended.
const (
	markLimit = procs.MarkLimit
	firstMark = uint64(1) << 62
)

// killPatience bounds how long the processes of a command are hunted one by one. What is left then multiplies faster, and
// everything in the sandbox is killed.
const killPatience = time.Second

// signal sends a signal to everything that a command started, also after its main process has ended, and says how many
// processes it reached. For KILL it returns when nothing of it is left. Signal 0 only counts.
func (s *server) signal(req wire.Signal) (int, error) {
	b, err := s.find(req.ID)
	if err != nil {
		return 0, nil // released: nothing runs
	}
	defer b.users.Done()
	if ch, ok := s.starting.Load(req.Exec); ok {
		<-ch.(chan struct{})
	}
	b.mu.Lock()
	want, known := b.bySeq[req.Exec]
	b.mu.Unlock()
	if !known {
		return 0, nil // it did not come to run
	}
	return b.signal(want, unix.Signal(req.Signal))
}

func (b *box) signal(want uint64, sig unix.Signal) (int, error) {
	if !b.server.host.children {
		return 1, b.signalAll(sig)
	}
	start := time.Now()
	frozen := false
	for {
		hits := 0
		main := b.main(want)
		for _, pid := range b.processes() {
			if b.signalOne(pid, want, pid == main, sig) {
				hits++
			}
		}
		if sig != unix.SIGKILL {
			return hits, nil
		}
		if hits == 0 {
			if main != 0 && isTraced(main) {
				return hits, b.signalAll(sig)
			}
			return hits, nil
		}
		switch hunted := time.Since(start); {
		case hunted > killPatience:
			return hits, b.signalAll(sig)
		case hunted > killPatience/20 && !frozen:
			// Something multiplies: for the rest of the hunt nothing in the sandbox may fork.
			frozen = true
			if b.group.SetPIDs(0) == nil {
				defer func() { _ = b.group.SetPIDs(b.spec.Limits.PIDs + 1) }()
			}
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// main returns the main process of the command with this mark, while it was not waited for; else zero.
func (b *box) main(want uint64) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, st := range b.steps {
		if st.mark == want {
			return st.pid
		}
	}
	return 0
}

// isTraced says whether a process is under a debugger. One that has ended then is not to be waited for until the debugger
// lets go of it, which another command's may never do.
func isTraced(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, found := bytes.Cut(b, []byte("\nTracerPid:\t"))
	return err == nil && found && !bytes.HasPrefix(after, []byte("0\n"))
}

// signalOne signals a process if it belongs to the command with this mark, and says whether it did. The main process
// does whatever its mark says: others of the same user can lower it too, and at first there is none. Its signals are
// blocked then, and what is sent to it is delivered when it begins.
func (b *box) signalOne(pid int, want uint64, main bool, sig unix.Signal) bool {
	// The descriptor keeps the number from being used again between the look and the signal.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, m, alive := procs.Mark(pid)
	if !alive || !main && m == unix.RLIM_INFINITY { // without a mark it is on its way into the sandbox
		return false
	}
	b.mu.Lock()
	belongs := main || m == want || m < want && !b.marks[m]
	b.mu.Unlock()
	return belongs && unix.PidfdSendSignal(fd, sig, nil, 0) == nil
}

// signalAll sends a signal to every process of the sandbox but its first, which takes one call from within that no
// fork escapes. Where that fails KILL ends the sandbox.
func (b *box) signalAll(sig unix.Signal) error {
	var p rawclone.Program
	b.enter(&p)
	p.Call("signal", unix.SYS_KILL, -1, int(sig)).Allow(unix.ESRCH)
	p.Exit(0)
	c, err := p.StartIn(b.pidfd)
	if err == nil {
		defer c.Close()
		// An ordinary user's sandbox can stop and kill it, since it has the same user.
		ended := make(chan unix.WaitStatus, 1)
		go func() {
			ws, _ := rawclone.Wait(c.PID, nil)
			ended <- ws
		}()
		var ws unix.WaitStatus
		select {
		case ws = <-ended:
		case <-time.After(killPatience):
			unix.Kill(c.PID, unix.SIGKILL)
			ws = <-ended
		}
		if err = c.Failure(); err == nil && ws != 0 {
			err = errors.New("the process that signals all others was killed from inside the sandbox")
		}
	}
	if err != nil && sig == unix.SIGKILL {
		return unix.PidfdSendSignal(b.pidfd, unix.SIGKILL, nil, 0)
	}
	return err
}

// descendants lists processes and all that came from them.
func descendants(pids []int) []int {
	seen := map[int]bool{}
	var list []int
	for len(pids) > 0 {
		pid := pids[len(pids)-1]
		pids = pids[:len(pids)-1]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		list = append(list, pid)
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		for _, t := range tasks {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
			if err != nil {
				continue
			}
			for f := range bytes.FieldsSeq(b) {
				if n, err := strconv.Atoi(string(f)); err == nil {
					pids = append(pids, n)
				}
			}
		}
	}
	return list
}

// processes lists what runs in the sandbox, without its first process.
func (b *box) processes() []int {
	select {
	case <-b.gone: // and the number of init may be another's
		return nil
	default:
	}
	b.mu.Lock()
	roots := []int{b.init}
	for _, st := range b.steps {
		roots = append(roots, st.pid)
	}
	b.mu.Unlock()
	var list []int
	for _, pid := range descendants(roots) {
		if pid != b.init {
			list = append(list, pid)
		}
	}
	return list
}
