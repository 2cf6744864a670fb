import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chain, type LoopWorld, loopWorld } from "../../test/support/loop-world.ts";
import { registerWorker, retried, success } from "../../test/support/store-rows.ts";
import { addMs } from "../domain/time.ts";
import { directAccess } from "../files/foreign/path-operation.ts";
import { staleMessage } from "../liveness/heartbeat-policy.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import { intakeKey } from "../pipelines/intake-key.ts";
import { compatibleStageNames } from "../pipelines/stage-names.ts";
import type { ItemRow } from "../store/port/items.ts";
import type { ClaimedRun } from "../store/port/runs.ts";
import { SourceKeeper } from "./kept-source.ts";
import { createStateFileDeliverer } from "./state-file.ts";
import { projectState } from "./state-projection.ts";

interface World extends LoopWorld {
  readonly item: ItemRow;
  /** Delivers what is due, as the outbox loop does. */
  deliver(): Promise<void>;
  state(): Record<string, unknown>;
  readonly path: string;
}

async function stateWorld(stages: readonly string[] = ["prep", "ocr"], stage: Partial<StageDefinition> = {}): Promise<World> {
  const world = await loopWorld([chain("p", stages, { stage })]);
  const { store, registry, paths, baseDir } = world;
  const first = registry.entry("p", stages[0] ?? "");
  if (first === undefined) throw new Error("the pipeline has no first stage");
  const { item } = await store.items.add({ pipeline: "p", key: "book", dir: "book", input: "{}", first, actor: "test" });
  const deliverer = createStateFileDeliverer({
    store,
    registry,
    workDir: paths.workDir,
    sources: new SourceKeeper({ registry, workDir: paths.workDir, baseDir, access: directAccess }),
  });
  const path = join(paths.workDir, "book", "state.json");
  return {
    ...world,
    item,
    path,
    state: () => JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>,
    deliver: async () => {
      for (const entry of await store.outbox.due(100)) {
        if (entry.kind !== "state-file") continue;
        await deliverer.deliver(entry, new AbortController().signal);
        await store.outbox.done(entry);
      }
    },
  };
}

let claims = 0;

async function start(world: World, stage: string): Promise<ClaimedRun> {
  const { store, clock } = world;
  const limits = { heartbeatTimeoutMs: 600_000, maxRunningMs: 86_400_000 };
  claims += 1;
  const workerId = await registerWorker(store);
  const [run] = await store.runs.claim({
    claimId: `c${claims}`,
    workerId,
    claimSeq: claims,
    queues: [{ name: `p/${stage}`, limits }],
    max: 1,
    startNow: 0,
  });
  if (run === undefined) throw new Error(`stage ${stage} has nothing to claim`);
  await store.runs.start([{ ...run, startedAt: clock.now(), limits, checkAt: addMs(clock.now(), 1000) }]);
  clock.advance(1_000);
  return run;
}

async function hung(world: World, run: ClaimedRun, disposition?: "fail" | "hold"): Promise<void> {
  await world.store.runs.settle([retried(run, { outcome: "hung", reason: "hung", message: "no progress for 700 s", disposition })]);
}

for (const stage of ["prep", "ocr", "deploy-staging"]) {
  const names = compatibleStageNames(stage);
  test(`a stale ${stage} shows ${names.timeout} as its state and ${names.retry} as its stage, with the timeout in seconds [A-12] [A-14] [A-15] [A-16]`, async () => {
    const world = await stateWorld([stage]);
    const run = await start(world, stage);
    await world.deliver();
    expect(world.state()).toMatchObject({ jobKey: "book", state: names.running, stage: names.running });
    await hung(world, run);
    await world.deliver();
    expect(world.state()).toMatchObject({ state: names.timeout, stage: names.retry, attempt: 1, updatedAt: "2026-01-01T00:00:01Z" });
    expect(world.state().message).toContain(staleMessage(stage, 600));
    expect(world.state().message).toMatch(/heartbeat.*stale.*600 s/);
  });
}

