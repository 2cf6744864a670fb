import { expect, test } from "vitest";
import { addItem, claimOne, declareQueues, retried, startRun } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withQueues(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return opened;
}

describeStores((open, engine) => {
  const paused = (flag: boolean): string => (engine === "sqlite" ? String(Number(flag)) : String(flag));

  test("what a broken store breaks is told by rule and subject", async () => {
    const { store, query } = await withQueues(open);
    const item = await addItem(store);
    const run = await claimOne(store);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    await query(`update visits set state = 'passed', closed_at = 1 where id = ${item.visitId} returning id`);
    await query(`update jobs set run_count = 9 where id = ${run.jobId} returning id`);
    await query(`update visits set max_attempts = 9 where id = ${item.visitId} returning id`);
    const [plain] = await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    await query(`update jobs set attempts = 1 where id = ${plain} returning id`);
    const rules = (await store.upkeep.checkInvariants()).map((breach) => breach.rule);
    expect(rules).toEqual([
      "a live run is numbered after the ended runs of its job",
      "a job has as many ended runs as it counts",
      "an unfinished item is in an open visit of its stage, a finished one in none",
      "an unfinished job of a visit belongs to an open visit",
      "an unfinished job and its visit have spent the same, and may spend the same",
      "an unfinished plain job counts the attempts that its ended runs have spent",
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
    const ofQueued = "a live run is one of a job that is stored as queued and waits for no proof";
    expect(await broken(`update live set job_id = 999 where id = ${live.runId}`)).toEqual([
      `run ${live.runId}: ${ofQueued}`,
      `job ${live.jobId}: what may be claimed stands in ready`,
    ]);
    await query(`update live set job_id = ${live.jobId} where id = ${live.runId} returning 1 as one`);
    expect(await broken(`update jobs set state = 'held', note = 'held' where id = ${live.jobId}`)).toEqual([
      `run ${live.runId}: ${ofQueued}`,
    ]);
    await query(`update jobs set state = 'queued', note = null where id = ${live.jobId} returning 1 as one`);
    expect(await broken(`update live set item_id = null where id = ${live.runId}`)).toEqual([
      `run ${live.runId}: a live run belongs to the item of its job`,
    ]);
    await query(`update live set item_id = ${item.id} where id = ${live.runId} returning 1 as one`);
    expect(await broken(`update live set id = ${ended.runId} where id = ${live.runId}`)).toEqual([
      `run ${ended.runId}: a run is either live or ended`,
    ]);
    await query(`update live set id = ${live.runId} where id = ${ended.runId} returning 1 as one`);
    expect(await broken(`update runs set slot_key = 'p.prep' where id = ${ended.runId}`)).toEqual([
      "slot p.prep: a slot counts the runs that hold it",
      `run ${ended.runId}: only a live run, or one that is still being stopped, holds a slot`,
    ]);
    await query(`update runs set slot_key = null where id = ${ended.runId} returning id`);
    expect(await broken("update slots set used = 2 where key = 'p.prep'")).toEqual(["slot p.prep: a slot counts the runs that hold it"]);
    await query("update slots set used = 1 where key = 'p.prep' returning 1 as one");
    expect(await broken(`update items set visit_count = 9 where id = ${item.id}`)).toEqual([`item ${item.id}: an item counts its visits`]);
  });

  test("what is claimable and does not stand in ready, or stands there and is not, is told by rule and subject", async () => {
    const { store, query } = await withQueues(open);
    const [id] = await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    const broken = async (...updates: readonly string[]) => {
      for (const update of updates) await query(`${update} returning 1 as one`);
      return (await store.upkeep.checkInvariants()).map(({ rule, subject }) => `${subject}: ${rule}`);
    };
    const isClaimable = `job ${id}: what stands in ready may be claimed`;
    const isNotReady = `job ${id}: what may be claimed stands in ready`;
    const follows = `job ${id}: the columns that follow a job's state are true to it`;
    expect(await broken(`update jobs set paused = ${paused(true)} where id = ${id}`)).toEqual([isClaimable]);
    expect(await broken(`update jobs set paused = ${paused(false)}, priority = 7 where id = ${id}`)).toEqual([isClaimable, isNotReady]);
    expect(await broken("update ready set priority = 7")).toEqual([]);
    expect(await broken(`update jobs set state = 'held' where id = ${id}`)).toEqual([isClaimable, follows]);
    expect(await broken(`update jobs set note = 'held' where id = ${id}`, "delete from ready")).toEqual([]);
    expect(await broken(`update jobs set state = 'queued', note = null where id = ${id}`)).toEqual([isNotReady]);
    expect(await broken(`update jobs set state = 'scheduled', scheduled_at = run_at + 1 where id = ${id}`)).toEqual([follows]);
    expect(await broken(`update jobs set scheduled_at = run_at where id = ${id}`)).toEqual([]);
    const item = await addItem(store);
    expect(await broken(`update jobs set open_visit_id = null where item_id = ${item.id}`)).toHaveLength(1);
  });
});
