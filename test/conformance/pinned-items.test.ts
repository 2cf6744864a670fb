import { expect, test } from "vitest";
import { asHostId, type HostId, type JobId } from "../../src/domain/ids.ts";
import { minutes } from "../../src/domain/time.ts";
import { hostLost } from "../../src/store/jobs/job-hold.ts";
import type { ClaimedRun } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import { present } from "../support/present.ts";
import {
  addItem,
  claim,
  declareQueues,
  farFuture,
  later,
  onlyJobOf,
  processOn,
  registerWorker,
  retried,
  stageEntry,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

const [hostA, hostB] = [asHostId("host-a"), asHostId("host-b")];

/** A store with a worker on each of two hosts, and what each of them claims. */
async function twoHosts(open: OpenTestStore) {
  const { store, clock } = await open();
  await declareQueues(store);
  const workers = new Map<HostId, Awaited<ReturnType<typeof registerWorker>>>();
  for (const host of [hostA, hostB]) workers.set(host, await registerWorker(store, host, processOn(host)));
  const claimOn = async (host: HostId, max = 10): Promise<readonly ClaimedRun[]> =>
    await claim(store, { workerId: present(workers.get(host)), max });
  /** That the job is claimed by nobody but this host. */
  const onlyOn = async (host: HostId, jobId: JobId): Promise<ClaimedRun> => {
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    expect((await claimOn(host === hostA ? hostB : hostA)).map((run) => run.jobId)).not.toContain(jobId);
    const claimed = await claimOn(host);
    expect(claimed.map((run) => run.jobId)).toEqual([jobId]);
    return present(claimed[0]);
  };
  return { store, clock, claimOn, onlyOn };
}

async function finish(store: Store, run: ClaimedRun, advance: Parameters<typeof success>[1]): Promise<void> {
  await startRun(store, run);
  expect(await store.runs.settle([success(run, { actor: "worker", ...advance })])).toMatchObject([{ kind: "ok" }]);
}

describeStores((open) => {
  test("an item's jobs are claimed by its host alone, in every stage and on every way back into the queue [F-7.1]", async () => {
    const { store, clock, onlyOn } = await twoHosts(open);
    const item = await addItem(store, "book", {}, hostA);
    expect(item).toMatchObject({ hostId: hostA });
    const first = await onlyOn(hostA, await onlyJobOf(store, item.id));
    await finish(store, first, { advance: stageEntry("ocr") });
    const second = await onlyOn(hostA, await onlyJobOf(store, item.id));
    await startRun(store, second);
    // Back at once, then delayed, then blocked until it is proved stopped.
    await store.runs.settle([retried(second)]);
    const third = await onlyOn(hostA, second.jobId);
    await startRun(store, third);
    await store.runs.settle([retried(third, { retry: later(minutes(1)) })]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    clock.advance(minutes(3));
    await store.jobs.promoteDue(10);
    const fourth = await onlyOn(hostA, second.jobId);
    await store.runs.settle([retried(fourth, { outcome: "released", reason: "drain", stopBy: farFuture })]);
    await store.runs.clearBlocks([{ jobId: fourth.jobId, runId: fourth.runId, proof: "exited", actor: "stopper" }]);
    await store.items.setPaused(item.id, { paused: true, actor: "ana" });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    await store.items.setPaused(item.id, { paused: false, actor: "ana" });
    await store.jobs.hold(fourth.jobId, { actor: "ana", reason: "wait", message: "wait" });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    await store.jobs.unhold(fourth.jobId, { actor: "ana", force: false });
    const fifth = await onlyOn(hostA, second.jobId);
    await finish(store, fifth, { advance: { kind: "finish" } });
    await store.items.rerun(item.id, { entry: stageEntry("prep"), uncounted: ["ocr"], actor: "ana" });
    await onlyOn(hostA, await onlyJobOf(store, item.id));
  });

  test("an item of no host is claimed by any, and plain tasks are [F-7.1]", async () => {
    const { store, claimOn } = await twoHosts(open);
    await addItem(store, "anybodys");
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    expect((await claimOn(hostB, 2)).length).toBe(2);
    expect((await claimOn(hostA, 2)).length).toBe(1);
  });

  test("what is pinned and what is not share a queue's order and its slot [F-7.1]", async () => {
    const { store, claimOn } = await twoHosts(open);
    for (const [key, host, priority] of [
      ["late", hostA, 5],
      ["anybodys", undefined, 0],
      ["first", hostA, -5],
      ["elsewhere", hostB, -9],
    ] as const)
      await addItem(store, key, { priority }, host);
    const keyOf = async (run: ClaimedRun): Promise<string> => present(await store.items.get(present(run.itemId))).key;
    // The slot of the stage has two places.
    const runs = await claimOn(hostA);
    expect(await Promise.all(runs.map(keyOf))).toEqual(["first", "anybodys"]);
    expect(await claimOn(hostB)).toEqual([]);
    await finish(store, present(runs[0]), { advance: { kind: "finish" } });
    expect(await Promise.all((await claimOn(hostB)).map(keyOf))).toEqual(["elsewhere"]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });

  test("what waits for a host is listed and counted like all that waits [F-7.1]", async () => {
    const { store } = await twoHosts(open);
    const item = await addItem(store, "book", {}, hostA);
    const jobId = await onlyJobOf(store, item.id);
    expect((await store.upkeep.listJobs({ states: ["queued"], limit: 10 })).map(({ id }) => id)).toEqual([jobId]);
    expect((await store.upkeep.counts()).find(({ queue }) => queue === "p/prep")?.states).toEqual({ queued: 1 });
    expect(await store.items.hostsOfUnfinished()).toEqual([hostA]);
    expect(await store.jobs.listWaitingOn({ hostId: hostA, limit: 10 })).toEqual([
      { jobId, itemId: item.id, pipeline: "p", stage: "prep" },
    ]);
    expect(await store.jobs.listWaitingOn({ hostId: hostB, limit: 10 })).toEqual([]);
  });

  test("an item that is moved is claimed by the other host, with its state file, unless it runs or is waited for [F-7.1]", async () => {
    const { store, onlyOn } = await twoHosts(open);
    const item = await addItem(store, "book", {}, hostA);
    const jobId = await onlyJobOf(store, item.id);
    const move = async (unless?: "waiting") => await store.items.move(item.id, { to: hostB, unless, actor: "ana" });
    expect(await move("waiting"), "its host will run it").toBe("waiting");
    const run = await onlyOn(hostA, jobId);
    expect(await move()).toBe("running");
    await startRun(store, run);
    await store.runs.settle([retried(run, { stopBy: farFuture })]);
    expect(await move(), "it is being stopped").toBe("running");
    await store.runs.clearBlocks([{ jobId, runId: run.runId, proof: "exited", actor: "stopper" }]);
    await store.jobs.hold(jobId, { actor: "ana", reason: "wait", message: "wait" });
    expect(await move("waiting")).toBe("moved");
    expect(await store.items.get(item.id)).toMatchObject({ hostId: hostB });
    expect(await store.jobs.get(jobId), "a person's hold stays").toMatchObject({ state: "held" });
    expect((await store.outbox.dueFor({ hostId: hostB, limit: 10 })).map(({ key }) => key)).toContain(String(item.id));
    await store.jobs.unhold(jobId, { actor: "ana", force: false });
    await onlyOn(hostB, jobId);
    expect(await store.actions.list({ itemId: item.id, limit: 50 })).toContainEqual(
      expect.objectContaining({ action: "item.moved", actor: "ana", message: `from ${hostA} to ${hostB}` }),
    );
    expect(await store.items.move(999 as never, { to: hostB, actor: "ana" })).toBeUndefined();
  });

  test("a job that was held for its lost host is queued again, its budget as it was, when that host is back or the item is moved [F-7.1]", async () => {
    const { store, onlyOn } = await twoHosts(open);
    const [stays, goes] = [await addItem(store, "stays", {}, hostA), await addItem(store, "goes", {}, hostA)];
    const [first, second] = [await onlyJobOf(store, stays.id), await onlyJobOf(store, goes.id)];
    for (const id of [first, second]) {
      const hold = { actor: "reconciler", reason: hostLost, message: "its host is lost" };
      expect(await store.jobs.hold(id, hold)).toEqual({ kind: "held" });
    }
    expect(
      (await store.outbox.due(10)).map(({ kind }) => kind),
      "no alert for each",
    ).not.toContain("alert");
    expect(await store.items.move(goes.id, { to: hostB, unless: "waiting", actor: "ana" })).toBe("moved");
    await onlyOn(hostB, second);
    expect(await store.jobs.releaseForHost({ hostId: hostB, limit: 10, actor: "reconciler" })).toEqual([]);
    expect(await store.jobs.releaseForHost({ hostId: hostA, limit: 10, actor: "reconciler" })).toEqual([first]);
    expect(await store.jobs.get(first)).toMatchObject({ state: "queued", maxAttempts: 3, error: null });
    await onlyOn(hostA, first);
    expect(await store.jobs.releaseForHost({ hostId: hostA, limit: 10, actor: "reconciler" })).toEqual([]);
  });

  test("a data directory under another host id takes its items along, and where one daemon owns the store, all of them [F-7.1]", async () => {
    const { store, onlyOn } = await twoHosts(open);
    const former = asHostId("former");
    const [own, elsewhere] = [await addItem(store, "own", {}, former), await addItem(store, "elsewhere", {}, hostB)];
    const finished = await addItem(store, "finished", {}, former);
    await store.items.cancel(finished.id, { actor: "ana", reason: "no", stopBy: farFuture });
    expect(await store.items.takeAll({ to: hostA, from: [] })).toBe(0);
    expect(await store.items.takeAll({ to: hostA, from: [former] })).toBe(1);
    expect(await store.items.get(finished.id)).toMatchObject({ hostId: hostA });
    expect(await store.items.get(elsewhere.id)).toMatchObject({ hostId: hostB });
    await onlyOn(hostA, await onlyJobOf(store, own.id));
    const anybodys = await addItem(store, "anybodys");
    expect(await store.items.takeAll({ to: hostA, from: "everybody" })).toBe(2);
    expect(await store.items.takeAll({ to: hostA, from: "everybody" })).toBe(0);
    expect(await store.items.get(anybodys.id)).toMatchObject({ hostId: hostA });
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });
});
