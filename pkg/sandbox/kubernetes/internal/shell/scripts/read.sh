# read NUMBER ABSOLUTE NAME BLOCK BLOCKS EPOCH: a part of a regular file. One that its owner may not read is made readable for that
# time.
over "$6"
N=$(printf %s "$3" | base64 -d && echo .) && N=${N%.}
if [ "$2" = 1 ]; then
	cd /
else
	IFS= read -r W <"$S/w" && cd "$W"
fi 2>/dev/null || N=
if [ ! "$N" ] || [ -h "$N" ] || [ ! -f "$N" ]; then
	say none
else
	M=
	[ -r "$N" ] || { M=$(stat -c %a "$N") && chmod u+r "$N"; } 2>/dev/null
	if [ -r "$N" ]; then
		say ok
		echo "1 $4"
		dd if="$N" bs=4096 skip="$4" count="$5" 2>/dev/null | base64
	else
		say denied
	fi
	[ "$M" ] && chmod "$M" "$N" 2>/dev/null
fi
echo .
