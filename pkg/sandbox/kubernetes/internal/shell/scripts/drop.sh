# drop NUMBER PATH...: removes what was uploaded and taken by nothing.
shift
rm -f -- "$@" 2>/dev/null
say ok
echo .
