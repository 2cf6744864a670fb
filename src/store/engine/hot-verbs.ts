import type { ItemsStore } from "../port/items.ts";
import type { JobsStore } from "../port/jobs.ts";
import type { RunsStore } from "../port/runs.ts";
import type { WorkersStore } from "../port/workers.ts";

/**
 * The verbs whose cost is paid per job or per beat, and those that end runs: by each engine's own statements, in `sqlite/hot-verbs.ts` and
 * `postgres/hot-verbs.ts`. All others are written once, over Kysely.
 */
export interface HotVerbs {
  readonly jobs: Pick<JobsStore, "enqueue" | "promoteDue" | "cancel">;
  readonly items: Pick<ItemsStore, "cancel">;
  readonly runs: RunsStore;
  readonly workers: Pick<WorkersStore, "renew" | "listPresence">;
  /** Commits what waits for the next group commit and releases connections of its own. */
  close(): Promise<void>;
}
