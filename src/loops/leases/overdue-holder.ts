import { addMs, type DurationMs } from "../../domain/time.ts";
import type { PipelineRegistry } from "../../pipelines/registry.ts";
import { settlementOfFailure } from "../../settling/settlement.ts";
import type { LiveRun } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";

export interface OverdueHolderDeps {
  readonly store: Pick<Store, "runs" | "now">;
  readonly registry: PipelineRegistry;
  readonly random: () => number;
  /** How long a stopped process may take to be gone: stop grace + kill grace + 10 s. */
  readonly stopWithinMs: DurationMs;
}

/** How the lease sweep ends a run that has held a lease for too long; its processes are the stopper's. Answers whether it ended by this. */
export function endOverdueHolder({
  store,
  registry,
  random,
  stopWithinMs,
}: OverdueHolderDeps): (run: LiveRun, message: string) => Promise<boolean> {
  return async (run, message) => {
    const now = store.now();
    const details = { reason: "lease_held_too_long", stopBy: addMs(now, stopWithinMs), evidence: { judgedAt: now, message } };
    const context = { registry, random, now, actor: "lease-sweep" };
    const [answer] = await store.runs.settle([settlementOfFailure(run, { kind: "timed_out", reason: message }, details, context)], {
      unlessLocked: true,
    });
    return answer?.kind === "ok";
  };
}
