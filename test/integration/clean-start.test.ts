import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { oneStage } from "../support/daemon.ts";
import { skipTest } from "../support/skips.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

const bin = join(import.meta.dirname, "../../src/bin/wakeful.ts");
/** The variables that a job of this host has. */
const jobVariables = { WAKEFUL_RUN_MARKER: "7:some-host", WAKEFUL_RUN_ID: "7", WAKEFUL_STAGE: "work", WAKEFUL_TOKEN: "run-token" };

/** The command line as a process of its own, started inside a job. */
function wakefulInJob(folder: string, args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), bin, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? "", HOME: folder, ...jobVariables, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => (said.out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said.err += chunk.toString()));
  const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  onTestFinished(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  return { child, said, ended };
}

const environmentOf = (pid: number): string => readFileSync(`/proc/${pid}/environ`, "latin1");
/** The session of a process: the fourth field after its name. */
const sessionOf = (child: Pick<ChildProcess, "pid">): string =>
  readFileSync(`/proc/${child.pid}/stat`, "latin1")
    .replace(/^.*\) /, "")
    .split(" ")[3] ?? "";

test("a daemon that a job starts is no part of that job, and its files are its user's alone", async (context) => {
  if (process.platform !== "linux") skipTest(context, "needs /proc, to read what another process has");
  const folder = tempDir("clean-start");
  await writeFile(join(folder, "wakeful.yaml"), `http: { listen: 127.0.0.1:0 }\n${oneStage("true")}`);
  const { child, said, ended } = wakefulInJob(folder, ["up", "--json"]);
  await until(async () => (said.out.includes("socketPath") ? true : undefined), { what: "a daemon that is up" });
  const pid = Number(JSON.parse(await readFile(join(folder, "data/wakeful.db.lock.holder"), "utf8")).pid);
  expect(pid).not.toBe(child.pid);
  for (const name of Object.keys(jobVariables)) expect(environmentOf(pid)).not.toContain(name);
  expect(sessionOf({ pid })).toBe(String(pid));
  expect(sessionOf({ pid })).not.toBe(sessionOf(child));
  expect(readFileSync(`/proc/${pid}/status`, "latin1")).toMatch(/^Umask:\t0077$/m);
  expect(((await stat(join(folder, "data/wakeful.db"))).mode & 0o777).toString(8)).toBe("600");
  // The daemon's children inherit nothing either.
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean).map(Number);
  for (const each of children) expect(environmentOf(each)).not.toContain("WAKEFUL_RUN_MARKER");
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
});

test("a daemon that a job left running is not stopped with what the job left behind", async (context) => {
  if (process.platform !== "linux") skipTest(context, "needs /proc, to read the parent of a process");
  const folder = tempDir("clean-start");
  await writeFile(join(folder, "wakeful.yaml"), `http: { listen: 127.0.0.1:0 }\n${oneStage("true")}`);
  const program = [process.execPath, "--import", import.meta.resolve("tsx"), bin, "up"].map((word) => `'${word}'`).join(" ");
  const job = spawn("sh", ["-c", `${program} > up.log 2>&1 & echo $! > relay; read end`], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? "", HOME: folder, ...jobVariables },
    stdio: ["pipe", "ignore", "ignore"],
  });
  const ended = once(job, "exit");
  const holder = join(folder, "data/wakeful.db.lock.holder");
  await until(() => readFileSync(join(folder, "up.log"), "utf8").includes("listens on"), { what: "a daemon that is up" });
  const pid = Number(JSON.parse(readFileSync(holder, "utf8")).pid);
  onTestFinished(async () => {
    process.kill(pid, "SIGTERM");
    await until(() => !existsSync(`/proc/${pid}`), { what: "the daemon to end" });
  });
  const relay = Number(readFileSync(join(folder, "relay"), "utf8"));
  expect(relay).not.toBe(pid);
  job.stdin.end();
  await ended;
  process.kill(relay, "SIGTERM");
  await until(() => !existsSync(`/proc/${relay}`) || /^State:\s+Z/m.test(readFileSync(`/proc/${relay}/status`, "latin1")), {
    what: "what the job left behind to end",
  });
  // The daemon would have logged its stop before the process that passes on the signal could end.
  expect(existsSync(`/proc/${pid}`)).toBe(true);
  expect(readFileSync(join(folder, "up.log"), "utf8")).not.toMatch(/Stopping|stopped/i);
});

test("the exit code of what was started again is passed on", async () => {
  const folder = tempDir("clean-start");
  await writeFile(join(folder, "wakeful.yaml"), "worker: { concurrency: none }\n");
  const { said, ended } = wakefulInJob(folder, ["up"]);
  expect(await ended).toEqual([2, null]);
  expect(said.err).toContain("worker.concurrency");
});

test("a word that is no marker starts nothing again", async () => {
  const folder = tempDir("clean-start");
  await writeFile(join(folder, "wakeful.yaml"), "worker: { concurrency: none }\n");
  const { said, ended } = wakefulInJob(folder, ["up"], { WAKEFUL_RUN_MARKER: "no marker" });
  expect(await ended).toEqual([2, null]);
  expect(said.err).toContain("worker.concurrency");
});
