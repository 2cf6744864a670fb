import { expect, onTestFinished, test } from "vitest";
import { FakeClock, openMemoryStore, stageContext, stageJob, taskContext, taskJob } from "./testing.ts";

test("a delayed job of a store in memory is due when the test says so", async () => {
  const { store, clock } = await openMemoryStore({ clock: new FakeClock() });
  onTestFinished(async () => await store.close());
  await store.jobs.ensureQueues([{ name: "mail", kind: "handler" }]);
  const [id] = await store.jobs.enqueue({ queue: "mail", delayMs: 60_000, jobs: [{ payload: "{}" }] });
  if (id === undefined) throw new Error("no id");
  expect(await store.jobs.promoteDue(10)).toMatchObject({ moved: 0 });
  clock.advance(60_000);
  expect(await store.jobs.promoteDue(10)).toMatchObject({ moved: 1 });
  expect(await store.jobs.get(id)).toMatchObject({ state: "queued" });
});

test("a context keeps what a handler reports, and asks it to stop", () => {
  const task = taskContext();
  task.context.heartbeat();
  task.context.progress({ page: 2 });
  task.context.log("half way");
  task.reports.abort(new Error("enough"));
  expect(task.reports).toMatchObject({ beats: 2, progress: [{ page: 2 }], logged: ["half way"] });
  expect(task.context.signal.reason).toMatchObject({ message: "enough" });
  const stage = stageContext();
  stage.context.progress(0.5);
  stage.context.log.warn("slow");
  expect(stage.reports).toMatchObject({ beats: 1, progress: [0.5], logged: ["warn slow"] });
});

test("a made job is what a worker would give, with the facts that the test names", () => {
  expect(taskJob({ to: "me" }, { attempt: 2 })).toMatchObject({ payload: { to: "me" }, attempt: 2, itemId: null });
  expect(stageJob({ previous: 1 }, { itemKey: "book" })).toMatchObject({ input: { previous: 1 }, itemKey: "book", attempt: 1 });
});