test("a stage is known by its declaration alone: its states need nothing else [A-13]", async () => {
  const world = await stateWorld(["nom"]);
  await world.deliver();
  expect(world.state()).toMatchObject({ state: "DISCOVERED" });
  const run = await start(world, "nom");
  await world.deliver();
  expect(world.state()).toMatchObject({ state: "NOM_RUNNING", step: "NOM", attemptNom: 1 });
  await hung(world, run);
  await world.deliver();
  expect(world.state()).toMatchObject({ state: "NOM_TIMEOUT", stage: "NOM_RETRY" });
});

test("an item shows each step of its way", async () => {
  const world = await stateWorld();
  const shown: unknown[] = [];
  const show = async (): Promise<void> => {
    await world.deliver();
    const { state, stage, step, attempt, attemptPrep, attemptOcr } = world.state();
    shown.push([state, stage, step, attempt, attemptPrep ?? 0, attemptOcr ?? 0]);
  };
  await show();
  const prep = await start(world, "prep");
  await show();
  await world.store.runs.settle([retried(prep)]);
  await show();
  const again = await start(world, "prep");
  await show();
  const advance = world.registry.advanceFrom("p", "prep");
  await world.store.runs.settle([success(again, { advance })]);
  await show();
  const ocr = await start(world, "ocr");
  await show();
  await world.store.runs.settle([success(ocr, { advance: { kind: "finish" } })]);
  await show();
  expect(shown).toEqual([
    ["DISCOVERED", "DISCOVERED", "PREP", 0, 0, 0],
    ["PREP_RUNNING", "PREP_RUNNING", "PREP", 1, 1, 0],
    ["PREP_RETRY", "PREP_RETRY", "PREP", 1, 1, 0],
    ["PREP_RUNNING", "PREP_RUNNING", "PREP", 2, 2, 0],
    ["PREP_DONE", "PREP_DONE", "PREP", 2, 2, 0],
    ["OCR_RUNNING", "OCR_RUNNING", "OCR", 1, 2, 1],
    ["DONE", "DONE", "OCR", 1, 2, 1],
  ]);
});

test("when the attempts are spent the state is ERROR_PREP, once, with one alert [A-G5]", async () => {
  const world = await stateWorld();
  for (let attempt = 1; attempt <= 3; attempt++) {
    const run = await start(world, "prep");
    await hung(world, run, attempt < 3 ? undefined : "fail");
    await world.deliver();
    expect(world.state().state).toBe(attempt < 3 ? "PREP_TIMEOUT" : "ERROR_PREP");
  }
  expect(world.state()).toMatchObject({ stage: "ERROR_PREP", attempt: 3 });
  const alerts = (await world.store.outbox.due(100)).filter((entry) => entry.kind === "alert");
  expect(alerts).toHaveLength(1);
  const before = lstatSync(world.path).ino;
  await world.deliver();
  expect(lstatSync(world.path).ino).toBe(before);
});

test("a held job shows as ERROR_<STAGE>", async () => {
  const world = await stateWorld();
  await hung(world, await start(world, "prep"), "hold");
  await world.deliver();
  expect(world.state()).toMatchObject({ state: "ERROR_PREP", message: expect.stringContaining("held for a person") });
});

test("all other stored fields stay, also over a state that holds nothing but its job key [A-17]", async () => {
  const world = await stateWorld();
  await world.deliver();
  writeFileSync(world.path, JSON.stringify({ jobKey: "book" }));
  await hung(world, await start(world, "prep"));
  await world.deliver();
  expect(world.state()).toMatchObject({ jobKey: "book", state: "PREP_TIMEOUT" });

  writeFileSync(world.path, JSON.stringify({ ...world.state(), rawPdf: "/x/raw.pdf", notes: { by: "a person" }, ["__proto__x"]: 1 }));
  await start(world, "prep");
  await world.deliver();
  expect(world.state()).toMatchObject({ state: "PREP_RUNNING", rawPdf: "/x/raw.pdf", notes: { by: "a person" }, ["__proto__x"]: 1 });
});

