import { itemLifecycle, visitLifecycle } from "./lifecycles/item.ts";
import { jobLifecycle } from "./lifecycles/job.ts";
import { leaseLifecycle } from "./lifecycles/lease.ts";
import { runLifecycle } from "./lifecycles/run.ts";
import { workerLifecycle } from "./lifecycles/worker.ts";

/**
 * What things are and what may happen to them: one table per noun. Types, store guards, state rows and
 * docs/lifecycles.md are all taken from here, and tests hold them equal.
 */
export const lifecycles = [jobLifecycle, runLifecycle, itemLifecycle, visitLifecycle, workerLifecycle, leaseLifecycle] as const;
