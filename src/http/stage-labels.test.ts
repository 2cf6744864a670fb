import { expect, test } from "vitest";
import { chain } from "../../test/support/loop-world.ts";
import { RepairWorld } from "../../test/support/repair-world.ts";
import { runningJobs } from "../operations/running-jobs.ts";

const labels = { agent: "developer", repo: "web" };

/** A pipeline whose stages bear labels, with one item that names a repository of its own and one that does not. */
async function labelled(attempts = 2) {
  const world = await RepairWorld.open([chain("d", ["architecture", "development"], { stage: { labels, attempts } })]);
  const plain = await world.addItem("d", "plain");
  const first = world.world.registry.entry("d", "architecture");
  if (first === undefined) throw new Error("no first stage");
  const { item: own } = await world.store.items.add({
    pipeline: "d",
    key: "own",
    dir: "own",
    input: "{}",
    repo: "shop",
    first,
    actor: "test",
  });
  return { world, plain, own };
}

test("the job of a stage bears the stage's agent and repository, and its item's repository where that has one [B-13]", async () => {
  const { world, plain, own } = await labelled();
  const [run] = [await world.start({ queue: "d/architecture" }), await world.start({ queue: "d/architecture" })];
  world.advance(2500);
  const listed = await runningJobs(world.store);
  expect(listed[0]).toEqual({
    id: run.jobId,
    agent: "developer",
    repo: "web",
    task_id: plain.id,
    attempts: 1,
    max_attempts: 2,
    pid: run.pid,
    run_id: run.runId,
    running_age_s: 2.5,
    exit_code: null,
    finished_age_s: null,
  });
  expect(listed[1]).toMatchObject({ agent: "developer", repo: "shop", task_id: own.id });
});

test("the next stage's job, a retried item's and the reaper's warning and alert name them too [B-39, B-61, B-63]", async () => {
  const { world, plain } = await labelled(1);
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
