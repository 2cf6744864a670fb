/** `short`: every limit that is a setting is a tenth of its default. */
export type Limits = "default" | "short";

/** What the bench itself waits for. */
export interface Bounds {
  /** How long a point's jobs may take to end once its fault has ended and nothing more is handed in. */
  readonly quietMs: number;
  /** How long new work may take to start after the end of a fault that has no bound of its own. */
  readonly recoveryMs: number;
}

export const boundsOf = (limits: Limits): Bounds =>
  limits === "short" ? { quietMs: 40_000, recoveryMs: 5000 } : { quietMs: 200_000, recoveryMs: 5000 };

/**
 * By how much a bound on a start grows while neighbours hold the processors: what runs here needs a load of about two a processor itself.
 * Waits that no processor shortens do not grow.
 */
export const busyFactor = (load: number, processors: number): number => Math.max(1, load / (2 * processors));

/** The settings that a daemon of the bench has besides, as YAML. */
export function limitSettings(limits: Limits): string {
  return limits === "default" ? workerOf("") : `${workerOf(shortWorker)}${shortOthers}`;
}

const workerOf = (limits: string): string => `worker: { concurrency: 6, outstandingMax: 40, handlers: ../handlers.mjs${limits} }\n`;

const shortWorker = ", renewMs: 500ms, selfFenceAfterMs: 1500ms, deadAfterMs: 3s, renewTimeoutMs: 500ms, fenceKillAfterMs: 60s";

const shortOthers = `stop: { stopGraceMs: 500ms, killGraceMs: 200ms }
reaper: { intervalMs: 100ms, suspectRecheckMs: 25ms, startWithinMs: 3s, adoptWithinMs: 3s, finalizeGraceMs: 30s, maxRunningMs: 2h }
recovery: { recoverySpreadMs: 3s }
intake: { pollMs: 100ms }
heartbeat: { timeoutMs: 60s }
`;
