import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isWakefulError } from "../domain/errors.ts";
import { loadConfig, readConfig } from "./load.ts";
import { ConfigError, describeMistake } from "./mistake.ts";
import type { Environment } from "./overrides.ts";

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "wakeful-config-"));
});
afterEach(async () => {
  await rm(cwd, { recursive: true, force: true });
});

const write = async (text: string, name = "wakeful.yaml"): Promise<void> => await writeFile(join(cwd, name), text);
const load = async (env: Environment = {}, flags: Record<string, unknown> = {}) => (await loadConfig({ cwd, env, flags })).config;
const mistakesOf = async (env: Environment = {}, flags: Record<string, unknown> = {}) => (await readConfig({ cwd, env, flags })).mistakes;

test("nothing at all gives every default, frozen, with absolute paths", async () => {
  const config = await load();
  expect(config).toMatchObject({
    store: join(cwd, "data/wakeful.db"),
    dataDir: join(cwd, "data"),
    http: { listen: { host: "127.0.0.1", port: 7070 }, allowedHosts: [] },
    worker: {
      concurrency: 4,
      outstandingMax: 200,
      renewMs: 5000,
      selfFenceAfterMs: 15_000,
      deadAfterMs: 30_000,
      renewTimeoutMs: 5000,
      fenceKillAfterMs: 600_000,
    },
    reaper: { enabled: true, intervalMs: 1000, deadTicks: 2, finalizeGraceMs: 300_000, maxRunningMs: 86_400_000, suspectRecheckMs: 250 },
    leases: { reclaimEnabled: true, scope: [] },
    stop: { stopGraceMs: 5000, killGraceMs: 2000 },
    recovery: { adoption: true },
    retention: { workDirsDays: 7 },
    disk: { ballastBytes: 16 * 2 ** 20 },
    log: { level: "info", json: false },
    dev: false,
    baseDir: cwd,
    file: undefined,
  });
  expect(config.loops["worker-reaper"].enabled).toBe(true);
  expect(Object.isFrozen(config) && Object.isFrozen(config.worker) && Object.isFrozen(config.loops.stopper)).toBe(true);
});

test("the environment overrides the file, and flags override both", async () => {
  await write("worker: { concurrency: 2, outstandingMax: 20 }\nhttp: { listen: 127.0.0.1:1 }\n");
  const config = await load({ WAKEFUL_WORKER_OUTSTANDING_MAX: "30", WAKEFUL_HTTP_LISTEN: "127.0.0.1:2" }, { "http.listen": "[::1]:3" });
  expect(config.worker).toMatchObject({ concurrency: 2, outstandingMax: 30 });
  expect(config.http.listen).toEqual({ host: "::1", port: 3 });
});

test("a key that ends in Ms or Bytes takes a number in that unit or a text with one", async () => {
  await write("reaper: { intervalMs: 500, finalizeGraceMs: 2m }\ndisk: { minFreeBytes: 1GiB, ballastBytes: 0 }\n");
  const config = await load();
  expect(config.reaper).toMatchObject({ intervalMs: 500, finalizeGraceMs: 120_000 });
  expect(config.disk).toEqual({ minFreeBytes: 2 ** 30, minFreeInodes: 1000, ballastBytes: 0, pathTimeoutMs: 10_000 });
});

test("relative paths start where they were written: the file's folder, or the working directory", async () => {
  await write("dataDir: ./state\nworker: { handlers: handlers.js }\n");
  const config = (await loadConfig({ cwd: "/", env: { WAKEFUL_CONFIG: join(cwd, "wakeful.yaml"), WAKEFUL_STORE: "here.db" } })).config;
  expect(config).toMatchObject({
    dataDir: join(cwd, "state"),
    store: "/here.db",
    baseDir: cwd,
    worker: { handlers: join(cwd, "handlers.js") },
  });
  expect((await load({ WAKEFUL_STORE: "postgres://u:p@h/db" })).store).toBe("postgres://u:p@h/db");
});

test("JOB_TIMEOUT_SECONDS is read from the environment, 600 by default [A-7]", async () => {
  expect((await load()).heartbeat.timeoutMs).toBe(600_000);
  expect((await load({ JOB_TIMEOUT_SECONDS: "900" })).heartbeat.timeoutMs).toBe(900_000);
  expect((await load({ JOB_TIMEOUT_SECONDS: "" })).heartbeat.timeoutMs).toBe(600_000);
});

