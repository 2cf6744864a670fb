/**
 * plainjob as its README sets it up: one worker, which takes and ends one job at a time. More workers are no faster, because they share one
 * process and one connection; at its best it only looks for jobs more often (`pollMs`).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { better, defineQueue, defineWorker, JobStatus } from "plainjob";
import { answer, enqueueEachWay, enqueueInBatches, measureLatency, question } from "./cell.js";

const { what, jobs, unmeasured = 0, pollMs = 1000 } = question;
const folder = mkdtempSync(join(process.env.WAKEFUL_BENCH_DIR ?? tmpdir(), "wakeful-bench-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
process.once("SIGTERM", () => process.exit(143));
const quiet = { error: console.error, warn() {}, info() {}, debug() {} };
const queue = defineQueue({ connection: better(new Database(join(folder, "bench.db"))), logger: quiet });
const sendOne = (payload) => queue.add("noop", payload);
const sendBatch = (payloads) => queue.addMany("noop", payloads);
const options = { queue, logger: quiet, pollIntervall: pollMs };

if (what === "enqueue") {
  answer(await enqueueEachWay(question, async (payload) => sendOne(payload), sendBatch));
} else if (what === "latency") {
  const hear = (handler) => void defineWorker("noop", async (job) => handler(JSON.parse(job.data)), options).start();
  answer(await measureLatency(question, { send: async (payload) => sendOne(payload), hear }));
} else {
  const enqueuePerSecond = await enqueueInBatches(jobs, sendBatch);
  let left = jobs;
  let seconds = 0;
  let cpuBefore = process.cpuUsage();
  let began = performance.now();
  const worker = defineWorker("noop", async () => {}, {
    ...options,
    onCompleted: () => {
      left -= 1;
      if (jobs - left === unmeasured) {
        cpuBefore = process.cpuUsage();
        began = performance.now();
      }
      if (left > 0) return;
      seconds = (performance.now() - began) / 1000;
      worker.stop();
    },
  });
  await worker.start();
  const { user, system } = process.cpuUsage(cpuBefore);
  const done = queue.countJobs({ status: JobStatus.Done });
  if (done !== jobs) throw new Error(`${done} of ${jobs} jobs are done`);
  queue.close();
  const measured = jobs - unmeasured;
  answer({ enqueuePerSecond, perSecond: measured / seconds, cpuUsPerJob: (user + system) / measured });
}
