# Read by every request: finds the state folder $S; $n is the number that the answer repeats.
n=$1
for b in "$TMPDIR" /tmp /var/tmp /dev/shm "$HOME"; do
	case $b in /*) ;; *) continue ;; esac
	S=${b%/}/.sbxrun
	[ -w "$S/x" ] && break
	mkdir -p -m 700 "$S" "$S/x" "$S/tmp" "$S/work" 2>/dev/null && [ -w "$S/x" ] && break
	S=
done

# say STATE...: the first line of the answer.
say() {
	look 1
	printf 'sbx1 %s %s %s\n' "$n" "${bt:-0}" "$*"
}

# tell: says the state of the command $D. $x is the record of its end.
tell() {
	x=
	if [ -s "$D.end" ]; then
		IFS= read -r x <"$D.end"
		say end "$x"
	elif [ ! -e "$D" ]; then
		say none
	elif [ ! -s "$D" ]; then
		say new
	elif alive || [ -s "$D.end" ] || alive || [ -s "$D.end" ]; then # a keeper may have come between
		say run
	else
		say dead
	fi
}

# alive: whether the supervisor is there, or the keeper that took its place.
alive() {
	{ [ -s "$D.up" ] && read -r p pb <"$D.up"; } || read -r p pb p0 <"$D" || return
	look "$p"
	case $st in
	'' | Z | X) return 1 ;;
	esac
	[ "$bt" = "$pb" ]
}

# load FILE PAYLOAD: what came with the request as text (=), as base64 (+), or was uploaded (@).
load() {
	case $2 in
	=*) printf %s "${2#=}" >"$1" ;;
	+*) printf %s "${2#+}" | base64 -d >"$1" ;;
	@*) [ -e "$1" ] && [ ! -e "${2#@}" ] || mv -f -- "${2#@}" "$1" ;;
	esac
}

# out STREAM BLOCK BLOCKS: a part of the output so far. What a supervisor copied by itself begins with a line of its own; of that,
# a little text goes as it is.
out() {
	[ "$3" -gt 0 ] && [ -s "$D.$1" ] || return
	z=${x% .}
	[ "$1" = 2 ] || z=${z% *}
	z=${z##* }
	case $z in
	2) return ;;
	-) z= ;;
	'') [ -s "$D.up" ] || return ;; # the supervisor is about to say it
	esac
	if [ "${z:-9999}" -lt 2000 ] && [ "$2" = 0 ]; then
		o=
		{
			read -r l
			while IFS= read -r l; do
				o=$o$l$nl
			done
		} <"$D.$1"
		o=$o$l
		case $o in
		*[!\ -~$nl]*) ;;
		*)
			[ ${#o} = $((z - 2)) ] && printf '%s %s\n%s\n' "$1=" "${#o}" "$o" && return
			;;
		esac
	fi
	echo "$1 $2${z:+ 2}"
	dd if="$D.$1" bs=4096 skip="$2" count="$3" 2>/dev/null | base64
}
nl='
'

# over EPOCH: answers a request of the time before a reset.
over() {
	[ -e "$S/over-$1" ] || return
	say over
	echo .
	exit
}

if [ ! "$S" ]; then
	say fail 'no folder is writable: tried $TMPDIR, /tmp, /var/tmp, /dev/shm and $HOME'
	echo .
	exit
fi
