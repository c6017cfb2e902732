// Package spawner is the process that makes and owns the sandboxes of one run: their namespaces, control groups, user
// ids and commands. sbxrun starts it as a copy of its own binary, in a session, mount namespace and, for an ordinary
// user, a user namespace of its own, and talks to it over a socket. The end of that socket is the end of every sandbox.
//
// What a sandbox is made of is decided here; output, time limits and tar streams belong to the caller in package local.
//
// Importing the package is what makes a binary able to be a spawner: its init takes over a process that was started as
// one and never returns. It comes early, since the package imports little, so that the process stays small: each
// sandbox begins as a copy of it.
package spawner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// argv0 tells a process that it is to be a spawner. Its socket is descriptor 3.
const argv0 = "sbxrun-spawner"

const socketFD = 3

func init() {
	if len(os.Args) == 1 && os.Args[0] == argv0 {
		os.Exit(run())
	}
}

// Process is a running spawner, as its parent sees it.
type Process struct {
	Conn *wire.Conn
	PID  int
	proc *os.Process
	done chan struct{}
	err  error
}

// Start starts a spawner. Unless privileged, it becomes root of a user namespace of its own that maps to the caller.
// The error is that of clone where the namespaces are refused.
func Start(privileged bool) (*Process, error) {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	program := "/proc/self/exe"
	if !privileged && isOwn(program) {
		self, err := sealedSelf()
		if err != nil {
			ours.Close()
			return nil, fmt.Errorf("copy of this program in memory: %w", err)
		}
		defer self.Close()
		program = fmt.Sprintf("/proc/self/fd/%d", self.Fd())
	}
	cmd := &exec.Cmd{
		Path:       program,
		Args:       []string{argv0},
		Env:        []string{},
		Dir:        "/",
		ExtraFiles: []*os.File{theirs},
		Stderr:     os.Stderr, // for a panic only
		SysProcAttr: &syscall.SysProcAttr{
			Setsid: true,
			// The end of the first process of a PID namespace is the end of all others in it, whatever it dies of.
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		},
	}
	if !privileged {
		attr := cmd.SysProcAttr
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if err := startApart(cmd); err != nil {
		ours.Close()
		return nil, err
	}
	p := &Process{PID: cmd.Process.Pid, proc: cmd.Process, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	if p.Conn, err = wire.NewConn(ours); err != nil {
		cmd.Process.Kill()
		return nil, err
	}
	return p, nil
}

// isOwn says whether a file is one that this user may change.
func isOwn(name string) bool {
	var st unix.Stat_t
	return unix.Stat(name, &st) != nil || int(st.Uid) == os.Geteuid() || unix.Access(name, unix.W_OK) != unix.EACCES
}

// sealedSelf returns a copy of this program in memory that nobody can write to. A command for which the sandbox has put a
// link to /proc/self/exe executes what the spawner was started from, and can open it: that must not be a file of the host
// that the same user may change. Root's sandboxes have users of their own.
func sealedSelf() (*os.File, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer self.Close()
	const name = "sbxrun"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.3, where all of them may be executed
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	sealed := os.NewFile(uintptr(fd), name)
	if _, err = io.Copy(sealed, self); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		sealed.Close()
		return nil, err
	}
	return sealed, nil
}

// startApart starts cmd with a session keyring of its own: whoever has the one of the user may read the keys in it. A
// thread has it, as it has the timer slack, so the thread that takes a new one ends afterwards.
func startApart(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		_, _, errno := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
		if errno != 0 && errno != unix.ENOSYS && errno != unix.EPERM { // no keys in this kernel, or not for this container
			done <- fmt.Errorf("session keyring: %w", errno)
			return
		}
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0); err != nil {
			done <- fmt.Errorf("timer slack: %w", err)
			return
		}
		done <- cmd.Start()
	}()
	return <-done
}

// Nanoseconds by which the kernel may be late to wake a thread of the spawner, and of a sandbox, where it is the kernel's
// default. The Go runtime has a thread that would wake every 70 microseconds while there is anything to do, and take the
// processor from a command each time.
const (
	timerSlack        = 1_000_000
	timerSlackDefault = 50_000
)

// Done is closed when the spawner has ended; Err is nil then if it has taken everything down.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the spawner ended.
func (p *Process) Err() error { <-p.done; return p.err }

// Killed waits for the end of the spawner, and says whether it was one by a signal.
func (p *Process) Killed() bool {
	e, ok := errors.AsType[*exec.ExitError](p.Err())
	if !ok {
		return false
	}
	ws, ok := e.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled()
}

// Kill ends the spawner without cleaning up. Its sandboxes end with it, their control groups stay.
func (p *Process) Kill() { _ = p.proc.Kill() } // whose error is that it has ended

// run is the main function of a spawner.
func run() int {
	debug.SetGCPercent(200)
	// The goroutine that runs inits is bound to the first thread: each message would be a switch to it and back.
	done := make(chan error)
	go func() { done <- serve() }()
	if err := <-done; err != nil {
		fmt.Fprintln(os.Stderr, "sbxrun: spawner:", err)
		return 1
	}
	return 0
}

// serve is a spawner's work. What keeps it from that is the answer to the first message: until that comes nobody may want a
// spawner, see Ahead in package local.
func serve() error {
	hardened := harden()
	conn, err := wire.NewConn(os.NewFile(socketFD, "socket"))
	if err != nil {
		return err
	}
	host, unfit := lookAtHost()
	var first wire.Request
	if _, err := conn.Receive(&first); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	var s *server
	err = errors.Join(hardened, unfit)
	if err == nil {
		s, err = newServer(conn, host, first)
	}
	if err == nil {
		err = rawclone.Slim()
	}
	if unsent := conn.Send(wire.Reply{Seq: first.Seq, Err: wireError(err)}); err != nil || unsent != nil {
		return unsent
	}
	return s.serve()
}

// harden keeps other processes of the user out of this one and of what it clones.
func harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("spawner: not dumpable: %w", err)
	}
	unix.Umask(0)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("spawner: own mounts: %w", err)
	}
	// Process ids are those of this namespace.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("spawner: mount /proc: %w", err)
	}
	// Nothing but the socket and the standard streams is open; those are /dev/null but for stderr.
	if err := unix.CloseRange(socketFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("spawner: close_range: %w", err)
	}
	return nil
}
