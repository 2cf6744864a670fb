/**
 * graphile-worker at its defaults, with the concurrency alone set, or at its best: jobs fetched 500 at a time into its local queue and their
 * ends written in batches, as its guide to performance says.
 */
import { makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";
import { answer, Drain, enqueueEachWay, enqueueInBatches, measureLatency, question } from "./cell.js";

const { what, store: url, settings, concurrency = 10 } = question;
// Its own advice: as many connections as jobs at once, and two. With a hundred it would be more than most servers allow.
const maxPoolSize = Math.min(Math.max(10, concurrency + 2), 60);
const worker = { connectionString: url, concurrentJobs: concurrency, maxPoolSize };
const best = { localQueue: { size: 500, refetchDelay: { durationMs: 10 } }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const quiet = { logger: new (await import("graphile-worker")).Logger(() => () => undefined) };
const preset = { worker: { ...worker, ...quiet, ...(settings === "best" ? best : {}) } };
const options = { preset, noHandleSignals: true, parsedCronItems: [] };

const utils = await makeWorkerUtils({ connectionString: url, ...quiet });
await utils.migrate();
const sendOne = (payload) => utils.addJob("noop", payload);
const sendBatch = (payloads) => utils.addJobs(payloads.map((payload) => ({ identifier: "noop", payload })));

if (what === "enqueue") {
  answer(await enqueueEachWay(question, sendOne, sendBatch));
} else if (what === "latency") {
  const hear = (handler) => run({ ...options, taskList: { noop: async (payload) => handler(payload) } });
  answer(await measureLatency(question, { send: sendOne, hear }));
} else {
  await enqueueInBatches(question.jobs, sendBatch);
  const database = new pg.Client({ connectionString: url });
  await database.connect();
  const drain = new Drain(question);
  const runner = await run({ ...options, taskList: { noop: async () => drain.called() } });
  const measured = await drain.measured(async () => {
    const { rows } = await database.query("select exists (select from graphile_worker._private_jobs) as left");
    return !rows[0].left;
  });
  if (measured.calls !== question.jobs) throw new Error(`${measured.calls} handler calls for ${question.jobs} jobs`);
  await runner.stop();
  answer(measured);
}
