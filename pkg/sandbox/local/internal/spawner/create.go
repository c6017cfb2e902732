package spawner

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/cgroup"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/hostfs"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/netkeep"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/rawclone"
	"github.com/sbxrun/sbxrun/pkg/sandbox/local/internal/wire"
)

// create makes a sandbox and returns its root folder and its workspace.
func (s *server) create(req wire.Create) (host string, files []int, err error) {
	b := &box{id: req.ID, spec: req.Spec, server: s, gone: make(chan struct{}), disk: -1, root: -1, scripts: -1, pidfd: -1, steps: map[uint64]*step{}, marks: map[uint64]bool{}, bySeq: map[uint64]uint64{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.remove())
		}
	}()
	if b.shape, err = s.shapes.get(req.Spec); err != nil {
		return "", nil, err
	}
	defer s.shapes.put(b.shape)
	if b.slot, err = s.slots.get(); err != nil {
		return "", nil, err
	}
	if err := b.slot.needs(req.Spec); err != nil {
		return "", nil, err
	}
	if err := b.joinable(); err != nil {
		return "", nil, err
	}
	if err := b.start(); err != nil {
		return "", nil, err
	}
	s.mu.Lock()
	closing := s.closing
	if !closing {
		s.boxes[b.id] = b
		b.watchUse()
	}
	s.mu.Unlock()
	if closing {
		return "", nil, kinded(sandbox.KindReleased, "the run is ending")
	}
	if req.Spec.Network == sandbox.NetworkCase {
		addr, err := b.connect()
		if err != nil {
			return "", nil, fmt.Errorf("network: %w", err)
		}
		host = addr.String()
	}
	root, err := unix.FcntlInt(uintptr(b.root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	disk, err := unix.FcntlInt(uintptr(b.disk), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		unix.Close(root)
		return "", nil, err
	}
	return host, []int{root, disk}, nil
}

// joinable gets the sandbox's control group.
func (b *box) joinable() (err error) {
	l := b.spec.Limits
	// What is on the disk is memory to the kernel, whose limit is the sum; watch tells them apart.
	b.group, err = b.server.groups.Get(b.id, cgroup.Limits{CPU: l.CPU, Memory: l.Memory + l.Disk, PIDs: l.PIDs + 1})
	if err != nil {
		return err
	}
	b.joins, err = b.group.Join()
	return err
}

// connect puts the sandbox on the network of its group.
func (b *box) connect() (addr netip.Addr, err error) {
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", b.init), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return addr, err
	}
	defer unix.Close(ns)
	if b.member, err = b.server.hubs.Join(b.spec.Group, ns); err != nil {
		return addr, err
	}
	return b.member.Addr, nil
}

// start makes the sandbox's first process, and with it the namespaces and everything in them.
func (b *box) start() error {
	if b.spec.Network == sandbox.NetworkNone {
		b.net = b.server.nets.Get()
	}
	if err := b.makeScripts(); err != nil {
		return fmt.Errorf("sandbox: scripts: %w", err)
	}
	p, err := b.program()
	if err != nil {
		return err
	}
	flags := uintptr(unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if b.spec.Network != sandbox.NetworkHost && b.net == nil {
		flags |= unix.CLONE_NEWNET
	}
	c, err := p.Start(flags)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	c.Close()
	b.init = c.PID
	if b.pidfd, err = unix.PidfdOpen(b.init, unix.PIDFD_NONBLOCK); err != nil {
		unix.Kill(b.init, unix.SIGKILL)
		_, _ = rawclone.Wait(b.init, nil)
		b.init = 0
		return fmt.Errorf("sandbox: %w", err)
	}
	go b.watch()
	// What watches a namespace are descriptors, of which the later half is left to sandboxes.
	if b.spec.Network == sandbox.NetworkNone && b.net == nil && uint64(b.pidfd) < b.server.host.openFiles/2 {
		b.net, _ = netkeep.Of(b.init) // without it the namespace is not used again
	}
	if b.root, err = unix.Open(fmt.Sprintf("/proc/%d/root", b.init), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("sandbox: root: %w", err)
	}
	if b.disk, err = unix.Openat(b.root, strings.TrimPrefix(sandbox.Workspace, "/"), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("sandbox: workspace: %w", err)
	}
	return nil
}

// Registers of the program.
const (
	regProc rawclone.Reg = iota
	regA
	regB
)

// scripts is where commands find their scripts. Code in the sandbox, which may have the same user as what writes them,
// cannot change them: what it sees is a read-only copy of a mount that lies below it, out of reach, and of which the
// spawner alone has a descriptor.
const scripts = "/run/sbxrun"

// makeScripts makes the file system for scripts. It is one of its own, so that a full disk does not keep the next command
// from running.
func (b *box) makeScripts() error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{{"mode", "755"}, {"size", "64m"}, {"nr_inodes", "16k"}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return os.NewSyscallError("fsconfig", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return os.NewSyscallError("fsconfig", err)
	}
	if b.scripts, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
		b.scripts = -1
		return os.NewSyscallError("fsmount", err)
	}
	return nil
}

