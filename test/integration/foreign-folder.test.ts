import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, cpSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DatabaseSync } from "@photostructure/sqlite";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { needOpenCheckout, nobody } from "../support/another-user.ts";
import { cli } from "../support/cli-call.ts";
import { tempDir } from "../support/temp-dir.ts";

const program = fileURLToPath(new URL("../../src/bin/wakeful.ts", import.meta.url));
/** By its path, because the program is called in another folder. */
const tsx = createRequire(import.meta.url).resolve("tsx");
const other = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};

beforeEach(needOpenCheckout);

/** A project whose data directory, with a store in it, may not be entered by the user under whom {@link call} runs. */
function shutProject(): string {
  const cwd = tempDir("shut");
  chmodSync(cwd, 0o755);
  const dataDir = join(cwd, "data");
  mkdirSync(dataDir);
  writeFileSync(join(dataDir, "wakeful.db"), "");
  writeFileSync(join(cwd, "wakeful.yaml"), 'http: { listen: "127.0.0.1:0" }\n');
  if (other.uid === undefined) chmodSync(dataDir, 0);
  else {
    chmodSync(dataDir, 0o700);
    chownSync(dataDir, 1, 1);
  }
  onTestFinished(() => chmodSync(dataDir, 0o700));
  return cwd;
}

async function call(cwd: string, argv: readonly string[]): Promise<{ readonly code: number | null; readonly said: string }> {
  const child = spawn(process.execPath, ["--import", tsx, program, ...argv], { cwd, env: { PATH: process.env["PATH"] }, ...other });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
  onTestFinished(() => void child.kill("SIGKILL"));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, said };
}

test("a store in a folder that may not be entered is not called missing", async () => {
  const { code, said } = await call(shutProject(), ["ls"]);
  expect([code, said]).toEqual([6, expect.stringContaining("you may not look into it (EACCES)")]);
  expect(said).not.toContain("nothing has been started");
});

test("the doctor tells of a folder that may not be entered, and goes on with its other checks", async () => {
  const { code, said } = await call(shutProject(), ["doctor"]);
  expect([code, said]).toEqual([3, expect.stringContaining("ballast: it cannot be looked at: EACCES")]);
  expect(said).toContain("Call as the user who started the daemon");
  expect(said).toMatch(/warning +alerts: they cannot be read: EACCES/);
});

test("who may not enter the folder is told whose it is, not to start what may run already", async () => {
  const { code, said } = await call(shutProject(), ["submit", "comics"]);
  expect([code, said]).toEqual([7, expect.stringContaining("Call as the user who started the daemon, or name it with --url")]);
});

/** A project whose store may be read by the user under whom {@link call} runs, and nothing beside it written; SQLite keeps a log beside it. */
async function readOnlyProject(): Promise<{ readonly cwd: string; readonly dataDir: string; readonly shut: () => void }> {
  const cwd = tempDir("read-only");
  writeFileSync(join(cwd, "wakeful.yaml"), 'http: { listen: "127.0.0.1:0" }\n');
  expect((await cli(["migrate"], { cwd })).code).toBe(0);
  const dataDir = join(cwd, "data");
  const shut = (): void => {
    chmodSync(cwd, 0o755);
    for (const name of readdirSync(dataDir)) chmodSync(join(dataDir, name), 0o644);
    chmodSync(dataDir, 0o555);
  };
  onTestFinished(() => chmodSync(dataDir, 0o700));
  return { cwd, dataDir, shut };
}

test("a store without its log, in a folder that may only be read, is read without a daemon", async () => {
  const { cwd, dataDir, shut } = await readOnlyProject();
  // As a reader leaves it that was open when the daemon stopped.
  const db = new DatabaseSync(join(dataDir, "wakeful.db"));
  db.exec("pragma journal_mode = wal");
  db.close();
  shut();
  const { code, said } = await call(cwd, ["ls", "jobs"]);
  expect([code, said]).toEqual([0, expect.stringContaining("directly")]);
  expect((await call(cwd, ["cancel", "job:1"])).code).toBe(7);
});

test("a store whose log cannot be read where it lies says what to do", async () => {
  const { cwd, dataDir, shut } = await readOnlyProject();
  const db = new DatabaseSync(join(dataDir, "wakeful.db"));
  db.exec("pragma journal_mode = wal");
  db.exec("create table later (n integer)");
  cpSync(join(dataDir, "wakeful.db-wal"), join(dataDir, "kept"));
  db.close();
  renameSync(join(dataDir, "kept"), join(dataDir, "wakeful.db-wal"));
  shut();
  const { code, said } = await call(cwd, ["ls", "jobs"]);
  expect([code, said]).toEqual([8, expect.stringMatching(/wakeful\.db-wal, which can be read only where.*start `wakeful up` there once/s)]);
});

test("a store that may not be read is not called locked or read-only", async () => {
  const { cwd, dataDir, shut } = await readOnlyProject();
  shut();
  chmodSync(join(dataDir, "wakeful.db"), 0);
  const { code, said } = await call(cwd, ["ls", "jobs"]);
  expect([code, said]).toEqual([6, expect.stringContaining("You may not read")]);
});
