/**
 * The wrapper: a POSIX shell text passed by `sh -c`, so that no upgrade can replace it under a running command.
 * Positional parameters carry every value; nothing is ever interpolated into the text. Runs on dash, bash and busybox ash.
 *
 * Parameters: 1 run directory, 2 run id, 3 boot id, 4 pid namespace, 5 host id, 6 nice (program), 7 niceness, 8 memory in KiB,
 * 9 CPU seconds, 10 open files; then of the wrapper alone 11 shell, 12 the command's text, 13 setsid, 14 mkfifo, 15 sync, 16 mv;
 * then the command. Empty means "not asked for". Programs are absolute paths, because PATH is the command's.
 *
 * Descriptors: 1 and 2 are the O_APPEND logs, 3 the control socket of the starter, 4 the life pipe. Once it holds the life pipe and has
 * written `started`, the wrapper sends the same line on 3, which saves its starter a look at the disk; then it reads `go` from there.
 *
 * Choices:
 * - Shell variables bear the prefix `_wkf_`: assigning to a name that the command's environment holds would change it for the command.
 * - The command is waited for in the *foreground*, as a child in a session of its own. A background child (`&`) would start with
 *   SIGINT and SIGQUIT ignored, and a shell cannot undo that. In the foreground the shell waits across signals by itself:
 *   with a trap that does next to nothing, a signal's action is postponed to the end of the command. Never `trap ''`, which the
 *   command would inherit. Before `go` a signal interrupts `read`, in dash with the status of an end of file: hence the flag.
 * - setsid(1) forks only when it leads a process group; a shell's child does not, so the command keeps the pid that it recorded.
 * - `1<>` opens the preallocated record without truncating it. sync(1) with a file is fsync; where it takes none it syncs everything.
 * - After `go` the wrapper's own stderr goes nowhere: a shell prints "Killed", bash with this whole text, into what would be the
 *   command's log. The command's shell takes the log from descriptor 5 (dash applies the redirections of a command to itself, too).
 * - A `command` file without a record after the child's end means that nothing was executed (the disk was full): `nogo`, unspent. The wrapper
 *   reads it through descriptor 6, which it opened before the child began: a command may remove the file from its own run's folder, and an end
 *   that is on record as `nogo` would be a lie then. The braces take the redirection, because a shell survives one that fails there.
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

/** What becomes the command: parameters 1 to 10 as above, then the command. */
export const commandText = `
exec 2>&5 5>&- 6>&-
${identityText}
_wkf_identity > "$1/command" || exit 125
[ -z "$8" ] || ulimit -v "$8" || exit 126
[ -z "$9" ] || ulimit -t "$9" || exit 126
[ -z "\${10}" ] || ulimit -n "\${10}" || exit 126
_wkf_nice=$6 _wkf_niceness=$7
shift 10
[ -z "$_wkf_niceness" ] || set -- "$_wkf_nice" -n "$_wkf_niceness" "$@"
exec "$@" < "$_wkf_dir/input.json"
`;

export const wrapperText = `
trap '_wkf_signalled=1' HUP INT QUIT TERM USR1 USR2 ALRM PIPE
${identityText}
_wkf_nice=$6 _wkf_niceness=$7 _wkf_memory=$8 _wkf_cpu=$9 _wkf_files=\${10}
_wkf_shell=\${11} _wkf_text=\${12} _wkf_setsid=\${13} _wkf_mkfifo=\${14} _wkf_sync=\${15} _wkf_mv=\${16}
shift 16
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
  "$_wkf_nice" "$_wkf_niceness" "$_wkf_memory" "$_wkf_cpu" "$_wkf_files" "$@"
[ -z "$_wkf_setsid" ] || set -- "$_wkf_setsid" "$@"
exec 5>&2 2>/dev/null
_wkf_status=nogo
{
  "$@"
  _wkf_status=$?
  read -r _wkf_recorded <&6 || _wkf_status=nogo
} 6<> "$_wkf_dir/command"
_wkf_record "$_wkf_status"
exit 0
`;
