import { expect, onTestFinished, test } from "vitest";
import { openStore } from "../../src/store/open-store.ts";
import { createDatabase } from "../support/postgres.ts";
import { present } from "../support/present.ts";
import { addItem, claim, declareQueues, retried, stageEntry, startRun, success } from "../support/store-rows.ts";
import { StoreTestClock } from "../support/stores.ts";

const snowman = "\u2603";

async function storeInLatin1() {
  const database = await createDatabase({ encoding: "LATIN1" });
  const store = await openStore({ url: database.url, clock: new StoreTestClock() });
  onTestFinished(async () => {
    await store.close();
    await database.drop();
  });
  await declareQueues(store);
  return store;
}

test("an end whose text the database cannot hold is settled with another text, which says so, and holds up no other [F-8.1]", async () => {
  const store = await storeInLatin1();
  await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}, {}] });
  const [plain, failed, output, other] = await claim(store, { queues: ["t"] });
  const returned = (run: typeof plain, text: string | undefined) => {
    const { runId, ownerEpoch, jobId } = present(run);
    return { runId, ownerEpoch, jobId, outcome: "succeeded", reason: "returned", output: text } as const;
  };
  const answers = await store.runs.settle([
    returned(plain, undefined),
    retried(present(failed), { message: `bad ${snowman}`, evidence: JSON.stringify(snowman), disposition: "fail" }),
    returned(output, JSON.stringify({ shape: snowman })),
    retried(present(other), { disposition: "fail" }),
  ]);
  expect(answers).toMatchObject([
    { kind: "ok", jobState: "done" },
    { kind: "ok", jobState: "failed", replaced: expect.stringContaining("LATIN1") as string },
    { kind: "ok", jobState: "done", replaced: expect.stringContaining("LATIN1") as string },
    { kind: "ok", jobState: "failed" },
  ]);
  expect((await store.runs.get(present(failed).runId))?.message).toMatch(/^bad \\u2603 \(The store refused the text of this end: .*UTF8/);
  const kept = (await store.jobs.get(present(output).jobId))?.output;
  expect(kept, "escapes of JSON keep the value").toBe('{"shape":"\\u2603"}');
  expect((await store.jobs.get(present(other).jobId))?.error).not.toContain("refused");
  expect(await store.upkeep.checkInvariants()).toEqual([]);
});

test("an item moves on with an output that the database cannot hold", async () => {
  const store = await storeInLatin1();
  const item = await addItem(store);
  const [run] = await claim(store, { queues: ["p/prep"] });
  await startRun(store, present(run));
  const settled = await store.runs.settle([success(present(run), { output: JSON.stringify(snowman), advance: stageEntry("ocr") })]);
  expect(settled).toMatchObject([{ kind: "ok", item: { kind: "advanced", to: "ocr" } }]);
  expect((await store.items.visits(item.id))[0]?.output).toBe('"\\u2603"');
});

test("whoever gives such a text to any other verb is told at once", async () => {
  const store = await storeInLatin1();
  await expect(store.jobs.enqueue({ queue: "t", jobs: [{ payload: JSON.stringify(snowman) }] })).rejects.toMatchObject({
    code: "bad_request",
  });
});
