// Package local makes sandboxes on this machine, of what the Linux kernel has: no daemon, no image, no root needed.
//
// A run has one more process, the spawner (internal/spawner): it makes the sandboxes, owns them, and ends them all when
// the socket to it ends, however that comes about. This package is the other end of the socket: it moves output and
// files, watches the time, and turns what happens into the contract of package sandbox.
//
// A sandbox has mount, PID, network, IPC, UTS, cgroup and user namespaces of its own, a user id of its own where root
// makes it, no capability, a filter of system calls, and limits. Its root is a read-only allowlist of the host
// (internal/hostfs), or a folder under an overlay. One tmpfs holds all that it can write to. Scripts of commands have
// one that only the spawner can write to: what runs on in a sandbox has no hand in what a later command is told to do,
// whoever its user is.
//
// A spawner that is killed takes its sandboxes with it, but not the run: the next Acquire starts another one.
//
// The spawner is this very program, started again as /proc/self/exe; importing this package is all that a binary, or a
// test, needs for that. It takes over in a package initialiser, before main and before much else was initialised. That is a
// third of the time of a short run, so whoever still has to find out what to run has it start Ahead.
//
// # Why a spawner that clones
//
// Three ways into a sandbox were tried, by the time of create, execute true, destroy:
//
//   - To execute the program once more for each sandbox: simple, but a Go program takes longer to start than all the
//     namespaces together, and for each command a second time.
//   - A small helper binary: half of that, but a second program to build for each architecture, to ship and to find.
//   - To clone the spawner, and let the child do nothing but a prepared list of system calls (internal/rawclone). Nothing
//     is executed but the command itself. This is what is done here: the list is data, errors name the call that failed,
//     and the unusual part is one loop in one package.
//
// What sandboxes of a kind have in common is mounted once, in a mount namespace without a process, and copied.
//
// # What is used again
//
// The kernel takes longer to make some things, and above all to clear them away, than for all else in a sandbox of one
// short command. These serve one sandbox after the other: a user id with its namespaces; a control group, once nothing is
// charged to it any more (cgroup.Pool); a network namespace, if nothing has happened in it (internal/netkeep). What is not
// as good as new is thrown away. Whatever holds files or processes, or names of them, is made for each sandbox.
//
// # What has to be there
//
// Linux 5.12. Control groups of version 2 or 1 that may be written to, or a systemd that gives one; without them memory
// and cpu are approximated, and Warnings says so. Ordinary users need user namespaces; where those are refused, Acquire
// says by what and what to do, with KindUnsupported. Nothing is ever made weaker without being said.
package local
