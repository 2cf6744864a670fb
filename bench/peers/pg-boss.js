/**
 * pg-boss at its defaults, with the number of local workers alone set, or at its best: woken by NOTIFY, two local workers that each take two
 * thousand jobs and fetch on while batches are full.
 */
import pg from "pg";
import { PgBoss } from "pg-boss";
import { answer, Drain, enqueueEachWay, enqueueInBatches, measureLatency, question } from "./cell.js";

const { what, store: url, settings, concurrency = 10 } = question;
const best = settings === "best";
const boss = new PgBoss({ connectionString: url, useListenNotify: best });
boss.on("error", console.error);
await boss.start();
await boss.createQueue("noop", { notify: best });
const sendOne = (payload) => boss.send("noop", payload);
const sendBatch = (payloads) =>
  boss.insert(
    "noop",
    payloads.map((data) => ({ data })),
  );
const { localConcurrency = Math.min(concurrency, 2), batchSize = 2000 } = question;
const options = best ? { localConcurrency, batchSize, burstWhenBatchFull: true } : { localConcurrency: concurrency };

if (what === "enqueue") {
  answer(await enqueueEachWay(question, sendOne, sendBatch));
} else if (what === "latency") {
  const hear = (handler) => boss.work("noop", options, async (jobs) => jobs.forEach(({ data }) => handler(data)));
  answer(await measureLatency(question, { send: sendOne, hear }));
} else {
  await enqueueInBatches(question.jobs, sendBatch);
  const database = new pg.Client({ connectionString: url });
  await database.connect();
  const drain = new Drain(question);
  await boss.work("noop", options, async (jobs) => drain.called(jobs.length));
  const measured = await drain.measured(async () => {
    const { rows } = await database.query("select exists (select from pgboss.job where name = 'noop' and state < 'completed') as left");
    return !rows[0].left;
  });
  if (question.seconds === undefined && measured.calls !== question.jobs)
    throw new Error(`${measured.calls} jobs handled of ${question.jobs}`);
  answer(measured);
}