// mountFlags of what a sandbox may write to.
const mountFlags = unix.MS_NOSUID | unix.MS_NODEV

// program is what the first process does: it makes the sandbox around itself, gives up every right and waits to be killed.
func (b *box) program() (*rawclone.Program, error) {
	var p rawclone.Program
	sh, h := b.shape, &b.server.host
	at := unix.AT_FDCWD

	p.ResetSignals(false)
	p.Call("ignore SIGCHLD", unix.SYS_RT_SIGACTION, int(unix.SIGCHLD), rawclone.Bytes(&ignore), 0, 8)
	for _, fd := range b.joins {
		p.Call(callJoin, unix.SYS_WRITE, fd, "0", 1)
	}
	if b.net != nil {
		p.Call("enter the network namespace", unix.SYS_SETNS, b.net.FD, unix.CLONE_NEWNET)
	}
	// A proc file system shows the PID namespace that its maker is in, and may be made by an ordinary user only where
	// the host's can be seen.
	p.Call("proc", unix.SYS_FSOPEN, "proc", unix.FSOPEN_CLOEXEC).Save(regA)
	// Processes on their way into the sandbox are not there yet for those in it, who could otherwise read of them what
	// the host has mounted and which sockets are open on its network.
	p.Call("proc", unix.SYS_FSCONFIG, regA, unix.FSCONFIG_SET_STRING, "hidepid", "invisible", 0)
	p.Call("proc", unix.SYS_FSCONFIG, regA, unix.FSCONFIG_CMD_CREATE, 0, 0, 0)
	p.Call("mount /proc", unix.SYS_FSMOUNT, regA, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC).Save(regProc)
	p.Call("enter the mount namespace", unix.SYS_SETNS, sh.ns, unix.CLONE_NEWNS)
	p.Call("copy the mount namespace", unix.SYS_UNSHARE, unix.CLONE_NEWNS|unix.CLONE_NEWCGROUP)

	// Without a stash the disk is where the stash would be, and /proc is mounted over it: whoever takes a mount away waits
	// until no processor can be looking at it any more, which takes longer than all mounts here.
	disk, root := stash, ""
	if sh.stashes() {
		disk = stash + "disk/"
	}
	p.Call("mount the disk", unix.SYS_MOUNT, "tmpfs", disk, "tmpfs", mountFlags,
		fmt.Sprintf("mode=755,size=%d,nr_inodes=%d", b.spec.Limits.Disk, b.spec.Limits.Inodes+16))
	if sh.overlay {
		root = stash + "new"
		if err := b.overlay(&p, disk, root); err != nil {
			return nil, err
		}
	}
	for _, d := range []struct {
		name, target string
		mode         int
	}{{"workspace", sandbox.Workspace, 0o755}, {"tmp", "/tmp", 0o1777}, {"shm", "/dev/shm", 0o1777}, {"run", "/run", 0o755}} {
		p.Call("make "+d.target, unix.SYS_MKDIRAT, at, disk+d.name, d.mode)
		b.give(&p, disk+d.name)
		if sh.overlay {
			p.Call("make "+d.target, unix.SYS_MKDIRAT, at, root+d.target, 0o755).Allow(unix.EEXIST, unix.EROFS)
		}
		p.Call("mount "+d.target, unix.SYS_MOUNT, disk+d.name, root+d.target, "", unix.MS_BIND, 0)
	}
	p.Call("make "+scripts, unix.SYS_MKDIRAT, at, root+scripts, 0o755)
	p.Call("mount "+scripts, unix.SYS_MOVE_MOUNT, b.scripts, "", at, root+scripts, unix.MOVE_MOUNT_F_EMPTY_PATH)
	p.Call("protect "+scripts, unix.SYS_OPEN_TREE, at, root+scripts, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC).Save(regA)
	p.Call("protect "+scripts, unix.SYS_MOUNT_SETATTR, regA, "", unix.AT_EMPTY_PATH, rawclone.Bytes(&readOnly), unsafe.Sizeof(readOnly))
	p.Call("protect "+scripts, unix.SYS_MOVE_MOUNT, regA, "", at, root+scripts, unix.MOVE_MOUNT_F_EMPTY_PATH)
	for _, l := range sh.late {
		if err := b.late(&p, l, root); err != nil {
			return nil, err
		}
	}
	if sh.overlay {
		p.Call("enter the root", unix.SYS_CHDIR, root)
		p.Call("pivot to the root", unix.SYS_PIVOT_ROOT, ".", ".")
		p.Call("drop the old root", unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	} else if sh.stashes() {
		p.Call("drop the stash", unix.SYS_UMOUNT2, strings.TrimSuffix(stash, "/"), unix.MNT_DETACH)
	}
	p.Call("enter the root", unix.SYS_CHDIR, "/")
	p.Call("mount /proc", unix.SYS_MOVE_MOUNT, regProc, "", at, "/proc", unix.MOVE_MOUNT_F_EMPTY_PATH)
	for _, d := range h.maskDirs {
		p.Call("mask "+d, unix.SYS_MOUNT, "/dev/pts", d, "", unix.MS_BIND, 0) // an empty folder still
	}
	for _, f := range h.maskFiles {
		p.Call("mask "+f, unix.SYS_MOUNT, "/dev/null", f, "", unix.MS_BIND, 0)
	}
	if !b.server.hello.Cgroups.Enforces("memory") { // what System V has in the kernel is in no process's sum
		for _, l := range [][2]string{
			{"shmall", strconv.FormatInt(b.spec.Limits.Memory/int64(os.Getpagesize()), 10)},
			{"sem", "250 32000 32 128"}, // as on systems before Linux 3.19; today's would let semaphores take 64 GB
			{"msgmni", "32"},
		} {
			p.Call("limit "+l[0], unix.SYS_OPENAT, at, "/proc/sys/kernel/"+l[0], unix.O_WRONLY|unix.O_CLOEXEC, 0).Save(regA)
			p.Call("limit "+l[0], unix.SYS_WRITE, regA, l[1], len(l[1]))
		}
	}
	p.Call("protect /proc/sys", unix.SYS_MOUNT, "/proc/sys", "/proc/sys", "", unix.MS_BIND|unix.MS_REC, 0)
	p.Call("protect /proc/sys", unix.SYS_MOUNT_SETATTR, at, "/proc/sys", 0, rawclone.Bytes(&readOnly), unsafe.Sizeof(readOnly))
	p.Call("mount /dev/pts", unix.SYS_MOUNT, "devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,max=64")
	if b.spec.Network != sandbox.NetworkHost && b.net == nil {
		p.Call("loopback", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0).Save(regA)
		p.Call("loopback", unix.SYS_IOCTL, regA, unix.SIOCSIFFLAGS, rawclone.Bytes(&loopbackUp))
	}
	p.Call("set the host name", unix.SYS_SETHOSTNAME, hostfs.HostName, len(hostfs.HostName))
	if err := b.dropIDs(&p); err != nil {
		return nil, err
	}
	p.Call("no new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	p.Call("name", unix.SYS_PRCTL, unix.PR_SET_NAME, "init")
	p.Call("keep the end of the spawner in sight", unix.SYS_DUP3, h.hold, 0, 0)
	p.CloseFrom(1)
	p.Report()
	p.Call("close the rest", unix.SYS_CLOSE_RANGE, 1, ^uint32(0), 0)
	p.Hold(0)
	return &p, nil
}

// dropIDs turns the process into the sandbox's user, without any capability.
func (b *box) dropIDs(p *rawclone.Program) error {
	space, err := b.slot.space(b.shape.inside)
	if err != nil {
		return err
	}
	if space >= 0 {
		p.Call("enter the user namespace", unix.SYS_SETNS, space, unix.CLONE_NEWUSER)
	}
	b.becomeUser(p)
	return nil
}

func (b *box) becomeUser(p *rawclone.Program) {
	in := b.shape.inside
	if b.slot.refused != nil {
		in = ids{b.slot.uid, b.slot.gid}
	}
	p.Call("drop groups", unix.SYS_SETGROUPS, 0, 0).Allow(unix.EPERM) // an ordinary user cannot, and keeps none that anything here belongs to
	p.Call("set the group", unix.SYS_SETRESGID, in.gid, in.gid, in.gid)
	p.Call("set the user", unix.SYS_SETRESUID, in.uid, in.uid, in.uid)
	p.Call("drop capabilities", unix.SYS_CAPSET, rawclone.Bytes(&capHeader), rawclone.Bytes(&noCaps))
	// With fs.suid_dumpable a change of the user leaves it open to that user, and with it what it has open of the spawner's.
	p.Call("not dumpable", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// Structures of the kernel that calls point to.
var (
	ignore     = [4]uintptr{1} // struct sigaction with SIG_IGN
	readOnly   = unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	loopbackUp = [40]byte{'l', 'o', 16: unix.IFF_UP | unix.IFF_RUNNING} // struct ifreq
	capHeader  = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	noCaps     [2]unix.CapUserData
)

// removeTimeout bounds how long a dead sandbox may take to go.
const removeTimeout = 10 * time.Second

func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), removeTimeout)
}
