import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { anyJson, durationMs, maybeInstant, nameParams, queryFlag } from "../wire.ts";

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

const listLoops = endpoint({
  method: "GET",
  path: "/v1/loops",
  tag: "loops",
  summary: "The daemon's loops and how they fare. Counters start at zero with the process.",
  access: "admin",
  answer: z.object({ loops: z.array(loopWire) }),
});

const runLoop = endpoint({
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

export const loopsApi = { listLoops, runLoop };
