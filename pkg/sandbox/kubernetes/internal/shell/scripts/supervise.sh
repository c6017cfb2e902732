# The supervisor of one command: SUPERVISOR COMMAND KEEPER WAIT SETSID LACKS. Its stderr is the file msg, into which the shell writes
# that the command was killed by a signal.

# enter: makes the workspace $W with the first command, and goes to the directory $d in it.
enter() {
	W=
	[ -s "$S/w" ] && IFS= read -r W <"$S/w"
	if [ ! "$W" ]; then
		W=$P
		p=$P
		until [ ! "$p" ] || [ -d "$p" ]; do
			p=${p%/*}
		done
		[ -d "$W" ] || [ ! -w "$p/" ] || mkdir -p "$W"
		[ -d "$W" ] && [ -w "$W" ] && [ -x "$W" ] || W=$S/work
		[ -s "$S/w" ] || echo "$W" >"$S/w"
	fi
	[ -d "$W" ] && [ -d "$S/tmp" ] || mkdir -p "$W" "$S/tmp"
	cd "$W" && { [ ! "$d" ] || cd "$d"; } && return
	case $d in
	/*) p=$d ;;
	*) p=$W/$d ;;
	esac
	[ -e "$p" ] && fin notdir
	while p=${p%/*} && [ "$p" ]; do
		[ -d "$p" ] && break
		[ -e "$p" ] && fin notdir
	done
	fin nodir
} 2>/dev/null

# conduit NAME: fd 8 and 9 are the ends of a new pipe: that of a here-document, if the shell makes one for it, else a FIFO.
# There is a line in it.
conduit() {
	exec 8<<X
x
X
	[ -p /proc/self/fd/8 ] && command exec 9>/proc/self/fd/8 && return
	mkfifo "$D.p$1" || return
	exec 9<>"$D.p$1"
	exec 8<"$D.p$1"
	exec 9>"$D.p$1"
	echo x >&9
}

# copy STREAM PIPE FILE: puts what is in a stream's pipe into its file, both open. Since there is a line in the pipe that is no output,
# that waits for nobody who holds it, and one read gets all.
copy() {
	dd bs=1024k count=1 <&"$2" >&"$3"
	r=$?
	[ $r = 0 ] || {
		[ $r = 153 ] && why output || why disk # SIGXFSZ
		kall
	}
	read -r t z <"/proc/self/fdinfo/$3"
}

# all: $ps are all processes.
all() {
	set -- /proc/[0-9]*
	ps=" $* "
}

# more: whether a process that was not there when $ps was made has one of the pipes, or is another user's, of which that cannot be seen.
more() {
	for p in /proc/[0-9]*; do
		case $ps in *" $p "*) continue ;; esac
		[ -O "$p" ] || [ ! -e "$p" ] || return 0
		for f in "$p"/fd/*; do
			[ ! "$f" -ef /proc/self/fd/5 ] && [ ! "$f" -ef /proc/self/fd/7 ] || return 0
		done
	done
	return 1
}

# oom: $o is how many processes of the container the kernel has killed for memory.
oom() {
	o=0
	for f in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
		[ -r "$f" ] || continue
		while read -r k v; do
			[ "$k" = oom_kill ] && o=$v
		done <"$f"
		return
	done
}

# kept HUNDREDTHS: waits until the keeper holds the pipes.
kept() {
	now
	j=$((t + $1))
	until [ -s "$D.up" ] || [ "$t" -ge $j ]; do
		sleep .01 || sleep 1
		now
	done
	[ -s "$D.up" ]
}

D=$1 keeper=$2 w=$3 c=$4 lack=$5
S=${D%/x/*}
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2
look self
V=$me K=$pp
. "$D.spec"
ulimit -S -m "$N" 2>/dev/null
E=${D##*/}
[ ! -e "$S/over-${E%%-*}" ] || { # by a reset that did not see the mark
	rm -f "$D" "$D".*
	exit 0
}
i=/dev/null
[ -e "$D.in" ] && i=$D.in
[ "$F" = - ] || {
	i=$D.p0
	mkfifo "$i" || fin fail "mkfifo did not work in $D: is there room?"
}
conduit 1 && exec 5<&8 3>&9 && conduit 2 && exec 7<&8 4>&9 8<&- 9>&- || fin fail "there is no pipe in $D: is there room?"
exec 6>"$D.1" 9>"$D.2"
oom
O=$o
now
T0=$t
echo "$V $bt $K $T0 $T $L $B $N $F $lack" >"$D"
if [ "$keeper" ]; then
	keep "$keeper" "$w"
	kept 1000 || [ "$F" = - ] || { ! lock "$D.own" && kept 500; } || fin fail "nothing feeds stdin in $D: is there room?"
fi
rc=143 g=15
all
if [ ! -e "$D.stop" ] && [ ! -e "$D.why" ]; then # of a kill that did not see the mark
	(
		self
		now
		echo "$me $t" >"$D.main"
		ulimit -S -m "$M"
		[ "$Q" = 0 ] || command ulimit -n "$Q"
		exec 5<&- 7<&- 6>&- 9>&- 2>&4 4>&-
		exec $c "$@"
	) <"$i" >&3 2>/dev/null 3>&-
	rc=$? g=0
	if [ $rc -gt 128 ]; then
		if [ -s "$D.msg" ]; then
			g=$((rc - 128))
		else
			case $rc$BASH_VERSION in
			130* | 141* | 143?*) g=$((rc - 128)) ;;
			esac
		fi
	fi
fi
exec 2>/dev/null
trap '' HUP INT QUIT PIPE ALRM TERM USR1 USR2 # from now on for what this starts as well
began
now
h0=$((t - T0))
oom
[ "$T" -gt 0 ] && [ $h0 -ge "$T" ] && why timeout
exec 3>&- 4>&-
lock "$D.k" || {
	note rc "$rc $g $h0 $((o - O))" spec
	kept 500 || lock "$D.own" || kept 500
	read -r p pb <"$D.up" && look "$p" && [ "$bt" = "$pb" ] && kill -USR1 "$p" && {
		exec 6>&- 9>&- # whose room the next command may need
		j=0
		until [ -s "$D.end" ] || [ ! -e "$D.up" ] || [ $j -ge 100 ]; do # its files may be removed by the next command already
			j=$((j + 1))
			sleep .01 || sleep 1
		done
		exit 0
	}
	# It was faster, and its files may be gone; or it died with what was in the pipes.
	[ -s "$D.up" ] || [ -s "$D.end" ] || [ ! -e "$D.rc" ] && exit 0
}
: >"$D.main" # its number may become another's
[ -s "$D.why" ] && kall
ulimit -c 0
[ "$L" = 0 ] || ulimit -S -f "$L"
copy 1 5 6
z1=$z
copy 2 7 9
exec 6>&- 9>&-
# What the command left running may write on, which nobody wants.
if more; then
	(
		{ read -r r && exec cat >/dev/null; } <&5 5<&- 7<&- &
		{ read -r r && exec cat >/dev/null; } <&7 5<&- 7<&-
	) &
fi
record "$rc" "$g" "$h0" "$((o - O))" "$z1" "$z"
