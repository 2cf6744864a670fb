import { expect, test } from "vitest";
import type { ItemId, JobId } from "../../src/domain/ids.ts";
import { addMs, seconds } from "../../src/domain/time.ts";
import { describeStores } from "../support/stores.ts";

const job = 7 as JobId;

describeStores((open) => {
  test("actions are listed newest first, or onwards from one that was seen", async () => {
    const { store, clock } = await open();
    for (const reason of ["one", "two", "three"]) {
      await store.actions.append([{ action: "job.noted", actor: "test", reason, jobId: job, evidence: '{"n":1}', correlationId: "c1" }]);
      clock.advance(seconds(1));
    }
    await store.actions.append([{ action: "job.noted", actor: "test", reason: "other", itemId: 9 as ItemId }]);
    await store.actions.append([]);
    const reasons = (rows: readonly { readonly reason: string | null }[]) => rows.map((row) => row.reason);
    const newest = await store.actions.list({ jobId: job, limit: 2 });
    expect(reasons(newest)).toEqual(["three", "two"]);
    expect(newest[0]).toEqual({
      id: expect.any(Number),
      at: addMs(store.now(), -seconds(1)),
      action: "job.noted",
      actor: "test",
      reason: "three",
      message: null,
      evidence: '{"n":1}',
      jobId: job,
      runId: null,
      itemId: null,
      workerId: null,
      lease: null,
      correlationId: "c1",
    });
    expect(reasons(await store.actions.list({ jobId: job, before: newest[1]?.id ?? 0, limit: 9 }))).toEqual(["one"]);
    expect(reasons(await store.actions.list({ after: newest[1]?.id ?? 0, limit: 9 }))).toEqual(["three", "other"]);
  });
});
