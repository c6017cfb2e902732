# Read by every request, and by the keeper. Comments and indentation are removed before a request is made.
unset CDPATH
LC_ALL=C
export LC_ALL
umask 022

# now: $t is the time in hundredths of a second.
now() {
	read -r t t0 </proc/uptime
	t=$((${t%.*} * 100 + 1${t#*.} - 100))
}

# look PID: $st is the state of a process, empty if there is none; $pp its parent, $bt when it was started, $me its number.
look() {
	l=
	{ while IFS= read -r ll; do l=$l$ll; done; } 2>/dev/null <"/proc/$1/stat"
	me=${l%% *}
	set -- ${l##*) }
	st=$1 pp=$2 bt=${20}
}

# self: $me is the number of the process that runs this, without the dozens of system calls that look costs.
self() {
	set -- /proc/self/task/*
	me=${1##*/}
}

# lock FILE: makes it, which can be done once.
lock() {
	set -C
	true 2>/dev/null >"$1"
	set -- "$?"
	set +C
	return "$1"
}

# All processes by number, as patterns: a parent comes before what it has started, and has the signal that its trap is for before
# the command that it waits for ends.
pn=/proc/[0-9]
numbered="$pn $pn[0-9] $pn[0-9][0-9] $pn[0-9][0-9][0-9] $pn[0-9][0-9][0-9][0-9] $pn[0-9][0-9][0-9][0-9][0-9] $pn[0-9][0-9][0-9][0-9][0-9][0-9]"

# hunt SIGNAL: sends it to what carries the mark $B, to the main process, and to their descendants; $h is how many it
# reached. A zombie is not reached.
hunt() {
	h=0 q=' ' s=$1
	[ ! -e "$D.rc" ] && [ -s "$D.main" ] && read -r p pt <"$D.main" && q=" $p "
	for f in $(grep -l "^Max resident set  *$B " /proc/[0-9]*/limits); do
		f=${f%/*}
		q="$q${f##*/} "
	done
	for f in $numbered; do
		p=${f##*/}
		look "$p"
		case $q in
		*" $p "*) ;;
		*" $pp "*) q="$q$p " ;;
		*) continue ;;
		esac
		case $st in
		'' | Z | X) ;;
		*) kill "-$s" "$p" && h=$((h + 1)) ;;
		esac
	done
} 2>/dev/null

# kall: KILL until nothing is left, for six seconds and more if each round takes its time.
kall() {
	j=0
	while
		hunt 9
		[ "$h" -gt 0 ] && [ "$j" -lt 300 ]
	do
		j=$((j + 1))
		sleep .02
	done
}

# keep TEXT WAIT: starts a keeper for the command. It goes if there is one, or the command is over.
keep() {
	[ ! -e "$D.k" ] || return
	own=setsid
	command -v setsid >/dev/null || own=
	$own sh -c "$1" sbx "$S" "$D" "$2" </dev/null >/dev/null 3>&- 4>&- 5<&- 6>&- 7<&- 9>&- &
} 2>/dev/null
