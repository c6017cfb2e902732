# start NUMBER ID SUPERVISOR WAIT BLOCKS1 BLOCKS2 SPEC STDIN PART SCRIPT [FINISHED...]
D=$S/x/$2
over "${2%%-*}"
for c in base64 cat dd env grep mkdir mkfifo mv sleep wc; do
	command -v "$c" >/dev/null || {
		say need "$c"
		echo .
		exit
	}
done
if mkdir "$D" 2>/dev/null; then
	if load "$D/spec" "$7" && load "$D/in" "$8" && load "$D/i1" "$9" && load "$D/script" "${10}" && printf %s "$3" >"$D/sup"; then
		c=setsid
		command -v setsid >/dev/null || c=
		# A file, since bash says by which signals commands ended only where it reads one. In the foreground, so that no signal is ignored. The supervisor kills the subshell to end the wait.
		(
			w=$4
			shift 10
			$c sh "$D/sup" "$S" "$D" "$w" "$@" </dev/null >/dev/null 2>"$D/msg"
			:
		)
	else
		echo "fail the command could not be put into $D: is there room?" >"$D/end"
	fi
elif [ ! -d "$D" ]; then
	say fail "cannot make $D: is there room?"
	echo .
	exit
fi 2>/dev/null
tell
out 1 0 "$5"
out 2 0 "$6"
echo .
