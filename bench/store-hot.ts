/**
 * What claim -> settled costs in the store alone: `npx tsx bench/store-hot.ts [--jobs 100000] [--url postgres://...]`.
 * A worker that holds `outstanding` runs, of which it runs `concurrency` at a time with a handler that does nothing: all are folded
 * into their ends but for those claimed as started. Each case has a store of its own.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { asHostId } from "../src/domain/ids.ts";
import type { Instant } from "../src/domain/time.ts";
import { openStore } from "../src/store/open-store.ts";
import type { ClaimedRun, Settlement } from "../src/store/port/runs.ts";
import type { Store } from "../src/store/store.ts";

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

for (const one of cases) {
  if (values.only !== undefined && !one.name.includes(values.only)) continue;
  const directory = mkdtempSync(join(tmpdir(), "wakeful-bench-"));
  const store = await openStore({ url: values.url ?? join(directory, "bench.db"), clock: { now: () => Date.now() as Instant } });
  try {
    const seeded = await seed(store, jobs);
    const perSecond = await drain(store, one, jobs);
    process.stdout.write(
      `${one.name.padEnd(40)} enqueue ${format(seeded)}/s   claim->settled ${format(perSecond)}/s   ${(1e6 / perSecond).toFixed(1)} us a job\n`,
    );
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

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

/** Claims when a quarter of the room is free or nothing waits locally; settles each run as its handler ends. */
async function drain(store: Store, one: Case, total: number): Promise<number> {
  const workerId = await store.workers.register({
    name: "bench",
    kind: "handler",
    process: { hostId: asHostId("bench"), bootId: "boot", pidNamespace: "ns", pid: process.pid, startTime: "1" },
    concurrency: one.concurrency,
    queues: ["bench"],
  });
  const queues = [{ name: "bench", limits: { maxRunningMs: 86_400_000 } }];
  const waiting: ClaimedRun[] = [];
  let settled = 0;
  let held = 0;
  let running = 0;
  let claimSeq = 0;
  let claiming = false;
  const began = performance.now();
  await new Promise<void>((resolve, reject) => {
    let ended: Settlement[] = [];
    const flush = (): void => {
      const batch = ended;
      ended = [];
      // Their room is free for the claim of the same turn, which comes after them in the same transaction.
      held -= batch.length;
      void refill();
      store.runs.settle(batch).then((answers) => {
        for (const answer of answers) if (answer.kind !== "ok") reject(new Error(`not settled: ${JSON.stringify(answer)}`));
        settled += batch.length;
        if (settled === total) resolve();
      }, reject);
    };
    const run = async (claimed: ClaimedRun): Promise<void> => {
      const startedAt = store.now();
      await null; // the handler
      running -= 1;
      if (ended.length === 0) queueMicrotask(flush);
      ended.push({
        runId: claimed.runId,
        jobId: claimed.jobId,
        ownerEpoch: claimed.ownerEpoch,
        outcome: "succeeded",
        reason: "handler_returned",
        spend: "attempt",
        then: { to: "done" },
        ...(claimed.started ? {} : { startedAt }),
      });
      next();
    };
    const next = (): void => {
      while (running < one.concurrency) {
        const claimed = waiting.shift();
        if (claimed === undefined) return;
        running += 1;
        void run(claimed);
      }
    };
    const refill = async (): Promise<void> => {
      const free = one.outstanding - held;
      if (claiming || settled + held >= total || free === 0 || (free < one.outstanding / 4 && waiting.length > 0)) return;
      claiming = true;
      held += free;
      claimSeq += 1;
      const startNow = Math.max(0, one.concurrency - running - waiting.length);
      const runs = await store.runs.claim({ claimId: `${workerId}-${claimSeq}`, workerId, claimSeq, queues, max: free, startNow });
      claiming = false;
      held -= free - runs.length;
      waiting.push(...runs);
      next();
      void refill();
    };
    refill().catch(reject);
  });
  return total / ((performance.now() - began) / 1000);
}

function format(perSecond: number): string {
  return `${(perSecond / 1000).toFixed(1)} k`;
}
