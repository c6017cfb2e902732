# Read by what runs a command, and by its keeper.

# note NAME TEXT [FILES]: writes a file of the command, if need be with the room that was kept for that, and that of FILES, which
# nobody reads any more.
note() {
	for nf in none room $3; do
		[ ! -s "$D.$nf" ] || : >"$D.$nf"
		echo "$2" >"$D.$1"
		[ ! -s "$D.$1" ] || return 0
	done
	return 1
} 2>/dev/null

# why REASON: the first one counts.
why() {
	lock "$D.why" && note why "$1"
}

# began: $T0 is when the command began; it fails if that is not known.
began() {
	pt=
	[ -s "$D.main" ] && read -r p pt <"$D.main"
	case $pt in
	'' | *[!0-9]*) return 1 ;;
	esac
	T0=$pt
}

# rel: ends the wait of the request that started the command: $K is what waits for the process $V.
rel() {
	[ "$K" ] || return
	look "$V"
	[ "$pp" = "$K" ] && [ "$K" -gt 1 ] && kill -9 "$K"
	K=
}

# fin STATUS...: records the end, and sees to what a stop has left.
fin() {
	note end "$* ." 'spec rc'
	: >"$D.room"
	if [ -s "$D.stop" ]; then
		rel
		read -r e <"$D.stop"
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

# record STATUS SIGNAL HUNDREDTHS OOM SIZE1 SIZE2: records the end of what has all its output in its files.
record() {
	reason=-
	[ -s "$D.why" ] && read -r reason <"$D.why"
	[ -e "$D.stop" ] && reason=$reason+stop
	fin "$1" "$2" "$reason" "$3" "$4" "$5" "$6"
}
