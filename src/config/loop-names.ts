/** Every loop by name. The list of the daemon's loops is typed by it, so that neither can lack one. Each loop has its own kill switch. */
export const loopNames = ["job-reaper", "stopper", "worker-reaper", "reconciler", "intake", "outbox", "scheduler", "retention"] as const;
export type LoopName = (typeof loopNames)[number];
