/**
 * Every loop by name: the list of the daemon's loops is typed by it, so that neither can have one that the other lacks.
 * Each has a kill switch of its own.
 */
export const loopNames = ["job-reaper", "stopper", "worker-reaper", "reconciler", "intake", "outbox", "scheduler", "retention"] as const;
export type LoopName = (typeof loopNames)[number];
