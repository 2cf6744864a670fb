/** For tests of programs that use Wakeful: a clock that only the test moves, a store in memory, and what handlers are given. */
import { asItemId, asJobId, asRunId } from "./domain/ids.ts";
import type { Json } from "./pipelines/definition.ts";
import type { HandlerContext, HandlerJob } from "./pipelines/handler.ts";
import { FakeClock } from "./runtime/fake-clock.ts";
import { createStoreClock } from "./runtime/store-clock.ts";
import { openStore } from "./store/open-store.ts";
import type { Store } from "./store/port/store.ts";
import type { TaskContext, TaskJob } from "./worker/handlers/handler-context.ts";

export { FakeClock, type FakeClockOptions } from "./runtime/fake-clock.ts";
export type { Store } from "./store/port/store.ts";

/**
 * A store in memory with everything that the embedded engine does, on a clock of the test's. Close it at the end.
 *
 * @example
 * const { store, clock } = await openMemoryStore();
 * await store.jobs.ensureQueues([{ name: "mail", kind: "handler" }]);
 * const [id] = await store.jobs.enqueue({ queue: "mail", delayMs: 60_000, jobs: [{ payload: "{}" }] });
 * clock.advance(60_000);
 * await store.jobs.promoteDue(100);
 * await store.close();
 */
export async function openMemoryStore(
  options: { readonly clock?: FakeClock } = {},
): Promise<{ readonly store: Store; readonly clock: FakeClock }> {
  const clock = options.clock ?? new FakeClock();
  return { store: await openStore({ url: ":memory:", clock: createStoreClock({ host: clock }) }), clock };
}

/** What a handler reported through a context made here, and the way to ask it to stop. */
export interface ContextReports {
  readonly beats: number;
  /** Every value of `progress()`, in order. */
  readonly progress: readonly unknown[];
  readonly logged: readonly string[];
  /** Aborts the context's signal. */
  abort(reason?: Error): void;
}

/**
 * The job of a plain task, as an embedded worker gives it to its handler. Job and run are number 1, attempt 1, unless told.
 *
 * @example
 * const { context, reports } = taskContext();
 * await sendMail(taskJob({ to: "someone@example.com" }, { attempt: 2 }), context);
 * expect(reports.logged).toEqual(["second attempt"]);
 */
export function taskJob<Payload>(payload: Payload, facts: Partial<Omit<TaskJob<Payload>, "payload">> = {}): TaskJob<Payload> {
  return { id: asJobId(1), runId: asRunId(1), attempt: 1, queue: "task", itemId: null, ...facts, payload };
}

/** The context of a plain task's handler, and what it reported. See {@link taskJob} for an example. */
export function taskContext(): { readonly context: TaskContext; readonly reports: ContextReports } {
  const recorder = new Recorder();
  const context: TaskContext = {
    signal: recorder.controller.signal,
    heartbeat: () => recorder.beat(),
    progress: (value) => recorder.show(value),
    log: (line) => recorder.logged.push(line),
  };
  return { context, reports: recorder };
}

/**
 * The job of a stage, as a worker gives it to the stage's handler. Item 1 of pipeline `pipeline`, stage `stage`, attempt 1, unless told.
 *
 * @example
 * const { context, reports } = stageContext();
 * const running = recognise(stageJob({ previous: { pages: 3 } }, { workDir: folder }), context);
 * reports.abort();
 * await expect(running).rejects.toThrow();
 */
export function stageJob(input: Json, facts: Partial<Omit<HandlerJob, "input">> = {}): HandlerJob {
  return {
    jobId: asJobId(1),
    runId: asRunId(1),
    itemId: asItemId(1),
    itemKey: "item",
    pipeline: "pipeline",
    stage: "stage",
    attempt: 1,
    workDir: null,
    heartbeatFile: null,
    ...facts,
    input,
  };
}

/** The context of a stage's handler, and what it reported: log lines as `level message`. See {@link stageJob} for an example. */
export function stageContext(): { readonly context: HandlerContext; readonly reports: ContextReports } {
  const recorder = new Recorder();
  const line =
    (level: string) =>
    (message: string): void =>
      void recorder.logged.push(`${level} ${message}`);
  const context: HandlerContext = {
    signal: recorder.controller.signal,
    heartbeat: () => recorder.beat(),
    progress: (value) => recorder.show(value),
    log: { info: line("info"), warn: line("warn"), error: line("error") },
  };
  return { context, reports: recorder };
}

class Recorder implements ContextReports {
  readonly controller = new AbortController();
  readonly progress: unknown[] = [];
  readonly logged: string[] = [];
  beats = 0;

  beat(): void {
    this.beats += 1;
  }

  /** Progress counts as a heartbeat. */
  show(value: unknown): void {
    this.progress.push(value);
    this.beats += 1;
  }

  abort(reason?: Error): void {
    this.controller.abort(reason);
  }
}
