import { type DurationMs, seconds } from "./time.ts";

/** What a stop takes beyond its graces, at most, where nothing is wrong: looks, signals, the proof. */
const marginMs = seconds(10);

/** How long a job may stay blocked by the stop of its last run before a person is told: the distance from the flip to `stop_by`. */
export const stopWithin = (stop: { readonly stopGraceMs: DurationMs; readonly killGraceMs: DurationMs }): DurationMs =>
  stop.stopGraceMs + stop.killGraceMs + marginMs;
