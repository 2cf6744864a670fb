/** One process with an embedded worker: jobs enqueued beforehand, then no-op handlers, claim to settled. On PostgreSQL with the server's share. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { bytesOf, newestJob, switchVacuumOff } from "../queue/ask-store.ts";
import { checkEveryJobOnce } from "../queue/every-job-once.ts";
import { holdSnapshot } from "../queue/held-snapshot.ts";
import { ServerMeter } from "../queue/server-meter.ts";
import { openSettledWatch } from "../queue/settled-watch.ts";
import { type DrainOptions, type DrainWatch, drain, enqueueInBatches, whileBusy } from "../queue/wakeful-queue.ts";
import { answer, inFolder, question } from "./answer.ts";

interface DrainQuestion extends Pick<DrainOptions, "jobs" | "concurrency" | "outstandingMax" | "unmeasured"> {
  /** Absent: a SQLite file of the cell's own. */
  readonly store?: string;
  readonly dataDir?: string;
  readonly serverPid?: number;
  /** How many jobs are done before anything is measured. */
  readonly finished?: number;
  /** A reader's transaction stays open from before the first job is enqueued. */
  readonly held?: boolean;
  /** The server takes no dead row of ours away. */
  readonly neverVacuumed?: boolean;
}

const {
  jobs,
  concurrency,
  outstandingMax,
  unmeasured = 0,
  store,
  dataDir,
  serverPid,
  finished = 0,
  held = false,
  neverVacuumed = false,
} = question() as DrainQuestion;

await inFolder(async (folder) => {
  const where = { store: store ?? join(folder, "bench.db"), dataDir: dataDir ?? join(folder, "data") };
  const options = { ...where, concurrency, outstandingMax };
  if (finished > 0) {
    await whileBusy(where, (embedded) => enqueueInBatches(embedded, finished));
    await drain({ ...options, jobs: finished });
  }
  // Makes the tables, so that what they take empty is known.
  await whileBusy(where, () => Promise.resolve());
  if (neverVacuumed) await switchVacuumOff(where.store);
  const [afterJob, bytesBefore] = [await newestJob(where.store), await bytesOf(where.store)];
  const letGo = await whileBusy(where, async (embedded) => {
    const hold = held ? await holdSnapshot(where.store) : undefined;
    await enqueueInBatches(embedded, jobs);
    return hold;
  });
  const { watch, work } = serverPid === undefined ? { watch: undefined, work: () => ({}) } : await watchServer(where.store, serverPid);
  const ends = await openSettledWatch(where.store);
  const drained = await drain({ ...options, jobs, unmeasured, settled: (ids) => ends.settled(ids) }, watch);
  await ends.close();
  const logBytes = held && serverPid === undefined ? statSync(`${where.store}-wal`).size / jobs : undefined;
  await letGo?.();
  // The job that kept the worker busy is one more.
  await checkEveryJobOnce(where.store, jobs + 1, afterJob);
  answer({ ...drained, ...work(), logBytes, diskBytes: ((await bytesOf(where.store)) - bytesBefore) / jobs });
});

async function watchServer(url: string, pid: number): Promise<{ readonly watch: DrainWatch; readonly work: () => object }> {
  const meter = await ServerMeter.open({ url, pid });
  let work: object = {};
  const ended = async (stop: () => Promise<void>): Promise<void> => {
    work = await meter.end(jobs - unmeasured, stop);
  };
  return { watch: { began: () => meter.begin(), ended }, work: () => work };
}
