import type { DurationMs } from "../domain/time.ts";

/**
 * The one rule of heartbeats, free of units and of stages: a present heartbeat is stale when its age exceeds the timeout (equal is not), an
 * absent one once its own timeout has passed since the start, which is twice the timeout unless it is given. Adding a stage never changes
 * anything here.
 */
export function isHeartbeatStale(
  heartbeat: { readonly age: number } | { readonly absentFor: number },
  limits: { readonly timeout: number; readonly absentTimeout?: number },
): boolean {
  return "age" in heartbeat
    ? heartbeat.age > limits.timeout
    : heartbeat.absentFor >= (limits.absentTimeout ?? absentTimeoutFor(limits.timeout));
}

/** How long after the start an absent heartbeat is stale, when nothing else is said: twice the timeout. */
export const absentTimeoutFor = (timeout: DurationMs): DurationMs => 2 * timeout;

/** The text stored with a stale heartbeat. */
export const staleMessage = (stage: string, timeoutSeconds: number): string =>
  `heartbeat of stage ${stage} is stale: no sign of life for more than ${timeoutSeconds} s`;
