import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { readElsewhere } from "../../../test/support/file-reader.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { until } from "../../../test/support/until.ts";
import { CheckpointThread } from "./checkpoint-thread.ts";
import { SqliteConnection } from "./connection.ts";
import { LogCutter } from "./log-cutter.ts";

const mebibyte = 2 ** 20;
/** More than the log gets while nobody reads an old state. */
const keep = 8 * mebibyte;

const writeAndDie = `
const { DatabaseSync } = require(${JSON.stringify(createRequire(import.meta.url).resolve("@photostructure/sqlite"))});
const db = new DatabaseSync(process.argv[1]);
db.exec("pragma journal_mode = wal; pragma wal_autocheckpoint = 0");
db.exec("with recursive n (i) as (select 1 union all select i + 1 from n where i < 6000) insert into t select hex(zeroblob(2000)) from n");
process.kill(process.pid, "SIGKILL");
`;

interface Opened {
  readonly path: string;
  readonly connection: SqliteConnection;
  readonly log: LogCutter;
  readonly logBytes: () => number;
  /** One commit of about so many bytes, through the connection as all of the store's are. */
  readonly write: (bytes: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

function open(path = join(tempDir("log"), "wakeful.db"), keepBytes = keep): Opened {
  const connection = new SqliteConnection({ path, synchronous: "normal" });
  connection.db.exec("create table if not exists t (a text)");
  const log = new LogCutter({ connection, keepBytes });
  const close = async (): Promise<void> => {
    await log.stop();
    await connection.close();
  };
  onTestFinished(close);
  return {
    path,
    connection,
    log,
    logBytes: () => statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0,
    write: async (bytes) =>
      await connection.exclusive(() =>
        connection.immediate(() => {
          for (let written = 0; written < bytes; written += 4000) connection.prepare("insert into t values (?)").run("x".repeat(4000));
        }),
      ),
    close,
  };
}

async function writeUntil(opened: Opened, bytes: number): Promise<void> {
  while (opened.logBytes() < bytes) await opened.write(100_000);
}

test("a log that a reader made long is cut back when the reader ends, also while nobody writes", async () => {
  const opened = open();
  const reader = await readElsewhere(opened.path);
  await writeUntil(opened, 40 * mebibyte);
  await until(() => opened.log.state.held, { what: "the log to be told as held" });
  expect(opened.log.state.bytes).toBeGreaterThanOrEqual(40 * mebibyte);
  await reader.endReading();
  await until(() => opened.logBytes() <= keep, { what: "the log to be cut" });
  await until(() => !opened.log.state.held);
  // All is there, and in the file itself.
  expect(opened.connection.prepare("select count(*) * 4000 as n from t").get()).toMatchObject({
    n: expect.toSatisfy((n: number) => n > 30 * mebibyte),
  });
  expect(statSync(opened.path).size).toBeGreaterThan(30 * mebibyte);
});

test("a reader that is killed while writes go on: the log is cut beside them, and they wait for nobody", async () => {
  const opened = open();
  const reader = await readElsewhere(opened.path);
  await writeUntil(opened, 40 * mebibyte);
  await reader.kill();
  await until(async () => {
    await opened.write(20_000);
    return opened.logBytes() <= keep;
  });
  // SQLite checkpoints at the commits again: the log stays as short as it is without readers.
  await until(() => connectionSetting(opened.connection, "wal_autocheckpoint") === 1000);
  for (let n = 0; n < 200; n += 1) await opened.write(100_000);
  expect(opened.logBytes()).toBeLessThanOrEqual(keep);
});

test("a log that stays below the limit is left to SQLite", async () => {
  const opened = open(undefined, 64 * mebibyte);
  const reader = await readElsewhere(opened.path);
  await writeUntil(opened, 10 * mebibyte);
  expect(connectionSetting(opened.connection, "wal_autocheckpoint")).toBe(1000);
  expect(opened.log.state).toMatchObject({ held: false });
  await reader.endReading();
  await opened.write(1000);
  expect(opened.logBytes()).toBeGreaterThanOrEqual(10 * mebibyte);
});

test("what a killed process left is cut by the next opening, and a close folds what is left", async () => {
  const path = join(tempDir("log"), "wakeful.db");
  await open(path).close();
  const died = spawnSync(process.execPath, ["-e", writeAndDie, path], { stdio: ["ignore", "inherit", "inherit"], env: {} });
  expect(died.signal).toBe("SIGKILL");
  const next = open(path);
  expect(next.logBytes()).toBeGreaterThan(20 * mebibyte);
  next.log.look();
  await until(() => next.logBytes() <= keep);
  expect(next.connection.prepare("select count(*) as n from t").get()).toEqual({ n: 6000 });
  await next.close();
  expect(existsSync(`${path}-wal`)).toBe(false);
});

test("a process that only closes its store ends after the close, whatever the thread is doing", async () => {
  const path = join(tempDir("log"), "wakeful.db");
  const module = (name: string): string => JSON.stringify(new URL(`./${name}.ts`, import.meta.url).href);
  const closes = `
    const { SqliteConnection } = await import(${module("connection")});
    const { LogCutter } = await import(${module("log-cutter")});
    const connection = new SqliteConnection({ path: ${JSON.stringify(path)} });
    connection.db.exec("pragma wal_autocheckpoint = 0; create table t (a)");
    connection.db.exec("with recursive n (i) as (select 1 union all select i + 1 from n where i < 9000) insert into t select hex(zeroblob(2000)) from n");
    const log = new LogCutter({ connection });
    log.look();
    // The thread begins its checkpoint.
    await new Promise((resolve) => setImmediate(resolve));
    await log.stop();
    await connection.close();
    console.log("closed");
  `;
  const { stdout, status } = spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", closes], { encoding: "utf8" });
  expect({ stdout, status }).toEqual({ stdout: "closed\n", status: 0 });
  expect(existsSync(`${path}-wal`)).toBe(false);
});

test("where the thread cannot work SQLite goes on by itself, until the log is short again", async () => {
  const opened = open();
  const reader = await readElsewhere(opened.path);
  vi.spyOn(CheckpointThread.prototype, "checkpoint").mockRejectedValue(new Error("no thread here"));
  onTestFinished(() => void vi.restoreAllMocks());
  await writeUntil(opened, 12 * mebibyte);
  await until(() => connectionSetting(opened.connection, "wal_autocheckpoint") === 1000);
  await opened.write(2 * mebibyte);
  expect(connectionSetting(opened.connection, "wal_autocheckpoint")).toBe(1000);
  await reader.kill();
  await opened.write(1000);
  await opened.write(1000);
  expect(opened.logBytes()).toBeLessThanOrEqual(keep);
});

const connectionSetting = (connection: SqliteConnection, name: string): unknown =>
  Object.values(connection.db.prepare(`pragma ${name}`).get() ?? {})[0];
