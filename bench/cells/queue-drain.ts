/** One process with an embedded worker: jobs enqueued beforehand, then no-op handlers, claim to settled. On PostgreSQL with the server's share. */
import { join } from "node:path";
import { checkEveryJobOnce } from "../queue/every-job-once.ts";
import { ServerMeter, type ServerWork } from "../queue/server-meter.ts";
import { type DrainWatch, drain, enqueueInBatches, whileBusy } from "../queue/wakeful-queue.ts";
import { answer, inFolder, question } from "./answer.ts";

interface DrainQuestion {
  readonly jobs: number;
  readonly concurrency: number;
  readonly outstandingMax: number;
  /** Absent: a SQLite file of the cell's own. */
  readonly url?: string;
  readonly serverPid?: number;
}

const { jobs, concurrency, outstandingMax, url, serverPid } = question() as DrainQuestion;

await inFolder(async (folder) => {
  const where = { store: url ?? join(folder, "bench.db"), dataDir: join(folder, "data") };
  await whileBusy(where, (embedded) => enqueueInBatches(embedded, jobs));
  let work: ServerWork | undefined;
  const watch = url === undefined || serverPid === undefined ? undefined : await watchServer({ url, pid: serverPid });
  const drained = await drain({ ...where, jobs, concurrency, outstandingMax }, watch);
  // The job that kept the worker busy is one more.
  await checkEveryJobOnce(where.store, jobs + 1);
  answer({ ...drained, ...work });

  async function watchServer(server: { readonly url: string; readonly pid: number }): Promise<DrainWatch> {
    const meter = await ServerMeter.open(server);
    return {
      began: () => meter.begin(),
      ended: async (stop) => {
        work = await meter.end(jobs, stop);
      },
    };
  }
});
