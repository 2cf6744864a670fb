import { z } from "zod";
import { runOutcomes } from "../../domain/lifecycles/run.ts";
import {
  anyJson,
  durationMs,
  instant,
  itemStates,
  jobStates,
  leaseStates,
  maybeInstant,
  rowId,
  runStates,
  visitStates,
  workerStates,
} from "../wire.ts";

export const processWire = z.object({
  hostId: z.string().max(200),
  bootId: z.string().max(200),
  pidNamespace: z.string().max(200),
  pid: z.int().min(1),
  startTime: z.string().max(100),
});

export const jobWire = z.object({
  id: rowId,
  queue: z.string(),
  state: z.enum(jobStates),
  priority: z.int(),
  runAt: instant,
  createdAt: instant,
  finishedAt: maybeInstant,
  attempts: z.int(),
  maxAttempts: z.int(),
  losses: z.int(),
  maxLosses: z.int().nullable(),
  runCount: z.int(),
  currentRunId: rowId.nullable(),
  blockedBy: rowId.nullable().meta({ description: "The run that is still being stopped; until it is the job is not claimable." }),
  stopBy: maybeInstant,
  paused: z.boolean(),
  itemId: rowId.nullable(),
  visitId: rowId.nullable(),
  agent: z.string().nullable(),
  repo: z.string().nullable(),
  payload: anyJson,
  output: anyJson,
  error: z.string().nullable(),
});
export type JobWire = z.output<typeof jobWire>;

export const runWire = z.object({
  id: rowId,
  jobId: rowId,
  attempt: z.int(),
  state: z.enum(runStates),
  ownerEpoch: z.int(),
  workerId: rowId.nullable(),
  kind: z.enum(["command", "handler"]),
  reservedAt: instant,
  startedAt: maybeInstant,
  exitedAt: maybeInstant,
  endedAt: maybeInstant,
  process: processWire.nullable(),
  limits: z.object({ timeoutMs: durationMs.optional(), heartbeatTimeoutMs: durationMs.optional(), maxRunningMs: durationMs.optional() }),
  progressAt: maybeInstant,
  progress: anyJson,
  exitCode: z.int().nullable(),
  gatePendingAt: maybeInstant,
  slotKey: z.string().nullable(),
  outcome: z.enum(runOutcomes).nullable(),
  reason: z.string().nullable(),
  message: z.string().nullable(),
  evidence: anyJson,
  spent: z.enum(["nothing", "attempt", "loss"]).nullable(),
});
export type RunWire = z.output<typeof runWire>;

export const itemWire = z.object({
  id: rowId,
  pipeline: z.string(),
  pipelineVersion: z.string(),
  key: z.string(),
  dir: z.string(),
  state: z.enum(itemStates),
  stage: z.string(),
  visitId: rowId,
  input: anyJson,
  label: z.string().nullable(),
  repo: z.string().nullable(),
  branch: z.string().nullable(),
  error: z.string().nullable(),
  hostId: z.string().nullable(),
  createdAt: instant,
  updatedAt: instant,
  finishedAt: maybeInstant,
});

export const visitWire = z.object({
  id: rowId,
  itemId: rowId,
  stage: z.string(),
  number: z.int(),
  state: z.enum(visitStates),
  counts: z.boolean(),
  attempts: z.int(),
  maxAttempts: z.int(),
  losses: z.int(),
  maxLosses: z.int().nullable(),
  openedAt: instant,
  closedAt: maybeInstant,
  output: anyJson,
});

export const workerWire = z.object({
  id: rowId,
  name: z.string(),
  kind: z.enum(["command", "handler", "run"]),
  state: z.enum(workerStates),
  /** It claims nothing until it is resumed, and keeps what it holds. */
  paused: z.boolean(),
  process: processWire,
  registeredAt: instant,
  lastHeardAt: instant,
  endedAt: maybeInstant,
  concurrency: z.int(),
  loopLagMs: z.number().nullable(),
  queues: z.array(z.string()),
});

const leaseHolderWire = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("run"), runId: rowId }),
  z.object({ kind: z.literal("process"), process: processWire }),
]);

export const leaseWire = z.object({
  name: z.string(),
  state: z.enum(leaseStates),
  holder: leaseHolderWire.nullable(),
  fencing: z.int(),
  grantedAt: maybeInstant,
  expiresAt: maybeInstant,
  ttlMs: durationMs,
  maxHoldMs: durationMs,
  alertedAt: maybeInstant,
  waiters: z.int(),
});
export type LeaseWire = z.output<typeof leaseWire>;

export const actionWire = z.object({
  id: rowId,
  at: instant,
  action: z.string(),
  actor: z.string(),
  reason: z.string().nullable(),
  message: z.string().nullable(),
  evidence: anyJson,
  jobId: rowId.nullable(),
  runId: rowId.nullable(),
  itemId: rowId.nullable(),
  workerId: rowId.nullable(),
  lease: z.string().nullable(),
  correlationId: z.string().nullable(),
});

export const duplicateDecisions = ["use_existing", "discard", "reprocess"] as const;

export const duplicateWire = z.object({
  id: rowId,
  pipeline: z.string(),
  key: z.string(),
  existingItemId: rowId,
  fileName: z.string(),
  path: z.string(),
  sizeBytes: z.int(),
  detectedAt: instant,
  decision: z.enum(duplicateDecisions).nullable(),
  decidedAt: maybeInstant,
  doneAt: maybeInstant,
});
