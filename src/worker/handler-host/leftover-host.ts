import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { StopGraces } from "../../domain/stop-within.ts";
import { addMs, type DurationMs } from "../../domain/time.ts";
import { readRegular, replaceFile } from "../../files/regular-file.ts";
import { diedWithEarlierBoot } from "../../liveness/death-proof.ts";
import type { Host } from "../../processes/probe/host.ts";
import { createProcessProbe, type ProcessIdentity, sameProcess } from "../../processes/probe/identity.ts";
import type { HostClock } from "../../runtime/clock.ts";
import { type Pause, timerPause } from "../../runtime/pause.ts";
import type { Store } from "../../store/port/store.ts";
import type { WorkerRow } from "../../store/port/workers.ts";
import { type HostRunsOptions, settleRunsOfHost } from "./host-runs.ts";

/** Where a daemon records the process that runs its handlers, so that its successor can stop a leftover one. */
export const hostRecordPath = (dataDir: string): string => join(dataDir, "handler-host");

export async function writeHostRecord(dataDir: string, identity: ProcessIdentity): Promise<void> {
  const path = hostRecordPath(dataDir);
  await replaceFile({ path, draft: `${path}.new`, text: `${JSON.stringify(identity)}\n` });
}

export async function removeHostRecord(dataDir: string): Promise<void> {
  await rm(hostRecordPath(dataDir), { force: true });
}

export interface LeftoverHostOptions extends HostRunsOptions {
  readonly store: Pick<Store, "runs" | "workers" | "now">;
  readonly host: Pick<Host, "identity" | "table" | "paths"> & { readonly clock: Pick<HostClock, "mono"> };
  readonly stop: StopGraces;
  /** How long a session may be silent. */
  readonly deadAfterMs: DurationMs;
  readonly pause?: Pause | undefined;
}

/** `survived`: not even KILL ended it. Its runs are left to the judges, and no other host may start beside it. */
export type LeftoverHost =
  | { readonly kind: "none" }
  | { readonly kind: "gone"; readonly process: ProcessIdentity; readonly wasAlive: boolean; readonly runsEnded: number }
  | { readonly kind: "survived"; readonly process: ProcessIdentity };

/**
 * Stops the handler host of a daemon that died, and ends what it held: a loss without an attempt for each started run, nothing for reserved
 * ones. Call it before the loops start, which would judge the runs first.
 */
export async function stopLeftoverHost(options: LeftoverHostOptions): Promise<LeftoverHost> {
  const identity = await readHostRecord(options);
  if (identity === undefined) return { kind: "none" };
  const { host, store } = options;
  const probe = createProcessProbe({ host: host.identity, table: host.table });
  const isDead = (): boolean => probe.observe(identity).kind === "dead";
  const sessions = await sessionsOf(identity, store);
  const isOfAnotherBoot = probe.observe(identity).kind === "otherBoot";
  // Heard lately, it may be at work on a cloned machine: its runs are left to the judges.
  if (isOfAnotherBoot && !(await diedWithItsBoot(sessions, options))) return { kind: "none" };
  const wasAlive = !isOfAnotherBoot && !isDead();
  if (wasAlive && !(await stopProcess(identity, isDead, options))) return { kind: "survived", process: identity };
  const workerIds = sessions.map(({ id }) => id);
  const reason = "its daemon ended, and the process that ran its handlers with it";
  const runsEnded =
    workerIds.length === 0
      ? 0
      : await settleRunsOfHost(
          workerIds,
          { kind: "collateral", reason, evidence: { pid: identity.pid, startTime: identity.startTime, wasAlive } },
          options,
        );
  await removeHostRecord(host.paths.dataDir);
  return { kind: "gone", process: identity, wasAlive, runsEnded };
}

async function readHostRecord({ host }: LeftoverHostOptions): Promise<ProcessIdentity | undefined> {
  const text = await readRegular(hostRecordPath(host.paths.dataDir));
  if (text === undefined) return undefined;
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    // The record is renamed into place whole, so this text is not ours. A host without a record dies with its daemon's pipe.
    return undefined;
  }
  if (!isIdentity(read) || read.hostId !== host.identity.hostId) return undefined;
  return read;
}

function isIdentity(value: unknown): value is ProcessIdentity {
  if (typeof value !== "object" || value === null) return false;
  const { hostId, bootId, pidNamespace, pid, startTime } = value as Partial<Record<keyof ProcessIdentity, unknown>>;
  const texts = [hostId, bootId, pidNamespace, startTime];
  return texts.every((text) => typeof text === "string" && text !== "") && Number.isInteger(pid) && Number(pid) > 1;
}

/** Tier 0, for each session of the process. */
async function diedWithItsBoot(sessions: readonly WorkerRow[], { store, host, deadAfterMs }: LeftoverHostOptions): Promise<boolean> {
  const now = store.now();
  const hostConflict = (await store.workers.listHostConflicts(addMs(now, -deadAfterMs))).includes(host.identity.hostId);
  return sessions.every(({ lastHeardAt }) =>
    diedWithEarlierBoot({ life: "otherBoot", heardAt: lastHeardAt, hostConflict }, { deadAfterMs }, now),
  );
}

async function stopProcess(identity: ProcessIdentity, isGone: () => boolean, options: LeftoverHostOptions): Promise<boolean> {
  const { pause = timerPause, stop } = options;
  const { table, clock } = options.host;
  for (const [signal, graceMs] of [["SIGTERM", stop.stopGraceMs] as const, ["SIGKILL", stop.killGraceMs] as const]) {
    // Probed right before each signal: the pid may be reused by now.
    if (isGone()) return true;
    table.signal(identity.pid, signal);
    const until = clock.mono() + graceMs;
    while (clock.mono() < until) {
      if (isGone()) return true;
      await pause(20);
    }
  }
  return isGone();
}

async function sessionsOf(identity: ProcessIdentity, { workers }: LeftoverHostOptions["store"]): Promise<readonly WorkerRow[]> {
  const alive = await workers.listAlive();
  return alive.filter(({ kind, process }) => kind === "handler" && sameProcess(process, identity));
}
