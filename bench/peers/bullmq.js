/** BullMQ over Redis at its defaults, with the concurrency alone set, or at its best: finished jobs are not kept. */
import { Queue, Worker } from "bullmq";
import { answer, Drain, enqueueEachWay, enqueueInBatches, measureLatency, question } from "./cell.js";

const { what, port, settings, concurrency = 10 } = question;
const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };
const queue = new Queue("noop", { connection });
const sendOne = (payload) => queue.add("noop", payload);
const sendBatch = (payloads) => queue.addBulk(payloads.map((data) => ({ name: "noop", data })));
const best = { removeOnComplete: { count: 0 }, removeOnFail: { count: 0 } };
const options = { connection, concurrency, ...(settings === "best" ? best : {}) };

function work(handler) {
  const worker = new Worker("noop", async ({ data }) => handler(data), options);
  worker.on("error", console.error);
  return worker.waitUntilReady();
}

if (what === "enqueue") {
  answer(await enqueueEachWay(question, sendOne, sendBatch));
} else if (what === "latency") {
  answer(await measureLatency(question, { send: sendOne, hear: work }));
} else {
  await enqueueInBatches(question.jobs, sendBatch);
  const drain = new Drain(question);
  await work(() => drain.called());
  const measured = await drain.measured(async () => {
    const { active, wait } = await queue.getJobCounts("active", "wait");
    return active + wait === 0;
  });
  const { failed } = await queue.getJobCounts("failed");
  if (measured.calls !== question.jobs || failed > 0)
    throw new Error(`${measured.calls} handler calls for ${question.jobs} jobs, ${failed} failed`);
  answer(measured);
}
