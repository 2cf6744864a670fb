import type { LoopSwitch } from "../config/loop-settings.ts";
import { type DurationMs, minutes } from "../domain/time.ts";
import type { JobsStore } from "../store/port/jobs.ts";
import type { Store } from "../store/port/store.ts";
import type { Loop } from "./skeleton/loop.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "./skeleton/loop-spec.ts";

export interface SchedulerDeps {
  readonly jobs: Pick<JobsStore, "promoteDue">;
  /** The store's clock. */
  readonly now: Store["now"];
  /** Most jobs moved by one statement. Default 1000. */
  readonly pageSize?: number | undefined;
  /** Most statements in one tick; the next tick follows at once with the rest. Default 20. */
  readonly pagesMax?: number | undefined;
}

/** The longest wait between ticks, whatever is believed to be due next. */
const intervalMs: DurationMs = minutes(1);

/** Makes delayed and backed-off jobs claimable when their time has come. Woken by the hint `scheduled`, else by the next due time. */
export function createSchedulerLoop(deps: SchedulerDeps): Loop<"scheduler"> {
  const { jobs, now, pageSize = 1000, pagesMax = 20 } = deps;
  return {
    name: "scheduler",
    details: () => ({}),
    tick: async ({ dryRun, signal }) => {
      if (dryRun) return { seen: 0, settled: 0, lost: 0, failed: 0, would: ["make every due job claimable"] };
      let moved = 0;
      for (let page = 0; page < pagesMax && !signal.aborted; page++) {
        const answer = await jobs.promoteDue(pageSize);
        moved += answer.moved;
        if (answer.moved < pageSize) {
          const nextInMs = answer.nextDueAt === undefined ? intervalMs : Math.min(intervalMs, Math.max(0, answer.nextDueAt - now()));
          return { seen: moved, settled: moved, lost: 0, failed: 0, nextInMs };
        }
      }
      return { seen: moved, settled: moved, lost: 0, failed: 0, nextInMs: 0 };
    },
  };
}

/** What a process that runs the scheduler builds it of. */
export interface SchedulerParts extends LoopParts {
  readonly store: Pick<Store, "jobs" | "now">;
  readonly settings: () => LoopSwitch<"scheduler">;
}

export const schedulerSpec: LoopSpec<"scheduler", SchedulerParts> = {
  name: "scheduler",
  kind: "guarded",
  intervalMs: () => intervalMs,
  enabled: ownSwitch("scheduler"),
  wokenBy: ["scheduled"],
  build: ({ store }) => createSchedulerLoop({ jobs: store.jobs, now: () => store.now() }),
};
