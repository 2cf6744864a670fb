import type { RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { HostIdentity, ProcessIdentity } from "../probe/identity.ts";
import { identityOf } from "../probe/own-identity.ts";
import { isZombie, type ProcessRow } from "../probe/process-stat.ts";
import type { ProcessTable } from "../probe/process-table.ts";
import { markerVariable, parseMarker } from "../run-folder/run-marker.ts";
import { runMembers } from "./run-members.ts";

/** One run, and what to leave alone while its processes are searched. */
export interface RunTree {
  readonly runId: RunId;
  readonly host: HostIdentity;
  readonly table: ProcessTable;
  /** The command's recorded identity. One of another boot or namespace is ignored. */
  readonly command?: ProcessIdentity | undefined;
  /** The run's wrapper: never signalled, because it records the exit. */
  readonly wrapper?: ProcessIdentity | undefined;
  /** Other runs' wrappers and the processes of registered sessions: left alone, with everything below them. */
  readonly shielded?: readonly ProcessIdentity[];
  /** Processes known to have belonged to the run. */
  readonly seen?: readonly ProcessIdentity[];
  /** Processes that hold the run's life pipe as the wrapper handed it down; see `lookAtPipe`. */
  readonly holders?: readonly ProcessIdentity[];
  /**
   * How long ago the command ended, at the latest. Absent: unknown; then unmarked processes of its session do not count, because the pids
   * of session leaders are reused.
   */
  readonly endedAgoMs?: DurationMs | undefined;
}

/** The identity if it is of this host, boot and namespace: only then its pid is valid here. */
export const hereOnly = (host: HostIdentity, identity: ProcessIdentity | undefined): ProcessIdentity | undefined =>
  identity !== undefined &&
  identity.hostId === host.hostId &&
  identity.bootId === host.bootId &&
  identity.pidNamespace === host.pidNamespace &&
  identity.pid > 1
    ? identity
    : undefined;

/** The run's living processes, as the process table shows them; zombies have ended. Reads one environment per process. */
export function livingMembers(tree: RunTree): readonly ProcessRow[] {
  const { host, table } = tree;
  const here = (identities: readonly ProcessIdentity[] | undefined): readonly ProcessIdentity[] =>
    (identities ?? []).filter((identity) => hereOnly(host, identity) !== undefined);
  return runMembers({
    runId: tree.runId,
    hostId: host.hostId,
    processes: {
      rows: table.list(),
      markerOf: (row) => parseMarker(table.environmentValue(row.pid, markerVariable)),
      ageMsOf: (row) => table.ageMs(row),
      selfPid: process.pid,
    },
    command: hereOnly(host, tree.command),
    wrapper: hereOnly(host, tree.wrapper),
    shielded: here(tree.shielded),
    seen: here(tree.seen),
    holders: here(tree.holders),
    endedAgoMs: tree.endedAgoMs,
  }).filter((row) => !isZombie(row));
}

/**
 * What a run left behind: its descendants, its session's members and bearers of its marker. While the run lives these are its tree, and
 * strays once it has ended. On macOS only descendants are found.
 */
export const findStrays = (tree: RunTree): readonly ProcessIdentity[] => livingMembers(tree).map((row) => identityOf(tree.host, row));
