/** Several processes on one PostgreSQL store, each with a worker: from the word to begin to the last settlement. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { JobId, TaskJob } from "../../src/index.ts";
import { newestJob } from "../queue/ask-store.ts";
import { checkEveryJobOnce } from "../queue/every-job-once.ts";
import { openSettledWatch } from "../queue/settled-watch.ts";
import { enqueueInBatches, whileBusy } from "../queue/wakeful-queue.ts";
import { answer, inFolder, question, whenStopped } from "./answer.ts";
import { library } from "./built.ts";

interface MembersQuestion {
  readonly jobs: number;
  readonly members: number;
  readonly concurrency: number;
  readonly outstandingMax: number;
  readonly store: string;
  readonly dataDir?: string;
}

/** What a member tells, in this order; its `calls` every 10 ms. Times are of the system's monotonic clock. */
type Told = { readonly ready: true } | { readonly calls: number } | { readonly endedMs: number };

const asked = question() as MembersQuestion;
if (process.send === undefined) await lead();
else await member();

async function lead(): Promise<void> {
  await inFolder(async (folder) => {
    const where = { store: asked.store, dataDir: join(folder, "data") };
    await whileBusy(where, () => Promise.resolve());
    const afterJob = await newestJob(where.store);
    await whileBusy(where, (embedded) => enqueueInBatches(embedded, asked.jobs));
    const perSecond = await work(where.dataDir);
    await checkEveryJobOnce(where.store, asked.jobs + 1, afterJob);
    answer({ perSecond });
  });
}

async function work(dataDir: string): Promise<number> {
  const argument = JSON.stringify({ ...asked, dataDir });
  const members: ChildProcess[] = [];
  whenStopped(() => members.forEach((each) => each.kill("SIGKILL")));
  // One after the other: they share the host's identity, and their handlers wait for the word to begin.
  while (members.length < asked.members) {
    const member = fork(fileURLToPath(import.meta.url), [argument], { execArgv: ["--import", "tsx"] });
    members.push(member);
    await once(member, "message");
  }
  const exits = members.map(async (each) => ((await once(each, "exit")) as [number | null])[0]);
  const failed = Promise.race(
    exits.map(async (exit) => {
      const code = await exit;
      if (code !== 0) throw new Error(`a worker ended with ${String(code)}`);
      // One that ended well says nothing about the others.
      return await new Promise<never>(() => undefined);
    }),
  );
  const ends = members.map(endOf);
  const beganMs = monotonicMs();
  for (const each of members) each.send("begin");
  await Promise.race([allCalled(members), failed]);
  for (const each of members) each.send("finish");
  const endedMs = await Promise.race([Promise.all(ends), failed]);
  await Promise.race([Promise.all(exits), failed]);
  return asked.jobs / ((Math.max(...endedMs) - beganMs) / 1000);
}

function allCalled(members: readonly ChildProcess[]): Promise<void> {
  const calls = new Map<ChildProcess, number>();
  return new Promise((resolve) => {
    for (const each of members)
      each.on("message", (told: Told) => {
        if ("calls" in told) calls.set(each, told.calls);
        if ([...calls.values()].reduce((sum, some) => sum + some, 0) >= asked.jobs) resolve();
      });
  });
}

function endOf(member: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    member.on("message", (told: Told) => {
      if ("endedMs" in told) resolve(told.endedMs);
    });
  });
}

async function member(): Promise<void> {
  const started: JobId[] = [];
  let begin: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const embedded = await library.startEmbedded({
    store: asked.store,
    ...(asked.dataDir === undefined ? {} : { dataDir: asked.dataDir }),
    concurrency: asked.concurrency,
    outstandingMax: asked.outstandingMax,
    tasks: {
      noop: async ({ id }: TaskJob) => {
        await begun;
        started.push(id);
      },
    },
    log: () => undefined,
  });
  const ends = await openSettledWatch(asked.store);
  tell({ ready: true });
  await once(process, "message");
  begin();
  const telling = setInterval(() => tell({ calls: started.length }), 10);
  await once(process, "message");
  clearInterval(telling);
  await ends.settled(started.slice(-asked.outstandingMax));
  tell({ endedMs: monotonicMs() });
  await ends.close();
  await embedded.stop();
  process.disconnect();
}

function tell(told: Told): void {
  process.send?.(told);
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
