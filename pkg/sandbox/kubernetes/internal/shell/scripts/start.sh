# start NUMBER ID SUPERVISOR WAIT BLOCKS1 BLOCKS2 SPEC STDIN PART SCRIPT KEEPER CLEAN [FINISHED...]
# Without the text of a KEEPER it is for a poll to bring one, if the command takes a while.
# The files of what has FINISHED may go: they do if CLEAN is 1, or there is no room.
D=$S/x/$2
over "${2%%-*}"
exec 2>/dev/null
for c in base64 cat dd env grep mkdir mkfifo mv sleep wc; do
	command -v "$c" >/dev/null || {
		say need "$c"
		echo .
		exit
	}
done
lack=
for c in find stat tar; do # before the command can remove them
	command -v "$c" >/dev/null || lack="$lack $c"
done
# put: the command's files, and room for what its supervisor writes, of which it keeps some.
put() {
	load "$D.spec" "$7" && load "$D.in" "$8" && load "$D.i1" "$9" && load "$D.script" "${10}" &&
		printf '%49152s' x >"$D.room" && printf '%16384s' x >"$D.room"
}
# clean: ends the shell that it is called in.
clean() {
	shift 12
	f=
	for c; do
		f="$f $c.*"
	done
	cd "$S/x" && exec rm -f $f
}
# supervise [KEEPER WAIT]: in the foreground of a subshell, so that no signal is ignored in the command.
supervise() {
	c=
	kill -0 -$$ || ! command -v setsid >/dev/null || c=setsid # but where the request is a group of its own
	set -- "$D" "$1" "$2" "$c" "$lack"
	if [ "$BASH_VERSION" ] && command -v declare >/dev/null; then # it says only where it reads a file that a signal ended a command
		{
			declare -f now look self lock hunt kall keep
			printf %s "$sup"
		} >"$D.sup"
		sh "$D.sup" "$@" </dev/null >/dev/null 2>"$D.msg"
	else
		(eval "$sup") </dev/null >/dev/null 2>"$D.msg"
	fi
	:
}
if lock "$D"; then
	command exec 7<"$D"
	if put "$@" || { (clean "$@"); put "$@"; }; then
		trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2 # sent to the command's group
		if [ "${12}" ]; then
			(clean "$@") >/dev/null &
		fi
		sup=$3
		if [ "${11}" ]; then
			(supervise "${11}" "$4") >/dev/null # the keeper kills it to end the wait
		else
			supervise
		fi
	else
		x="the command could not be put into $D: is there room?"
		echo "fail $x" >"$D.end"
		say fail "$x"
		echo .
		exit
	fi
elif [ ! -e "$D" ]; then
	say fail "cannot make $D: is there room?"
	echo .
	exit
fi
trap '' HUP INT QUIT PIPE ALRM TERM USR1 USR2 # what the command has left in its group may send some
tell
[ ! -s "$D.up" ] || echo kept
echo "lacks$lack"
out 1 0 "$5"
out 2 0 "$6"
[ "${11}" ] || wait # for what cleans, which would be left to a process that may not look after it
echo .
