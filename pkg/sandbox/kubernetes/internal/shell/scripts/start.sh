# start NUMBER ID SUPERVISOR WAIT BLOCKS1 BLOCKS2 SPEC STDIN PART SCRIPT CLEAN [FINISHED...]
# The files of what has FINISHED may go: they do if CLEAN is 1, or there is no room.
D=$S/x/$2
over "${2%%-*}"
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
put() {
	load "$D/spec" "$7" && load "$D/in" "$8" && load "$D/i1" "$9" && load "$D/script" "${10}" && printf %s "$3" >"$D/sup"
}
clean() {
	shift 11
	for c; do
		rm -f "$S/x/$c/"*
	done
}
if mkdir "$D" 2>/dev/null; then
	if put "$@" || { clean "$@"; put "$@"; }; then
		c=setsid
		command -v setsid >/dev/null || c=
		# A file, since bash says by which signals commands ended only where it reads one. In the foreground, so that no signal is ignored. The supervisor kills the subshell to end the wait.
		(
			w=$4
			[ "${11}" ] && shift 11 || shift $#
			$c sh "$D/sup" "$S" "$D" "$w" "$@" </dev/null >/dev/null 2>"$D/msg"
			:
		)
	else
		x="the command could not be put into $D: is there room?"
		echo "fail $x" >"$D/end"
		say fail "$x"
		echo .
		exit
	fi
elif [ ! -d "$D" ]; then
	say fail "cannot make $D: is there room?"
	echo .
	exit
fi 2>/dev/null
tell
echo "lacks$lack"
out 1 0 "$5"
out 2 0 "$6"
echo .
