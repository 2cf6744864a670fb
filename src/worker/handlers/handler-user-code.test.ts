import { expect, test, vi } from "vitest";
import { handlerBench } from "../../../test/support/handler-bench.ts";
import { until } from "../../../test/support/until.ts";
import { asJobId } from "../../domain/ids.ts";
import { PermanentError } from "./handler-context.ts";

const stateOf = async (bench: Awaited<ReturnType<typeof handlerBench>>, id: number) => (await bench.store.jobs.get(asJobId(id)))?.state;

test("whatever a handler throws becomes a bounded text", async () => {
  const bench = await handlerBench();
  const thrown = [Object.create(null), undefined, "text", new Error("x".repeat(100_000)), { then: 1 }];
  const ids = await bench.enqueue(thrown.length, { maxAttempts: 1 });
  await bench.worker({
    handlers: {
      task: (job) => {
        // oxlint-disable-next-line typescript/only-throw-error -- user code may throw anything.
        throw thrown[ids.indexOf(job.id)];
      },
    },
  });
  await until(async () => (await Promise.all(ids.map((id) => stateOf(bench, id)))).every((state) => state === "failed"));
  const errors = await Promise.all(ids.map(async (id) => (await bench.store.jobs.get(asJobId(id)))?.error ?? ""));
  expect(errors[0]).toContain("no text");
  expect(errors[2]).toContain("text");
  for (const error of errors) expect(error.length).toBeLessThan(9_000);
});

test("a permanent error fails a job that has attempts left; any other one is retried", async () => {
  const bench = await handlerBench();
  const ids = await bench.enqueue(2, { maxAttempts: 5 });
  await bench.worker({
    handlers: {
      task: async (job) => {
        throw job.id === ids[0] ? new PermanentError("never") : new Error("not yet");
      },
    },
  });
  await until(async () => (await stateOf(bench, ids[0] ?? 0)) === "failed" && (await stateOf(bench, ids[1] ?? 0)) === "scheduled");
  const [run] = await bench.store.runs.ofJob(asJobId(ids[0] ?? 0));
  expect(run).toMatchObject({ outcome: "failed", reason: "permanent_error", message: expect.stringContaining("never") });
  const ended = bench.events.find((event) => event.name === "run.ended" && event.data !== null && "outcome" in event.data);
  expect(ended?.data).toMatchObject({ queue: "task", outcome: "failed" });
});

test("a promise of another make is awaited, not stored", async () => {
  const bench = await handlerBench();
  const [id = 0] = await bench.enqueue(1);
  const foreign = { then: (resolve: (value: unknown) => void) => resolve("awaited") };
  await bench.worker({ handlers: { task: () => foreign } });
  await until(async () => (await stateOf(bench, id)) === "done");
  expect((await bench.store.jobs.get(asJobId(id)))?.output).toBe('"awaited"');
});

test("a handler may take its context apart, and no report of it ever throws", async () => {
  const bench = await handlerBench();
  const [id = 0] = await bench.enqueue(1);
  await bench.worker({
    handlers: {
      task: async (_job, { heartbeat, progress, log, signal }) => {
        heartbeat();
        progress({ pages: 3 });
        progress(1n);
        progress("x".repeat(100_000));
        log("line");
        return signal.aborted;
      },
    },
  });
  await until(async () => (await stateOf(bench, id)) === "done");
  expect(bench.reports.map(({ progress }) => progress)).toEqual([undefined, '{"pages":3}', '"(not JSON)"', '"(100002 characters)"']);
});

test("no timer and no signal is made for a run that asks for neither", async () => {
  const bench = await handlerBench();
  await bench.worker({ handlers: { task: () => undefined } });
  const made = vi.spyOn(globalThis, "AbortController");
  const timers = vi.spyOn(globalThis, "setTimeout");
  const ids = await bench.enqueue(20);
  // Its pauses are made by another function than the one that is watched.
  await until(async () => (await stateOf(bench, ids.at(-1) ?? 0)) === "done");
  const counts = [made.mock.calls.length, timers.mock.calls.length];
  vi.restoreAllMocks();
  expect(counts).toEqual([0, 0]);
});
