import type { HostId, RunId } from "../../domain/ids.ts";
import type { ProcessIdentity } from "../probe/identity.ts";
import type { ProcessRow } from "../probe/process-stat.ts";
import type { RunMarker } from "../run-folder/run-marker.ts";

/** What is known about one run and its neighbours when its processes are looked for. */
export interface RunMembersQuery {
  readonly runId: RunId;
  readonly hostId: HostId;
  readonly rows: readonly ProcessRow[];
  /** The marker a process bears; `undefined` for none and for unreadable. */
  readonly markerOf: (row: ProcessRow) => RunMarker | undefined;
  readonly ageMsOf: (row: ProcessRow) => number | undefined;
  readonly selfPid: number;
  /** `undefined`: the command never recorded itself. */
  readonly command: ProcessIdentity | undefined;
  readonly wrapper: ProcessIdentity | undefined;
  /** Wrappers of other runs, and the processes of registered sessions: never members, nor is anything below them. */
  readonly shielded: readonly ProcessIdentity[];
  /** Processes seen to be members before, in case their parents have gone meanwhile. */
  readonly seen: readonly ProcessIdentity[];
  /** Processes younger than the run that hold its life pipe as the wrapper handed it down, whatever else they have left behind. */
  readonly holders: readonly ProcessIdentity[];
  /** How long ago the command ended at the latest, if it ended; `undefined`: not known. */
  readonly endedAgoMs: number | undefined;
}

/**
 * `member`: of this run. `shield`: a wrapper, a session, or below one. `other_run`: bears another run's marker, or is below such a
 * process. `none`: nothing is known that would make it ours.
 */
type Standing = "member" | "shield" | "other_run" | "none";

const isRow = (row: ProcessRow, identity: ProcessIdentity | undefined): boolean =>
  identity !== undefined && row.pid === identity.pid && row.startTime === identity.startTime;

/**
 * Which processes belong to a run: its command, what is below it, members of its session, what bears its marker, and what was seen
 * to belong before; and, where these were looked for, holders of its life pipe. Pure; the caller has checked that the identities are of this host, boot and namespace.
 *
 * The nearest ancestor that says anything decides: below the daemon and the wrapper stands the command, which is ours; below the
 * command may stand a nested worker, which is not. Init shields nobody below itself, because orphans of every run are its children.
 */
export function runMembers(query: RunMembersQuery): readonly ProcessRow[] {
  const byPid = new Map(query.rows.map((row) => [row.pid, row]));
  const standings = new Map<number, Standing>();
  const ownSession = sessionTest(query, byPid);

  const standingOf = (row: ProcessRow): Standing => {
    const known = standings.get(row.pid);
    if (known !== undefined) return known;
    // A snapshot is not taken in one instant, so a pid reused within it could make a circle; a circle proves nothing.
    standings.set(row.pid, "none");
    const standing = judge(row);
    standings.set(row.pid, standing);
    return standing;
  };

  const judge = (row: ProcessRow): Standing => {
    if (row.pid === 1) return "none";
    if (row.pid === query.selfPid || isRow(row, query.wrapper) || query.shielded.some((identity) => isRow(row, identity))) return "shield";
    if (isRow(row, query.command)) return "member";
    const marker = query.markerOf(row);
    const ownMarker = marker !== undefined && marker.runId === query.runId && marker.hostId === query.hostId;
    if (marker !== undefined && !ownMarker) return "other_run";
    const parent = byPid.get(row.parentPid);
    // The wrapper's own helpers (sync, mv) bear the marker too, and must finish the exit record. Before there is a command, its
    // child is the shell that is about to become it.
    if (parent !== undefined && isRow(parent, query.wrapper)) return query.command === undefined ? "member" : "shield";
    const above = parent === undefined ? "none" : standingOf(parent);
    if (above === "shield") return "shield";
    if (ownMarker || query.seen.some((identity) => isRow(row, identity))) return "member";
    if (above === "other_run") return "other_run";
    // Last, because a holder may also be another run's, which inherited the pipe from the run around it.
    const holds = query.holders.some((identity) => isRow(row, identity));
    return holds || above === "member" || ownSession(row) ? "member" : "none";
  };

  return query.rows.filter((row) => standingOf(row) === "member");
}

/**
 * Whether a process is in the command's session. A session is named by its leader's pid, which is not given away while the session has
 * members. So it is the command's while the command is the one that has the pid; and when nobody has it, for processes older than the
 * command's end. Anything younger may be of a later session whose leader had the same pid and left, as daemons do.
 */
function sessionTest(query: RunMembersQuery, byPid: ReadonlyMap<number, ProcessRow>): (row: ProcessRow) => boolean {
  const { command, wrapper, endedAgoMs } = query;
  if (command === undefined) return () => false;
  const leader = byPid.get(command.pid);
  if (leader !== undefined) {
    // Without setsid (macOS) the session is the wrapper's or nobody's: then it says nothing about the command.
    const leads = isRow(leader, command) && leader.sessionId === command.pid && command.pid !== wrapper?.pid;
    return (row) => leads && row.sessionId === command.pid;
  }
  if (endedAgoMs === undefined) return () => false;
  return (row) => row.sessionId === command.pid && (query.ageMsOf(row) ?? 0) > endedAgoMs;
}