test("a production start with JOB_TIMEOUT_SECONDS below 60 is refused with a clear message; --dev allows it [A-8]", async () => {
  const mistakes = await mistakesOf({ JOB_TIMEOUT_SECONDS: "59" });
  expect(mistakes.map(describeMistake)).toEqual([
    'environment JOB_TIMEOUT_SECONDS: "59" must be at least 1m (JOB_TIMEOUT_SECONDS=60): shorter ones take working stages for hung; --dev allows them',
  ]);
  expect((await load({ JOB_TIMEOUT_SECONDS: "60" })).heartbeat.timeoutMs).toBe(60_000);
  expect((await load({ JOB_TIMEOUT_SECONDS: "15" }, { dev: true })).heartbeat.timeoutMs).toBe(15_000);
});

test.each(["0", "0.0", "-1", "abc"])(
  "no setting makes an absent heartbeat stale at once: JOB_TIMEOUT_SECONDS=%s is refused, also with --dev [A-6]",
  async (text) => {
    expect(await mistakesOf({ JOB_TIMEOUT_SECONDS: text }, { dev: true })).toMatchObject([
      { source: "environment", path: "JOB_TIMEOUT_SECONDS" },
    ]);
  },
);

test.each(["", "ORCH_"])("the delivery orchestrator's variables work with the prefix '%s' [B-69]", async (prefix) => {
  const config = await load({
    [`${prefix}REAPER_INTERVAL_S`]: "0.5",
    [`${prefix}REAPER_DEAD_TICKS`]: "3",
    [`${prefix}REAPER_FINALIZE_GRACE_S`]: "0",
    [`${prefix}REAPER_MAX_RUNNING_S`]: "3600",
    [`${prefix}REAPER_ENABLED`]: "false",
    [`${prefix}LEASE_RECLAIM_ENABLED`]: "0",
    [`${prefix}MERGE_GATE_REPOS`]: " web, ,api ,",
  });
  expect(config.reaper).toMatchObject({ intervalMs: 500, deadTicks: 3, finalizeGraceMs: 0, maxRunningMs: 3_600_000, enabled: false });
  expect(config.leases).toEqual({ reclaimEnabled: false, scope: ["web", "api"] });
});

test("the document pipeline's variables work in its units", async () => {
  const config = await load({
    DATA_DIR: "/data",
    POLL_INTERVAL_MS: "250",
    KEEP_WORK_DIR_DAYS: "0",
    DISK_FREE_FACTOR: "1.5",
    MAX_INPUT_SIZE_MB: "100",
    LOG_JSON: "yes",
  });
  expect(config).toMatchObject({
    dataDir: "/data",
    intake: { pollMs: 250, diskFreeFactor: 1.5, maxBytes: 100 * 2 ** 20 },
    retention: { workDirsDays: 0 },
    log: { json: true },
  });
});

test.each([
  [{ ORCHESTRATOR_HTTP_PORT: "8080" }, { host: "127.0.0.1", port: 8080 }],
  [{ ORCHESTRATOR_HTTP_BIND: "0.0.0.0" }, { host: "0.0.0.0", port: 7070 }],
  [
    { ORCHESTRATOR_HTTP_BIND: "::1", ORCHESTRATOR_HTTP_PORT: "8080" },
    { host: "::1", port: 8080 },
  ],
  [
    { ORCHESTRATOR_HTTP_PORT: "8080", WAKEFUL_HTTP_LISTEN: "127.0.0.1:1" },
    { host: "127.0.0.1", port: 1 },
  ],
])("%o listens on %o", async (env, listen) => {
  expect((await load(env)).http.listen).toEqual(listen);
});

test.each(["MAX_JOBS_IN_FLIGHT", "SERVICE_CONCURRENCY", "ORCH_MAX_CONCURRENCY"])("%s bounds what runs at once", async (name) => {
  expect((await load({ [name]: "3" })).worker.concurrency).toBe(3);
});

test("an invalid port is reported with the variable that sets it", async () => {
  const { mistakes } = await readConfig({ cwd, env: { ORCHESTRATOR_HTTP_PORT: "http" } });
  expect(mistakes.map(describeMistake)).toEqual([
    expect.stringMatching(/^environment ORCHESTRATOR_HTTP_PORT: "127\.0\.0\.1:http" must be/),
  ]);
});

test("our own name wins over another system's, and a contradiction is a warning", async () => {
  const { config, warnings } = await loadConfig({
    cwd,
    env: { WAKEFUL_REAPER_INTERVAL_MS: "2000", REAPER_INTERVAL_S: "1", ORCH_REAPER_INTERVAL_S: "2" },
  });
  expect(config.reaper.intervalMs).toBe(2000);
  expect(warnings.map(describeMistake)).toEqual([
    'environment REAPER_INTERVAL_S: "1" is not used: WAKEFUL_REAPER_INTERVAL_MS says otherwise and comes first',
  ]);
});

