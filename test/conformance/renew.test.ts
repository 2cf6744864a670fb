import { expect, test } from "vitest";
import type { RunId, WorkerId } from "../../src/domain/ids.ts";
import { present } from "../support/present.ts";
import { claim, claimOne, declareQueues, farFuture, registerWorker, retried, success } from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

async function withWorker(open: OpenTestStore) {
  const opened = await open();
  await declareQueues(opened.store);
  return { ...opened, workerId: await registerWorker(opened.store) };
}

describeStores((open) => {
  test("a renewal is heard, and remembers the highest claim that was received", async () => {
    const { store, clock, workerId } = await withWorker(open);
    clock.advance(700);
    expect(await store.workers.renew({ workerId, held: [], claimSeqReceived: 4, loopLagMs: 2.5 })).toEqual({ state: "live", lost: [] });
    clock.advance(10);
    await store.workers.renew({ workerId, held: [], claimSeqReceived: 3 });
    expect(await store.workers.get(workerId)).toMatchObject({ lastHeardAt: store.now(), claimSeqReceived: 4, loopLagMs: 2.5 });
  });

  test("of the held runs it answers those that are not the session's any more, each with why", async () => {
    const { store, workerId } = await withWorker(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}, {}] });
    const [held, ended, taken, reaped] = await claim(store, { workerId });
    const other = await registerWorker(store, "other");
    const missing = 4_000_000 as RunId;
    await store.runs.settle([success(present(ended))]);
    await store.runs.settle([retried(present(reaped), { outcome: "hung", reason: "heartbeat", actor: "job-reaper" })]);
    await store.runs.takeOver({
      runId: present(taken).runId,
      ownerEpoch: present(taken).ownerEpoch,
      workerId: other,
      actor: "adoption",
      reason: "dead_pid",
      checkAt: farFuture,
    });
    const { lost } = await store.workers.renew({
      workerId,
      held: [present(held), present(ended), present(taken), present(reaped)].map((run) => run.runId).concat(missing),
      claimSeqReceived: 1,
    });
    const why = new Map(lost.map((row) => [row.runId, row.why]));
    expect(why.size).toBe(4);
    expect(why.get(present(ended).runId)).toBe("the run has ended as succeeded (exit_0)");
    expect(why.get(present(reaped).runId)).toBe("the run has ended as hung (heartbeat)");
    expect(why.get(present(taken).runId)).toBe(`worker ${other} supervises the run now (owner epoch 2)`);
    expect(why.get(missing)).toBe("there is no such run");
  });

  test("a dead session stays dead and unheard, and is told so", async () => {
    const { store, clock, workerId } = await withWorker(open);
    const heardAt = store.now();
    await store.workers.declareDead(workerId, { reason: "dead_pid", message: "gone", evidence: "{}", actor: "worker-reaper" });
    clock.advance(1000);
    expect(await store.workers.renew({ workerId, held: [], claimSeqReceived: 1 })).toMatchObject({ state: "dead" });
    expect(await store.workers.get(workerId)).toMatchObject({ state: "dead", lastHeardAt: heardAt });
  });

  test("a draining session is still heard", async () => {
    const { store, clock, workerId } = await withWorker(open);
    await store.workers.drain(workerId);
    clock.advance(1000);
    expect(await store.workers.renew({ workerId, held: [], claimSeqReceived: 1 })).toMatchObject({ state: "draining" });
    expect(await store.workers.get(workerId)).toMatchObject({ lastHeardAt: store.now() });
  });

  test("an unknown session is refused, and fails no other renewal of its turn", async () => {
    const { store, workerId } = await withWorker(open);
    const [bad, good] = await Promise.allSettled([
      store.workers.renew({ workerId: 999 as WorkerId, held: [], claimSeqReceived: 0 }),
      store.workers.renew({ workerId, held: [], claimSeqReceived: 0 }),
    ]);
    expect(bad).toMatchObject({ status: "rejected", reason: { code: "not_found" } });
    expect(good).toMatchObject({ status: "fulfilled", value: { state: "live" } });
  });

  test("a beat moves a run's progress forward only, without touching when it is judged, and an ended run is answered", async () => {
    const { store, clock, workerId } = await withWorker(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}] });
    const run = await claimOne(store, { workerId });
    const ended = await claimOne(store, { workerId });
    await store.runs.settle([success(ended)]);
    const before = await store.runs.get(run.runId);
    const at = clock.advance(500);
    expect(
      await store.runs.beat([
        { runId: run.runId, at, progress: '{"page":2}' },
        { runId: ended.runId, at },
      ]),
    ).toEqual([ended.runId]);
    expect(await store.runs.beat([{ runId: run.runId, at: present(before).reservedAt }])).toEqual([]);
    expect(await store.runs.get(run.runId)).toMatchObject({ progressAt: at, progress: '{"page":2}', checkAt: present(before).checkAt });
    expect((await store.runs.get(ended.runId))?.progressAt).toBeNull();
  });
});
