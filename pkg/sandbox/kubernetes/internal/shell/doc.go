// Package shell runs commands and moves files in one sandbox, over any Transport that can run one short command and put one
// file there. What runs in the sandbox is POSIX sh and the usual utilities: coreutils or busybox, dash or bash or ash. How a
// Transport gets there, and what a sandbox is, belongs elsewhere: nothing here knows of Kubernetes.
//
// # Requests
//
// A request is `sh -c SCRIPT sbx NUMBER ARGS...`, of at most 100 KiB, and none waits longer than 10 s. The scripts are in the
// folder scripts. Every answer is text:
//
//	sbx1 NUMBER BOOT STATE [TEXT]     NUMBER as in the request; BOOT: when the container's first process was started
//	1 BLOCK [SKIP]                    then base64: what stdout's file has from BLOCK (of 4096 bytes) on; SKIP bytes at its start are no output
//	1= LENGTH                         then so many bytes: all of stdout, as text
//	2 BLOCK [SKIP], 2= LENGTH         the same of stderr
//	.                                 the end, without which an answer counts as none
//
//	start   starts a command and waits for its end; a short command is one request, where the way takes under half a second
//	poll    waits for more output, or the end; the first one brings the command its keeper
//	feed    gives a part of stdin; waits until the part before it has been read
//	kill    sends a signal to all that a command started; a command that has not started never will
//	read    a part of a file, made readable for that time where only its mode forbids it
//	drop    removes uploads that nothing took
//	reset   kills and removes everything
//	probe   says what there is
//
// All of them may be sent again: a request that gets no answer is, for 75 s and once at least, with growing pauses. start makes the
// command's file, and only who makes it starts the command; parts of stdin are numbered; output is asked for by place; the
// file stays when its command is over; an epoch, part of each command's id, is closed by a reset, after which
// requests with it are refused, and a supervisor that is late leaves. A reset has a mark of its own: where it comes again
// the earlier one is killed, and once one has succeeded those that come later do nothing. So a command is carried out once at
// most, whatever is lost, late or repeated on the way. A BOOT that has changed says that the container was started anew: what
// ran in it is over, and the Shell is.
//
// At most Options.InFlight requests are made at a time, and two of them are kept free of those that wait in the sandbox; two
// at most are uploads, which over a slow line take minutes.
//
// start, poll and read are asked for as much data as comes in time: 4 MiB, an eighth with each answer that was too late, down
// to 64 KiB, and twice as much again where answers come at once. A request that is repeated asks anew.
//
// # Files in the sandbox
//
// The state folder is .sbxrun in the first of $TMPDIR, /tmp, /var/tmp, /dev/shm and $HOME that can be written to:
//
//	w          the path of the workspace: the preferred one, or work in this folder
//	tmp        $TMPDIR of commands
//	over-E     epoch E is closed; twice-E: the reset came more than once; clean-E: it has succeeded
//	x/ID       a command: the supervisor's process, when that was started, its parent, the command's limits; empty until it is up
//	x/ID.spec  variables, environment and arguments, as a script for the supervisor
//	  .script  Command.Script
//	  .in      stdin, if it came whole; i1, i2...: parts of it; eofN: N is the last; fed: of the last that was read; p0: its pipe
//	  .main    the main process, and when the command began
//	  .k       exists once it is settled who copies the output; up: the keeper does, its process and when that was started;
//	           own: a keeper that is late and the supervisor that gives it up settle it once more
//	  .1 .2    what came out of stdout and stderr
//	  .why     the first reason to kill it: timeout, output, disk, kill; stop: the end of its grace
//	  .rc      for the keeper: how the main process ended: STATUS SIGNAL HUNDREDTHS OOM
//	  .end     STATUS SIGNAL WHY HUNDREDTHS OOM SIZE1 SIZE2: how the command did; the sizes of .1 and .2 where the supervisor made them, else -
//	  .room    is given up for why, up, rc and end where a disk is full, and so are spec and rc when they have been read
//
// Files of commands that are over, but for x/ID, go with a later start. A command's output lies there until then.
//
// # A command
//
// Processes are what a command costs, so a short one has few. start forks the supervisor, which makes two pipes, runs the
// command in its foreground (with & it would ignore signals), copies what is in the pipes into the files, and is over; start
// answers. A command that is not over when the client looks after it, with a poll, gets a keeper: a process in a session of
// its own that opens the supervisor's pipes through /proc, puts a cat at each, enforces the limits, ends the wait of start by
// killing it, and writes the record of the end. The supervisor then only says how the main process ended. Who of the two
// copies the output is settled by a file that can be made once: a keeper that dies before it copies leaves that to the
// supervisor, and with one that dies later the command counts as killed. The time of a command begins when it does, not
// with its keeper. A command with a short time limit, or with stdin that comes in parts, has a keeper from its start on. Until
// there is a keeper nobody watches the time: a command that was over by itself after its limit is still one that met it, and
// one whose client is gone before that ends with the sandbox.
//
// Whoever is left by its parent becomes a child of the container's first process, and stays a zombie where
// that reaps none, as Agent Sandbox's Python runtime. A short command leaves nobody; one with a keeper leaves two,
// and a reset fails where hundreds have come together.
//
// With the end of the main process everything that is in the pipes is copied, and what holds the pipes then still has a
// reader, which the supervisor makes where a process that has come since the command began has them open, but is not waited for. The supervisor
// has a line in each pipe from the beginning, so that one read gets all and waits for nobody; the keeper waits until its cats
// sleep, or have ended. stdout and stderr are pipes and not the files themselves, since `> /dev/stderr` would cut a file;
// RLIMIT_FSIZE of the copies makes the output limit exact to 512 bytes however fast a command writes, and it is blocked, not
// signalled, until it is killed.
//
// The supervisor is in the process group of the request, and so is the command if no more is in it than that; else the
// command has a session of its own. It heeds none of the usual signals. KILL, sent by the command to its whole group, ends
// both: what a command without a keeper wrote before is lost then.
//
// Everything that a command starts carries a mark: a soft RLIMIT_RSS of its own, which the kernel does not enforce, children
// inherit through fork, exec and setsid, and /proc shows. A kill signals what has the mark, the main process, and their
// descendants, again and again until there are none. What sets that limit itself, and has no parent left among them, is not
// found; nor is a program of another user. Only the sandbox's end takes those.
//
// A shell reports death by signal N and status 128+N alike. The supervisor tells them apart by what the shell writes about
// a foreground command that was killed, which it does for all signals but INT and PIPE, bash also not for TERM: for those the
// status 130, 141 (143) counts as the signal. bash and busybox ignore QUIT.
//
// Durations are the kernel's uptime, in hundredths of a second. A command fails with LimitOOM where the container's
// control group counted an OOM kill while it ran, and with LimitDisk where its output could not be stored.
//
// Stdin up to 64 KiB, or of known length up to 8 MiB, goes along with start. Otherwise it goes in parts of at most 4 MiB
// while the command runs: one is read, one waits, one is on the way.
//
// # Files
//
// Send writes the stream anew (names below the folder, no symlink on the way, GNU format), checks in the sandbox that
// nothing is in the way, and has tar unpack it: batches of 4 MiB, larger files each by themselves through stdin. Receive
// lists with find and stat, matches here, and has tar pack what is small; pieces of what is large come by read requests, so
// that nothing is stored twice. Folders that the user may not read are listed without content.
//
// # What may lie
//
// The code under test has the rights of the protocol: it can write any of these files, kill the supervisor, replace programs
// in PATH. It can so forge its own result, which is its own doing in any case, and that of commands beside it in the same
// sandbox, and what Receive reads: that is what is in the sandbox. It cannot reach beyond: every answer is bounded in size,
// parsed by strict rules and made to no path of this machine; it has to repeat a number that no earlier answer had; time
// limits are enforced here as well, 15 s later and from the first answer that says that the command runs, and output limits to
// the byte; without an answer for 75 s the sandbox is lost.
// A supervisor that is dead without a record counts as death by KILL. reset guards against leftovers, not against hostility.
package shell
