import { expect, test } from "vitest";
import { Gatekeeper, handlerBench } from "../../../test/support/handler-bench.ts";
import { until } from "../../../test/support/until.ts";
import { asItemId, asJobId, type RunId } from "../../domain/ids.ts";
import type { PipelineDefinition } from "../../pipelines/definition.ts";
import { definePipeline, handler } from "../../pipelines/reading/typescript.ts";
import { PipelineRegistry } from "../../pipelines/registry.ts";

const stages = (gate: boolean): PipelineDefinition =>
  definePipeline("p", {
    stages: {
      prep: { run: handler("prep"), next: "ocr", attempts: 2, ...(gate ? { gate: { file: "ready" } } : {}) },
      ocr: { run: handler("ocr") },
    },
  }).definition;

async function itemBench(definition: PipelineDefinition) {
  const bench = await handlerBench([definition]);
  const first = new PipelineRegistry([definition]).entry("p", "prep");
  if (first === undefined) throw new Error("the pipeline has no stage prep");
  const { item } = await bench.store.items.add({ pipeline: "p", key: "book", dir: "book", input: "{}", first, actor: "test" });
  return { ...bench, item: () => bench.store.items.get(asItemId(item.id)), jobs: () => bench.store.items.jobs(item.id) };
}

test("a stage without a gate is done and its item advances in the same settlement [B-48]", async () => {
  const bench = await itemBench(stages(false));
  const settled: unknown[] = [];
  await bench.worker({
    handlers: { "p/prep": async () => ({ pages: 3 }) },
    runs: (direct) => ({
      settle: (batch) => {
        settled.push(...batch);
        return direct.settle(batch);
      },
    }),
  });
  await until(async () => (await bench.item())?.stage === "ocr");
  expect(settled).toMatchObject([{ outcome: "succeeded", output: '{"pages":3}', advance: { kind: "next", queue: "p/ocr" } }]);
  const [visit] = await bench.store.items.visits((await bench.item())?.id ?? asItemId(0));
  expect(visit).toMatchObject({ stage: "prep", state: "passed", output: '{"pages":3}', attempts: 1 });
});

test("a stage that fails spends an attempt of its visit and stays where it is [B-34]", async () => {
  const bench = await itemBench(stages(false));
  await bench.worker({
    handlers: {
      "p/prep": async () => {
        throw new Error("no paper");
      },
    },
  });
  await until(async () => (await bench.jobs())[0]?.state === "scheduled");
  expect((await bench.jobs())[0]).toMatchObject({ attempts: 1, error: expect.stringMatching(/no paper \(run \d+\)/) });
  expect((await bench.item())?.stage).toBe("prep");
});

test("a stage with a gate is on record as exited before the gate is read, with its output kept [B-16]", async () => {
  const bench = await itemBench(stages(true));
  const readings: { state: string | undefined; exitCode: number | null | undefined; saved: string | undefined }[] = [];
  const saved = new Map<RunId, string>();
  const { worker } = await bench.worker({
    handlers: { "p/prep": async () => "text" },
    saved,
    gate: async ({ runId }) => {
      const stored = await bench.store.runs.get(runId);
      readings.push({ state: stored?.state, exitCode: stored?.exitCode, saved: saved.get(runId) });
      return readings.length < 3 ? { kind: "unreadable", error: "the disk is away" } : { kind: "green" };
    },
  });
  await until(async () => (await bench.item())?.stage === "ocr");
  expect(readings).toEqual(Array.from({ length: 3 }, () => ({ state: "exited", exitCode: 0, saved: '"text"' })));
  expect(bench.events.filter((event) => event.name === "run.deferred")).toHaveLength(2);
  const [visit] = await bench.store.items.visits((await bench.item())?.id ?? asItemId(0));
  expect(visit).toMatchObject({ state: "passed", output: '"text"' });
  await until(() => worker.outstanding === 0 && worker.held().length === 0);
});

test("a red gate spends an attempt and nothing advances [B-44]", async () => {
  const bench = await itemBench(stages(true));
  await bench.worker({ handlers: { "p/prep": async () => undefined }, gate: async () => ({ kind: "red", reason: "no file" }) });
  await until(async () => (await bench.jobs())[0]?.state === "scheduled");
  expect((await bench.jobs())[0]).toMatchObject({ attempts: 1, error: expect.stringContaining("no file") });
  expect((await bench.item())?.stage).toBe("prep");
});

test("a run that was cancelled while its gate was read is left as it is", async () => {
  const bench = await itemBench(stages(true));
  const { worker } = await bench.worker({
    handlers: { "p/prep": async () => undefined },
    gate: async ({ jobId }) => {
      await bench.store.jobs.cancel(jobId, { actor: "test", reason: "not wanted", stopBy: bench.store.now() });
      return { kind: "green" };
    },
  });
  await until(async () => (await bench.jobs())[0]?.state === "cancelled");
  await until(() => worker.outstanding === 0);
  expect(worker.held()).toEqual([]);
  expect((await bench.item())?.stage).toBe("prep");
  expect(bench.events.filter((event) => event.name === "run.late_result")).toEqual([]);
});

test("an end whose run could not be read is reported again, and the run counts as held meanwhile", async () => {
  const bench = await handlerBench();
  const [id = 0] = await bench.enqueue(1, { maxAttempts: 1 });
  let refusals = 2;
  const keeper = new Gatekeeper();
  const held: number[] = [];
  const { worker } = await bench.worker({
    handlers: { task: keeper.handler },
    runs: (direct) => ({
      listLive: async (ids) => {
        if (refusals-- > 0) {
          held.push(worker.held().length);
          throw new Error("busy");
        }
        return await direct.listLive(ids);
      },
    }),
  });
  await until(() => keeper.started.length === 1);
  const runId = keeper.started[0]?.runId;
  if (runId !== undefined) keeper.fail(runId, new Error("broken"));
  await until(async () => (await bench.store.jobs.get(asJobId(id)))?.state === "failed");
  expect(held.at(-1)).toBe(1);
  await until(() => worker.held().length === 0);
});
