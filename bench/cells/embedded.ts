/** One process with an embedded worker on SQLite, synchronous=FULL: enqueue in batches of 1,000, then no-op handlers, claim to settled. */
import { join } from "node:path";
import { drain, enqueueInBatches, whileBusy } from "../queue/wakeful-queue.ts";
import { answer, inFolder, question } from "./answer.ts";

const { jobs, concurrency, outstandingMax } = question() as { jobs: number; concurrency: number; outstandingMax: number };

await inFolder(async (folder) => {
  const store = join(folder, "bench.db");
  const enqueuePerSecond = await whileBusy({ store }, (embedded) => enqueueInBatches(embedded, jobs));
  answer({ enqueuePerSecond, ...(await drain({ store, jobs, concurrency, outstandingMax })) });
});