test("a stored state is not rewritten while nothing of it changes [A-18]", async () => {
  const world = await stateWorld();
  await start(world, "prep");
  await world.deliver();
  const before = lstatSync(world.path);
  world.clock.advance(60_000);
  await world.store.outbox.put({ kind: "state-file", key: String(world.item.id), payload: "{}" });
  await world.deliver();
  const after = lstatSync(world.path);
  expect([after.ino, after.mtimeMs]).toEqual([before.ino, before.mtimeMs]);
  expect(world.state()).toMatchObject({ state: "PREP_RUNNING" });
});

test("an item that is not running is left as it is [A-19]", async () => {
  const world = await stateWorld();
  await world.deliver();
  const before = lstatSync(world.path).ino;
  world.clock.advance(10_000_000);
  await world.store.outbox.put({ kind: "state-file", key: String(world.item.id), payload: "{}" });
  await world.deliver();
  expect(lstatSync(world.path).ino).toBe(before);
  expect(world.state().state).toBe("DISCOVERED");
});

test("spoiled state files are put aside and written anew", async () => {
  const world = await stateWorld();
  const spoil: (() => void)[] = [
    () => writeFileSync(world.path, '{"jobKey": "bo'),
    () => writeFileSync(world.path, "[1, 2]"),
    () => writeFileSync(world.path, "x".repeat(1_048_577)),
    () => mkdirSync(world.path),
  ];
  for (const spoilIt of spoil) {
    rmSync(world.path, { force: true });
    mkdirSync(join(world.paths.workDir, "book"), { recursive: true });
    spoilIt();
    await world.store.outbox.put({ kind: "state-file", key: String(world.item.id), payload: "{}" });
    await world.deliver();
    expect(world.state()).toMatchObject({ jobKey: "book", state: "DISCOVERED" });
  }
  expect(readdirSync(join(world.paths.workDir, "book")).sort()).toEqual([
    "state.json",
    "state.json.bad",
    "state.json.bad2",
    "state.json.bad3",
    "state.json.bad4",
  ]);
});

test("a link in the place of state.json is replaced and never followed", async () => {
  const world = await stateWorld();
  const victim = join(world.baseDir, "victim");
  writeFileSync(victim, '{"jobKey": "victim", "secret": 1}');
  mkdirSync(join(world.paths.workDir, "book"));
  symlinkSync(victim, world.path);
  symlinkSync(victim, join(world.paths.workDir, "book", ".state.json.tmp"));
  await world.deliver();
  expect(readFileSync(victim, "utf8")).toBe('{"jobKey": "victim", "secret": 1}');
  expect(lstatSync(world.path).isFile()).toBe(true);
  expect(world.state()).not.toHaveProperty("secret");
});

test("a link in the place of the work directory is an error that is tried again, not a place to write", async () => {
  const world = await stateWorld();
  symlinkSync(world.baseDir, join(world.paths.workDir, "book"));
  await expect(world.deliver()).rejects.toThrow("is not a folder");
  expect(existsSync(join(world.baseDir, "state.json"))).toBe(false);
});

test("the profile is shown only while it is the one that the item was made with, so that it never contradicts its hash", async () => {
  const { item } = await stateWorld();
  const made = { lang: "eng" };
  const key = intakeKey({ sha256: "a".repeat(64), profile: made });
  const facts = { item: { ...item, key }, visits: [], job: undefined, lastRun: undefined };
  const hashes = { fileHash: "a".repeat(64), profileHash: key.slice(-64) };
  expect(projectState({ ...facts, profile: made })).toMatchObject({ ...hashes, profile: made });
  const changed = projectState({ ...facts, profile: { lang: "fra" } });
  expect(changed).toMatchObject(hashes);
  expect(changed).not.toHaveProperty("profile");
});
