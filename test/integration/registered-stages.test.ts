import { lstatSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { exampleFiles } from "../../src/cli/example-project.ts";
import { deepFreeze, type PipelineDefinition, stageChain } from "../../src/pipelines/definition.ts";
import { loadConfiguration } from "../../src/pipelines/reading/load.ts";
import { compatibleStageNames } from "../../src/pipelines/stage-names.ts";
import { HeartbeatCheck } from "../support/heartbeat-check.ts";
import { chain } from "../support/loop-world.ts";
import { makeTempDir } from "../support/temp-dir-maker.ts";

const seconds = (n: number): number => n * 1000;

/** Every pipeline that comes with this package, read as a daemon reads it: the example's, and the one of `wakeful init`. */
async function shippedPipelines(): Promise<readonly PipelineDefinition[]> {
  const { path: made, remove } = makeTempDir("init");
  try {
    for (const { path, text } of exampleFiles) {
      mkdirSync(dirname(join(made, path)), { recursive: true });
      writeFileSync(join(made, path), text);
    }
    const example = join(import.meta.dirname, "../../examples/ocr-pipeline");
    const read = await Promise.all([example, made].map((cwd) => loadConfiguration({ cwd, env: {} })));
    return read.flatMap(({ pipelines }) => pipelines);
  } finally {
    remove();
  }
}

/** An unknown stage name works like any other. */
const shipped = [...(await shippedPipelines()), chain("new", ["nom"])];
const registered = shipped.flatMap((definition) =>
  stageChain(definition).map((stage) => ({ definition, pipeline: definition.name, stage })),
);

/** The pipeline as it is, but with this heartbeat timeout for every stage that asks for heartbeats, and without another limit that would come first. */
function withTimeout(definition: PipelineDefinition, timeoutSeconds: number): PipelineDefinition {
  const stages = Object.entries(definition.stages).map(([name, stage]) => {
    const { timeoutMs: _, maxRunningMs: __, heartbeat, ...rest } = stage;
    return [name, heartbeat === undefined ? rest : { ...rest, heartbeat: { ...heartbeat, timeoutMs: seconds(timeoutSeconds) } }];
  });
  return deepFreeze({ ...definition, stages: Object.fromEntries(stages) as PipelineDefinition["stages"] });
}

test("the stages that come with this package are found, more than one of each pipeline", () => {
  expect(registered.map(({ pipeline, stage }) => `${pipeline}/${stage.name}`)).toEqual(
    expect.arrayContaining(["comics/prep", "comics/ocr", "comics/publish", "words/count", "words/report", "new/nom"]),
  );
});

describe.each(registered)("$pipeline/$stage.name", ({ definition, pipeline, stage }) => {
  const names = compatibleStageNames(stage.name);
  const queue = `${pipeline}/${stage.name}`;
  const world = async () => {
    const check = await HeartbeatCheck.of(withTimeout(definition, 600));
    return { check, item: await check.itemAt(pipeline, stage.name) };
  };

  test("is covered: it asks for heartbeats, and all its names follow from its declaration [A-12, A-13]", () => {
    expect(stage.heartbeat?.timeoutMs).toBeGreaterThanOrEqual(seconds(60));
    expect(stage.compatible).toEqual(names);
    expect([names.running, names.retry, names.timeout]).toEqual(
      ["RUNNING", "RETRY", "TIMEOUT"].map((state) => `${stage.name.toUpperCase().replaceAll("-", "_")}_${state}`),
    );
  });

  test("700 s old at timeout 600 -> RETRY, with the timeout in state and message [A-12, A-14, A-15, A-16, A-25]", async () => {
    const { check, item } = await world();
    const run = await check.start(queue);
    await check.tick();
    expect(check.state(item)).toMatchObject({ state: names.running, stage: names.running });
    check.world.advance(seconds(700));
    await check.tick();
    expect(await check.world.store.runs.get(run.runId)).toMatchObject({ outcome: "hung" });
    expect(check.state(item)).toMatchObject({
      state: names.timeout,
      stage: names.retry,
      message: expect.stringMatching(/heartbeat.*stale.*600 s/),
    });
  });

  test("touched now at timeout 600 -> still RUNNING, and its stored state is not rewritten [A-18, A-26]", async () => {
    const { check, item } = await world();
    const run = await check.start(queue);
    await check.tick();
    const before = lstatSync(check.pathOf(item));
    check.world.advance(seconds(700));
    await check.beat(run);
    await check.tick();
    check.world.advance(seconds(600));
    await check.tick();
    expect(await check.world.stateOf(run)).toBe("running");
    expect(check.state(item)).toMatchObject({ state: names.running, stage: names.running });
    const after = lstatSync(check.pathOf(item));
    expect([after.ino, after.mtimeMs]).toEqual([before.ino, before.mtimeMs]);
  });

  test("never touched at timeout 600 -> RUNNING for 1200 s, then RETRY [A-3, A-5]", async () => {
    const { check, item } = await world();
    const run = await check.start(queue, { beat: false });
    check.world.advance(seconds(1200) - 1);
    await check.tick();
    expect(await check.world.stateOf(run)).toBe("running");
    check.world.advance(1);
    await check.tick();
    expect(check.state(item)).toMatchObject({ state: names.timeout, stage: names.retry });
  });

  test("gets the same verdict at every age when a stage is added beside it [A-24]", async () => {
    const nom = chain(pipeline, ["nom"], { stage: { heartbeat: { timeoutMs: seconds(60), from: "file" }, next: definition.first } });
    const verdicts: unknown[] = [];
    for (const added of [{}, stage.name === "nom" ? {} : nom.stages]) {
      const stages = { ...added, ...withTimeout(definition, 600).stages };
      const check = await HeartbeatCheck.of({ ...definition, stages, first: "nom" in stages && "nom" in added ? "nom" : definition.first });
      await check.itemAt(pipeline, stage.name);
      const run = await check.start(queue);
      const seen: unknown[] = [];
      for (const age of [0, 59, 61, 600, 600.001, 700]) {
        check.world.advance(seconds(age) - (check.world.now - (await startOf(check, run))));
        await check.tick();
        const { state, outcome, message } = (await check.world.store.runs.get(run.runId)) ?? {};
        seen.push({ age, state, outcome, message });
      }
      verdicts.push(seen);
    }
    expect(verdicts[1]).toEqual(verdicts[0]);
    expect(verdicts[0]).toMatchObject([{}, {}, {}, { age: 600, state: "started" }, { age: 600.001, outcome: "hung" }, {}]);
  });
});

async function startOf(check: HeartbeatCheck, { runId }: { readonly runId: number }): Promise<number> {
  return (await check.world.store.runs.get(runId as never))?.startedAt ?? Number.NaN;
}
