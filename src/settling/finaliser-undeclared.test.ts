import { expect, test } from "vitest";
import { chain } from "../../test/support/loop-world.ts";
import { RepairWorld } from "../../test/support/repair-world.ts";
import { asHostId } from "../domain/ids.ts";
import { directAccess } from "../files/foreign/path-operation.ts";
import { ResultReader } from "../gates/result-reader.ts";
import type { PipelineDefinition, StageDefinition } from "../pipelines/definition.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import type { Settlement } from "../store/port/runs.ts";
import { createSettling } from "./settling.ts";

const gate = { kind: "file", path: "green", anyAge: true } as const;

/** A run of p/prep that has exited under one configuration, and is finalised under another. */
async function exitedThen(
  now: readonly PipelineDefinition[],
  { stage = { gate }, exitCode = 0, green = true }: { stage?: Partial<StageDefinition>; exitCode?: number; green?: boolean } = {},
) {
  const world = await RepairWorld.open([chain("p", ["prep", "ocr"], { stage })]);
  const item = await world.addItem();
  const run = await world.start({ queue: "p/prep" });
  await world.exit(run, exitCode);
  if (green) world.turnGateGreen(item);
  const { store, paths, baseDir } = world.world;
  const { finaliser } = createSettling({
    store,
    registry: new PipelineRegistry(now),
    reader: new ResultReader({ paths, hostId: asHostId("h"), baseDir, environment: process.env, access: directAccess, gatesAtOnce: 1 }),
    random: () => 0.5,
    emit: () => undefined,
    stopWithinMs: () => 17_000,
  });
  const finalise = async (): Promise<Settlement> => {
    const [live] = await store.runs.listLive([run.runId]);
    if (live === undefined) throw new Error("the run has ended");
    const result = await finaliser.finalise(live, { actor: "test", signal: new AbortController().signal });
    if (result.kind !== "settle") throw new Error(result.why);
    return result.settlement;
  };
  return { world, store, item, run, finalise };
}

const withoutPrep = chain("p", ["scan", "ocr"]);

test("a run whose stage vanished is read by the gate of the version it began with: green moves it on to the stage that followed it there", async () => {
  const { world, store, item, finalise } = await exitedThen([withoutPrep]);
  const settlement = await finalise();
  expect(settlement).toMatchObject({ outcome: "succeeded", advance: { kind: "next", stage: "ocr", queue: "p/ocr" } });
  expect(await store.runs.settle([settlement])).toMatchObject([{ kind: "ok", item: { kind: "advanced", from: "prep", to: "ocr" } }]);
  expect(await world.store.items.get(item.id)).toMatchObject({
    stage: "ocr",
    state: "active",
    pipelineVersion: new PipelineRegistry([withoutPrep]).get("p")?.version,
  });
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("the red gate of a vanished stage never moves its item on: another attempt of the visit's budget is due", async () => {
  const { store, finalise } = await exitedThen([withoutPrep], { green: false });
  const settlement = await finalise();
  expect(settlement).toMatchObject({ outcome: "gate_red" });
  expect(await store.runs.settle([settlement])).toMatchObject([{ kind: "ok", jobState: "scheduled" }]);
});

test("the last stage of a version that is gone still finishes its item", async () => {
  const { store, item, finalise } = await exitedThen([], { stage: { gate, next: null } });
  await store.runs.settle([await finalise()]);
  expect(await store.items.get(item.id)).toMatchObject({ state: "done" });
});

test("what follows a vanished stage is not declared either: held with one alert that names it and what to do, and unhold runs the stage again", async () => {
  const { store, item, run, finalise } = await exitedThen([chain("p", ["scan"])]);
  const settlement = await finalise();
  expect(settlement).toMatchObject({ reason: "stage_vanished", disposition: "hold" });
  await store.runs.settle([settlement]);
  const [job] = await store.items.jobs(item.id);
  expect(job).toMatchObject({
    state: "held",
    error: expect.stringContaining("stage ocr of pipeline p, which follows prep, is not declared any more"),
  });
  expect(job?.error).toContain(`wakeful unhold job:${run.jobId}`);
  expect((await store.outbox.due(10)).filter(({ kind }) => kind === "alert")).toMatchObject([
    { key: `job.held:${run.jobId}:${run.runId}` },
  ]);
  expect(await store.items.get(item.id)).toMatchObject({ state: "active", stage: "prep" });
  expect(await store.jobs.unhold(run.jobId, { actor: "ana", force: false })).toBe(true);
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("the exit codes of a vanished stage mean what they meant when the run began", async () => {
  const { finalise } = await exitedThen([withoutPrep], { exitCode: 7, stage: { exitCodes: { retryOn: [], failOn: [], holdOn: [7] } } });
  expect(await finalise()).toMatchObject({ outcome: "failed", disposition: "hold" });
});

test("a version that nobody can read any more moves nothing on: exit 0 is held, and a spent budget too", async () => {
  const { world, finalise } = await exitedThen([withoutPrep]);
  world.world.sql("update pipeline_versions set definition = 'no json'");
  expect(await finalise()).toMatchObject({ reason: "stage_vanished", disposition: "hold" });
  const failing = await exitedThen([withoutPrep], { exitCode: 1, stage: { attempts: 1 } });
  failing.world.world.sql("update pipeline_versions set definition = '{}'");
  expect(await failing.store.runs.settle([await failing.finalise()])).toMatchObject([{ outcome: "failed", jobState: "held" }]);
});

test("on a shared store the stage that follows may be another daemon's: the item moves on under its newest version", async () => {
  const { store, finalise } = await exitedThen([]);
  store.items.declaredPipelines = async () => ["p"];
  expect(await finalise()).toMatchObject({ advance: { kind: "next", stage: "ocr" } });
});
