/** One process that enqueues into a store whose worker is busy: one call at a time, sixteen calls in flight, a thousand jobs a call. */
import { join } from "node:path";
import { enqueueInBatches, whileBusy } from "../queue/wakeful-queue.ts";
import { answer, inFolder, question } from "./answer.ts";

const { singles, batched, store } = question() as { singles: number; batched: number; store?: string };

await inFolder(async (folder) => {
  const where = { store: store ?? join(folder, "bench.db"), dataDir: join(folder, "data") };
  const measured = await whileBusy(where, async (embedded) => {
    const enqueue = (i: number): Promise<unknown> => embedded.enqueue("noop", { i });
    await inFlight(1, 50, enqueue);
    return {
      single: await inFlight(1, singles, enqueue),
      concurrent: await inFlight(16, singles * 2, enqueue),
      batch: await enqueueInBatches(embedded, batched),
    };
  });
  answer(measured);
});

/** Calls a second, `lanes` of them in flight. */
async function inFlight(lanes: number, calls: number, call: (i: number) => Promise<unknown>): Promise<number> {
  const began = performance.now();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < calls) await call(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return calls / ((performance.now() - began) / 1000);
}
