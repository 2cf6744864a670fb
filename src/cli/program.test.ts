import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { apiDaemon } from "../../test/support/api-daemon.ts";
import { cli, fakeServing } from "../../test/support/cli-call.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import type { Configuration } from "../pipelines/reading/load.ts";
import { commands } from "./commands.ts";
import type { RunCommandRequest } from "./host.ts";

test("help names every command and the exit codes, and ends with 0", async () => {
  const { code, out } = await cli(["--help"]);
  expect(code).toBe(0);
  for (const { name } of commands) expect(out).toContain(name.split(" ")[0]);
  expect(out).toContain("Exit codes:");
});

test.each([
  [["lss"], /unknown command 'lss'[\s\S]*Did you mean ls/],
  [["ls", "--frob"], /unknown option '--frob'/],
  [["show"], /missing required argument 'what'/],
  [["show", "1", "2"], /too many arguments/],
  [["config"], /config/],
  [["--config", "other.yaml", "ls"], /unknown option '--config'[\s\S]*options stand behind the command, as in wakeful ls --json/],
])("a call that cannot be understood exits with 2: %j", async (argv, text) => {
  const { code, out, err } = await cli(argv);
  expect(code).toBe(2);
  expect(out + err).toMatch(text);
});

test.each([[["frobnicate"]], [["ls", "--bogus"]], [["show"]], [["why", "item:1", "more"]]])(
  "a call that cannot be understood, %j, answers in JSON too when asked to",
  async (argv) => {
    const { code, out, err } = await cli([...argv, "--json"]);
    expect([code, err]).toEqual([2, ""]);
    expect(JSON.parse(out)).toMatchObject({ error: { code: "bad_request", message: expect.stringContaining("error: ") } });
    expect(await cli(argv)).toMatchObject({ code: 2, out: "", err: expect.stringContaining("error: ") });
  },
);

test("the exit code is that of the error's code, and --json prints the error as an object", async () => {
  const daemon = await apiDaemon();
  expect(await cli(["show", "job:9"], { daemon })).toEqual({ code: 4, out: "", err: "There is no job 9.\n" });
  const { code, out, err } = await cli(["show", "job:9", "--json"], { daemon });
  expect([code, err, JSON.parse(out)]).toMatchObject([
    4,
    "",
    { error: { code: "not_found", details: { jobId: 9 }, correlationId: expect.stringMatching(/^test-/) } },
  ]);
  expect((await cli(["show", "what?"], { daemon })).code).toBe(2);
});

test.each([
  [["jobs", "--limit", "-3"], "--limit -3 must be"],
  [["jobs", "-n", "0"], "--limit 0 must be 1 to 500"],
  [["jobs", "--state", "queued,nonsense"], "--state queued,nonsense must be one of scheduled, queued, running,"],
  [["runs", "--queue", "comics/prep"], "`wakeful ls runs` has no --queue; it takes --limit"],
  [["jobs", "--pipeline", "comics"], "`wakeful ls jobs` has no --pipeline; it takes --state, --queue, --limit"],
  [["loops", "--state", "live"], "`wakeful ls loops` has no --state."],
])("what a list cannot be asked, ls %j, is refused in words of the command line", async (argv, text) => {
  expect(await cli(["ls", ...argv], { daemon: await apiDaemon() })).toEqual({ code: 2, out: "", err: expect.stringContaining(text) });
});

test("a tail that is no number of bytes is refused in words of the command line", async () => {
  expect(await cli(["logs", "job:1", "--tail", "x"])).toEqual({ code: 2, out: "", err: "--tail x must be a number of bytes.\n" });
});

test("what can be paused is said to whoever names something else", async () => {
  const { code, err } = await cli(["pause", "comics"], { daemon: await apiDaemon() });
  expect([code, err]).toEqual([2, expect.stringContaining("pipeline:NAME, queue:NAME, worker:3, or item:4")]);
});

