# poll NUMBER ID WAIT SIZE1 SIZE2 BLOCK1 BLOCKS1 BLOCK2 BLOCKS2 KEEPER: waits for more than SIZE, or the end. A command that has none
# gets the KEEPER.
over "${2%%-*}"
D=$S/x/$2
now
e=$((t + $3)) k=0
if [ "${10}" ] && [ ! -s "$D.end" ]; then
	if [ -s "$D" ]; then
		keep "${10}" 0
	else
		e=0 # its start is on its way
	fi
fi
a=$4 b=$5 d=$2
n0=$6 m0=$7 n1=$8 m1=$9
while [ ! -s "$D.end" ] && [ "$t" -lt "$e" ]; do
	set -- $(cd "$S/x" && wc -c "$d.1" "$d.2")
	[ "${1:-0}" -gt "$a" ] || [ "${3:-0}" -gt "$b" ] && break
	[ -s "$D" ] && ! alive && break
	k=$((k + 1))
	case $k in
	?) sleep .01 ;;
	??) sleep .04 ;;
	*) sleep .1 ;;
	esac || sleep 1
	now
done 2>/dev/null
tell
[ -s "$D.t" ] && read -r t0 t1 l b n f lack <"$D.t" && echo "lacks $lack"
out 1 "$n0" "$m0"
out 2 "$n1" "$m1"
echo .
