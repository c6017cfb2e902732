# start NUMBER ID SUPERVISOR WAIT BLOCKS1 BLOCKS2 SPEC STDIN PART SCRIPT [FINISHED...]
D=$S/x/$2
if [ -e "$S/over-${2%%-*}" ]; then
	say over
	echo .
	exit
fi
for c in base64 cat dd env grep mkdir mkfifo mv sleep wc; do
	command -v "$c" >/dev/null || {
		say need "$c"
		echo .
		exit
	}
done
if mkdir "$D" 2>/dev/null; then
	if load "$D/spec" "$7" && load "$D/in" "$8" && load "$D/i1" "$9" && load "$D/script" "${10}"; then
		c=setsid
		command -v setsid >/dev/null || c=
		# In the foreground, so that no signal is ignored. The supervisor kills the subshell to end the wait.
		(
			n=$3 w=$4
			shift 10
			$c sh -c "$n" sbx "$S" "$D" "$w" "$@" </dev/null >/dev/null 2>"$D/msg"
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