test("an item's way from submit to cancel, by its key and by its number", async () => {
  const daemon = await apiDaemon();
  expect(await cli(["submit", "comics", "--key", "batman", "--input", '{"pages":3}', "--label", "Batman.cbz"], { daemon })).toEqual({
    code: 0,
    out: "item:1 (comics/batman) entered stage prep\n",
    err: "",
  });
  expect((await cli(["submit", "comics", "--key", "batman"], { daemon })).out).toContain("exists already and is active");
  expect((await cli(["submit", "comics", "--input", "nonsense"], { daemon })).code).toBe(2);
  expect((await cli(["ls"], { daemon })).out).toMatch(/^ITEM +PIPELINE +NAME +STAGE +STATE/);
  expect((await cli(["ls", "--state", "active"], { daemon })).out).toContain("Batman.cbz");
  expect((await cli(["show", "comics/batman"], { daemon })).out).toMatch(/^item:1\n[\s\S]*"pages":3[\s\S]*visit 1: stage prep, open/);
  expect((await cli(["why", "comics/batman"], { daemon })).out).toContain("No live worker serves the queue comics/prep.");
  expect(JSON.parse((await cli(["why", "item:1", "--json"], { daemon })).out)).toMatchObject({ subject: "item:1" });
  expect((await cli(["logs", "item:1"], { daemon })).code).toBe(4);
  expect((await cli(["pause", "item:1"], { daemon })).out).toBe("item:1 is paused\n");
  expect((await cli(["pause", "item:1"], { daemon })).out).toBe("item:1 is paused already\n");
  expect((await cli(["resume", "comics/batman"], { daemon })).out).toBe("item:1 is resumed\n");
  expect((await cli(["cancel", "item:1", "--reason", "enough"], { daemon })).code).toBe(0);
  expect((await cli(["cancel", "item:1"], { daemon })).code).toBe(5);
  expect((await cli(["rerun", "1", "--from", "ocr"], { daemon })).out).toBe("item:1 runs again from ocr as job:2\n");
  const { actions } = (await daemon.request("GET", "/v1/actions?item=1")).body;
  expect(JSON.stringify(actions)).toContain('"actor":"cli:tester"');
});

test("a job is cancelled and retried; a bare number is a job", async () => {
  const daemon = await apiDaemon();
  await daemon.services.store.jobs.enqueue({ queue: "mail", jobs: [{}] });
  expect((await cli(["cancel", "1"], { daemon })).out).toBe("job:1 is cancelled\n");
  expect((await cli(["retry", "1"], { daemon })).out).toBe("job:2 is queued with a fresh budget\n");
  expect((await cli(["unhold", "job:2"], { daemon })).code).toBe(5);
  expect((await cli(["cancel", "run:1"], { daemon })).code).toBe(2);
  expect((await cli(["ls", "jobs"], { daemon })).out).toMatch(/job:2 +mail +queued/);
});

test("pausing names what it means, once", async () => {
  const daemon = await apiDaemon();
  expect((await cli(["pause"], { daemon })).code).toBe(2);
  expect((await cli(["pause", "item:1", "--all"], { daemon })).code).toBe(2);
  expect((await cli(["pause", "pipeline:comics"], { daemon })).out).toBe("pipeline:comics is paused\n");
  expect((await cli(["resume", "queue:comics/prep"], { daemon })).out).toBe("queue:comics/prep is resumed\n");
  expect((await cli(["resume", "--all"], { daemon })).code).toBe(0);
  const worker = `worker:${await daemon.worker()}`;
  expect((await cli(["pause", worker], { daemon })).out).toBe(`${worker} is paused\n`);
  expect((await cli(["pause", worker], { daemon })).out).toBe(`${worker} is paused already\n`);
  expect((await cli(["ls", "workers"], { daemon })).out).toContain("live, paused");
});

test("a lease is released under the number that was seen", async () => {
  const daemon = await apiDaemon();
  const process = { hostId: "h", bootId: "b", pidNamespace: "n", pid: 5, startTime: "9" };
  await daemon.request("POST", "/v1/leases/main/acquire", {
    body: { ticket: "t", holder: { kind: "process", process }, ttlMs: 5000, maxHoldMs: 6000 },
  });
  expect((await cli(["leases"], { daemon })).out).toMatch(/main +held +process 5/);
  expect((await cli(["leases", "release", "main"], { daemon })).out).toContain("lease main is released");
  expect((await cli(["leases", "release", "main"], { daemon })).code).toBe(5);
  expect((await cli(["leases", "release", "other"], { daemon })).code).toBe(4);
});

