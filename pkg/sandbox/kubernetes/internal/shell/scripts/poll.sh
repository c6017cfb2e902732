# poll NUMBER ID WAIT SIZE1 SIZE2 BLOCK1 BLOCKS1 BLOCK2 BLOCKS2: waits for more than SIZE, or the end.
over "${2%%-*}"
D=$S/x/$2
now
e=$((t + $3)) k=0 a=$4 b=$5
n0=$6 m0=$7 n1=$8 m1=$9
while [ ! -s "$D/end" ] && [ "$t" -lt "$e" ]; do
	set -- $(cd "$D" && wc -c 1 2)
	[ "${1:-0}" -gt "$a" ] || [ "${3:-0}" -gt "$b" ] && break
	[ -s "$D/pid" ] && ! alive && break
	k=$((k + 1))
	case $k in
	?) sleep .01 ;;
	??) sleep .04 ;;
	*) sleep .1 ;;
	esac || sleep 1
	now
done 2>/dev/null
tell
out 1 "$n0" "$m0"
out 2 "$n1" "$m1"
echo .
