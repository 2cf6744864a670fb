import { spawnSync } from "node:child_process";
import { cpSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, type TestContext, test } from "vitest";
import { adminTokenPath } from "../../src/http/tokens.ts";
import { api } from "../../src/protocol/api/index.ts";
import { type Client, createClient } from "../../src/protocol/client.ts";
import { openStore } from "../../src/store/open-store.ts";
import { createDatabase } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { skipTest } from "../support/skips.ts";
import { StoreTestClock } from "../support/stores.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful, type WakefulProcess } from "../support/wakeful-program.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

/** The kernel's lock is taken by a program that macOS does not have. */
function needFlock(context: TestContext): void {
  if (spawnSync("flock", ["--version"]).error !== undefined) skipTest(context, "the program flock is not installed");
}

interface Place {
  readonly folder: string;
  readonly store?: string;
  readonly dataDir?: string;
}

function up({ folder, store = "./data/wakeful.db", dataDir = "./data" }: Place, ...flags: readonly string[]): WakefulProcess {
  const name = `${dataDir}-${store}`.replaceAll(/[^a-z0-9]/gi, "_");
  const yaml = `http: { listen: 127.0.0.1:0 }
store: ${JSON.stringify(store)}
dataDir: ${dataDir}
pipelines:
  p: { stages: { work: { run: { command: [sh, -c, "echo $$ > pid; while [ -e pid ]; do sleep 0.2; done"] }, timeout: 2h } } }
`;
  writeFileSync(join(folder, `${name}.yaml`), yaml);
  return startWakeful(program, ["up", "--config", `${name}.yaml`, ...flags], { cwd: folder });
}

async function startCommand(client: Client, folder: string): Promise<number> {
  await client.call(api.submitItem, { params: { name: "p" }, body: { key: "k" } });
  const pid = await until(() => Number(readFileSync(join(folder, "pid"), "utf8").trim()), { what: "the command to be at work" });
  onTestFinished(() => {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  });
  return pid;
}

async function refused(second: WakefulProcess, code: number, words: RegExp): Promise<void> {
  expect([await second.ended, second.err()]).toEqual([code, expect.stringMatching(words)]);
}

async function stopInOrder(daemon: WakefulProcess): Promise<void> {
  daemon.child.kill("SIGTERM");
  expect(await daemon.ended).toBe(0);
}

test("a store has one owner, whatever becomes of the files beside it, and by whatever name it is reached [F-8.8]", async (context) => {
  needFlock(context);
  const folder = tempDir("owner");
  const first = up({ folder });
  const client = await readyDaemon(join(folder, "data"));
  const holder = new RegExp(`in use by process ${first.pid}`);
  await refused(up({ folder, dataDir: "./other", store: "./data/wakeful.db" }), 7, holder);
  symlinkSync(join(folder, "data/wakeful.db"), join(folder, "by-symbolic-link.db"));
  await refused(up({ folder, dataDir: "./other", store: "./by-symbolic-link.db" }), 7, holder);
  symlinkSync(join(folder, "data"), join(folder, "linked"));
  await refused(up({ folder, dataDir: "./other", store: "./linked/wakeful.db" }), 7, holder);
  linkSync(join(folder, "data/wakeful.db"), join(folder, "hard.db"));
  await refused(up({ folder, dataDir: "./other", store: "./hard.db" }), 2, /has 2 names \(hard links\)/);
  rmSync(join(folder, "hard.db"));
  // A cleaner.
  for (const name of readdirSync(join(folder, "data"))) if (name.includes("lock")) rmSync(join(folder, "data", name));
  await refused(up({ folder, dataDir: "./other", store: "./data/wakeful.db" }), 7, /in use by another process/);
  await client.call(api.submitItem, { params: { name: "p" }, body: { key: "still-mine" } });
  await stopInOrder(first);
});

test("a process that copies the folder of its own store stays its owner [F-8.8]", async (context) => {
  needFlock(context);
  const folder = tempDir("owner");
  mkdirSync(join(folder, "data"));
  const store = await openStore({ url: join(folder, "data/wakeful.db"), clock: new StoreTestClock() });
  onTestFinished(() => store.close());
  // Closing any descriptor of a file ends all POSIX locks that the process has on it.
  cpSync(join(folder, "data"), join(folder, "copy"), { recursive: true });
  await refused(up({ folder, dataDir: "./other", store: "./data/wakeful.db" }), 7, /in use by/);
});

test("a store with two names is opened under none of them, and under its one name again [F-8.8]", async () => {
  const folder = tempDir("owner");
  const path = join(folder, "wakeful.db");
  await (await openStore({ url: path, clock: new StoreTestClock() })).close();
  linkSync(path, join(folder, "second.db"));
  for (const name of ["wakeful.db", "second.db"]) {
    await expect(openStore({ url: join(folder, name), clock: new StoreTestClock() })).rejects.toMatchObject({ code: "config_invalid" });
  }
  rmSync(join(folder, "second.db"));
  await (await openStore({ url: path, clock: new StoreTestClock() })).close();
});

