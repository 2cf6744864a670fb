import { z } from "zod";
import { days } from "../../domain/time.ts";
import { endpoint } from "../endpoint.ts";
import { anyJson, done, durationMs, idParams, jobStates, name, pageLimit, pathId, reasonText, rowId, wordList } from "../wire.ts";
import { jobWire, runWire } from "./rows.ts";

const tag = "jobs";

const listJobs = endpoint({
  method: "GET",
  path: "/v1/jobs",
  tag,
  summary: "Jobs, newest first.",
  access: "admin",
  query: z.strictObject({ queue: name.optional(), state: wordList(jobStates).optional(), before: pathId.optional(), limit: pageLimit }),
  answer: z.object({ jobs: z.array(jobWire) }),
});

/** The field names are those of the delivery orchestrator that this listing comes from. */
export const runningJobWire = z.object({
  id: rowId,
  agent: z.string().nullable(),
  repo: z.string().nullable(),
  task_id: rowId.nullable().meta({ description: "The item." }),
  attempts: z.int(),
  max_attempts: z.int(),
  pid: z.int().nullable(),
  run_id: rowId.nullable(),
  running_age_s: z.number().min(0).meta({ description: "Since the run's start; 0 when unknown." }),
  exit_code: z.int().nullable(),
  finished_age_s: z.number().min(0).nullable().meta({ description: "Since the run's exit was recorded; null when unknown." }),
});
export type RunningJobWire = z.output<typeof runningJobWire>;

const listRunningJobs = endpoint({
  method: "GET",
  path: "/v1/jobs/running",
  tag,
  summary: "Every running job with its run's process and ages in seconds, jobs without a run included.",
  access: "admin",
  answer: z.object({ jobs: z.array(runningJobWire) }),
});

const getJob = endpoint({
  method: "GET",
  path: "/v1/jobs/:id",
  tag,
  summary: "A job with its runs.",
  access: "admin",
  params: idParams,
  answer: z.object({ job: jobWire, runs: z.array(runWire) }),
});

const enqueueJob = endpoint({
  method: "POST",
  path: "/v1/jobs",
  tag,
  summary: "Enqueues a plain task, one that the daemon's handlers declare. The same enqueueId again answers the job that exists.",
  access: "admin",
  body: z.strictObject({
    task: name,
    payload: anyJson.optional(),
    enqueueId: z.string().min(1).max(200).optional(),
    delayMs: durationMs.max(days(3650)).optional(),
    priority: z.int().min(-32_768).max(32_767).optional(),
    maxAttempts: z.int().min(1).max(1000).optional(),
    maxLosses: z.int().min(1).max(1000).optional(),
    agent: z.string().max(200).optional(),
    repo: z.string().max(500).optional(),
  }),
  answer: z.object({ jobId: rowId }),
});

const retryJob = endpoint({
  method: "POST",
  path: "/v1/jobs/:id/retry",
  tag,
  summary: "A finished job again as a new one with a fresh budget; a job of an item retries the failed item.",
  access: "admin",
  params: idParams,
  body: z.strictObject({}).optional(),
  answer: z.object({ jobId: rowId }),
});

const unholdJob = endpoint({
  method: "POST",
  path: "/v1/jobs/:id/unhold",
  tag,
  summary: "Grants a held job one more attempt. `force` also clears the block of a run that cannot be stopped.",
  access: "admin",
  params: idParams,
  body: z.strictObject({ force: z.boolean().optional() }).optional(),
  answer: done,
});

const cancelJob = endpoint({
  method: "POST",
  path: "/v1/jobs/:id/cancel",
  tag,
  summary: "Ends an unfinished job, and its item with it; its running work is stopped.",
  access: "admin",
  params: idParams,
  body: z.strictObject({ reason: reasonText.optional() }).optional(),
  answer: done,
});

export const jobsApi = { listJobs, listRunningJobs, getJob, enqueueJob, retryJob, unholdJob, cancelJob };
