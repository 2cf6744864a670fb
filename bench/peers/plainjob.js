/** plainjob as its README sets it up: enqueue in batches of 1,000, then no-op handlers until all jobs are done. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { better, defineQueue, defineWorker } from "plainjob";

const { jobs } = JSON.parse(process.argv[2] ?? "{}");
const folder = mkdtempSync(join(process.env.WAKEFUL_BENCH_DIR ?? tmpdir(), "wakeful-bench-"));
const quiet = { error: console.error, warn() {}, info() {}, debug() {} };
const queue = defineQueue({ connection: better(new Database(join(folder, "bench.db"))), logger: quiet });

const enqueueBegan = performance.now();
for (let from = 0; from < jobs; from += 1000) {
  queue.addMany(
    "noop",
    Array.from({ length: Math.min(1000, jobs - from) }, (_, at) => ({ i: from + at })),
  );
}
const enqueuePerSecond = jobs / ((performance.now() - enqueueBegan) / 1000);

let left = jobs;
let seconds = 0;
const cpuBefore = process.cpuUsage();
const began = performance.now();
const worker = defineWorker("noop", async () => {}, {
  queue,
  logger: quiet,
  onCompleted: () => {
    left -= 1;
    if (left > 0) return;
    seconds = (performance.now() - began) / 1000;
    worker.stop();
  },
});
await worker.start();
const { user, system } = process.cpuUsage(cpuBefore);
queue.close();
rmSync(folder, { recursive: true, force: true });
process.stdout.write(`\n${JSON.stringify({ enqueuePerSecond, perSecond: jobs / seconds, cpuUsPerJob: (user + system) / jobs })}\n`);
