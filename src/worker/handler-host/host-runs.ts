import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { Outcome } from "../../liveness/retry-contract.ts";
import { spreadDelayMs } from "../../liveness/retry-delay.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { LiveRun } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";

/**
 * Why a handler host that is proved gone ended. `stopped`: by its daemon, nothing is spent. `collateral`: not because of these runs, each a
 * loss and no attempt. `hung`: it stood still; one run is lost, several spend nothing.
 */
export type HostEnd = "stopped" | "collateral" | "hung";

export interface HostRunsOptions {
  readonly store: Pick<Store, "runs" | "workers">;
  readonly ender: Pick<RunEnder, "endAll">;
  readonly emit: Emit;
  readonly recoverySpreadMs: DurationMs;
}

const pageSize = 500;
/** Most runs named in the evidence of an end. */
const namedMax = 50;
const actor = "handler-host";

/**
 * Ends the runs that a process proved gone still holds, then its sessions. Exited runs are left to the job-reaper, which reads their gates.
 * Answers how many runs ended. Repeatable after a crash half-way.
 */
export async function settleRunsOfHost(
  workerIds: readonly WorkerId[],
  end: { readonly kind: HostEnd; readonly reason: string; readonly evidence: Readonly<Record<string, unknown>> },
  options: HostRunsOptions,
): Promise<number> {
  const { store, ender, emit, recoverySpreadMs } = options;
  const runs = await unfinished(workerIds, store);
  // Which of several made it stand still is not known.
  const started = runs.filter(({ state }) => state === "started").map(({ id }) => id);
  let ended = 0;
  for (let from = 0; from < runs.length; from += pageSize) {
    const ends = runs.slice(from, from + pageSize).map((run, index) => ({
      run,
      failure: {
        outcome: outcomeOf(run, end, started.length),
        reason: end.kind === "hung" ? "host_hung" : "host_ended",
        evidence: { ...end.evidence, cause: end.kind, startedTogether: end.kind === "hung" ? started.slice(0, namedMax) : undefined },
        spreadMs: spreadDelayMs({ index: from + index, total: runs.length, recoverySpreadMs }),
      },
    }));
    ended += (await ender.endAll(ends, { actor })).filter(({ kind }) => kind === "ended").length;
  }
  for (const workerId of workerIds) {
    if (await store.workers.leave(workerId)) emit("worker.left", { workerId });
  }
  return ended;
}

async function unfinished(workerIds: readonly WorkerId[], { runs }: Pick<Store, "runs">): Promise<readonly LiveRun[]> {
  const found: LiveRun[] = [];
  let after: { readonly workerId: WorkerId; readonly runId: RunId } | undefined;
  for (;;) {
    const page = await runs.listOfWorkers({ workerIds, limit: pageSize, after });
    found.push(...page.filter((run) => run.kind === "handler" && run.state !== "exited"));
    const last = page.at(-1);
    if (page.length < pageSize || last === undefined || last.supervisor === null) return found;
    after = { workerId: last.supervisor.workerId, runId: last.id };
  }
}

function outcomeOf(run: LiveRun, { kind, reason }: { readonly kind: HostEnd; readonly reason: string }, startedTogether: number): Outcome {
  // A run that had not started costs nothing, whatever the cause.
  if (run.state === "reserved" || kind === "stopped") return { kind: "released", reason };
  if (kind === "collateral") return { kind: "collateral", reason };
  return startedTogether > 1
    ? { kind: "released", reason: `${reason}, with ${startedTogether - 1} other runs started in it` }
    : { kind: "lost", reason };
}
