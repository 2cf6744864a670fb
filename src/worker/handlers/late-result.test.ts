import { expect, test } from "vitest";
import { Gatekeeper, handlerBench } from "../../../test/support/handler-bench.ts";
import { processOn } from "../../../test/support/store-rows.ts";
import { until } from "../../../test/support/until.ts";
import { asJobId, asRunId } from "../../domain/ids.ts";

const started = async (keeper: Gatekeeper, count: number) =>
  await until(() => keeper.started.length >= count, { what: `${count} handlers to have started`, everyMs: 1 });

test("the handler of a run that was lost is told to stop; what it returns all the same is refused by the fence and kept on record", async () => {
  const bench = await handlerBench();
  const [id = 0] = await bench.enqueue(1);
  const keeper = new Gatekeeper();
  const { worker } = await bench.worker({ handlers: { task: keeper.handler } });
  await started(keeper, 1);
  const { runId, signal } = keeper.started[0] ?? { runId: asRunId(0), signal: AbortSignal.abort() };
  const [run] = await bench.store.runs.listLive([runId]);
  if (run === undefined) throw new Error("the run does not live");
  const workerId = await bench.store.workers.register({ name: "other", kind: "handler", process: processOn(), concurrency: 1, queues: [] });
  await bench.store.runs.takeOver({ ...run, runId, workerId, actor: "test", reason: "adopted", checkAt: bench.store.now() });
  worker.lose(runId, "another has it");
  expect(signal.aborted).toBe(true);
  expect(String(signal.reason)).toContain("another has it");
  keeper.finish(runId, "too late");
  await until(() => bench.events.some(({ name }) => name === "run.late_result"));
  expect(worker.outstanding).toBe(0);
  expect(await bench.store.jobs.get(asJobId(id))).toMatchObject({ state: "running", output: null });
  expect((await bench.store.actions.list({ runId, limit: 9 })).map(({ action }) => action)).toContain("run.late_result");
});

test("what the handler of a lost run throws is no result: nothing is written, and nothing is spent", async () => {
  const bench = await handlerBench();
  const [id = 0] = await bench.enqueue(1, { maxAttempts: 1 });
  const keeper = new Gatekeeper();
  const { worker } = await bench.worker({ handlers: { task: keeper.handler } });
  await started(keeper, 1);
  const runId = keeper.started[0]?.runId ?? asRunId(0);
  worker.lose(runId, "another has it");
  keeper.fail(runId, new Error("stopped"));
  await until(() => worker.outstanding === 0);
  expect(await bench.store.jobs.get(asJobId(id))).toMatchObject({ state: "running", error: null });
  expect(bench.events.filter(({ name }) => name === "run.late_result")).toEqual([]);
});
