import type { DurationMs } from "../domain/time.ts";

/**
 * The one rule of heartbeats: one that exists is stale once its age exceeds the timeout (equal is not), a missing one once its own timeout
 * has passed since the start, by default twice the timeout. Stages change nothing here.
 */
export function isHeartbeatStale(
  heartbeat: { readonly age: number } | { readonly absentFor: number },
  limits: { readonly timeout: number; readonly absentTimeout?: number },
): boolean {
  return "age" in heartbeat
    ? heartbeat.age > limits.timeout
    : heartbeat.absentFor >= (limits.absentTimeout ?? absentTimeoutFor(limits.timeout));
}

/** The default time after the start at which a missing heartbeat is stale: twice the timeout. */
export const absentTimeoutFor = (timeout: DurationMs): DurationMs => 2 * timeout;

/** The text stored with a stale heartbeat. */
export const staleMessage = (stage: string, timeoutSeconds: number): string =>
  `heartbeat of stage ${stage} is stale: no sign of life for more than ${timeoutSeconds} s`;
