# poll NUMBER ID WAIT SIZE1 SIZE2 BLOCK1 BLOCKS1 BLOCK2 BLOCKS2 KEEPER: waits for more than SIZE, or the end. A command that has none
# gets the KEEPER.
over "${2%%-*}"
D=$S/x/$2
# arrived: whether the request that starts the command runs here, and has come to it: then it has the file open.
arrived() {
	for f in /proc/[0-9]*; do
		[ -e "$f/fd/7" ] || continue
		a= b=
		while IFS= read -r l || [ "$l" ]; do
			case $l in *"$d"*) a=1 ;; esac
			case $l in *con""duit*) b=1 ;; esac # a word of the supervisor's, not of this text
			[ ! "$a" ] || [ ! "$b" ] || return 0
		done <"$f/cmdline"
	done
	return 1
} 2>/dev/null
d=$2
now
e=$((t + $3)) k=0
if [ "${10}" ] && [ ! -s "$D.end" ]; then
	if [ ! -e "$D" ] && arrived && sleep .3 && [ ! -e "$D" ]; then
		say dead # what it started has removed its files
		echo .
		exit
	elif [ ! -s "$D" ]; then # its start is on its way
		tell
		echo .
		exit
	fi
	alive && keep "${10}" 0
fi
a=$4 b=$5
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
[ ! -s "$D.up" ] || echo kept
[ -s "$D" ] && read -r p pb k t0 t1 l b n f lack <"$D" && echo "lacks $lack"
out 1 "$n0" "$m0"
out 2 "$n1" "$m1"
echo .
