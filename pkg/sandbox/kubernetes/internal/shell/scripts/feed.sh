# feed NUMBER ID PART WAIT LAST PAYLOAD: gives part PART of stdin; an empty PAYLOAD is none. LAST is 1 with the last part.
[ -e "$S/over-${2%%-*}" ] && case $6 in @*) rm -f -- "${6#@}" ;; esac
over "${2%%-*}"
D=$S/x/$2
if [ -e "$D" ] && [ ! -s "$D.end" ]; then
	f=0
	[ -s "$D.fed" ] && read -r f <"$D.fed"
	if [ "$6" ] && [ "$3" -gt "${f:-0}" ] && [ ! -e "$D.i$3" ]; then
		load "$D.t$n" "$6" 2>/dev/null && mv -f "$D.t$n" "$D.i$3" || {
			rm -f "$D.t$n"
			k=0 # the same request, sent twice, may be giving it at this moment
			while [ ! -s "$D.end" ] && [ ! -e "$D.i$3" ] && [ "$3" -gt "${f:-0}" ] && [ "$k" -lt 20 ]; do
				k=$((k + 1))
				sleep .05 || sleep 1
				[ -s "$D.fed" ] && read -r f <"$D.fed"
			done
			[ "$k" -lt 20 ] || {
				say fail "stdin could not be put into $D: is there room?"
				echo .
				exit
			}
		}
	fi
	case $6 in @*) rm -f -- "${6#@}" ;; esac
	[ "$5" != 1 ] || true >"$D.eof$3" || {
		say fail "the end of stdin could not be put into $D: is there room?"
		echo .
		exit
	}
	now
	e=$((t + $4)) k=0
	while [ ! -s "$D.end" ] && [ ! -e "$D.shut" ] && [ "$t" -lt "$e" ]; do
		[ -s "$D.fed" ] && read -r f <"$D.fed"
		[ "${f:-0}" -ge $(($3 - 1)) ] && break
		[ -s "$D" ] && ! alive && break
		k=$((k + 1))
		case $k in
		?) sleep .01 ;;
		*) sleep .05 ;;
		esac || sleep 1
		now
	done
elif [ -s "$D.end" ]; then # not where the start is on its way: that there is no such command may have changed since
	case $6 in @*) rm -f -- "${6#@}" ;; esac
fi
if [ -e "$D.shut" ] && [ ! -s "$D.end" ]; then
	say shut
else
	tell
fi
echo "fed ${f:-0}"
echo .
