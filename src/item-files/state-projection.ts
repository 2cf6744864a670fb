import { staleMessage } from "../liveness/heartbeat-policy.ts";
import type { Json } from "../pipelines/definition.ts";
import { partsOfIntakeKey } from "../pipelines/intake-key.ts";
import { compatibleStageNames } from "../pipelines/stage-names.ts";
import type { ItemRow, VisitRow } from "../store/port/items.ts";
import type { JobRow } from "../store/port/jobs.ts";
import type { RunRow } from "../store/port/runs.ts";

/** Everything that the compatible state of an item is made from. */
export interface StateFacts {
  readonly item: ItemRow;
  /** All its visits, in order. */
  readonly visits: readonly VisitRow[];
  /** The newest job of the item's present visit. */
  readonly job: JobRow | undefined;
  /** The newest run of that job, or of the visit's job before it. */
  readonly lastRun: RunRow | undefined;
  /** The profile of its pipeline's intake. */
  readonly profile: Json | undefined;
}

/** The fields of `state.json` that are ours; other programs' fields stay. */
export type ProjectedState = Readonly<Record<string, Json>>;

/** The state of an item that no stage has worked on. */
const discovered = "DISCOVERED";

/** What `state.json` says of an item. Pure, and without the time, so that equal facts give an equal text and no write. */
export function projectState(facts: StateFacts): ProjectedState {
  const { item } = facts;
  const position = positionOf(facts);
  return {
    jobKey: item.key,
    state: position.state,
    stage: position.stage,
    message: item.state === "paused" ? `paused; ${position.message}` : position.message,
    step: stepOf(position.stepStage),
    attempt: attemptsOf(facts, position.stepStage),
    ...attemptFields(facts),
    ...inputFields(facts),
  };
}

interface Position {
  /** The stored state; after a stale heartbeat `<STAGE>_TIMEOUT`. */
  readonly state: string;
  /** The in-flight stage; after a stale heartbeat `<STAGE>_RETRY`. */
  readonly stage: string;
  readonly message: string;
  /** The stage that `step` and `attempt` speak of. */
  readonly stepStage: string;
}

function positionOf(facts: StateFacts): Position {
  const { item, job } = facts;
  const names = compatibleStageNames(item.stage);
  const at = (state: string, message: string, stage = state): Position => ({ state, stage, message, stepStage: item.stage });
  switch (item.state) {
    case "done":
      return at("DONE", "done");
    case "failed":
      return at(names.error, item.error ?? job?.error ?? "failed");
    case "cancelled":
      return at("CANCELLED", item.error ?? "cancelled by a person");
    case "active":
    case "paused":
      break;
  }
  switch (job?.state) {
    case "held":
      return at(names.error, `held for a person: ${job.error ?? "no reason is on record"}`);
    case "failed":
    case "cancelled":
      return at(names.error, job.error ?? job.state);
    case "running":
      return at(names.running, attemptText(facts));
    case "done":
      return at(names.done, `stage ${item.stage} is done`);
    case "returned":
    case "queued":
    case "scheduled":
    case undefined:
      return waiting(facts);
  }
}

function waiting(facts: StateFacts): Position {
  const { item, job, lastRun, visits } = facts;
  const names = compatibleStageNames(item.stage);
  if (lastRun !== undefined && lastRun.outcome !== null && lastRun.outcome !== "released" && lastRun.outcome !== "never_started") {
    const { state, message } = afterFailedRun(facts, lastRun);
    return { state, stage: names.retry, message, stepStage: item.stage };
  }
  const passed = visits.findLast((visit) => visit.counts && visit.state === "passed");
  const message = job?.state === "scheduled" ? `waits for its time in stage ${item.stage}` : `waits for stage ${item.stage}`;
  if (passed === undefined) return { state: discovered, stage: discovered, message, stepStage: item.stage };
  const { done } = compatibleStageNames(passed.stage);
  return { state: done, stage: done, message, stepStage: passed.stage };
}

function afterFailedRun(facts: StateFacts, run: RunRow): { readonly state: string; readonly message: string } {
  const { item, job } = facts;
  const names = compatibleStageNames(item.stage);
  const reason = job?.error ?? run.message ?? run.reason ?? "failed";
  if (run.outcome === "hung") {
    const timeoutSeconds = (run.limits.heartbeatTimeoutMs ?? 0) / 1000;
    return { state: names.timeout, message: `${staleMessage(item.stage, timeoutSeconds)}; ${attemptText(facts)}` };
  }
  if (run.outcome === "timed_out") return { state: names.timeout, message: `${reason}; ${attemptText(facts)}` };
  return { state: names.retry, message: `${reason}; ${attemptText(facts)}` };
}

function attemptText(facts: StateFacts): string {
  const visit = currentVisit(facts);
  return visit === undefined ? "no attempt yet" : `attempt ${visit.attempts} of ${visit.maxAttempts}`;
}

const currentVisit = ({ item, visits }: StateFacts): VisitRow | undefined => visits.find((visit) => visit.id === item.visitId);

function attemptsOf({ visits }: StateFacts, stage: string): number {
  return visits.findLast((visit) => visit.counts && visit.stage === stage)?.attempts ?? 0;
}

/** `attemptPrep`, `attemptOcr`: one counter for each stage that the item has entered. */
function attemptFields(facts: StateFacts): Record<string, number> {
  const stages = new Set(facts.visits.filter((visit) => visit.counts).map((visit) => visit.stage));
  return Object.fromEntries([...stages].map((stage) => [attemptField(stage), attemptsOf(facts, stage)]));
}

const attemptField = (stage: string): string =>
  `attempt${stage
    .split(/[-_]/)
    .map((part) => part.charAt(0).toUpperCase() + part.slice(1))
    .join("")}`;

const stepOf = (stage: string): string => compatibleStageNames(stage).running.replace(/_RUNNING$/, "");

function inputFields({ item, profile }: StateFacts): Record<string, Json> {
  const key = partsOfIntakeKey(item.key);
  const input = intakeInputOf(item);
  return {
    ...(key === undefined ? {} : { fileHash: key.fileHash, profileHash: key.profileHash }),
    // The pipeline's profile may have changed since; another profile would contradict the hash beside it.
    ...(profile !== undefined && key?.isOf(profile) === true ? { profile } : {}),
    ...(input === undefined ? {} : { input: { name: input.name, path: input.file } }),
  };
}

/** What an item that came through a watched folder has as its input. */
export interface TakenFileInput {
  /** Absolute path of the file in the item's work directory. */
  readonly file: string;
  /** The name it came under, as {@link labelOf} shows it. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** The input of an item that came through a watched folder; undefined for any other item. */
export function intakeInputOf(item: Pick<ItemRow, "input">): TakenFileInput | undefined {
  let input: unknown;
  try {
    input = JSON.parse(item.input);
  } catch {
    // The submitter of the item wrote something else there, so it has no file of ours.
    return undefined;
  }
  if (typeof input !== "object" || input === null) return undefined;
  const { file, name, sizeBytes, sha256 } = input as Record<string, unknown>;
  if (typeof file !== "string" || typeof name !== "string" || typeof sizeBytes !== "number" || typeof sha256 !== "string") return undefined;
  return { file, name, sizeBytes, sha256 };
}
