# The keeper of a command that takes a while: sh -c KEEPER sbx STATE COMMAND WAIT. It copies the output, enforces the limits and feeds stdin.
S=$1 D=$2 w=$3

# copy STREAM: copies a stream into its file, up to the limit. The keeper holds the pipe open as well, so that a command that
# floods it is blocked until it is killed.
copy() {
	read -r r <&5 # the line that is no output
	ulimit -c 0
	[ "$L" = 0 ] || ulimit -f "$L"
	exec cat <&5 >"$D.$1" 5<&- 7<&-
}

# tend: $n is how many of the copies $c1 and $c2 have ended, $idle empty if one of the others is at work. One that has failed met a
# limit.
tend() {
	n=0 idle=1
	for s in 1 2; do
		eval "c=\$c$s"
		[ "$c" ] && look "$c" || st=
		case $st in
		S) ;;
		Z | X | '')
			n=$((n + 1))
			[ "$c" ] || continue
			wait "$c"
			r=$?
			[ $r != 138 ] || { # USR1 came
				wait "$c"
				r=$?
			}
			eval "c$s="
			case $r in
			0) ;;
			137) drain $s ;;
			*)
				[ $r = 153 ] && why output || why disk # SIGXFSZ
				kall
				;;
			esac
			;;
		*) idle= ;;
		esac
	done
}

# drain STREAM: for what writes to it though nobody wants that.
drain() {
	if [ "$1" = 1 ]; then
		cat <&5 >/dev/null 5<&- 7<&- &
	else
		cat <&7 >/dev/null 5<&- 7<&- &
	fi
}

# nap HUNDREDTHS: sleeps, unless a signal came. $y says that $! is a process of this subshell's. Where a signal interrupts its
# wait, bash loses how another process ended: it takes none, and does not sleep for long.
nap() {
	if [ "$BASH_VERSION" ]; then
		[ "$1" -lt 10 ] || set -- 10
		sleep .$(($1 / 10))$(($1 % 10)) || sleep 1
		return
	fi
	sleep $(($1 / 100)).$(($1 / 10 % 10))$(($1 % 10)) &
	y=1
	[ "$m" ] || wait $!
	[ $? = 1 ] && sleep 1
	y=
}

# feed: gives the parts of stdin to the command, in their order.
feed() {
	m= y=
	trap 'kill ${y:+$!}; wait; exit 0' TERM
	until [ -s "$D.main" ]; do # it has opened the pipe
		nap 1
	done
	i=1 k=0
	while :; do
		if [ -e "$D.i$i" ]; then
			cat "$D.i$i" >&6 6>&- &
			y=1
			echo $! >"$D.cf"
			wait $! || {
				: >"$D.cf"
				: >"$D.shut"
				exit 0
			}
			y=
			: >"$D.cf"
			: >"$D.i$i" # which is room for what follows, where there is none
			echo "$i" >"$D.fed"
			rm -f "$D.i$i" &
			wait $!
			i=$((i + 1)) k=0
			continue
		fi
		[ ! -e "$D.eof$((i - 1))" ] || exit 0
		k=$((k + 1))
		case $k in
		?) nap 1 ;;
		??) nap 4 ;;
		*) nap 10 ;;
		esac
	done
}

exec 2>/dev/null
read -r V vb K T0 T L B N F k <"$D"
A=$T0
look "$V"
[ "$bt" = "$vb" ] || exit
ulimit -S -m "$N"
command exec 5<"/proc/$V/fd/5" 7<"/proc/$V/fd/7" || exit
lock "$D.k" || exit
look self
m= y=
# The command has ended.
if [ "$BASH_VERSION" ]; then
	trap '' USR1
else
	trap 'm=1; kill ${y:+$!}' USR1
fi
# For both directions first: for one it would wait.
[ "$F" = - ] || exec 8<>"$D.p0" 6>"$D.p0" 8<&-
lock "$D.own" || exit # it took so long that the supervisor does it
# From here on the output is lost with this keeper, but where it could not begin to copy.
begun=
trap '[ "$begun" ] || : >"$D.up"' EXIT
note up "$me $bt" spec
# Each closes what is not its own with exec: a shell keeps a copy of what it closes for one command only, and a writer that
# is left over keeps the reader from its end of file.
{
	exec 6>&-
	copy 1
} &
c1=$! begun=1
{
	exec 6>&- 5<&7
	copy 2
} &
c2=$!
c3=
[ "$F" = - ] || {
	{
		exec 5<&- 7<&-
		feed
	} &
	c3=$!
	exec 6>&-
}
k=0 ran=
until [ "$m" ] || [ -s "$D.rc" ]; do
	now
	[ "$ran" ] || if began; then
		ran=1
	elif [ ! -e "$D.main" ]; then
		T0=$t # not yet
	fi
	e=$((t - T0))
	[ $((t - A)) -ge "$w" ] || [ -s "$D.1" ] || [ -s "$D.2" ] && rel
	if [ "$T" -gt 0 ] && [ $e -ge "$T" ]; then
		why timeout
		T=0
		kall
	fi
	tend
	look "$V"
	[ "$bt" = "$vb" ] || st=
	case $st in
	Z | X | '') # it has ended, or somebody killed it
		[ -s "$D.rc" ] || {
			note rc "137 9 $e 0" spec
			kall
			m=1 # also where that cannot be written
		}
		;;
	esac
	k=$((k + 1)) z=30 # no more, since a signal that comes just before the wait is missed
	if [ "$K" ]; then
		case $k in
		? | ??) z=3 ;;
		*) z=10 ;;
		esac
	fi
	[ "$T" -gt 0 ] && [ $((T - e)) -lt $z ] && z=$((T - e))
	nap $z
done
[ -s "$D.why" ] && kall
if [ "$c3" ]; then
	look "$c3"
	[ "$pp" = $$ ] && kill "$c3"
	[ -s "$D.cf" ] && read -r p <"$D.cf" && kill "$p"
fi
# What it wrote has to be in the files, though others hold the pipes.
now
k=0 i=0 till=$((t + 500))
while
	tend
	now
	[ $n -lt 2 ] && [ $k -lt 3 ] && { [ $i -lt 100 ] || [ "$t" -lt $till ]; }
do
	k=$((k + 1)) i=$((i + 1))
	[ "$idle" ] || k=0
	m=
	nap 1
done
[ "$c1" ] && kill -9 $c1 && drain 1
[ "$c2" ] && kill -9 $c2 && drain 2
read -r rc g e o <"$D.rc" || { # which could not be written
	now
	rc=137 g=9 e=$((t - T0)) o=0
}
record "$rc" "$g" "$e" "$o" - -
