# The supervisor of one command: sh SUPERVISOR STATE COMMAND WAIT [FINISHED...]. Its stderr is the file msg, into which the shell writes
# that the command was killed by a signal.
S=$1 D=$2 w=$3 K=$PPID

# rel: ends the wait of the request that started this.
rel() {
	[ "$K" ] || return
	look $$
	[ "$pp" = "$K" ] && [ "$K" -gt 1 ] && kill -9 "$K"
	K=
}

# note FILE TEXT: writes it, if need be with the room that was kept for that.
note() {
	echo "$2" >"$D/$1"
	[ -s "$D/$1" ] || {
		: >"$D/room"
		echo "$2" >"$D/$1"
	}
} 2>/dev/null

# fin STATUS...: records the end, and sees to what a stop has left.
fin() {
	note end "$* ."
	: >"$D/room"
	if [ -s "$D/stop" ]; then
		rel
		read -r e <"$D/stop"
		while
			now
			[ "$t" -lt "$e" ] && hunt 0 && [ "$h" -gt 0 ]
		do
			sleep .1
		done
		kall
	fi 2>/dev/null
	exit 0
}

# enter: makes the workspace $W with the first command, and goes to the directory $d in it.
enter() {
	W=
	[ -s "$S/w" ] && IFS= read -r W <"$S/w"
	if [ ! "$W" ]; then
		W=$P
		[ -d "$W" ] || mkdir -p "$W"
		[ -d "$W" ] && [ -w "$W" ] && [ -x "$W" ] || W=$S/work
		echo "$W" >"$S/w.$$"
		mv -f "$S/w.$$" "$S/w"
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

# why REASON: the first one counts.
why() {
	(set -C; : >"$D/why") 2>/dev/null && note why "$1"
}

# collect STREAM: copies a stream into its file, up to the limit. It holds the pipe open, so that a command that floods it
# is blocked until it is killed.
collect() {
	ulimit -c 0
	[ "$L" = 0 ] || ulimit -f "$L"
	cat <&5 >"$D/$1" 5<&- &
	echo $! >"$D/c$1"
	wait $!
	r=$?
	case $r in
	0) ;;
	137) cat <&5 >/dev/null 5<&- & ;; # for what the command left running
	*)
		[ $r = 153 ] && why output || why disk # SIGXFSZ
		kall
		;;
	esac
} 2>/dev/null

# watch: the watchdog. USR1 says that the command has ended: then it waits until what it wrote is in the files, though
# others hold the pipes.
watch() {
	m= y=
	trap 'kill ${y:+$!}; wait; exit 0' TERM
	trap 'm=1; kill ${y:+$!}' USR1
	k=0
	while [ ! "$m" ] && [ ! -e "$D/rc" ]; do
		now
		e=$((t - T0))
		if [ "$K" ] && [ $e -ge 8 ]; then
			[ $e -ge "$w" ] || [ -s "$D/1" ] || [ -s "$D/2" ] && rel
		fi
		if [ "$T" -gt 0 ] && [ $e -ge "$T" ]; then
			why timeout
			T=0
			kall
		fi
		k=$((k + 1)) z=50 # no more, since bash may miss a signal that comes just before its wait
		if [ "$K" ]; then
			case $k in
			1) z=8 ;; # nothing is to be done before
			? | ??) z=3 ;;
			*) z=10 ;;
			esac
		fi
		[ "$T" -gt 0 ] && [ $((T - e)) -lt $z ] && z=$((T - e))
		nap $z
	done
	k=0
	while [ $k -lt 3 ]; do
		m=
		nap 1
		k=$((k + 1))
		for c in 1 2; do
			p=
			[ -s "$D/c$c" ] && read -r p <"$D/c$c"
			st=R
			[ "$p" ] && look "$p"
			case $st in
			S | Z | X | '') ;;
			*) k=0 ;;
			esac
		done
	done
	for c in 1 2; do
		read -r p <"$D/c$c"
		look "$p"
		[ "$st" = S ] && kill -9 "$p"
	done
	:
} 2>/dev/null

