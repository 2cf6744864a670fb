import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import type { JobId } from "../../src/domain/ids.ts";
import { addMs, type DurationMs, minutes } from "../../src/domain/time.ts";
import { type Embedded, type EmbeddedLogLine, type EmbeddedTask, startEmbedded } from "../../src/embedded/embedded.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { createStoreClock } from "../../src/runtime/store-clock.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import type { TaskJob } from "../../src/worker/handlers/handler-context.ts";
import { createDatabase, storeOptions } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { claim, declareQueues, processOn, registerWorker, startRun } from "../support/store-rows.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

/** A task whose runs are too old as soon as they begin, and end only when their worker stops. */
const overdue: EmbeddedTask = {
  maxRunningMs: 1,
  maxAttempts: 1,
  handler: (_job: TaskJob, { signal }) =>
    new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    }),
};

async function embeddedOn(store: string) {
  const lines: EmbeddedLogLine[] = [];
  const queue = await startEmbedded({ store, dataDir: tempDir("state"), log: (line) => lines.push(line), tasks: { overdue } });
  onTestFinished(async () => {
    await queue.stop();
  });
  return { queue, lines };
}

/** More than a page of due command runs, of a worker on another host; each is due before any of ours. */
async function fillDuePage(store: Store, { dueSinceMs }: { readonly dueSinceMs: DurationMs }): Promise<void> {
  await declareQueues(store);
  const workerId = await registerWorker(store, "elsewhere", processOn("host-elsewhere"));
  await store.jobs.enqueue({ queue: "p/ocr", jobs: Array.from({ length: 600 }, () => ({})) });
  const runs = await claim(store, { workerId, queues: ["p/ocr"], max: 600 });
  for (const run of runs) await startRun(store, run, processOn("host-elsewhere"));
  const checkAt = addMs(store.now(), -dueSinceMs);
  await store.runs.moveChecks(runs.map(({ runId, ownerEpoch }) => ({ runId, ownerEpoch, checkAt })));
}

test("an overdue run is ended, however many runs of others are due before it", async () => {
  const path = `${tempDir("store")}/jobs.db`;
  const store = await openStore({ url: path, clock: createStoreClock({ host: systemClock() }) });
  await fillDuePage(store, { dueSinceMs: minutes(1) });
  await store.close();
  const { queue } = await embeddedOn(path);
  const id = await queue.enqueue("overdue", null);
  await until(async () => present(await queue.get(id)).state === "failed");
  expect(present(await queue.get(id)).error).toContain("ceiling");
});

/** A job whose row another connection locks before the reaper reaches it. */
async function lockedWhileRunning(queue: Embedded<"overdue">, other: pg.Client): Promise<JobId> {
  for (;;) {
    const id = await queue.enqueue("overdue", null);
    await until(async () => (await queue.get(id))?.state === "running");
    await other.query("begin");
    await other.query("select id from jobs where id = $1 for update", [id]);
    if ((await other.query("select id from live where job_id = $1", [id])).rowCount === 1) return id;
    await other.query("rollback");
  }
}

test("a row that somebody else holds is not waited for: its run is ended with a later look", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const { queue, lines } = await embeddedOn(database.url);
  const other = new pg.Client({ connectionString: database.url, options: storeOptions });
  await other.connect();
  onTestFinished(() => other.end());
  const held = await lockedWhileRunning(queue, other);
  const failure = await until(() => lines.find(({ event }) => event === "loop.subject_failed"));
  expect(failure.data).toMatchObject({ subject: `job ${held}`, message: expect.stringContaining("is being written by somebody else") });
  await other.query("rollback");
  await until(async () => present(await queue.get(held)).state === "failed");
  expect(present(await queue.get(held)).attempts).toBe(1);
});
