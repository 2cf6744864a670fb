import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import type { ItemId, JobId } from "../../src/domain/ids.ts";
import { asInstant, hours } from "../../src/domain/time.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { createDatabase } from "../support/postgres.ts";
import { requeueLeftovers, work } from "../support/store-load.ts";
import { registerWorker } from "../support/store-rows.ts";
import { tempDir } from "../support/temp-dir.ts";

const script = join(import.meta.dirname, "../support/store-load.ts");

/** The writes that the store answered before the processes were killed. */
interface Promised {
  readonly enqueued: Set<string>;
  readonly settled: Set<JobId>;
  readonly items: Set<ItemId>;
}

/** Kills a process under load after `lines` answered writes, wherever it is then. */
async function crash(url: string, round: number, lines: number, promised: Promised): Promise<void> {
  const child = spawn(process.execPath, ["--import", "tsx", script, url, String(round)], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const ended = once(child, "exit");
  let heard = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, which = ""] = line.split(" ");
    if (what === "enqueued") promised.enqueued.add(which);
    if (what === "settled") promised.settled.add(Number(which) as JobId);
    if (what === "added") promised.items.add(Number(which) as ItemId);
    heard += 1;
    if (heard === lines) child.kill("SIGKILL");
  }
  const [, signal] = await ended;
  expect(signal).toBe("SIGKILL");
}

/** After each crash every answered write is there, nothing happened twice, and every invariant holds. */
async function expectNothingLost(store: Store, promised: Promised): Promise<void> {
  expect(await store.upkeep.checkInvariants()).toEqual([]);
  // A known enqueue id answers its row; a lost one would make a new row, which shows.
  const highest = (await store.upkeep.listJobs({ limit: 1 }))[0]?.id ?? 0;
  const ids = await store.jobs.enqueue({ queue: "t", jobs: [...promised.enqueued].map((enqueueId) => ({ enqueueId })) });
  expect(ids.filter((id) => id > highest)).toEqual([]);
  for (const jobId of promised.settled) {
    const runs = await store.runs.ofJob(jobId);
    expect((await store.jobs.get(jobId))?.state, `job ${jobId}`).toBe("done");
    expect(
      runs.filter((run) => run.outcome === "succeeded"),
      `job ${jobId}`,
    ).toHaveLength(1);
    expect(runs.at(-1)?.outcome, `job ${jobId}`).toBe("succeeded");
  }
  for (const id of promised.items) expect(await store.items.get(id), `item ${id}`).toBeDefined();
}

async function drain(store: Store): Promise<void> {
  await requeueLeftovers(store);
  const workerId = await registerWorker(store, "drain");
  for (let claimSeq = 1; ; claimSeq += 1) {
    const { taken } = await work(store, { workerId, claimSeq, max: 500, failing: false });
    if (taken === 0) break;
  }
}

async function survives(url: string, rounds: number): Promise<void> {
  const promised: Promised = { enqueued: new Set(), settled: new Set(), items: new Set() };
  const open = async (aheadMs = 0): Promise<Store> => await openStore({ url, clock: { now: () => asInstant(Date.now() + aheadMs) } });
  for (let round = 0; round < rounds; round += 1) {
    await crash(url, round, 50 + Math.floor(Math.random() * 1500), promised);
    const store = await open();
    await expectNothingLost(store, promised);
    await store.close();
  }
  // A job whose process was killed twice waits before it is tried again: the next day all of them are due.
  const before = await open();
  await requeueLeftovers(before);
  await before.close();
  const store = await open(hours(24));
  onTestFinished(() => store.close());
  await drain(store);
  // Everything stored reached its end, and no item advanced without its stage.
  expect(await store.upkeep.listJobs({ states: ["queued", "scheduled", "running", "held", "failed"], limit: 10 })).toEqual([]);
  const items = await store.items.list({ limit: 100_000 });
  expect(items.length).toBeGreaterThanOrEqual(promised.items.size);
  for (const item of items) {
    expect(item, `item ${item.id}`).toMatchObject({ state: "done" });
    const visits = await store.items.visits(item.id);
    expect(
      visits.map((visit) => [visit.stage, visit.state, visit.output]),
      `item ${item.id}`,
    ).toEqual([
      ["prep", "passed", '"p/prep"'],
      ["ocr", "passed", '"p/ocr"'],
    ]);
  }
  await expectNothingLost(store, promised);
}

test("the embedded store survives SIGKILL under load: nothing promised is lost, nothing is in limbo, nothing is settled twice", async () => {
  await survives(join(tempDir("crash"), "wakeful.db"), 4);
});

test("the server store survives SIGKILL of its client under load: nothing promised is lost, nothing is in limbo, nothing is settled twice", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  await survives(database.url, 2);
});
