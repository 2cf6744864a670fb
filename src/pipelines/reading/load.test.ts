import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LiveSettings } from "../../config/live-settings.ts";
import { describeMistake } from "../../config/mistake.ts";
import type { Environment } from "../../config/overrides.ts";
import { versionOf } from "../definition.ts";
import { configLimits, loadConfiguration, readConfiguration } from "./load.ts";
import { liveFindings } from "./stage-relations.ts";

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "wakeful-pipelines-"));
});
afterEach(async () => {
  await rm(cwd, { recursive: true, force: true });
});

const write = async (text: string, name = "wakeful.yaml"): Promise<void> => await writeFile(join(cwd, name), text);
const load = async (env: Environment = {}, flags: Record<string, unknown> = {}) => await loadConfiguration({ cwd, env, flags });
const mistakesOf = async (env: Environment = {}) => (await readConfiguration({ cwd, env })).mistakes.map(describeMistake);

const comics = `pipelines:
  comics:
    intake: { watch: in }
    stages:
      prep: { run: { command: [prep] }, heartbeat: {}, next: ocr }
      ocr: { run: { command: [ocr] }, heartbeat: { timeout: 5m }, timeout: 2h, attempts: 4, concurrency: 1 }
`;

test("pipelines take what they leave out from the settings beside them", async () => {
  await write(`${comics}reaper: { finalizeGraceMs: 60s }\n`);
  const { pipelines } = await load({
    JOB_TIMEOUT_SECONDS: "900",
    MAX_INPUT_SIZE_MB: "1",
    DISK_FREE_FACTOR: "3",
    REAPER_MAX_RUNNING_S: "90000",
  });
  expect(pipelines).toMatchObject([
    {
      intake: { maxBytes: 2 ** 20, diskFreeFactor: 3 },
      stages: {
        prep: { heartbeat: { timeoutMs: 900_000 } },
        ocr: { heartbeat: { timeoutMs: 300_000 } },
      },
    },
  ]);
});

test("the document pipeline's variables set attempts and concurrency of any stage [A-13]", async () => {
  await write(comics);
  const { pipelines } = await load({ PREP_CONCURRENCY: "2", OCR_CONCURRENCY: "3", MAX_ATTEMPTS_PREP: "5", MAX_ATTEMPTS_OCR: "" });
  expect(pipelines[0]?.stages).toMatchObject({ prep: { concurrency: 2, attempts: 5 }, ocr: { concurrency: 3, attempts: 4 } });
});

test("a wrong variable of a stage is a mistake; one of no stage a warning", async () => {
  await write(comics);
  expect(await mistakesOf({ PREP_CONCURRENCY: "0", MAX_ATTEMPTS_OCR: "many" })).toEqual([
    'environment PREP_CONCURRENCY: "0" must be a whole number from 1 to 100000',
    'environment MAX_ATTEMPTS_OCR: "many" must be a whole number from 1 to 1000',
  ]);
  expect((await load({ MAX_ATTEMPTS_PREPP: "3", WEB_CONCURRENCY: "9" })).warnings).toMatchObject([
    { path: "MAX_ATTEMPTS_PREPP", hint: "MAX_ATTEMPTS_PREP" },
  ]);
});

test("mistakes of settings and pipelines come together, in the order of the file", async () => {
  await write(`worker: { concurrency: 0 }\n${comics.replace("[prep]", "prep").replace("next: ocr", "next: orc")}log: { jsn: true }\n`);
  expect((await readConfiguration({ cwd, env: { REAPER_DEAD_TICKS: "x" } })).mistakes.map(({ path, line }) => [line, path])).toEqual([
    [1, "worker.concurrency"],
    [6, "pipelines.comics.stages.prep.run.command"],
    [6, "pipelines.comics.stages.prep.next"],
    [8, "log.jsn"],
    [undefined, "REAPER_DEAD_TICKS"],
  ]);
});

