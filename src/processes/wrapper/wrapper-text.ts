/**
 * The wrapper: a POSIX shell text for `sh -c`, for dash, bash and busybox ash. Decision 0004 has its parameters, its descriptors and the
 * reason of each unusual line: read it before changing one.
 */
const identityText = `
_wkf_dir=$1 _wkf_run=$2 _wkf_boot=$3 _wkf_namespace=$4 _wkf_host=$5
_wkf_identity() {
  if [ -r "/proc/$$/stat" ]; then
    read -r _wkf_stat < "/proc/$$/stat" || return 1
    set -- \${_wkf_stat##*) }
    _wkf_start=\${20}
  else
    set -- $(LC_ALL=C TZ=UTC0 /bin/ps -o lstart= -p $$)
    [ $# -eq 5 ] || return 1
    _wkf_start="$1_$2_$3_$4_$5"
  fi
  printf '%s %s %s %s %s %s\\n' "$_wkf_run" "$$" "$_wkf_start" "$_wkf_boot" "$_wkf_namespace" "$_wkf_host"
}
`;

/** What becomes the command. It gets parameters 1 to 12 of the wrapper, then the command. */
export const commandText = `
printf '%s\\n' "$2" >&2
exec 2>&5 5>&- 6>&- 7>&-
${identityText}
_wkf_identity > "$1/command" || exit 125
[ -z "$8" ] || ulimit -v "$8" || exit 126
[ -z "$9" ] || ulimit -t "$9" || exit 126
[ -z "\${10}" ] || ulimit -n "\${10}" || exit 126
_wkf_nice=$6 _wkf_niceness=$7 _wkf_stdin=\${11}
[ -z "\${12}" ] || umask "\${12}"
shift 12
[ -z "$_wkf_niceness" ] || set -- "$_wkf_nice" -n "$_wkf_niceness" "$@"
_wkf_unstarted() { printf 'unstarted\\n' >> "$_wkf_dir/command"; }
trap _wkf_unstarted EXIT
[ -z "\${BASH_VERSION-}" ] || shopt -s execfail 2>/dev/null
exec "$@" < "$_wkf_stdin"
_wkf_status=$?
trap - EXIT
_wkf_unstarted
exit "$_wkf_status"
`;

/** Enters a directory and becomes the program: parameters 1, and 2 with its arguments. `cd` would leave its two variables to the command. */
export const enterText = `
cd -P -- "$1" || exit 126
unset OLDPWD PWD
shift
exec "$@"
`;

export const wrapperText = `
trap '_wkf_signalled=1' HUP INT QUIT TERM USR1 USR2 ALRM PIPE
${identityText}
_wkf_nice=$6 _wkf_niceness=$7 _wkf_memory=$8 _wkf_cpu=$9 _wkf_files=\${10} _wkf_stdin=\${11} _wkf_umask=\${12}
_wkf_shell=\${13} _wkf_text=\${14} _wkf_setsid=\${15} _wkf_mkfifo=\${16} _wkf_sync=\${17} _wkf_mv=\${18}
shift 18
_wkf_record() {
  printf '%s %s %s\\n' "$_wkf_run" "$1" "$_wkf_boot" 1<> "$_wkf_dir/exit.new"
  "$_wkf_sync" "$_wkf_dir/exit.new"
  "$_wkf_mv" -f "$_wkf_dir/exit.new" "$_wkf_dir/exit"
}
"$_wkf_mkfifo" -m 600 "$_wkf_dir/alive"
[ ! -p "$_wkf_dir/alive" ] || exec 4<> "$_wkf_dir/alive"
_wkf_identity > "$_wkf_dir/started" || exit 1
_wkf_identity >&3
_wkf_go=
while :; do
  _wkf_signalled=
  read -r _wkf_go <&3 && break
  [ -n "$_wkf_signalled" ] || break
done
exec 3>&-
if [ "$_wkf_go" != go ]; then
  _wkf_record nogo
  exit 0
fi
set -- "$_wkf_shell" -c "$_wkf_text" wakeful "$_wkf_dir" "$_wkf_run" "$_wkf_boot" "$_wkf_namespace" "$_wkf_host" \\
  "$_wkf_nice" "$_wkf_niceness" "$_wkf_memory" "$_wkf_cpu" "$_wkf_files" "$_wkf_stdin" "$_wkf_umask" "$@"
[ -z "$_wkf_setsid" ] || set -- "$_wkf_setsid" "$@"
exec 5>&2 2>/dev/null 7</dev/null
[ ! -f "$_wkf_dir/shell.log" ] || exec 2<> "$_wkf_dir/shell.log" 7< "$_wkf_dir/shell.log"
_wkf_status=nogo
trap 'printf "%s nogo %s\\n" "$_wkf_run" "$_wkf_boot" 1<> "$_wkf_dir/exit.new"' EXIT
{
  "$@"
  _wkf_status=$?
  trap - EXIT
  read -r _wkf_recorded <&6 || _wkf_status=nogo
} 6<> "$_wkf_dir/command"
_wkf_end=unknown
while read -r _wkf_line; do
  case $_wkf_line in
    "") ;;
    "$_wkf_run") _wkf_end=code ;;
    *) [ "$_wkf_end" = unknown ] || _wkf_end=signal ;;
  esac
done <&7
case $_wkf_status$_wkf_end in 130code | 141code) _wkf_end=unknown ;; esac
printf '%s %s\\n' "$_wkf_run" "$_wkf_end" 1<> "$_wkf_dir/ended-by"
_wkf_record "$_wkf_status"
exit 0
`;
