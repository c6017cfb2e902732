# reset NUMBER EPOCH MARKS MARK: kills what carries any of the MARKS, empties workspace, TMPDIR and state folder, removes uploads, and says
# what it could not. Ended processes that nobody reaps count in the pod's limit: with hundreds of them it is not used again.
E=$2 D=$S/x/none
lock "$S/over-$E" || : >"$S/twice-$E"
W=
[ -s "$S/w" ] && IFS= read -r W <"$S/w"
for c in find grep rm sleep; do
	command -v "$c" >/dev/null || {
		say need "$c"
		echo .
		exit
	}
done
cd /

# others: what else the request does, if it was sent more than once, ends: what is in the sandbox afterwards is not its own.
others() {
	[ -e "$S/twice-$E" ] || return
	B=$1
	kall
}

# purge MARKS MARK: kills and removes, and prints what it could not. It carries a MARK of its own.
purge() {
	ulimit -S -m $(($2 / 1024))
	[ ! -e "$S/clean-$E" ] || return 0
	B=$1
	# A start that was under way when the epoch was closed may come through until the second kill, and write.
	for round in 1 2 3; do
		kall
		for d in ${W:+"$W"} "$S/tmp" "$S/x"; do
			[ -d "$d" ] || mkdir -p "$d"
			chmod u+rwx "$d"
			find "$d" ! -path "$d" -exec rm -rf {} +
			[ "$(ls -A "$d")" ] || continue
			find "$d" -type d ! -perm -700 -exec chmod u+rwx {} \; -exec find {} -type d -exec chmod u+rwx {} \;
			find "$d" ! -path "$d" -exec rm -rf {} +
		done
		kall
		full=
		for d in ${W:+"$W"} "$S/tmp" "$S/x"; do
			[ ! "$(ls -A "$d")" ] || full=1
		done
		[ "$full" ] || break
	done
	rm -rf "$S/parts" /app/sbx-????????????????-*
	for b in "$TMPDIR" /tmp /var/tmp /dev/shm "$HOME"; do
		rm -rf "${b%/}/.sbxrun-files" "${b%/}/.sbxrun/parts"
	done
	x=
	[ "$h" = 0 ] || x="$h processes cannot be killed"
	m=300
	for f in pids.max pids/pids.max; do
		[ -r "/sys/fs/cgroup/$f" ] && read -r p <"/sys/fs/cgroup/$f" && [ "$p" -lt 600 ] && m=$((p / 2))
	done
	set -- /proc/[0-9]*
	if [ $# -ge $m ]; then
		set -- $(grep -l '^State:.Z' /proc/[0-9]*/status)
		[ $# -lt $m ] || x="$m ended processes or more are left, which its first process does not reap"
	fi
	for d in ${W:+"$W"} "$S/tmp" "$S/x"; do
		[ -d "$d" ] && [ -w "$d" ] && [ ! "$(ls -A "$d")" ] || x="$d cannot be emptied"
	done
	for f in "$S/parts" /app/sbx-????????????????-*; do
		[ ! -e "$f" ] || x="$f cannot be removed"
	done
	for b in "$TMPDIR" /tmp /var/tmp /dev/shm "$HOME"; do
		for f in "${b%/}/.sbxrun-files" "${b%/}/.sbxrun/parts"; do
			[ ! -e "$f" ] || x="$f cannot be removed"
		done
	done
	printf %s "$x"
}

exec 2>/dev/null
[ -e "$S/clean-$E" ] || others "$4"
x=$(purge "$3" "$4") || exit # another one is at it
if [ ! "$x" ]; then
	: >"$S/clean-$E"
	others "$4"
fi
say ok "$x"
echo .