test("the reaper's ceiling must exceed the longest stage timeout plus the grace [B-31]", async () => {
  await write(comics);
  // 2 h + 300 s.
  expect(await mistakesOf({ REAPER_MAX_RUNNING_S: "7500" })).toEqual([
    'environment REAPER_MAX_RUNNING_S: "7500" must be greater than the longest stage timeout plus reaper.finalizeGraceMs: comics.ocr may run 2h, the grace is 5m. It is the ceiling of every run that has no limit of its own, and one below an honest run would end work that goes well. Raise it, shorten that timeout, or give the stage a maxRunning of its own',
  ]);
  expect((await load({ REAPER_MAX_RUNNING_S: "7501" })).config.reaper.maxRunningMs).toBe(7_501_000);
});

test("a timeout above the default ceiling says what to change, and a ceiling of the stage's own is enough [B-31]", async () => {
  const longer = comics.replace("timeout: 2h", "timeout: 25h");
  await write(longer);
  expect(await mistakesOf()).toEqual([
    expect.stringMatching(
      /reaper\.maxRunningMs: "?86400000"? must be greater .* comics\.ocr may run 25h, the grace is 5m\..* Raise it, shorten that timeout, or give/,
    ),
  ]);
  await write(longer.replace("attempts: 4", "maxRunning: 26h"));
  expect(await mistakesOf()).toEqual([]);
});

test("the ceiling must exceed the finalising of a stage that has no limit of its own", async () => {
  await write("pipelines: { p: { stages: { s: { run: { handler: h } } } } }\n");
  expect(await mistakesOf({ REAPER_MAX_RUNNING_S: "900" })).toEqual([
    'environment REAPER_MAX_RUNNING_S: "900" must be greater than finalizeGrace + gate.patience of p.s (15m), which has no limit of its own: it would end runs that are still being finalised',
  ]);
  expect(await mistakesOf({ REAPER_MAX_RUNNING_S: "901" })).toEqual([]);
});

test("a definition is the same whatever the live settings are at the start", async () => {
  await write(comics);
  const hashes = await Promise.all(
    [{}, { REAPER_MAX_RUNNING_S: "90000", REAPER_FINALIZE_GRACE_S: "60" }].map(async (env) => (await load(env)).pipelines.map(versionOf)),
  );
  expect(hashes[0]).toEqual(hashes[1]);
});

test("a longer grace at run time must leave room below a stage's own ceiling", async () => {
  await write("pipelines: { p: { stages: { s: { run: { handler: h }, maxRunning: 16m } } } }\n");
  const { config, pipelines } = await load();
  const settings = new LiveSettings(config, { check: ({ reaper }) => liveFindings(pipelines, configLimits({ ...config, reaper })) });
  expect(() => settings.update({ reaper: { finalizeGraceMs: 360_000 } })).toThrow(/is too long for p\.s/);
  expect(() => settings.update({ reaper: { finalizeGraceMs: 359_999 } })).not.toThrow();
});

test("a grace that a gate outlives is refused, at the start and at run time; 0 is legal [B-19]", async () => {
  await write("pipelines: { p: { stages: { s: { run: { command: [x] }, gate: { file: a, timeout: 2m } } } } }\n");
  expect(await mistakesOf({ REAPER_FINALIZE_GRACE_S: "120" })).toEqual([expect.stringContaining("must be less than finalizeGrace (2m)")]);
  expect(await mistakesOf({ REAPER_FINALIZE_GRACE_S: "121" })).toEqual([]);
  expect(await mistakesOf({ REAPER_FINALIZE_GRACE_S: "0" })).toEqual([]);
  const { config, pipelines } = await load();
  const settings = new LiveSettings(config, { check: ({ reaper }) => liveFindings(pipelines, configLimits({ ...config, reaper })) });
  expect(() => settings.update({ reaper: { finalizeGraceMs: 120_000 } })).toThrow(/is too short for p\.s: .* gate\.timeout \(2m\), or 0/);
  expect(() => settings.update({ reaper: { finalizeGraceMs: 120_001 } })).not.toThrow();
  expect(() => settings.update({ reaper: { finalizeGraceMs: 0 } })).not.toThrow();
});

