import { expect, test } from "vitest";
import type { Advance, ClaimedRun } from "../../src/store/port/runs.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  failure,
  farFuture,
  retried,
  stageEntry,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

describeStores((open) => {
  test("the answer says how the item went on: to its next stage, past its last, to a failed or cancelled end, or not at all", async () => {
    const { store } = await open();
    await declareQueues(store);
    const to = (advance: Advance) => (run: ClaimedRun) => success(run, { advance });
    for (const [key, settlementOf, step] of [
      ["moves", to(stageEntry("ocr")), { kind: "advanced", from: "prep", to: "ocr" }],
      ["finishes", to({ kind: "finish" }), { kind: "finished", from: "prep" }],
      ["fails", (run: ClaimedRun) => failure(run), { kind: "failed" }],
      ["spends", (run: ClaimedRun) => retried(run), { kind: "failed" }],
      ["ends", (run: ClaimedRun) => failure(run, { outcome: "cancelled" }), { kind: "cancelled" }],
    ] as const) {
      const item = await addItem(store, key, { maxAttempts: 1 });
      const run = await claimOne(store);
      await startRun(store, run);
      const settlement = settlementOf(run);
      expect(await store.runs.settle([settlement])).toMatchObject([{ kind: "ok", item: { ...step, itemId: item.id } }]);
      expect(await store.runs.settle([settlement])).toEqual([{ kind: "already" }]);
      for (const next of await claim(store))
        await store.jobs.cancel(next.jobId, { actor: "test", reason: "in the way", stopBy: farFuture });
    }
    await addItem(store, "waits", { maxAttempts: 2 });
    const again = await claimOne(store);
    await startRun(store, again);
    expect(await store.runs.settle([retried(again)])).toEqual([{ kind: "ok", outcome: "failed", jobState: "queued" }]);
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });
});