test("colours reach a terminal only, and not one that refuses them", async () => {
  const daemon = await apiDaemon();
  await daemon.services.store.jobs.enqueue({ queue: "mail", jobs: [{}] });
  await cli(["cancel", "1"], { daemon });
  const escapes = async (colour: boolean, ...extra: string[]) =>
    (await cli(["ls", "jobs", ...extra], { daemon, colour })).out.includes("\u001b[");
  expect([await escapes(true), await escapes(false), await escapes(true, "--no-color")]).toEqual([true, false, false]);
});

test("names that others chose cannot command the terminal, nor break the table", async () => {
  const daemon = await apiDaemon();
  await daemon.services.operations.submit({ pipeline: "comics", key: "a", label: "x\u001b[2J\ny", actor: "t" });
  const { out } = await cli(["ls"], { daemon });
  expect(out).not.toContain("\u001b");
  expect(out.trimEnd().split("\n")).toHaveLength(2);
  expect((await cli(["show", "item:1"], { daemon })).out).not.toContain("\u001b");
});

test("a dry reap tells what it would do", async () => {
  const loop = {
    name: "job-reaper",
    enabled: true,
    running: false,
    intervalMs: 1,
    lastRunAt: null,
    lastSuccessAt: null,
    lastDurationMs: null,
    lastError: null,
    ticks: 0,
    failures: 0,
    seen: 0,
    settled: 0,
    lost: 0,
    details: {},
  } as const;
  const daemon = await apiDaemon({ snapshots: [loop] });
  expect(await cli(["reap", "--dry-run"], { daemon })).toEqual({
    code: 0,
    out: "would end run 1\n0 looked at, 1 would be settled, 0 failed\n",
    err: "",
  });
});

test("everything after -- belongs to the command that is run", async () => {
  const seen: RunCommandRequest[] = [];
  const runCommand = async (request: RunCommandRequest) => {
    seen.push(request);
    return 7;
  };
  const cwd = tempDir("cli");
  expect(
    (await cli(["run", "--lease", "main", "--ttl", "90s", "--", "make", "--json", "-f", "x"], { cwd, host: { runCommand } })).code,
  ).toBe(7);
  expect((await cli(["run", "make", "--lease", "theirs"], { cwd, host: { runCommand } })).code).toBe(7);
  expect(seen.map(({ argv, lease }) => [argv, lease])).toEqual([
    [["make", "--json", "-f", "x"], { name: "main", ttlMs: 90_000, waitMs: 0 }],
    [["make", "--lease", "theirs"], undefined],
  ]);
  expect((await cli(["run", "--lease", "main", "--ttl", "90", "--", "make"], { cwd, host: { runCommand } })).err).toMatch(
    /--ttl 90 must be a number and a unit/,
  );
  expect((await cli(["run", "--ttl", "9s", "--", "make"], { cwd, host: { runCommand } })).code).toBe(2);
  expect((await cli(["run"], { cwd, host: { runCommand } })).code).toBe(2);
});

test("flags stand above variables, and variables above the file", async () => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "http: { listen: 127.0.0.1:1001 }\nworker: { concurrency: 11 }\nlog: { level: warn }\n");
  const env = { WAKEFUL_WORKER_CONCURRENCY: "12", WAKEFUL_LOG_LEVEL: "debug" };
  const shown = async (...argv: string[]) => JSON.parse((await cli(["config", "show", "--json", ...argv], { cwd, env })).out);
  expect(await shown()).toMatchObject({
    http: { listen: { port: 1001 } },
    worker: { concurrency: 12 },
    log: { level: "debug" },
    dataDir: join(cwd, "data"),
  });
  expect(await shown("--data-dir", "elsewhere")).toMatchObject({ dataDir: join(cwd, "elsewhere") });
  const seen: Configuration[] = [];
  const serving = fakeServing();
  const startDaemon = async (configuration: Configuration) => {
    seen.push(configuration);
    return serving.host.startDaemon(configuration);
  };
  const running = cli(["up", "--listen", "127.0.0.1:1003", "--concurrency", "13"], { cwd, env, host: { ...serving.host, startDaemon } });
  await serving.started;
  serving.send("SIGTERM");
  expect((await running).code).toBe(0);
  expect(seen[0]?.config).toMatchObject({ http: { listen: { port: 1003 } }, worker: { concurrency: 13 }, log: { level: "debug" } });
});

