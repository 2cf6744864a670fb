import type { Instant } from "../../domain/time.ts";
import type { RunVerdict } from "../../liveness/verdict.ts";
import type { ObservedRun } from "../../observe/run-evidence.ts";
import type { LiveRun } from "../../store/port/runs.ts";

/** What one tick of the job-reaper collects. */
export class ReaperTick {
  seen = 0;
  settled = 0;
  lost = 0;
  failed = 0;
  recheckAt: Instant | undefined;
  readonly checks: (Pick<LiveRun, "ownerEpoch"> & { runId: LiveRun["id"]; checkAt: Instant })[] = [];
  readonly would: string[] = [];
  /** Runs lost together with their host or session, judged and not yet ended. */
  readonly losses: { readonly observed: ObservedRun; readonly verdict: RunVerdict }[] = [];

  recheckNotAfter(at: Instant): void {
    if (this.recheckAt === undefined || at < this.recheckAt) this.recheckAt = at;
  }
}
