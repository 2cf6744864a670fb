import type { HostId, RunId } from "../../domain/ids.ts";
import type { ProcessIdentity } from "../probe/identity.ts";
import type { ProcessRow } from "../probe/process-stat.ts";
import type { RunMarker } from "../run-folder/run-marker.ts";

/** One run and its neighbours, as known when its processes are searched. */
export interface RunMembersQuery {
  readonly runId: RunId;
  readonly hostId: HostId;
  readonly processes: ProcessesSeen;
  /** `undefined`: the command did not record itself. */
  readonly command: ProcessIdentity | undefined;
  readonly wrapper: ProcessIdentity | undefined;
  /** Wrappers of other runs and processes of registered sessions: neither they nor anything below them are members. */
  readonly shielded: readonly ProcessIdentity[];
  /** Processes that were members before; their parents may have ended since. */
  readonly seen: readonly ProcessIdentity[];
  /** Processes younger than the run that hold its life pipe as the wrapper handed it down. */
  readonly holders: readonly ProcessIdentity[];
  /** How long ago the command ended, at the latest, if it ended; `undefined`: unknown. */
  readonly endedAgoMs: number | undefined;
}

/** The processes of this machine, as one look shows them. */
interface ProcessesSeen {
  readonly rows: readonly ProcessRow[];
  /** The marker that a process bears; `undefined`: none, or unreadable. */
  readonly markerOf: (row: ProcessRow) => RunMarker | undefined;
  readonly ageMsOf: (row: ProcessRow) => number | undefined;
  readonly selfPid: number;
}

/**
 * `member`: of this run. `shield`: a wrapper, a session, or below one. `other_run`: bears another run's marker, or is below such a
 * process. `none`: nothing is known that would make it ours.
 */
type Standing = "member" | "shield" | "other_run" | "none";

const isRow = (row: ProcessRow, identity: ProcessIdentity | undefined): boolean =>
  identity !== undefined && row.pid === identity.pid && row.startTime === identity.startTime;

/**
 * The processes of a run: its command, all below it, its session's, bearers of its marker, earlier members, and given holders of its life
 * pipe. Pure; the identities must be of this host, boot and namespace.
 */
export function runMembers(query: RunMembersQuery): readonly ProcessRow[] {
  const byPid = new Map(query.processes.rows.map((row) => [row.pid, row]));
  const standings = new Map<number, Standing>();
  const ownSession = sessionTest(query, byPid);

  const standingOf = (row: ProcessRow): Standing => {
    const known = standings.get(row.pid);
    if (known !== undefined) return known;
    // A snapshot is not taken in one instant: a pid reused within it could form a circle, which proves nothing.
    standings.set(row.pid, "none");
    const standing = judge(row);
    standings.set(row.pid, standing);
    return standing;
  };

  // The nearest ancestor that says anything decides: below the wrapper stands the command, which is ours, and below the command perhaps a
  // nested worker, which is not.
  const judge = (row: ProcessRow): Standing => {
    // Init shields nothing below itself: orphans of every run are its children.
    if (row.pid === 1) return "none";
    if (row.pid === query.processes.selfPid || isRow(row, query.wrapper) || query.shielded.some((identity) => isRow(row, identity)))
      return "shield";
    if (isRow(row, query.command)) return "member";
    const marker = query.processes.markerOf(row);
    const ownMarker = marker !== undefined && marker.runId === query.runId && marker.hostId === query.hostId;
    if (marker !== undefined && !ownMarker) return "other_run";
    const parent = byPid.get(row.parentPid);
    // The wrapper's helpers (sync, mv) bear the marker too and must finish the exit record. Before there is a command, the wrapper's child
    // is the shell that becomes it.
    if (parent !== undefined && isRow(parent, query.wrapper)) return query.command === undefined ? "member" : "shield";
    const above = parent === undefined ? "none" : standingOf(parent);
    if (above === "shield") return "shield";
    if (ownMarker || query.seen.some((identity) => isRow(row, identity))) return "member";
    if (above === "other_run") return "other_run";
    // Last, because a holder may be of another run, which inherited the pipe from the run around it.
    const holds = query.holders.some((identity) => isRow(row, identity));
    return holds || above === "member" || ownSession(row) ? "member" : "none";
  };

  return query.processes.rows.filter((row) => standingOf(row) === "member");
}

/**
 * Whether a process is in the command's session, which is named by the command's pid. The pid is not reused while the session has members.
 */
function sessionTest(query: RunMembersQuery, byPid: ReadonlyMap<number, ProcessRow>): (row: ProcessRow) => boolean {
  const { command, wrapper, endedAgoMs } = query;
  if (command === undefined) return () => false;
  const leader = byPid.get(command.pid);
  if (leader !== undefined) {
    // Without setsid (macOS) the session is the wrapper's or nobody's, and says nothing about the command.
    const leads = isRow(leader, command) && leader.sessionId === command.pid && command.pid !== wrapper?.pid;
    return (row) => leads && row.sessionId === command.pid;
  }
  if (endedAgoMs === undefined) return () => false;
  // Nobody has the pid. What is younger than the command's end may be of a later session whose leader had it and left, as daemons do.
  return (row) => row.sessionId === command.pid && (query.processes.ageMsOf(row) ?? 0) > endedAgoMs;
}
