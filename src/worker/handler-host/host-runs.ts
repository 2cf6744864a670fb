import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { Outcome } from "../../liveness/retry-contract.ts";
import { spreadDelayMs } from "../../liveness/retry-delay.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { LiveRun } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";

/**
 * Why a handler host that is proved gone ended. `stopped`: by its daemon, in order; nothing is spent. `collateral`: killed for something
 * other than its runs; each is a loss and no attempt.
 */
export type HostEnd = "stopped" | "collateral";

export interface HostRunsOptions {
  readonly store: Pick<Store, "runs" | "workers">;
  readonly ender: Pick<RunEnder, "endAll">;
  readonly emit: Emit;
  readonly recoverySpreadMs: DurationMs;
}

const pageSize = 500;
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
  let ended = 0;
  for (let from = 0; from < runs.length; from += pageSize) {
    const ends = runs.slice(from, from + pageSize).map((run, index) => ({
      run,
      failure: {
        outcome: outcomeOf(run, end),
        reason: "host_ended",
        evidence: { ...end.evidence, cause: end.kind },
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

function outcomeOf(run: LiveRun, { kind, reason }: { readonly kind: HostEnd; readonly reason: string }): Outcome {
  // A run that had not started costs nothing, whatever the cause.
  return run.state === "reserved" || kind === "stopped" ? { kind: "released", reason } : { kind: "collateral", reason };
}
