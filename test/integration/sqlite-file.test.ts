import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { asInstant } from "../../src/domain/time.ts";
import { assembleStore } from "../../src/store/assemble-store.ts";
import { HintBoard } from "../../src/store/engine/hint-board.ts";
import { migrate } from "../../src/store/engine/migrator.ts";
import { sqliteMigrations } from "../../src/store/migrations/sqlite.ts";
import { openReadOnly, openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/port/store.ts";
import { SqliteConnection } from "../../src/store/sqlite/connection.ts";
import { SqliteEngine } from "../../src/store/sqlite/engine.ts";
import { createHotVerbs } from "../../src/store/sqlite/hot-verbs.ts";
import { targetOf } from "../../src/store/sqlite/migration-target.ts";
import { needOpenCheckout, nobody } from "../support/another-user.ts";
import { skipTest } from "../support/skips.ts";
import { tempDir } from "../support/temp-dir.ts";

const clock = { now: () => asInstant(Date.UTC(2026, 0, 1)) };
const isRoot = process.getuid?.() === 0;

interface Told {
  readonly opened: boolean;
  readonly code?: string | null;
  readonly message?: string;
  readonly setting?: string | null;
}

async function open(path: string): Promise<Store> {
  const store = await openStore({ url: path, clock });
  onTestFinished(() => store.close());
  return store;
}

/** Opens the store in another process and waits for its line. */
async function openElsewhere(
  path: string,
  options: { readonly readOnly?: boolean; readonly uid?: number } = {},
): Promise<{ readonly child: ChildProcess; readonly closed: Promise<unknown>; readonly told: Told }> {
  const script = fileURLToPath(new URL("../support/store-process.ts", import.meta.url));
  const identity = options.uid === undefined ? {} : { uid: options.uid, gid: options.uid };
  const child = spawn(process.execPath, ["--import", "tsx", script, path, ...(options.readOnly === true ? ["read-only"] : [])], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: process.env.PATH },
    ...identity,
  });
  const closed = once(child, "close");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await Promise.race([once(lines, "line"), once(lines, "close")])) as [string?];
  if (line === undefined) throw new Error("the other process ended without a word");
  return { child, closed, told: JSON.parse(line) as Told };
}

