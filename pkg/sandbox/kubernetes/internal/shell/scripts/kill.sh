# kill NUMBER ID MARK SIGNAL REASON GRACE: a command that has not started never will.
over "${2%%-*}"
D=$S/x/$2 B=$3
if lock "$D"; then
	echo '143 15 -+stop 0 0 - - .' >"$D.end"
else
	if [ ! -s "$D.end" ]; then
		now
		[ "$5" = stop ] && echo $((t + $6)) >"$D.stop"
		[ "$5" ] && [ "$5" != stop ] && lock "$D.why" && echo "$5" >"$D.why"
		e=$((t + 500)) g=$4
		while [ ! -s "$D.end" ] && [ "$t" -lt "$e" ]; do
			hunt "$g"
			[ "$g" != 9 ] && [ "$h" -gt 0 ] && break
			[ ! -e "$D" ] || [ -s "$D" ] && ! alive && break
			sleep .02
			now
		done
	fi
	if [ "$4" = 9 ]; then
		kall
		# The supervisor as well: it is stopped, or what else it does is not its work. But where it has said how the command ended the
		# record is on its way.
		[ -s "$D.end" ] || { [ -s "$D.rc" ] && [ "$5" != kill ]; } || {
			B=$((B + 1024))
			kall
		}
	fi
fi
tell
echo .
