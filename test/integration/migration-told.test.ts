import { expect, onTestFinished, test } from "vitest";
import { type EmbeddedLogLine, startEmbedded } from "../../src/index.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { startTestDaemon } from "../support/daemon.ts";
import { earlierStore } from "../support/earlier-store.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

const newest = sqliteMigrations.length;

test("a daemon that migrates its store says so in its log, before it is up", async () => {
  const earlier = await earlierStore("sqlite", newest - 1);
  const { log } = await startTestDaemon({ yaml: "dataDir: ./data\n", flags: { store: earlier.url, "log.json": true } });
  const events = log.map((line) => JSON.parse(line) as { readonly event: string; readonly schema?: number });
  const names = events.map(({ event }) => event);
  expect(events.find(({ event }) => event === "migration.finished")).toMatchObject({ schema: newest, tookMs: expect.any(Number) });
  expect(names.indexOf("migration.finished")).toBeLessThan(names.indexOf("daemon.started"));
});

test("an embedded worker that migrates its store tells its log, and works on what was queued", async () => {
  const earlier = await earlierStore("sqlite", newest - 1);
  const lines: EmbeddedLogLine[] = [];
  const done: unknown[] = [];
  const embedded = await startEmbedded({
    store: earlier.url,
    dataDir: tempDir("embedded"),
    tasks: { t: async (job) => void done.push(job.payload) },
    log: (line) => lines.push(line),
  });
  onTestFinished(async () => {
    await embedded.stop();
  });
  expect(lines.find(({ event }) => event === "migration.finished")).toMatchObject({ level: "info", data: { schema: newest } });
  const queued = [{ n: 51 }, { n: 52 }, { n: 53 }];
  await until(() => queued.every(({ n }) => done.some((payload) => (payload as { n: number } | null)?.n === n)), {
    what: "the queued jobs to be done",
  });
});
