/** A store with so many queued jobs: how long a claim of a hundred takes. As many are settled and enqueued after each, so the queue keeps its size. */
import { join } from "node:path";
import { asHostId, type WorkerId } from "../../src/domain/ids.ts";
import type { Instant } from "../../src/domain/time.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { percentile } from "../figure.ts";
import { answer, inFolder, question } from "./answer.ts";

const { queued, claims, store: url } = question() as { queued: number; claims: number; store?: string };
const size = 100;

await inFolder(async (folder) => {
  const store = await openStore({ url: url ?? join(folder, "bench.db"), clock: { now: () => Date.now() as Instant } });
  try {
    await store.jobs.ensureQueues([{ name: "bench", kind: "handler" }]);
    for (let from = 0; from < queued; from += 1000) await enqueue(store, Math.min(1000, queued - from));
    const workerId = await store.workers.register({
      name: "bench",
      kind: "handler",
      process: { hostId: asHostId("bench"), bootId: "boot", pidNamespace: "ns", pid: process.pid, startTime: "1" },
      concurrency: size,
      queues: ["bench"],
    });
    const took: number[] = [];
    for (let claimSeq = 1; claimSeq <= claims; claimSeq++) took.push(await claimAndSettle(store, workerId, claimSeq));
    // The first ones warm up code and statements.
    const steady = took.slice(10);
    answer({ claimMs: percentile(steady, 0.5), claimP95Ms: percentile(steady, 0.95) });
  } finally {
    await store.close();
  }
});

async function enqueue(store: Store, count: number): Promise<void> {
  await store.jobs.enqueue({ queue: "bench", jobs: Array.from({ length: count }, (_, i) => ({ payload: `{"i":${i}}` })) });
}

async function claimAndSettle(store: Store, workerId: WorkerId, claimSeq: number): Promise<number> {
  const began = performance.now();
  const queues = [{ name: "bench", limits: { maxRunningMs: 86_400_000 } }];
  const runs = await store.runs.claim({ claimId: `bench-${claimSeq}`, workerId, claimSeq, queues, max: size, startNow: size });
  const took = performance.now() - began;
  if (runs.length !== size) throw new Error(`claimed ${runs.length} of ${size}`);
  const answers = await store.runs.settle(
    runs.map(({ runId, jobId, ownerEpoch }) => ({
      runId,
      jobId,
      ownerEpoch,
      outcome: "succeeded",
      reason: "handler_returned",
      startedAt: undefined,
    })),
  );
  if (answers.some(({ kind }) => kind !== "ok")) throw new Error("a run was not settled");
  await enqueue(store, size);
  return took;
}