test.each([
  ["deleted", (path: string) => ["", "-wal", "-shm"].forEach((part) => rmSync(path + part, { force: true }))],
  ["deleted, its log alone", (path: string) => rmSync(`${path}-wal`)],
  ["replaced by an older copy", (path: string) => renameSync(`${path}.backup`, path)],
] as const)("a store that is %s under the daemon takes no more work, and says so [F-8.9]", async (_, lose) => {
  const folder = tempDir("owner");
  const daemon = up({ folder });
  const client = await readyDaemon(join(folder, "data"));
  const path = join(folder, "data/wakeful.db");
  cpSync(path, `${path}.backup`);
  lose(path);
  await until(() => daemon.out().includes("store_lost"), { what: "the daemon to notice" });
  const submit = client.call(api.submitItem, { params: { name: "p" }, body: { key: "late" } });
  await expect(submit).rejects.toMatchObject({ code: "store_lost" });
  await until(async () => !(await client.call(api.readyz, {})).ready, { what: "the daemon to be unready" });
  expect((await client.call(api.readyz, {})).reasons).toEqual([expect.stringMatching(/while this program had it open/)]);
  await until(() => daemon.out().includes("alert.raised"), { what: "a person to be told" });
  daemon.child.kill("SIGKILL");
  await daemon.ended;
});

test("a store that was moved away and comes back is gone on with, and has lost nothing [F-8.9]", async () => {
  const folder = tempDir("owner");
  const daemon = up({ folder });
  const client = await readyDaemon(join(folder, "data"));
  const path = join(folder, "data/wakeful.db");
  const { item } = await client.call(api.submitItem, { params: { name: "p" }, body: { key: "before" } });
  renameSync(path, `${path}.away`);
  await until(() => daemon.out().includes("store_lost"), { what: "the daemon to notice" });
  renameSync(`${path}.away`, path);
  const after = await until(async () => await client.call(api.getItem, { params: { id: item.id } }), { what: "the store to answer" });
  expect(after.item.key).toBe("before");
  await client.call(api.submitItem, { params: { name: "p" }, body: { key: "after" } });
  await until(async () => (await client.call(api.readyz, {})).ready, { what: "the daemon to be ready again" });
  await stopInOrder(daemon);
});

test("a data directory has one daemon, whatever store a second one names, and its commands live on [F-9.2]", async (context) => {
  needFlock(context);
  const folder = tempDir("owner");
  const first = up({ folder });
  const command = await startCommand(await readyDaemon(join(folder, "data")), folder);
  await refused(up({ folder, store: "./elsewhere.db" }), 7, new RegExp(`data directory .* is in use by process ${first.pid}`));
  await stopInOrder(first);
  // One after the other: what the first has left alive is its own still.
  await refused(up({ folder, store: "./elsewhere.db" }), 5, /belongs to another store[\s\S]*--take-data-dir/);
  process.kill(command, 0);
  const again = up({ folder });
  await readyDaemon(join(folder, "data"));
  process.kill(command, 0);
  again.child.kill("SIGINT");
  await again.ended;
  const taken = up({ folder, store: "./elsewhere.db" }, "--take-data-dir");
  await readyDaemon(join(folder, "data"));
  expect(taken.out()).toMatch(/epoch/);
  await stopInOrder(taken);
});

test("a second daemon on PostgreSQL gets no data directory of another one either [F-9.2]", async (context) => {
  needFlock(context);
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const folder = tempDir("owner");
  const first = up({ folder, store: database.url });
  const command = await startCommand(await readyDaemon(join(folder, "data")), folder);
  await refused(up({ folder, store: database.url }), 7, /data directory .* is in use by process/);
  process.kill(command, 0);
  first.child.kill("SIGINT");
  expect(await first.ended).toBe(0);
});

test("a data directory that is moved away under a daemon on PostgreSQL loses no run, and is gone on with when it is back", async (context) => {
  needFlock(context);
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const folder = tempDir("owner");
  const daemon = up({ folder, store: database.url });
  const client = await readyDaemon(join(folder, "data"));
  const command = await startCommand(client, folder);
  renameSync(join(folder, "data"), join(folder, "away"));
  // As a program that makes what it misses.
  mkdirSync(join(folder, "data/runs"), { recursive: true });
  await until(() => daemon.out().includes("data_dir_lost"), { what: "the daemon to notice" });
  const url = present(/listens on (http:\S+)/.exec(daemon.err())?.[1]);
  const token = readFileSync(adminTokenPath(join(folder, "away")), "utf8").trim();
  const submit = createClient({ url, token }).call(api.submitItem, { params: { name: "p" }, body: { key: "late" } });
  await expect(submit).rejects.toMatchObject({ code: "data_dir_lost" });
  await until(() => daemon.out().includes("alert.raised"), { what: "a person to be told" });
  rmSync(join(folder, "data"), { recursive: true });
  renameSync(join(folder, "away"), join(folder, "data"));
  const back = await readyDaemon(join(folder, "data"));
  const { jobs } = await until(async () => await back.call(api.listJobs, { query: {} }), { what: "the store to be used again" });
  expect(jobs).toMatchObject([{ state: "running", attempts: 1 }]);
  process.kill(command, 0);
  expect(daemon.out()).not.toMatch(/run\.reaped/);
  await stopInOrder(daemon);
});