test.each([
  ["SIGTERM", [], "leave"],
  ["SIGHUP", [], "leave"],
  ["SIGTERM", ["--drain"], "drain"],
  ["SIGINT", [], "interrupt"],
] as const)("%s with %j stops the daemon in the way %s", async (signal, flags, mode) => {
  const serving = fakeServing();
  const running = cli(["up", ...flags], { cwd: tempDir("cli"), host: serving.host });
  await serving.started;
  serving.send(signal);
  expect([(await running).code, serving.stopped]).toEqual([0, [mode]]);
});

test("a stop that left a step behind names it and exits with a code of its own", async () => {
  const serving = fakeServing({ late: ["close the API"], failed: ["say goodbye: the connection is gone"] });
  const running = cli(["up"], { cwd: tempDir("cli"), host: serving.host });
  await serving.started;
  serving.send("SIGTERM");
  const { code, err } = await running;
  expect(code).toBe(9);
  expect(err).toMatch(/without waiting any longer for this step: close the API[\s\S]*say goodbye: the connection is gone/);
});

test.each([
  ["a second INT kills what is being stopped, and leaves then", ["SIGINT", "SIGINT"], { killEnds: true }, ["interrupt", "kill"]],
  ["a third INT leaves at once, whatever is left", ["SIGINT", "SIGINT", "SIGINT"], { killEnds: false }, ["interrupt", "kill"]],
  ["an INT after TERM leaves at once, and what TERM left alive lives on", ["SIGTERM", "SIGINT"], { killEnds: false }, ["leave"]],
] as const)("%s", async (_, signals, { killEnds }, asked) => {
  const serving = fakeServing();
  const seen: string[] = [];
  const never = () => new Promise<never>(() => undefined);
  const startDaemon = async () => ({
    url: "http://x",
    socketPath: null,
    stop: (mode: string) => (seen.push(mode), never()),
    kill: () => (seen.push("kill"), killEnds ? Promise.resolve() : never()),
  });
  const running = cli(["up"], { cwd: tempDir("cli"), host: { ...serving.host, startDaemon } });
  await serving.started;
  for (const signal of signals) serving.send(signal);
  expect([(await running).code, seen]).toEqual([130, asked]);
});

test("a configuration with mistakes starts nothing and exits with 2, naming line and value", async () => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "worker:\n  concurrencyy: 3\n");
  for (const argv of [["config", "check"], ["up"], ["config", "show"]]) {
    const { code, err } = await cli(argv, { cwd });
    expect([argv, code]).toEqual([argv, 2]);
    expect(err).toMatch(/wakeful\.yaml:2:3 worker\.concurrencyy.*did you mean "concurrency"/);
  }
  expect(JSON.parse((await cli(["config", "check", "--json"], { cwd })).out)).toMatchObject({ valid: false, mistakes: [{ line: 2 }] });
});

test("init writes a project whose configuration is valid, and overwrites nothing", async () => {
  const cwd = tempDir("cli");
  expect((await cli(["init", "demo"], { cwd })).out).toContain(`wrote ${join("demo", "wakeful.yaml")}`);
  const { code, out } = await cli(["config", "check"], { cwd: join(cwd, "demo") });
  expect([code, out]).toEqual([0, expect.stringContaining("valid; pipelines: words")]);
  expect(readFileSync(join(cwd, "demo/wakeful.yaml"), "utf8")).toContain("maxLosses: 3");
  writeFileSync(join(cwd, "demo/wakeful.yaml"), "mine");
  expect((await cli(["init", "demo"], { cwd })).code).toBe(5);
  expect(readFileSync(join(cwd, "demo/wakeful.yaml"), "utf8")).toBe("mine");
  expect((await cli(["init", "demo", "--force"], { cwd })).code).toBe(0);
});