# nap HUNDREDTHS: sleeps, unless a signal came. $y says that $! is a process of this subshell's.
nap() {
	sleep $(($1 / 100)).$(($1 / 10 % 10))$(($1 % 10)) &
	y=1
	[ "$m" ] || wait $!
	[ $? = 1 ] && sleep 1
	:
}

# feed: gives the parts of stdin to the command, in their order.
feed() {
	m= y=
	trap 'kill ${y:+$!}; wait; exit 0' TERM
	until [ -s "$D/main" ]; do # it has opened the pipe
		nap 1
	done
	i=1 k=0
	while :; do
		if [ -e "$D/i$i" ]; then
			cat "$D/i$i" >&6 6>&- &
			echo $! >"$D/cf"
			wait $! || {
				: >"$D/shut"
				exit 0
			}
			echo "$i" >"$D/fed"
			rm -f "$D/i$i" &
			wait $!
			i=$((i + 1)) k=0
			continue
		fi
		if [ -s "$D/eof" ]; then
			read -r e <"$D/eof"
			[ $i -gt "$e" ] && exit 0
		fi
		k=$((k + 1))
		case $k in
		?) nap 1 ;;
		??) nap 4 ;;
		*) nap 10 ;;
		esac
	done
} 2>/dev/null

look $$
echo "$$ $bt" >"$D/pid"
shift 3
if [ $# -gt 0 ]; then
	(
		for i; do
			set -- "$@" "$S/x/$i/"*
			shift
		done
		exec rm -f "$@"
	) &
fi
. "$D/spec"
ulimit -S -m "$N" 2>/dev/null
printf '%16384s' x >"$D/room"
mkfifo "$D/p1" "$D/p2" ${F:+"$D/p0"} || fin fail "mkfifo did not work in $D: is there room?"
: >"$D/1"
: >"$D/2"
oom
O=$o
# The subshells close what is not theirs with exec: a shell keeps a copy of what it closes for one command only, and a
# writer that is left over keeps the readers from their end of file. Pipes are opened for both directions first: opening them for one would wait, and fail when a child ends meanwhile.
exec 7<>"$D/p1" 8<>"$D/p2"
exec 5<"$D/p1" 3>"$D/p1" 7<"$D/p2" 4>"$D/p2" 8>&-
{
	exec 3>&- 4>&- 7<&-
	collect 1
} &
c1=$!
exec 5<&7 7<&-
{
	exec 3>&- 4>&-
	collect 2
} &
c2=$!
exec 5<&-
now
T0=$t
trap '' USR1 # until the watchdog has its own trap
{
	exec 3>&- 4>&-
	watch
} &
a=$!
trap - USR1
i=/dev/null f=
[ -e "$D/in" ] && i=$D/in
if [ "$F" ]; then
	i=$D/p0
	exec 5<>"$i"
	exec 6>"$i" 5<&-
	{
		exec 3>&- 4>&-
		feed
	} &
	f=$!
	exec 6>&-
fi
if [ -e "$D/stop" ]; then
	rc=143 g=15
else
	(
		read -r p t </proc/self/stat
		echo "$p" >"$D/main"
		ulimit -S -m "$M"
		[ "$Q" = 0 ] || command ulimit -n "$Q"
		exec "$@" 2>&4 4>&-
	) <"$i" >&3 2>/dev/null 3>&-
	rc=$?
	g=0
	if [ $rc -gt 128 ]; then
		if [ -s "$D/msg" ]; then
			g=$((rc - 128))
		else
			case $rc$BASH_VERSION in
			130* | 141* | 143?*) g=$((rc - 128)) ;;
			esac
		fi
	fi
fi
now
: >"$D/rc"
exec 3>&- 4>&- 2>/dev/null
[ -s "$D/why" ] && kall
kill -USR1 $a
wait $c1 $c2
kill $a
if [ "$f" ]; then
	kill $f
	[ -s "$D/cf" ] && read -r p <"$D/cf" && kill "$p"
	wait $f
fi
wait $a
y=-
[ -s "$D/why" ] && read -r y <"$D/why"
[ -e "$D/stop" ] && y=$y+stop
x=0
if [ $rc != 0 ]; then
	oom
	x=$((o - O))
fi
fin $rc $g "$y" $((t - T0)) $x
