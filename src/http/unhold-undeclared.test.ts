import { expect, test, vi } from "vitest";
import { apiDaemon, comics } from "../../test/support/api-daemon.ts";
import { Operations } from "../operations/operations.ts";
import { PausedWorkers } from "../operations/paused-workers.ts";
import type { PipelineDefinition } from "../pipelines/definition.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";

const { prep: _, ...later } = comics.stages;
const withoutPrep: PipelineDefinition = { ...comics, first: "ocr", stages: later };

/** The API of a daemon that declares these pipelines, over a store with one job that was held in comics/prep. */
async function heldInPrep(declared: readonly PipelineDefinition[]) {
  const daemon = await apiDaemon({
    change: (services) => ({
      ...services,
      operations: new Operations({
        store: services.store,
        registry: new PipelineRegistry(declared),
        emit: services.events.emit,
        newKey: () => "key",
        tasks: () => new Set(),
        pausedWorkers,
        stopWithinMs: () => 17_000,
      }),
    }),
  });
  const { store } = daemon.services;
  await new Operations({
    store,
    registry: daemon.services.registry,
    emit: daemon.services.events.emit,
    newKey: () => "key",
    tasks: () => new Set(),
    pausedWorkers,
    stopWithinMs: () => 17_000,
  }).submit({ pipeline: "comics", key: "book", actor: "test" });
  const [job] = await store.upkeep.listJobs({ limit: 1 });
  if (job === undefined) throw new Error("no job");
  expect(await store.jobs.hold(job.id, { actor: "reconciler", reason: "stage_undeclared", message: "gone" })).toMatchObject({
    kind: "held",
  });
  const unhold = async (force = false) => await daemon.request("POST", `/v1/jobs/${job.id}/unhold`, { body: { force } });
  return { daemon, store, unhold, job: async () => await store.jobs.get(job.id) };
}

const pausedWorkers = await PausedWorkers.open({ setting: async () => undefined, putSetting: async () => undefined });

test("a held job of a stage that is not declared is not unheld: the error names the stage to declare first, and nothing is granted", async () => {
  const { unhold, job } = await heldInPrep([withoutPrep]);
  const before = await job();
  for (const force of [false, true]) {
    const answer = await unhold(force);
    expect(answer.status).toBe(409);
    expect(answer.body.error).toMatchObject({
      code: "stage_undeclared",
      message: expect.stringContaining("stage prep of pipeline comics, which is not declared: declare it first"),
      details: { jobId: before?.id, pipeline: "comics", stage: "prep" },
    });
  }
  expect(await job()).toEqual(before);
});

test("declared again, it is unheld", async () => {
  const { unhold, job } = await heldInPrep([comics]);
  expect((await unhold()).status).toBe(200);
  expect(await job()).toMatchObject({ state: "queued" });
});

test("a stage that a living session serves, or that another daemon declares, counts as declared", async () => {
  const served = await heldInPrep([]);
  await served.daemon.worker(["comics/prep"]);
  expect((await served.unhold()).status).toBe(200);
  const elsewhere = await heldInPrep([]);
  vi.spyOn(elsewhere.store.items, "declaredPipelines").mockResolvedValue(["comics"]);
  expect((await elsewhere.unhold()).status).toBe(200);
});