test("a misspelt variable of ours is a warning; variables that jobs are given are not", async () => {
  const { warnings } = await loadConfig({ cwd, env: { WAKEFUL_WORKER_CONCURENCY: "3", WAKEFUL_JOB_ID: "1", WAKEFUL_TOKEN: "t" } });
  expect(warnings).toEqual([
    { source: "environment", path: "WAKEFUL_WORKER_CONCURENCY", value: "", rule: "sets nothing", hint: "WAKEFUL_WORKER_CONCURRENCY" },
  ]);
});

test("all mistakes of file, environment and flags come at once, each with its place", async () => {
  await write("worker:\n  concurrency: four\n  renewMS: 5\nlog: { level: loud }\nwroker: {}\nleases: 5\n");
  const mistakes = await mistakesOf({ REAPER_DEAD_TICKS: "0", LOG_JSON: "perhaps" }, { "http.lisen": "x", "disk.minFreeBytes": "1XB" });
  expect(mistakes.map(({ source, path, line, column, hint }) => [source, path, line, column, hint])).toEqual([
    ["wakeful.yaml", "worker.concurrency", 2, 16, undefined],
    ["wakeful.yaml", "worker.renewMS", 3, 3, "renewMs"],
    ["wakeful.yaml", "log.level", 4, 15, undefined],
    ["wakeful.yaml", "wroker", 5, 1, "worker"],
    ["wakeful.yaml", "leases", 6, 9, undefined],
    ["flags", "http.lisen", undefined, undefined, "http.listen"],
    ["environment", "REAPER_DEAD_TICKS", undefined, undefined, undefined],
    ["flags", "disk.minFreeBytes", undefined, undefined, undefined],
    ["environment", "LOG_JSON", undefined, undefined, undefined],
  ]);
});

test("the error is typed, holds every mistake and masks passwords", async () => {
  await write("store: postgres://wakeful:hunter2@db/x\nhttp: { listen: nowhere }\n");
  const error: unknown = await loadConfig({ cwd, env: { WAKEFUL_STORE: "mysql://root:hunter2@db/x" } }).catch((thrown: unknown) => thrown);
  expect(isWakefulError(error) && error.code).toBe("config_invalid");
  expect(error).toBeInstanceOf(ConfigError);
  expect(String(error)).toContain("2 mistakes");
  expect(String(error)).not.toContain("hunter2");
});

test("several files, a missing file, a folder and a list are each refused", async () => {
  await write("{}");
  await write("{}", "wakeful.yml");
  expect(await mistakesOf()).toMatchObject([{ rule: expect.stringContaining("several configuration files") }]);
  expect((await readConfig({ cwd, env: {}, file: "absent.yaml" })).mistakes).toMatchObject([
    { source: "absent.yaml", rule: expect.stringContaining("ENOENT") },
  ]);
  expect((await readConfig({ cwd: "/", env: {}, file: cwd })).mistakes).toMatchObject([
    { rule: expect.stringContaining("cannot be read") },
  ]);
  await write("- 1", "list.yaml");
  expect((await readConfig({ cwd, env: {}, file: "list.yaml" })).mistakes).toMatchObject([{ line: 1, rule: "must be a map of settings" }]);
});

test("bytes that are no UTF-8 are refused", async () => {
  await writeFile(join(cwd, "wakeful.yaml"), Buffer.from([0x61, 0x3a, 0x20, 0xff, 0xfe]));
  expect(await mistakesOf()).toMatchObject([{ source: "wakeful.yaml", rule: expect.stringContaining("cannot be read") }]);
});

test("a module's default export is a configuration; one that throws is a mistake", async () => {
  await write("export default { worker: { concurrency: 9 }, pipelines: [] };", "wakeful.config.mjs");
  expect((await load()).worker.concurrency).toBe(9);
  await write("throw new Error('broken on purpose');", "broken.config.mjs");
  expect((await readConfig({ cwd, env: {}, file: "broken.config.mjs" })).mistakes).toMatchObject([
    { rule: expect.stringContaining("broken on purpose") },
  ]);
});

test("an address that others can reach, and a reaper that is off, are warnings", async () => {
  const { warnings } = await loadConfig({ cwd, env: { WAKEFUL_HTTP_LISTEN: "0.0.0.0:80", REAPER_ENABLED: "false" } });
  expect(warnings.map(({ path }) => path)).toEqual(["WAKEFUL_HTTP_LISTEN", "REAPER_ENABLED"]);
});
