import { expect, test } from "vitest";
import { chain } from "../../test/support/loop-world.ts";
import { RepairWorld } from "../../test/support/repair-world.ts";
import { runningJobs } from "./running-jobs.ts";

const labels = { agent: "developer", repo: "web" };

/** A pipeline whose stages bear labels, with one item that names a repository of its own and one that does not. */
async function labelled() {
  const world = await RepairWorld.open([chain("d", ["architecture", "development"], { stage: { labels, attempts: 2 } })]);
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