test("whatever names a thing that does not exist is not found, in every command", async () => {
  const daemon = await apiDaemon();
  const things = ["job:99", "item:99", "run:99", "comics/absent"];
  const targets = ["item:99", "comics/absent", "worker:99", "queue:absent", "pipeline:absent"];
  const calls = [
    ...["show", "why", "logs", "rerun"].flatMap((command) => things.map((thing) => [command, thing])),
    // A run by itself is neither retried nor cancelled: that is a wrong call.
    ...["retry", "unhold", "cancel"].flatMap((command) => things.filter((thing) => thing !== "run:99").map((thing) => [command, thing])),
    ...["pause", "resume"].flatMap((command) => targets.map((target) => [command, target])),
    ["submit", "absent"],
    ["leases", "release", "absent"],
    ["decide", "999", "discard"],
  ];
  const answers = [];
  for (const argv of calls) {
    const { code } = await cli(argv, { daemon });
    answers.push([argv.join(" "), code]);
  }
  expect(answers.filter(([, code]) => code !== 4)).toEqual([]);
  const itemId = (await daemon.services.operations.submit({ pipeline: "comics", key: "k", actor: "ana" })).item.id;
  const held = { pipeline: "comics", key: "k", existingItemId: itemId, fileName: "k.cbz", path: "/held/k.cbz", sizeBytes: 1 };
  const id = await daemon.services.store.duplicates.add(held);
  expect((await cli(["decide", String(id), "discard"], { daemon })).code).toBe(0);
  expect(await cli(["decide", String(id), "discard"], { daemon })).toMatchObject({
    code: 5,
    err: expect.stringContaining("decided before: discard"),
  });
});

test.each([
  [["init", "/proc/x/demo"], 2, "/proc/x"],
  [["migrate", "--data-dir", "/proc/x/data"], 8, "/proc/x/data"],
  [["ls", "--data-dir", "/proc/x/data"], 7, "/proc/x/data"],
])("where no folder can be made, %j says so and ends", async (argv, exitCode, path) => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "http: { listen: 127.0.0.1:0 }\n");
  const { code, err } = await cli(argv, { cwd });
  expect([code, err]).toEqual([exitCode, expect.stringContaining(path)]);
});

test("without a daemon lists are read from the store's file, and standard error says so; writes are refused", async () => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "http: { listen: 127.0.0.1:0 }\n");
  expect(await cli(["ls", "jobs"], { cwd })).toMatchObject({ code: 7, err: expect.stringContaining("nothing has been started here yet") });
  expect((await cli(["migrate"], { cwd })).code).toBe(0);
  expect(existsSync(join(cwd, "data/wakeful.db"))).toBe(true);
  const { code, out, err } = await cli(["ls", "jobs", "--json"], { cwd });
  expect([code, JSON.parse(out), err]).toEqual([0, { jobs: [] }, expect.stringMatching(/^No daemon answers .* directly/)]);
  expect((await cli(["why", "job:1"], { cwd })).code).toBe(4);
  expect((await cli(["cancel", "job:1"], { cwd })).code).toBe(7);
});

test("a foreign URL is asked with the token of the environment, and an absent one is told", async () => {
  expect(await cli(["ls", "--url", "http://127.0.0.1:1"], { env: { WAKEFUL_TOKEN: "t" } })).toMatchObject({
    code: 7,
    err: expect.stringContaining("127.0.0.1:1"),
  });
  expect((await cli(["ls", "--url", "ftp://x"], { env: { WAKEFUL_TOKEN: "t" } })).code).toBe(2);
});

test.each(["bash", "zsh", "fish"])("completion of %s names commands and options", async (shell) => {
  const { code, out } = await cli(["completion", shell]);
  expect(code).toBe(0);
  for (const word of ["doctor", "--dry-run", "duplicates"]) expect(out).toContain(word);
});
