import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { addMs, asInstant, hours } from "../../domain/time.ts";
import { FakeClock } from "../../runtime/fake-clock.ts";
import { sqliteMigrations } from "../../store/migrations/sqlite.ts";
import { openStore } from "../../store/open-store.ts";

const wall = asInstant(Date.UTC(2026, 0, 1));
/** The two jobs, and the line of each migration. */
const rowsAhead = 2 + sqliteMigrations.length;

/** A project whose store was written while the clock was a year ahead. */
async function aheadProject(): Promise<{ readonly cwd: string; readonly path: string }> {
  const cwd = tempDir("reset-clock");
  writeFileSync(join(cwd, "wakeful.yaml"), "dataDir: ./data\nhttp: { listen: 127.0.0.1:0 }\n");
  mkdirSync(join(cwd, "data"), { mode: 0o700 });
  const path = join(cwd, "data", "wakeful.db");
  const store = await openStore({ url: path, clock: { now: () => addMs(wall, hours(24 * 365)) } });
  await store.jobs.ensureQueues([{ name: "t", kind: "handler" }]);
  await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
  await store.close();
  return { cwd, path };
}

const resetIn = (cwd: string, ...flags: string[]) =>
  cli(["doctor", "--reset-clock", ...flags], { cwd, host: { clock: new FakeClock({ wallMs: wall }) } });

test("doctor --reset-clock brings the store back to the clock and says how many rows it changed", async () => {
  const { cwd, path } = await aheadProject();
  const reset = await resetIn(cwd);
  expect([reset.code, reset.out]).toEqual([
    0,
    expect.stringMatching(new RegExp(`^${rowsAhead} rows of .*wakeful\\.db were ahead of 2026-01-01T00:00:00.000Z .*jobs 2`)),
  ]);
  const store = await openStore({ url: path, clock: { now: () => wall } });
  onTestFinished(() => store.close());
  expect(await store.upkeep.newestInstant()).toBe(wall);
});

test("once is enough, and programs get numbers", async () => {
  const { cwd } = await aheadProject();
  expect(JSON.parse((await resetIn(cwd, "--json")).out)).toMatchObject({ to: wall, rows: rowsAhead, tables: { jobs: 2 } });
  expect(JSON.parse((await resetIn(cwd, "--json")).out)).toEqual({ to: wall, rows: 0, tables: {} });
});

test("nothing is reset beside a daemon, whether it answers or only has the store", async () => {
  const { cwd, path } = await aheadProject();
  const answered = await cli(["doctor", "--reset-clock"], { cwd, daemon: await apiDaemon() });
  expect([answered.code, answered.err]).toEqual([7, expect.stringContaining("stop it first")]);
  const store = await openStore({ url: path, clock: { now: () => wall } });
  onTestFinished(() => store.close());
  const silent = await resetIn(cwd, "--json");
  expect([silent.code, silent.out]).toEqual([7, expect.stringContaining("store_locked")]);
  expect(await store.upkeep.newestInstant()).toBeGreaterThan(wall);
});

test("a folder without a store has nothing to reset, and gets none", async () => {
  const { code, err } = await resetIn(tempDir("empty"));
  expect([code, err]).toEqual([4, expect.stringContaining("There is no store")]);
});
