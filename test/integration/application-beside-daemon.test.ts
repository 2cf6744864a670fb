import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { startEmbedded } from "../../src/index.ts";
import { api } from "../../src/protocol/api/index.ts";
import { startTestDaemon } from "../support/daemon.ts";
import { createDatabase, storeOptions } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

/** So many end at once, by which the worker learns to reserve ahead; those behind them turn slow. */
const fast = 3000;
const slow = 300;

test("of the jobs that an application has reserved ahead, and that turn slow, none runs twice beside a daemon [F-9.7]", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const begun = new Map<number, number>();
  let goOn: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const queue = await startEmbedded({
    store: database.url,
    dataDir: tempDir("application"),
    concurrency: 4,
    log: () => undefined,
    tasks: {
      mail: async ({ payload }) => {
        const { n } = payload as { n: number };
        begun.set(n, (begun.get(n) ?? 0) + 1);
        if (n >= fast) await gate;
      },
    },
  });
  onTestFinished(async () => {
    goOn();
    await queue.stop();
  });
  const sql = new pg.Client({ connectionString: database.url, options: storeOptions });
  await sql.connect();
  onTestFinished(() => sql.end());
  const { client } = await startTestDaemon({
    yaml: `
store: ${JSON.stringify(database.url)}
reaper: { startWithinMs: 1s }
pipelines: { docs: { stages: { work: { run: { command: ["true"] }, timeout: 1h } } } }
`,
  });
  const ids = await queue.enqueueMany(
    "mail",
    Array.from({ length: fast + slow }, (_, n) => ({ n })),
  );
  await until(() => [...begun.keys()].filter((n) => n >= fast).length >= 4, { what: "slow jobs to take all places" });
  const held = async (): Promise<number> => (await client.call(api.listJobs, { query: { limit: 500, state: "running" } })).jobs.length;
  const judged = async (): Promise<number> => {
    const { loops } = await client.call(api.listLoops, {});
    return present(loops.find(({ name }) => name === "job-reaper")).ticks;
  };
  // The daemon looks at each of them, a second after its reservation and later.
  // Neither list tells of a run that was given back and taken again at once.
  const neverStarted = async () => (await sql.query("select job_id, reason from runs where outcome = 'never_started'")).rows;
  const ticks = await judged();
  // The application put its first look off by its own 30 s.
  await sql.query("update live set check_at = 0 where state = 'reserved'");
  await until(async () => (await judged()) >= ticks + 8, { what: "the daemon to have judged them" });
  expect(await held(), "reserved ahead of the four that work").toBeGreaterThan(8);
  expect(await neverStarted()).toEqual([]);
  goOn();
  await until(async () => (await Promise.all(ids.map(async (id) => (await queue.get(id))?.state))).every((state) => state === "done"), {
    what: "all jobs to be done",
  });
  expect([...begun.values()].filter((times) => times !== 1)).toEqual([]);
  expect(begun.size).toBe(fast + slow);
  expect(await neverStarted()).toEqual([]);
});
