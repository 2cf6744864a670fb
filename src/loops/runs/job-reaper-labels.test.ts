import { expect, test } from "vitest";
import { chain } from "../../../test/support/loop-world.ts";
import { RepairWorld } from "../../../test/support/repair-world.ts";

test("the next stage's job, a retried item's and the reaper's warning and alert name them too [B-39, B-61, B-63]", async () => {
  const labels = { agent: "developer", repo: "web" };
  const world = await RepairWorld.open([chain("d", ["architecture", "development"], { stage: { labels, attempts: 1 } })]);
  const plain = await world.addItem("d", "plain");
  const first = await world.start({ queue: "d/architecture" });
  const advance = world.world.registry.advanceFrom("d", "architecture");
  if (advance === undefined) throw new Error("nothing follows");
  await world.store.runs.settle([{ ...first, outcome: "succeeded", reason: "exit0_no_gate", advance, actor: "test" }]);
  const run = await world.start({ queue: "d/development" });
  world.die(run);
  await world.tick();
  await world.tick();
  const { jobId, runId, pid } = run;
  expect(world.world.eventsOf("run.reaped")).toMatchObject([
    { jobId, runId, pid, agent: "developer", repo: "web", outcome: "failed", reason: `dead pid ${pid} (2 looks)` },
  ]);
  expect((await world.alerts()).map((text) => JSON.parse(text) as object)).toMatchObject([{ jobId, agent: "developer", repo: "web" }]);
  expect(world.details()).toMatchObject({ reaped_total: 1, last_reaped: { job_id: jobId, agent: "developer", outcome: "failed" } });
  const entry = world.world.registry.entry("d", "development");
  if (entry === undefined) throw new Error("no stage development");
  const again = await world.store.items.retry(plain.id, { entry, actor: "test" });
  expect(await world.job(again ?? jobId)).toMatchObject({ agent: "developer", repo: "web", state: "queued" });
});
