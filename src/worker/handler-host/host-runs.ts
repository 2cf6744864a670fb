import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { Outcome } from "../../liveness/retry-contract.ts";
import { spreadDelayMs } from "../../liveness/retry-delay.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { LiveRun } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";

/**
 * Why a handler host ended. `stopped`: by its daemon, nothing is spent. `collateral`: not because of these runs, each a loss and no attempt.
 * `hung`, `died`: by itself; one started run is lost, several are suspects and spend nothing.
 */
export type HostEnd = "stopped" | "collateral" | "hung" | "died";

/** Of a run whose process died while others had started in it. */
export const suspectReason = "host_suspect";
const reasonOf: Readonly<Record<HostEnd, string>> = {
  stopped: "host_ended",
  collateral: "host_ended",
  hung: "host_hung",
  died: "host_died",
};

/** Whether a job whose newest run ended for this reason may be what ends its process. */
export const isSuspicious = (reason: string): boolean => reason === suspectReason || reason === reasonOf.hung || reason === reasonOf.died;

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
  // Which of several did it is not known.
  const started = runs.filter(({ state }) => state === "started").map(({ id }) => id);
  const isShared = (end.kind === "hung" || end.kind === "died") && started.length > 1;
  let ended = 0;
  for (let from = 0; from < runs.length; from += pageSize) {
    const ends = runs.slice(from, from + pageSize).map((run, index) => ({
      run,
      failure: {
        outcome: outcomeOf(run, end, started.length),
        reason: run.state === "reserved" ? reasonOf.stopped : isShared ? suspectReason : reasonOf[end.kind],
        evidence: { ...end.evidence, cause: end.kind, startedTogether: isShared ? started.slice(0, namedMax) : undefined },
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
    ? {
        kind: "released",
        reason: `${reason} while ${startedTogether} runs had started in it, this one among them: each is tried alone next`,
      }
    : { kind: "lost", reason: `${reason}, and the run was alone in its process` };
}