test("keys without an effect on a handler stage are warned of one by one, where they stand", async () => {
  const stage = (gate: string) => `pipelines:
  p:
    stages:
      s:
        run: { handler: h }
        strays: leave
        env: { A: b }
        cwd: ./x
        gate: { ${gate} }
`;
  await write(stage("file: a"));
  expect((await load()).warnings.map(describeMistake)).toEqual([
    expect.stringMatching(/^wakeful\.yaml:6:9 pipelines\.p\.stages\.s\.strays: .* has no effect on a handler stage/),
    expect.stringMatching(/^wakeful\.yaml:7:9 pipelines\.p\.stages\.s\.env: .* has no effect on a handler stage without a gate command/),
    expect.stringMatching(/^wakeful\.yaml:8:9 pipelines\.p\.stages\.s\.cwd: .* has no effect on a handler stage without a gate command/),
  ]);
  await write(stage("all: [{ file: a }, { not: { command: [c] } }]"));
  expect((await load()).warnings.map(({ path }) => path)).toEqual(["pipelines.p.stages.s.strays"]);
});

test("the ceiling's relation holds for changes at run time too [B-31]", async () => {
  await write(comics);
  const { config, pipelines } = await load();
  const check = ({ reaper }: Pick<typeof config, "reaper">) => liveFindings(pipelines, configLimits({ ...config, reaper }));
  const settings = new LiveSettings(config, { check });
  expect(() => settings.update({ reaper: { maxRunningMs: 7_500_000 } })).toThrow(/comics\.ocr may run 2h/);
  expect(() => settings.update({ reaper: { maxRunningMs: 7_500_001 } })).not.toThrow();
});

test("a stage's heartbeat timeout leaves room for three reports of progress", async () => {
  await write("pipelines: { p: { stages: { s: { run: { handler: h }, heartbeat: { timeout: 14s } } } } }\n");
  expect(await mistakesOf()).toEqual([
    'wakeful.yaml:1:77 pipelines.p.stages.s.heartbeat.timeout: "14s" must be at least 3 x worker.renewMs (15s): progress is reported with the renewals',
  ]);
});

test("a command that proves nothing and has no limit is a warning", async () => {
  await write('pipelines: { p: { stages: { s: { run: { command: ["true"] } } } } }\n');
  expect((await load()).warnings.map(describeMistake)).toEqual([
    'wakeful.yaml:1:29 pipelines.p.stages.s: "s" declares neither heartbeat nor timeout: a hung command is noticed only after 1d',
  ]);
});

const builder = pathToFileURL(join(import.meta.dirname, "typescript.ts")).href;

test("a module's defined pipelines keep their handlers and take the settings' defaults", async () => {
  await write(
    `import { definePipeline, handler } from ${JSON.stringify(builder)};
     const p = definePipeline("p", { stages: { s: { run: handler(() => 7), heartbeat: {} } } });
     export default { heartbeat: { timeoutMs: "20m" }, pipelines: [p] };`,
    "wakeful.config.mjs",
  );
  const { pipelines, handlers } = await load();
  expect(pipelines[0]?.stages["s"]).toMatchObject({ heartbeat: { timeoutMs: 1_200_000 }, run: { kind: "handler", name: "p.s" } });
  expect(handlers.get("p.s")).toBeTypeOf("function");
});

test("a module that defines a pipeline twice is refused", async () => {
  await write(
    `import { command, definePipeline } from ${JSON.stringify(builder)};
     const p = () => definePipeline("p", { stages: { s: { run: command(["x"]) } } });
     export default { pipelines: [p(), p()] };`,
    "wakeful.config.mjs",
  );
  expect(await mistakesOf()).toEqual(['wakeful.config.mjs pipelines.p: "p" is defined twice']);
});