test("a second process is refused, told who holds the store, and let in when the holder was killed", async () => {
  const path = join(tempDir("lock"), "wakeful.db");
  const { child, closed, told } = await openElsewhere(path);
  expect(told.opened).toBe(true);
  await expect(openStore({ url: path, clock })).rejects.toMatchObject({ code: "store_locked", details: { pid: child.pid } });
  await expect(openReadOnly({ url: path, clock })).rejects.toMatchObject({ code: "store_locked" });
  child.kill("SIGKILL");
  await closed;
  const store = await open(path);
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test.each(["000", "022", "277"])("the store's files are its owner's alone under umask %s", async (umask) => {
  const path = join(tempDir("modes"), "wakeful.db");
  const before = process.umask(Number.parseInt(umask, 8));
  onTestFinished(() => void process.umask(before));
  const store = await open(path);
  await store.jobs.ensureQueues([{ name: "t", kind: "command" }]);
  const modes = ["", "-wal", "-shm", ".lock", ".lock.holder"].map((end) => [end, (statSync(`${path}${end}`).mode & 0o777).toString(8)]);
  expect(modes).toEqual([
    ["", "600"],
    ["-wal", "600"],
    ["-shm", "600"],
    [".lock", "600"],
    [".lock.holder", "600"],
  ]);
  await store.close();
  expect((statSync(path).mode & 0o777).toString(8)).toBe("600");
});

test("a store that was made readable for others stays so", async () => {
  const path = join(tempDir("modes"), "wakeful.db");
  await (await open(path)).close();
  chmodSync(path, 0o640);
  const store = await open(path);
  await store.jobs.ensureQueues([{ name: "t", kind: "command" }]);
  expect([path, `${path}-wal`].map((file) => (statSync(file).mode & 0o777).toString(8))).toEqual(["640", "640"]);
});

test("the same process cannot open the store twice, and can again once it is closed", async () => {
  const path = join(tempDir("lock"), "wakeful.db");
  const store = await open(path);
  await expect(openStore({ url: path, clock })).rejects.toMatchObject({ code: "store_locked", details: { pid: process.pid } });
  await store.close();
  await (await open(path)).ping();
});

test("a file that is no database is refused with what to do, left as it is, and the lock given back", async () => {
  const path = join(tempDir("corrupt"), "wakeful.db");
  const letter = "this is no database, and never was one; somebody saved a letter under this name";
  writeFileSync(path, letter);
  await expect(openStore({ url: path, clock })).rejects.toMatchObject({ code: "store_corrupt", retryable: false });
  await expect(openStore({ url: path, clock })).rejects.toThrow(/restore the newest backup/);
  expect(readFileSync(path, "utf8")).toBe(letter);
});

test("a database whose pages are gone is refused as corrupt, not used", async () => {
  const path = join(tempDir("corrupt"), "wakeful.db");
  await (await open(path)).close();
  truncateSync(path, Math.floor(statSync(path).size / 3));
  await expect(openStore({ url: path, clock }).then((store) => store.upkeep.integrityCheck())).rejects.toMatchObject({
    code: "store_corrupt",
  });
});

test("a read-only opening reads, writes nothing, and does not keep a daemon from starting", async () => {
  const path = join(tempDir("read"), "wakeful.db");
  await expect(openReadOnly({ url: path, clock })).rejects.toMatchObject({ code: "store_read_only" });
  const writer = await open(path);
  await writer.upkeep.putSetting("mark", "kept");
  await writer.close();
  const reader = await openReadOnly({ url: path, clock });
  onTestFinished(() => reader.close());
  expect(await reader.upkeep.setting("mark")).toBe("kept");
  expect(await reader.upkeep.counts()).toEqual([]);
  expect(await reader.upkeep.checkInvariants()).toEqual([]);
  await expect(reader.upkeep.putSetting("mark", "lost")).rejects.toMatchObject({ code: "store_read_only" });
  await expect(reader.jobs.ensureQueues([{ name: "t", kind: "handler" }])).rejects.toMatchObject({ code: "store_read_only" });
  await (await open(path)).ping();
});

test("a store that nobody has migrated yet is not read as one of this version", async () => {
  const path = join(tempDir("read"), "wakeful.db");
  await new SqliteConnection({ path }).close();
  await expect(openReadOnly({ url: path, clock })).rejects.toMatchObject({ code: "store_older", details: { found: 0 } });
});

/** A closed store in a folder that its reader may read and not write. */
async function closedStoreInReadOnlyFolder(): Promise<string> {
  const folder = tempDir("read-only");
  const path = join(folder, "wakeful.db");
  const writer = await open(path);
  await writer.upkeep.putSetting("mark", "kept");
  await writer.close();
  expect(existsSync(`${path}-wal`)).toBe(false);
  chmodSync(path, 0o644);
  chmodSync(`${path}.lock`, 0o644);
  chmodSync(folder, 0o555);
  onTestFinished(() => chmodSync(folder, 0o755));
  return path;
}

test("a folder that may not be written is refused as read-only", async (context) => {
  needOpenCheckout(context);
  const path = await closedStoreInReadOnlyFolder();
  const { told } = await openElsewhere(path, isRoot ? { uid: nobody } : {});
  expect(told).toMatchObject({ opened: false, code: "store_read_only" });
});

test("a reader who may not write beside the file can still read a store that was closed", async (context) => {
  needOpenCheckout(context);
  const path = await closedStoreInReadOnlyFolder();
  const { told } = await openElsewhere(path, { readOnly: true, ...(isRoot ? { uid: nobody } : {}) });
  expect(told).toEqual({ opened: true, setting: "kept" });
});

test("a file of another user is refused as read-only", async (context) => {
  if (!isRoot) skipTest(context, "giving a file away needs root");
  needOpenCheckout(context);
  const folder = tempDir("read-only");
  const path = join(folder, "wakeful.db");
  await (await open(path)).close();
  chmodSync(path, 0o600);
  for (const owned of [folder, `${path}.lock`, `${path}.lock.holder`]) chownSync(owned, nobody, nobody);
  const { told } = await openElsewhere(path, { uid: nobody });
  expect(told).toMatchObject({ opened: false, code: "store_read_only" });
});

test("a full disk rejects the write as retryable, stores nothing of it, and the store goes on when there is space", async () => {
  const path = join(tempDir("full"), "wakeful.db");
  const connection = new SqliteConnection({ path });
  const hints = new HintBoard();
  const engine = new SqliteEngine({ connection, hints, now: () => clock.now() });
  await migrate(targetOf(engine), sqliteMigrations);
  const store = assembleStore({ engine, hints, hot: createHotVerbs(engine), release: async () => await connection.close() });
  onTestFinished(() => store.close());
  await store.jobs.ensureQueues([{ name: "t", kind: "handler" }]);
  await store.jobs.enqueue({ queue: "t", jobs: [{}] });

  // The engine answers a limit on its pages exactly as it answers a disk without space.
  const pages = connection.db.prepare("pragma page_count").get() as { page_count: number };
  connection.db.exec(`pragma max_page_count = ${pages.page_count + 2}`);
  const payload = JSON.stringify("x".repeat(200_000));
  await expect(store.upkeep.putSetting("big", payload)).rejects.toMatchObject({ code: "disk_full", retryable: true });
  await expect(store.jobs.enqueue({ queue: "t", jobs: [{ payload }] })).rejects.toMatchObject({ code: "disk_full", retryable: true });
  expect(await store.upkeep.setting("big")).toBeUndefined();
  expect(await store.upkeep.counts()).toMatchObject([{ states: { queued: 1 } }]);

  connection.db.exec("pragma max_page_count = 1000000");
  await store.upkeep.putSetting("big", payload);
  await store.jobs.enqueue({ queue: "t", jobs: [{ payload }] });
  expect(await store.upkeep.counts()).toMatchObject([{ states: { queued: 2 } }]);
  expect(await store.upkeep.integrityCheck()).toEqual([]);
});

test("what a process had committed when it was killed is there when the store is opened again", async () => {
  const path = join(tempDir("crash"), "wakeful.db");
  const script = `
    import { openStore } from ${JSON.stringify(new URL("../../src/store/open-store.ts", import.meta.url).href)};
    const store = await openStore({ url: process.argv[1], clock: { now: () => 1_700_000_000_000 } });
    await store.upkeep.putSetting("mark", "committed");
    process.kill(process.pid, "SIGKILL");
  `;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script, path], { stdio: "inherit" });
  const [, signal] = (await once(child, "close")) as [number | null, string | null];
  expect(signal).toBe("SIGKILL");
  expect(await (await open(path)).upkeep.setting("mark")).toBe("committed");
});
