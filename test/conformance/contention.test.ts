import { expect, test } from "vitest";
import type { Instant } from "../../src/domain/time.ts";
import type { ItemRow } from "../../src/store/port/items.ts";
import type { Store } from "../../src/store/port/store.ts";
import {
  addItem,
  claim,
  declareQueues,
  failure,
  farFuture,
  registerWorker,
  retried,
  stageEntry,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

/** Repeatable numbers: a failure can be run again by its seed. */
function numbersOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const actor = "crowd";

/** What people, workers and loops may do to items at any moment. A refusal is allowed; a broken promise is not. */
const deeds: readonly ((store: Store, item: ItemRow) => Promise<unknown>)[] = [
  (store, item) => store.items.setPaused(item.id, { paused: true, actor }),
  (store, item) => store.items.setPaused(item.id, { paused: false, actor }),
  (store, item) => store.items.cancel(item.id, { actor, reason: "crowded", stopBy: farFuture }),
  (store, item) => store.items.rerun(item.id, { entry: stageEntry("prep"), uncounted: ["ocr"], actor }),
  (store, item) => store.items.retry(item.id, { entry: stageEntry("prep"), actor }),
  async (store, item) => {
    const now = await store.items.get(item.id);
    if (now === undefined) return;
    await store.items.redrive(item.id, {
      visitId: now.visitId,
      entry: stageEntry(now.stage),
      onExhausted: "hold",
      actor,
      reason: "crowded",
    });
    await store.items.advance(item.id, { visitId: now.visitId, advance: { kind: "finish" }, actor, reason: "crowded" });
    await store.items.end(item.id, { visitId: now.visitId, state: "failed", actor, reason: "crowded" });
  },
  async (store, item) => {
    for (const job of await store.items.jobs(item.id)) await store.jobs.unhold(job.id, { actor, force: job.id % 2 === 0 });
  },
  async (store, item) => {
    for (const job of await store.items.jobs(item.id)) await store.jobs.hold(job.id, { actor, reason: "crowded", message: "crowded" });
  },
  (store) => store.upkeep.recountSlots(),
  async (store) => {
    const blocked = await store.runs.listBlocked({ limit: 5 });
    await store.runs.clearBlocks(blocked.map((block) => ({ jobId: block.jobId, runId: block.run.id, proof: "exited", actor: "stopper" })));
  },
];

/** A worker that claims what there is and lets it succeed, fail, or never end. */
async function work(store: Store, random: (below: number) => number): Promise<void> {
  const workerId = await registerWorker(store);
  for (let turn = 0; turn < 8; turn += 1) {
    for (const run of await claim(store, { workerId, max: 2 })) {
      // Cancelled before its start: the run is lost, which the settle below sees too.
      await startRun(store, run).catch(() => undefined);
      const stopBy: Instant | undefined = random(3) === 0 ? farFuture : undefined;
      const block = stopBy === undefined ? {} : { stopBy };
      const advance = run.queue === "p/prep" ? stageEntry("ocr") : ({ kind: "finish" } as const);
      const endings = [
        success(run, { advance, actor: "worker", ...block }),
        retried(run, block),
        failure(run, block),
        failure(run, { disposition: "hold", ...block }),
        retried(run, { outcome: "lost", ...block }),
      ];
      const ending = endings[random(endings.length + 1)];
      if (ending !== undefined) await store.runs.settle([ending]);
    }
  }
}

describeStores((open) => {
  test.each([1, 2, 3])("a crowd of workers, people and loops keeps every promise of the store (seed %i)", async (seed) => {
    const { store, openAgain } = await open();
    const other = store.capabilities.manyWriters ? await openAgain() : store;
    const stores = [store, other];
    await declareQueues(store);
    const items: ItemRow[] = [];
    for (let n = 0; n < 5; n += 1) items.push(await addItem(store, `item-${n}`));
    const random = numbersOf(seed);
    const crowd = Array.from({ length: 60 }, async () => {
      const deed = deeds[random(deeds.length)];
      const item = items[random(items.length)];
      const by = stores[random(2)];
      if (deed !== undefined && item !== undefined && by !== undefined) await deed(by, item);
    });
    await Promise.all([work(store, random), work(other, random), ...crowd]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
    expect(await store.upkeep.recountSlots()).toEqual([]);
    expect(await store.upkeep.integrityCheck()).toEqual([]);
  });
});
