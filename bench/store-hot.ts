/**
 * The store's own cost from claim to settled: `npx tsx bench/store-hot.ts [--jobs 100000] [--url postgres://...]`. One worker holds
 * `outstanding` runs and runs `concurrency` of them with a no-op handler. Each case has its own store.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { asHostId, type WorkerId } from "../src/domain/ids.ts";
import type { Instant } from "../src/domain/time.ts";
import { openStore } from "../src/store/open-store.ts";
import type { ClaimedRun, Settlement } from "../src/store/port/runs.ts";
import type { Store } from "../src/store/port/store.ts";

interface Case {
  readonly name: string;
  readonly outstanding: number;
  readonly concurrency: number;
}

const cases: readonly Case[] = [
  { name: "outstanding 500, c=10", outstanding: 500, concurrency: 10 },
  { name: "outstanding 200, c=10", outstanding: 200, concurrency: 10 },
  { name: "outstanding 100, c=100 (no prefetch)", outstanding: 100, concurrency: 100 },
  { name: "outstanding 10, c=10 (no prefetch)", outstanding: 10, concurrency: 10 },
];

const { values } = parseArgs({
  options: { jobs: { type: "string", default: "100000" }, url: { type: "string" }, only: { type: "string" } },
});
const jobs = Number(values.jobs);

async function seed(store: Store, count: number): Promise<number> {
  await store.jobs.ensureQueues([{ name: "bench", kind: "handler" }]);
  const began = performance.now();
  for (let from = 0; from < count; from += 1000) {
    await store.jobs.enqueue({
      queue: "bench",
      jobs: Array.from({ length: Math.min(1000, count - from) }, (_, i) => ({ payload: `{"i":${from + i}}` })),
    });
  }
  return count / ((performance.now() - began) / 1000);
}

async function drain(store: Store, one: Case, total: number): Promise<{ readonly perSecond: number; readonly cpuUs: number }> {
  const workerId = await store.workers.register({
    name: "bench",
    kind: "handler",
    process: { hostId: asHostId("bench"), bootId: "boot", pidNamespace: "ns", pid: process.pid, startTime: "1" },
    concurrency: one.concurrency,
    queues: ["bench"],
  });
  const began = performance.now();
  const cpuBegan = process.cpuUsage();
  await new Promise<void>((resolve, reject) => new BenchWorker({ store, workerId, one, total, resolve, reject }).refill());
  const { user, system } = process.cpuUsage(cpuBegan);
  return { perSecond: total / ((performance.now() - began) / 1000), cpuUs: (user + system) / total };
}

interface BenchWorkerOptions {
  readonly store: Store;
  readonly workerId: WorkerId;
  readonly one: Case;
  readonly total: number;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** Claims when a quarter of its room is free or nothing waits locally; settles each run as its handler ends. */
class BenchWorker {
  readonly #options: BenchWorkerOptions;
  readonly #queues = [{ name: "bench", limits: { maxRunningMs: 86_400_000 } }];
  readonly #waiting: ClaimedRun[] = [];
  #ended: Settlement[] = [];
  #settled = 0;
  #held = 0;
  #running = 0;
  #claimSeq = 0;
  #claiming = false;

  constructor(options: BenchWorkerOptions) {
    this.#options = options;
  }

  refill(): void {
    const { store, workerId, one, total } = this.#options;
    const free = one.outstanding - this.#held;
    if (this.#claiming || free === 0 || this.#settled + this.#held >= total) return;
    if (free < one.outstanding / 4 && this.#waiting.length > 0) return;
    this.#claiming = true;
    this.#held += free;
    this.#claimSeq += 1;
    const startNow = Math.max(0, one.concurrency - this.#running - this.#waiting.length);
    const claim = {
      claimId: `${workerId}-${this.#claimSeq}`,
      workerId,
      claimSeq: this.#claimSeq,
      queues: this.#queues,
      max: free,
      startNow,
    };
    store.runs.claim(claim).then((runs) => {
      this.#claiming = false;
      this.#held -= free - runs.length;
      this.#waiting.push(...runs);
      this.#begin();
      this.refill();
    }, this.#options.reject);
  }

  #begin(): void {
    while (this.#running < this.#options.one.concurrency) {
      const run = this.#waiting.shift();
      if (run === undefined) return;
      this.#running += 1;
      const startedAt = this.#options.store.now();
      doNothing().then(() => this.#end(run, startedAt), this.#options.reject);
    }
  }

  #end({ runId, jobId, ownerEpoch, started }: ClaimedRun, startedAt: Instant): void {
    this.#running -= 1;
    if (this.#ended.length === 0) queueMicrotask(() => this.#settle());
    this.#ended.push({
      runId,
      jobId,
      ownerEpoch,
      outcome: "succeeded",
      reason: "handler_returned",
      startedAt: started ? undefined : startedAt,
    });
    this.#begin();
  }

  #settle(): void {
    const { store, total, resolve, reject } = this.#options;
    const batch = this.#ended;
    this.#ended = [];
    // The claim of the same turn may use their room: it comes after them in the same transaction.
    this.#held -= batch.length;
    this.refill();
    store.runs.settle(batch).then((answers) => {
      const other = answers.find((answer) => answer.kind !== "ok");
      if (other !== undefined) reject(new Error(`not settled: ${JSON.stringify(other)}`));
      this.#settled += batch.length;
      if (this.#settled === total) resolve();
    }, reject);
  }
}

async function doNothing(): Promise<void> {
  // The handler does nothing: what is measured is the store's share.
}

function format(perSecond: number): string {
  return `${(perSecond / 1000).toFixed(1)} k`;
}

for (const one of cases) {
  if (values.only !== undefined && !one.name.includes(values.only)) continue;
  const directory = mkdtempSync(join(tmpdir(), "wakeful-bench-"));
  const store = await openStore({ url: values.url ?? join(directory, "bench.db"), clock: { now: () => Date.now() as Instant } });
  try {
    const seeded = await seed(store, jobs);
    const { perSecond, cpuUs } = await drain(store, one, jobs);
    process.stdout.write(
      `${one.name.padEnd(40)} enqueue ${format(seeded)}/s   claim->settled ${format(perSecond)}/s   ${(1e6 / perSecond).toFixed(1)} us a job, ${cpuUs.toFixed(1)} of them CPU\n`,
    );
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
