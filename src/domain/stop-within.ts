import { type DurationMs, seconds } from "./time.ts";

/** How much time a process is given that is asked to stop. */
export interface StopGraces {
  /** From TERM to KILL. */
  readonly stopGraceMs: DurationMs;
  /** After KILL. */
  readonly killGraceMs: DurationMs;
}

/** Most that a stop takes beyond its graces where nothing is wrong: looks, signals, the proof. */
const marginMs = seconds(10);

/** How long a job may stay blocked by the stop of its last run before an alert: the distance from the flip to `stop_by`. */
export const stopWithin = (stop: StopGraces): DurationMs => stop.stopGraceMs + stop.killGraceMs + marginMs;
