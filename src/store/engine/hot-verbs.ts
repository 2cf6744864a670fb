import type { JobsStore } from "../port/jobs.ts";
import type { RunsStore } from "../port/runs.ts";
import type { WorkersStore } from "../port/workers.ts";

/**
 * The verbs whose cost is paid per job or per beat: written by hand for each engine, in `sqlite/hot.ts` and `postgres/hot.ts`, each of
 * which exports `createHot(engine): HotVerbs`. All others are written once, over Kysely.
 */
export interface HotVerbs {
  readonly jobs: Pick<JobsStore, "enqueue" | "promoteDue">;
  readonly runs: RunsStore;
  readonly workers: Pick<WorkersStore, "renew" | "listPresence">;
  /** Commits what waits for the next group commit and releases connections of its own. */
  close(): Promise<void>;
}
