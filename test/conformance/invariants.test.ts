import { expect, test } from "vitest";
import { addItem, claimOne, declareQueues, retried, startRun } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

describeStores((open) => {
  test("what a broken store breaks is told by rule and subject", async () => {
    const { store, query } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    await query(`update runs set check_at = null where id = ${run.runId} returning id`);
    await query(`update visits set state = 'passed', closed_at = 1 where id = ${item.visitId} returning id`);
    await query(`update jobs set run_count = 9 where id = ${run.jobId} returning id`);
    await query(`update visits set max_attempts = 9 where id = ${item.visitId} returning id`);
    const [plain] = await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    await query(`update jobs set attempts = 1 where id = ${plain} returning id`);
    const rules = (await store.upkeep.checkInvariants()).map((breach) => breach.rule);
    expect(rules).toEqual([
      "a live run has an instant at which it is judged",
      "a job has as many runs as it counts",
      "an unfinished item is in an open visit of its stage, a finished one in none",
      "an unfinished job of a visit belongs to an open visit",
      "an unfinished job and its visit have spent the same, and may spend the same",
      "an unfinished plain job counts the attempts that its runs have spent",
    ]);
    expect(await store.upkeep.integrityCheck(), "the engine's own files are sound").toEqual([]);
  });

  test("runs, slots and visits that contradict each other are told by rule and subject", async () => {
    const { store, query } = await withQueues(open);
    const item = await addItem(store);
    const ended = await claimOne(store);
    await startRun(store, ended);
    await store.runs.settle([retried(ended)]);
    const live = await claimOne(store);
    const broken = async (...updates: readonly string[]) => {
      for (const update of updates) await query(`${update} returning 1 as one`);
      return (await store.upkeep.checkInvariants()).map(({ rule, subject }) => `${subject}: ${rule}`);
    };
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    expect(await broken(`update jobs set current_epoch = 9 where id = ${live.jobId}`)).toEqual([
      `run ${live.runId}: a live run is the current run of a running job, under the same owner epoch`,
    ]);
    expect(await broken(`update jobs set current_epoch = 1, current_run_id = ${ended.runId} where id = ${live.jobId}`)).toEqual([
      `job ${live.jobId}: a running job's current run is a live run of that job`,
      `run ${live.runId}: a live run is the current run of a running job, under the same owner epoch`,
    ]);
    await query(`update jobs set current_run_id = ${live.runId} where id = ${live.jobId} returning id`);
    expect(await broken(`update runs set slot_key = 'p.prep' where id = ${ended.runId}`)).toEqual([
      "slot p.prep: a slot counts the runs that hold it",
      `run ${ended.runId}: only a live run, or one that is still being stopped, holds a slot`,
    ]);
    await query(`update runs set slot_key = null where id = ${ended.runId} returning id`);
    expect(await broken("update slots set used = 2 where key = 'p.prep'")).toEqual(["slot p.prep: a slot counts the runs that hold it"]);
    await query("update slots set used = 1 where key = 'p.prep' returning 1 as one");
    expect(await broken(`update items set visit_count = 9 where id = ${item.id}`)).toEqual([`item ${item.id}: an item counts its visits`]);
  });
});
