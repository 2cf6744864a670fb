import { type CompatibleStageNames, compatibleStageNames } from "../domain/stage-names.ts";
import type { DurationMs } from "../domain/time.ts";

/**
 * The heartbeat rule and its compatible form: files `<stage>.heartbeat`, states `<STAGE>_RUNNING`, `<STAGE>_TIMEOUT`, `<STAGE>_RETRY`.
 * Adding a stage never changes anything here; stages are known by their names alone.
 */

/** What is known of a heartbeat. Only the modification time matters, never the content. */
export type HeartbeatReading =
  | { readonly kind: "present"; readonly ageSeconds: number }
  /** There is none. `sinceStartSeconds` counts from the start of the attempt; `undefined` when that is unknown. */
  | { readonly kind: "absent"; readonly sinceStartSeconds: number | undefined }
  /** The file could not be examined. An error proves nothing. */
  | { readonly kind: "unreadable" };

export type HeartbeatReader = (location: string) => HeartbeatReading;

export interface StalenessQuery {
  readonly location: string;
  /** Greatest age in seconds that is not stale. */
  readonly timeoutSeconds: number;
  /** Seconds after the start at which an absent heartbeat is stale. Default twice the timeout; 0: at once, for tests only. */
  readonly absentTimeoutSeconds?: number | undefined;
}

/**
 * The one rule, free of units: a present heartbeat is stale when its age exceeds the timeout (equal is not), an absent one once its own
 * timeout has passed since the start.
 */
export function isHeartbeatStale(
  heartbeat: { readonly age: number } | { readonly absentFor: number },
  limits: { readonly timeout: number; readonly absentTimeout: number },
): boolean {
  return "age" in heartbeat ? heartbeat.age > limits.timeout : heartbeat.absentFor >= limits.absentTimeout;
}

/** How long after the start an absent heartbeat is stale, when nothing else is said: twice the timeout. */
export const absentTimeoutFor = (timeout: DurationMs): DurationMs => 2 * timeout;

/** Whether the heartbeat at a location is stale. Without a known start an absent one is stale only if the absent-timeout is 0. */
export function isStale(query: StalenessQuery, reader: HeartbeatReader): boolean {
  const limits = { timeout: query.timeoutSeconds, absentTimeout: query.absentTimeoutSeconds ?? absentTimeoutFor(query.timeoutSeconds) };
  const reading = reader(query.location);
  switch (reading.kind) {
    case "present":
      return isHeartbeatStale({ age: reading.ageSeconds }, limits);
    case "absent":
      return isHeartbeatStale({ absentFor: reading.sinceStartSeconds ?? 0 }, limits);
    case "unreadable":
      return false;
  }
}

const runningSuffix = "_RUNNING";

/** What a running state says about its stage: how it reads in texts, its file, and the states it may move to. */
export interface RunningStage {
  readonly stage: string;
  readonly names: CompatibleStageNames;
}

/**
 * The stage that a running state belongs to, or `undefined` for any other state. Every state that ends in `_RUNNING` has one, declared or
 * not: a declared stage is found by its names (so `deploy-staging` keeps its dash), any other by its state in lower case.
 */
export function stageOfRunning(state: string, declaredStages: readonly string[] = []): RunningStage | undefined {
  if (!state.endsWith(runningSuffix) || state.length === runningSuffix.length) return undefined;
  const declared = declaredStages.find((stage) => compatibleStageNames(stage).running === state);
  const stage = declared ?? state.slice(0, -runningSuffix.length).toLowerCase();
  return { stage, names: compatibleStageNames(stage) };
}

/** The location of a stage's heartbeat: `<work>/<jobKey>/<stage>.heartbeat`. */
export const heartbeatLocation = (at: {
  readonly workLocation: string;
  readonly jobKey: string;
  readonly names: CompatibleStageNames;
}): string => `${at.workLocation}/${at.jobKey}/${at.names.heartbeatFile}`;

/** One job in flight. The check reads and writes `stage` alone; counters and whatever else is there stay as they are. */
export interface InFlightJob {
  stage: string;
  attemptPrep?: number;
  attemptOcr?: number;
}

/** What is to change in a job's stored state; see {@link applyStatePatch}. */
export interface StatePatch {
  readonly jobKey: string;
  readonly state: string;
  readonly message: string;
}

/** Where the heartbeats are and who reads them. */
export interface InFlightEvidence {
  readonly workLocation: string;
  readonly reader: HeartbeatReader;
  /** Default twice the timeout. */
  readonly absentTimeoutSeconds?: number | undefined;
  /** Needed only for stages whose names hold a dash. */
  readonly declaredStages?: readonly string[] | undefined;
}

/**
 * Checks every running stage in flight once, moving stale ones to `<STAGE>_RETRY` in the given collection.
 * Returns what is to be written to the stored states; nothing for jobs that are fresh or not running.
 */
export function checkInFlight(inFlight: Map<string, InFlightJob>, timeoutSeconds: number, evidence: InFlightEvidence): StatePatch[] {
  const patches: StatePatch[] = [];
  for (const [jobKey, job] of inFlight) {
    const running = stageOfRunning(job.stage, evidence.declaredStages);
    if (running === undefined) continue;
    const { stage, names } = running;
    const location = heartbeatLocation({ workLocation: evidence.workLocation, jobKey, names });
    if (!isStale({ location, timeoutSeconds, absentTimeoutSeconds: evidence.absentTimeoutSeconds }, evidence.reader)) continue;
    job.stage = names.retry;
    patches.push({ jobKey, state: names.timeout, message: staleMessage(stage, timeoutSeconds) });
  }
  return patches;
}

/** The text stored with a stale heartbeat. */
export const staleMessage = (stage: string, timeoutSeconds: number): string =>
  `heartbeat of stage ${stage} is stale: no sign of life for more than ${timeoutSeconds} s`;

/** The stored state with the patch applied. Every other field is kept; a state that holds nothing but its job key will do. */
export function applyStatePatch<Stored extends Readonly<Record<string, unknown>>>(
  stored: Stored,
  patch: StatePatch,
): Stored & { readonly state: string; readonly message: string } {
  return { ...stored, state: patch.state, message: patch.message };
}
