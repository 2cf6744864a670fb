import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { anyJson, idParams, pageLimit, pathId, queryFlag, wholeNumber } from "../wire.ts";
import { runWire } from "./rows.ts";

const tag = "runs";

const liveRunWire = runWire.extend({
  queue: z.string(),
  attempts: z.int(),
  maxAttempts: z.int(),
  itemId: z.int().nullable(),
  agent: z.string().nullable(),
  repo: z.string().nullable(),
});

const listRuns = endpoint({
  method: "GET",
  path: "/v1/runs",
  tag,
  summary: "Runs that have not ended, oldest first.",
  access: "admin",
  query: z.strictObject({ after: pathId.optional(), limit: pageLimit }),
  answer: z.object({ runs: z.array(liveRunWire) }),
});

const getRun = endpoint({
  method: "GET",
  path: "/v1/runs/:id",
  tag,
  summary: "A run, with its verdict and evidence once it has ended.",
  access: "admin",
  params: idParams,
  answer: z.object({ run: runWire }),
});

const runLogs = endpoint({
  method: "GET",
  path: "/v1/runs/:id/logs",
  tag,
  summary: "A run's output as text. `follow` goes on until the run has ended; terminal control characters are removed unless `raw`.",
  access: "admin",
  params: idParams,
  query: z.strictObject({
    stream: z.enum(["stdout", "stderr"]).optional(),
    follow: queryFlag.optional(),
    raw: queryFlag.optional(),
    tailBytes: wholeNumber({ min: 0, max: Number.MAX_SAFE_INTEGER }).optional().meta({ description: "Only the end of what there is." }),
  }),
  answer: z.string().meta({ description: "text/plain" }),
});

const alive = z.object({ alive: z.literal(true) });

const beatRun = endpoint({
  method: "POST",
  path: "/v1/runs/:id/beat",
  tag,
  summary: "The run's own sign of life. `conflict` when the run has ended: stop.",
  access: "run",
  params: idParams,
  body: z.strictObject({}).optional(),
  answer: alive,
});

const progressRun = endpoint({
  method: "POST",
  path: "/v1/runs/:id/progress",
  tag,
  summary: "The run's own progress, a fraction from 0 to 1 or a text; counts as a sign of life.",
  access: "run",
  params: idParams,
  body: z.strictObject({
    progress: z.union([z.number().min(0).max(1), z.string().min(1).max(1000), z.record(z.string().max(100), anyJson)]),
  }),
  answer: alive,
});

export const runsApi = { listRuns, getRun, runLogs, beatRun, progressRun };
