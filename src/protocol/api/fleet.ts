import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import {
  anyJson,
  done,
  durationMs,
  instant,
  leaseNameParams,
  maybeInstant,
  name,
  nameParams,
  pageLimit,
  queryFlag,
  reasonText,
  rowId,
  wordList,
  workerStates,
} from "../wire.ts";
import { leaseWire, processWire, workerWire } from "./rows.ts";

export const listWorkers = endpoint({
  method: "GET",
  path: "/v1/workers",
  tag: "workers",
  summary: "Sessions of workers; the live and draining ones unless told.",
  access: "admin",
  query: z.strictObject({ state: wordList(workerStates).optional(), limit: pageLimit }),
  answer: z.object({ workers: z.array(workerWire) }),
});

const pipelineWire = z.object({
  name: z.string(),
  version: z.string(),
  paused: z.boolean(),
  stages: z.array(z.string()),
  loaded: z.boolean(),
});

export const listPipelines = endpoint({
  method: "GET",
  path: "/v1/pipelines",
  tag: "pipelines",
  summary: "Pipelines, their current version and stages in order. `loaded: false`: known to the store, gone from the configuration.",
  access: "admin",
  answer: z.object({ pipelines: z.array(pipelineWire) }),
});

export const getPipeline = endpoint({
  method: "GET",
  path: "/v1/pipelines/:name",
  tag: "pipelines",
  summary: "A pipeline's current definition. Values of `env` are left out.",
  access: "admin",
  params: nameParams,
  answer: z.object({ name: z.string(), version: z.string(), definition: anyJson }),
});

export const listLeases = endpoint({
  method: "GET",
  path: "/v1/leases",
  tag: "leases",
  summary: "Named exclusive holds.",
  access: "admin",
  query: z.strictObject({ limit: pageLimit }),
  answer: z.object({ leases: z.array(leaseWire) }),
});

const day = 86_400_000;

export const acquireLease = endpoint({
  method: "POST",
  path: "/v1/leases/:name/acquire",
  tag: "leases",
  summary: "Asks for a lease: held at once, or a place in line until the timeout. Repeat with the same ticket to ask again.",
  access: "admin",
  params: leaseNameParams,
  body: z.strictObject({
    ticket: z.string().min(1).max(200),
    holder: z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("run"), runId: rowId }),
      z.strictObject({ kind: z.literal("process"), process: processWire }),
    ]),
    ttlMs: durationMs.min(1000).max(30 * day),
    maxHoldMs: durationMs.min(1000).max(365 * day),
    waitMs: durationMs
      .max(30 * day)
      .optional()
      .meta({ description: "How long to stay in line; 0 unless told." }),
  }),
  answer: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("held"), fencing: z.int() }),
    z.object({ kind: z.literal("waiting"), position: z.int() }),
    z.object({ kind: z.literal("timed_out") }),
  ]),
});

export const renewLease = endpoint({
  method: "POST",
  path: "/v1/leases/:name/renew",
  tag: "leases",
  summary: "Extends a lease by its TTL. `conflict` when the fencing number is not the current one: the lease is lost.",
  access: "admin",
  params: nameParams,
  body: z.strictObject({ fencing: z.int().min(0) }),
  answer: done,
});

export const releaseLease = endpoint({
  method: "POST",
  path: "/v1/leases/:name/release",
  tag: "leases",
  summary: "Frees a lease and grants it to the first in line.",
  access: "admin",
  params: nameParams,
  body: z.strictObject({ fencing: z.int().min(0), reason: reasonText.optional() }),
  answer: done,
});

export const abandonLease = endpoint({
  method: "POST",
  path: "/v1/leases/:name/abandon",
  tag: "leases",
  summary: "Leaves the line.",
  access: "admin",
  params: nameParams,
  body: z.strictObject({ ticket: z.string().min(1).max(200) }),
  answer: done,
});

export const loopWire = z.object({
  name: z.string(),
  enabled: z.boolean(),
  running: z.boolean(),
  intervalMs: durationMs,
  lastRunAt: maybeInstant,
  lastSuccessAt: maybeInstant,
  lastDurationMs: z.number().nullable(),
  lastError: z.string().nullable(),
  ticks: z.int(),
  failures: z.int(),
  seen: z.int(),
  settled: z.int(),
  lost: z.int(),
  details: anyJson,
});
export type LoopWire = z.output<typeof loopWire>;

export const listLoops = endpoint({
  method: "GET",
  path: "/v1/loops",
  tag: "loops",
  summary: "The daemon's loops and how they fare. Counters start at zero with the process.",
  access: "admin",
  answer: z.object({ loops: z.array(loopWire) }),
});

export const runLoop = endpoint({
  method: "POST",
  path: "/v1/loops/:name/run",
  tag: "loops",
  summary: "One tick now. With `dryRun` it judges and reports, and settles nothing.",
  access: "admin",
  params: nameParams,
  query: z.strictObject({ dryRun: queryFlag.optional() }),
  body: z.strictObject({}).optional(),
  answer: z.object({
    report: z.object({
      seen: z.int(),
      settled: z.int(),
      lost: z.int(),
      failed: z.int(),
      nextInMs: z.number().optional(),
      would: z.array(z.string()).optional(),
    }),
  }),
});

export const listSlots = endpoint({
  method: "GET",
  path: "/v1/slots",
  tag: "slots",
  summary: "Concurrency limits and how much of them is in use.",
  access: "admin",
  answer: z.object({ slots: z.array(z.object({ key: z.string(), capacity: z.int(), used: z.int() })) }),
});

const target = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("all") }),
  z.strictObject({ kind: z.literal("pipeline"), name }),
  z.strictObject({ kind: z.literal("queue"), name }),
  z.strictObject({ kind: z.literal("worker"), id: rowId }),
  z.strictObject({ kind: z.literal("item"), id: rowId }),
]);

export const pause = endpoint({
  method: "POST",
  path: "/v1/pause",
  tag: "commands",
  summary:
    "Nothing new of the target is started; running work ends by itself. Answers how many queues, workers or items changed. A worker stays paused over restarts.",
  access: "admin",
  body: z.strictObject({ target }),
  answer: z.object({ changed: z.int() }),
});

export const resume = endpoint({ ...pause, path: "/v1/resume", summary: "Undoes a pause." });

const daemonWire = z.object({
  version: z.string(),
  pid: z.int(),
  startedAt: instant,
  now: instant,
  dataDir: z.string(),
  store: z.string(),
});

export const getDaemon = endpoint({
  method: "GET",
  path: "/v1/daemon",
  tag: "status",
  summary: "Which daemon answers, and its configuration in short.",
  access: "admin",
  answer: daemonWire,
});
