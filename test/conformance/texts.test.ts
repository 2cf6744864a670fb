import fc from "fast-check";
import { expect, test } from "vitest";
import type { ItemId, JobId, WorkerId } from "../../src/domain/ids.ts";
import { storable, storableJson, storableWords } from "../../src/domain/storable-text.ts";
import type { ClaimedRun } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import { present } from "../support/present.ts";
import {
  addItem,
  claim,
  claimOne,
  declareQueues,
  farFuture,
  onlyJobOf,
  processOn,
  registerWorker,
  retried,
  stageEntry,
  startRun,
  success,
} from "../support/store-rows.ts";
import { describeStores, type OpenTestStore } from "../support/stores.ts";

/** Texts with what the engines take differently or not at all, at any place, also at the end. */
const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: "binary", maxLength: 8 }),
      fc.constantFrom(
        "\0",
        "\ud800",
        "\udc00",
        "\ud83d",
        "\u{1f600}",
        "\\u0000",
        "\\ud800",
        '"',
        "'",
        "\\",
        "{",
        "}",
        ",",
        "\u2028",
        "\ufeff",
        "\uffff",
      ),
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map((parts) => parts.join(""));

async function opened(open: OpenTestStore): Promise<Store> {
  const { store } = await open();
  await declareQueues(store);
  return store;
}

const taskRun = async (store: Store, workerId?: WorkerId): Promise<ClaimedRun> => {
  await store.jobs.enqueue({ queue: "t", jobs: [{}] });
  return await claimOne(store, { queues: ["t"], ...(workerId === undefined ? {} : { workerId }) });
};

let keys = 0;
const newKey = (): string => `item-${(keys += 1)}`;

/** A claimed and started run of a new item's first stage. */
async function itemRun(store: Store): Promise<{ readonly itemId: ItemId; readonly run: ClaimedRun; readonly jobId: JobId }> {
  // In the stage without a limit: what is cancelled here stays blocked.
  const key = newKey();
  const first = stageEntry("ocr");
  const { item } = await store.items.add({ pipeline: "p", key, dir: key, input: "{}", first, actor: "test" });
  const run = await claimOne(store, { queues: ["p/ocr"] });
  await startRun(store, run);
  return { itemId: item.id, run, jobId: run.jobId };
}

/** Each writes `text` wherever its verb keeps texts for people or JSON, and answers what is read back beside what is expected. */
const cleaned: Readonly<
  Record<string, (store: Store, text: string) => Promise<readonly (readonly [found: unknown, expected: unknown])[]>>
> = {
  "jobs.enqueue": async (store, text) => {
    const payload = JSON.stringify({ text });
    const raw = `${JSON.stringify(storable(text)).slice(0, -1)}\ud800"`;
    const ids = await store.jobs.enqueue({ queue: "t", jobs: [{ payload }, { payload: raw, enqueueId: newKey() }] });
    const [first, second] = [await store.jobs.get(present(ids[0])), await store.jobs.get(present(ids[1]))];
    return [
      [first?.payload, payload],
      [second?.payload, storableJson(raw)],
      [JSON.parse(present(first).payload ?? ""), { text }],
    ];
  },
  "runs.settle of a plain success": async (store, text) => {
    const run = await taskRun(store);
    const { runId, ownerEpoch, jobId } = run;
    const output = JSON.stringify(text);
    await store.runs.settle([{ runId, ownerEpoch, jobId, outcome: "succeeded", reason: text, output }]);
    return [
      [(await store.jobs.get(jobId))?.output, output],
      [(await store.runs.get(runId))?.reason, storableWords(text)],
    ];
  },
  "runs.settle of a failure": async (store, text) => {
    const run = await taskRun(store);
    const evidence = JSON.stringify({ text });
    await store.runs.settle([retried(run, { message: text, evidence, reason: text, actor: text, disposition: "fail" })]);
    const ended = await store.runs.get(run.runId);
    const [action] = await store.actions.list({ runId: run.runId, limit: 5 });
    return [
      [ended?.message, storableWords(text)],
      [ended?.evidence, evidence],
      [action?.actor, storableWords(text)],
      [(await store.jobs.get(run.jobId))?.error?.startsWith(storableWords(text)), true],
    ];
  },
  "runs.settle of an item's run": async (store, text) => {
    const { itemId, run } = await itemRun(store);
    await store.runs.settle([success(run, { output: JSON.stringify(text), evidence: JSON.stringify(text), advance: stageEntry("prep") })]);
    const failing = await claimOne(store, { queues: ["p/prep"] });
    await startRun(store, failing);
    await store.runs.settle([retried(failing, { message: text, disposition: "fail" })]);
    return [
      [(await store.items.visits(itemId))[0]?.output, JSON.stringify(text)],
      [(await store.items.get(itemId))?.error?.startsWith(storableWords(text)), true],
    ];
  },
  "runs.settle of a late result": async (store, text) => {
    const run = await taskRun(store);
    await store.runs.settle([success(run)]);
    await store.runs.settle([retried(run, { message: text, reason: text, actor: text })]);
    const late = (await store.actions.list({ runId: run.runId, limit: 9 })).filter(({ action }) => action === "run.late_result");
    return [[late.map(({ reason, actor }) => [reason, actor]), [[storableWords(text), storableWords(text)]]]];
  },
  "runs.settleLostPage": async (store, text) => {
    const workerId = await registerWorker(store);
    const run = await taskRun(store, workerId);
    const page = { limit: 9, reason: text, actor: "test", recoverySpreadMs: 0, random: () => 0 };
    await store.runs.settleLostPage({ workerIds: [workerId], ...page });
    return [[(await store.runs.get(run.runId))?.reason, storableWords(text)]];
  },
  "runs.beat": async (store, text) => {
    const run = await taskRun(store);
    const progress = JSON.stringify(text);
    await store.runs.beat([{ runId: run.runId, at: store.now(), progress }]);
    return [[(await store.runs.get(run.runId))?.progress, progress]];
  },
  "runs.takeOver and runs.clearBlocks": async (store, text) => {
    const { run } = await itemRun(store);
    const workerId = await registerWorker(store);
    const { runId } = run;
    const ownerEpoch = await store.runs.takeOver({ ...run, workerId, actor: "test", reason: text, checkAt: farFuture });
    await store.runs.settle([retried({ ...run, ownerEpoch: present(ownerEpoch) }, { stopBy: farFuture, disposition: "fail" })]);
    await store.runs.clearBlocks([{ jobId: run.jobId, runId, proof: text, actor: "test" }]);
    const actions = await store.actions.list({ runId, limit: 9 });
    const reasonOf = (name: string): unknown => actions.find(({ action }) => action === name)?.reason;
    return [
      [reasonOf("run.taken_over"), storableWords(text)],
      [reasonOf("run.stopped"), storableWords(text)],
    ];
  },
  "jobs.cancel": async (store, text) => {
    const { jobId } = await itemRun(store);
    await store.jobs.cancel(jobId, { actor: "test", reason: text, stopBy: farFuture });
    const [action] = await store.actions.list({ jobId, limit: 1 });
    return [
      [action?.reason, storableWords(text)],
      [(await store.jobs.get(jobId))?.error?.startsWith(`cancelled: ${storableWords(text)}`), true],
    ];
  },
  "jobs.hold": async (store, text) => {
    const item = await addItem(store, newKey());
    const jobId = await onlyJobOf(store, item.id);
    await store.jobs.hold(jobId, { actor: "test", reason: text, message: text });
    const [action] = await store.actions.list({ jobId, limit: 1 });
    return [
      [action?.reason, storableWords(text)],
      [(await store.jobs.get(jobId))?.error, storableWords(text)],
    ];
  },
  "items.add and items.cancel": async (store, text) => {
    const key = newKey();
    const whole = { pipeline: "p", key, dir: key, input: JSON.stringify(text), label: text, first: stageEntry("prep"), actor: "test" };
    const { item } = await store.items.add(whole);
    await store.items.cancel(item.id, { actor: "test", reason: text, stopBy: farFuture });
    const read = await store.items.get(item.id);
    return [
      [item.label, storableWords(text)],
      [read?.input, JSON.stringify(text)],
      [read?.error, `cancelled: ${storableWords(text)}`],
    ];
  },
  "items.redrive and items.advance": async (store, text) => {
    const reasons: unknown[] = [];
    for (const verb of ["redrive", "advance"] as const) {
      const { itemId, run } = await itemRun(store);
      // Its job is over, and its item did not move with it.
      await store.runs.settle([success(run)]);
      const visitId = present(run.visitId);
      const how = { visitId, actor: "test", reason: text };
      if (verb === "redrive") await store.items.redrive(itemId, { ...how, entry: stageEntry("ocr"), onExhausted: "fail" });
      else await store.items.advance(itemId, { ...how, advance: { kind: "finish" } });
      const [action] = await store.actions.list({ itemId, limit: 1 });
      reasons.push(action?.reason);
      const left = await store.items.jobs(itemId);
      for (const job of left) await store.jobs.cancel(job.id, { actor: "test", reason: "done with", stopBy: farFuture });
    }
    return [[reasons, [storableWords(text), storableWords(text)]]];
  },
  "items.putPipeline": async (store, text) => {
    const hash = newKey();
    await store.items.putPipeline({ pipeline: "q", hash, definition: JSON.stringify(text) });
    return [[(await store.items.getPipeline("q", hash))?.definition, JSON.stringify(text)]];
  },
  "workers.declareDead": async (store, text) => {
    const workerId = await registerWorker(store);
    await store.workers.declareDead(workerId, { reason: text, message: text, evidence: JSON.stringify(text), actor: "test" });
    const [action] = await store.actions.list({ workerId, limit: 1 });
    const { reason, message, evidence } = present(action);
    return [
      [
        [reason, message, evidence],
        [storableWords(text), storableWords(text), JSON.stringify(text)],
      ],
    ];
  },
  "leases.release": async (store, text) => {
    const lease = newKey();
    const terms = { ttlMs: 9000, maxHoldMs: 9000, timeoutAt: farFuture };
    const got = await store.leases.acquire({ name: lease, ticket: newKey(), holder: { kind: "process", process: processOn() }, ...terms });
    const fencing = got.kind === "held" ? got.fencing : 0;
    await store.leases.release({ name: lease, fencing, actor: "test", reason: text });
    const actions = await store.actions.list({ lease, limit: 9 });
    return [[actions.some(({ reason }) => reason === storableWords(text)), true]];
  },
  "actions.append": async (store, text) => {
    const lease = newKey();
    const evidence = JSON.stringify(text);
    await store.actions.append([{ action: "test.done", actor: "test", lease, reason: text, message: text, evidence }]);
    const [action] = await store.actions.list({ lease, limit: 1 });
    return [
      [
        [action?.reason, action?.message, action?.evidence],
        [storableWords(text), storableWords(text), evidence],
      ],
    ];
  },
  "outbox.put and outbox.failed": async (store, text) => {
    const key = newKey();
    await store.outbox.put({ kind: "alert", key, payload: JSON.stringify(text) });
    const entry = present((await store.outbox.due(500)).find((each) => each.key === key));
    await store.outbox.failed({ id: entry.id, claimFence: entry.claimFence, error: text, dueAt: store.now(), dead: false });
    const again = present((await store.outbox.due(500)).find((each) => each.key === key));
    await store.outbox.done(again);
    return [
      [
        [again.payload, again.lastError],
        [JSON.stringify(text), storableWords(text)],
      ],
    ];
  },
  "upkeep.putSetting and upkeep.raiseEpoch": async (store, text) => {
    await store.upkeep.putSetting("test", JSON.stringify(text));
    await store.upkeep.raiseEpoch(text);
    return [[await store.upkeep.setting("test"), JSON.stringify(text)]];
  },
};

const none = 1 as never;

/** Each gives `text` as a name, a key or an id. */
const refused: Readonly<Record<string, (store: Store, text: string) => Promise<unknown>>> = {
  "jobs.ensureQueues": (store, text) => store.jobs.ensureQueues([{ name: text, kind: "handler" }]),
  "jobs.ensureQueues, of a slot": (store, text) =>
    store.jobs.ensureQueues([{ name: "u", kind: "handler", slot: { key: text, capacity: 1 } }]),
  "jobs.enqueue, of its queue": (store, text) => store.jobs.enqueue({ queue: text, jobs: [{}] }),
  "jobs.enqueue, of its id": (store, text) => store.jobs.enqueue({ queue: "t", jobs: [{}, { enqueueId: text }] }),
  "jobs.enqueue, of its agent": (store, text) => store.jobs.enqueue({ queue: "t", agent: text, jobs: [{}] }),
  "jobs.enqueue, of its repo": (store, text) => store.jobs.enqueue({ queue: "t", repo: text, jobs: [{}] }),
  "jobs.listWaiting": (store, text) => store.jobs.listWaiting({ stages: [{ pipeline: "p", stage: text }], limit: 1 }),
  "runs.claim, of its id": (store, text) =>
    store.runs.claim({ claimId: text, workerId: none, claimSeq: 1, queues: [], max: 1, startNow: 0 }),
  "runs.claim, of its queues": (store, text) =>
    store.runs.claim({ claimId: "x", workerId: none, claimSeq: 1, queues: [{ name: text, limits: {} }], max: 1, startNow: 0 }),
  "items.add, of its key": async (store, text) =>
    store.items.add({ pipeline: "p", key: text, dir: "d", input: "{}", first: stageEntry("prep"), actor: "test" }),
  "items.add, of its directory": async (store, text) =>
    store.items.add({ pipeline: "p", key: "k", dir: text, input: "{}", first: stageEntry("prep"), actor: "test" }),
  "items.add, of its branch": async (store, text) =>
    store.items.add({ pipeline: "p", key: "k", dir: "k", input: "{}", branch: text, first: stageEntry("prep"), actor: "test" }),
  "items.add, of its actor": async (store, text) =>
    store.items.add({ pipeline: "p", key: "k", dir: "k", input: "{}", first: stageEntry("prep"), actor: text }),
  "items.byKey": (store, text) => store.items.byKey("p", text),
  "items.getPipeline": (store, text) => store.items.getPipeline(text),
  "items.putPipeline": (store, text) => store.items.putPipeline({ pipeline: text, hash: "h", definition: "{}" }),
  "items.list": (store, text) => store.items.list({ pipeline: text, limit: 1 }),
  "items.declarePipelines": (store, text) => store.items.declarePipelines({ hostId: processOn().hostId, pipelines: [text] }),
  "workers.register, of its name": (store, text) => registerWorker(store, text),
  "workers.register, of its process": (store, text) => registerWorker(store, "w", { ...processOn(), bootId: text }),
  "leases.acquire": (store, text) =>
    store.leases.acquire({
      name: text,
      ticket: "x",
      holder: { kind: "process", process: processOn() },
      ttlMs: 1,
      maxHoldMs: 1,
      timeoutAt: farFuture,
    }),
  "leases.abandon": (store, text) => store.leases.abandon(text),
  "leases.listHeld": (store, text) => store.leases.listHeld({ scope: [text], limit: 1 }),
  "actions.list": (store, text) => store.actions.list({ lease: text, limit: 1 }),
  "actions.append": (store, text) => store.actions.append([{ action: "test.done", actor: "test", correlationId: text }]),
  "outbox.put": (store, text) => store.outbox.put({ kind: "alert", key: text, payload: "{}" }),
  "duplicates.add": (store, text) =>
    store.duplicates.add({ pipeline: "p", key: text, existingItemId: none, fileName: "f", path: "/f", sizeBytes: 1 }),
  "duplicates.decide": (store, text) => store.duplicates.decide(1, "discard", text),
  "upkeep.listJobs": (store, text) => store.upkeep.listJobs({ queue: text, limit: 1 }),
  "upkeep.setQueuePaused": (store, text) => store.upkeep.setQueuePaused({ queues: [text], paused: true, actor: "test" }),
  "upkeep.recordHost": (store, text) => store.upkeep.recordHost({ hostId: processOn().hostId, bootId: text }),
  "upkeep.setting": (store, text) => store.upkeep.setting(text),
  "upkeep.putSetting": (store, text) => store.upkeep.putSetting(text, "1"),
};

describeStores((open) => {
  test("hostile text reads back alike, from whatever verb keeps it [F-8.1]", async () => {
    const store = await opened(open);
    await fc.assert(
      fc.asyncProperty(hostile, async (text) => {
        for (const [verb, write] of Object.entries(cleaned)) {
          for (const [found, expected] of await write(store, text)) expect(found, verb).toEqual(expected);
        }
        expect(await store.upkeep.checkInvariants()).toEqual([]);
      }),
      { numRuns: 12, examples: [["a\0b"], [`${"x".repeat(8191)}\ud83d`], ["\0\ud800"], ["\u{1f600}".repeat(20_000)]] },
    );
  }, 120_000);

  test("names, keys and ids are refused and not cleaned: two would become one [F-8.1]", async () => {
    const store = await opened(open);
    for (const text of ["a\0", "\ud83d"]) {
      for (const [verb, give] of Object.entries(refused))
        await expect(give(store, text), verb).rejects.toMatchObject({ code: "bad_request" });
    }
    for (const verb of ["jobs.ensureQueues", "jobs.enqueue, of its id", "items.add, of its key", "leases.acquire", "outbox.put"]) {
      await expect(refused[verb]?.(store, "x".repeat(1025)), `${verb}: no index holds it`).rejects.toMatchObject({ code: "bad_request" });
    }
    expect(await store.jobs.listQueues()).toEqual(["p/ocr", "p/prep", "t"]);
  });

  test("one refused member of a settle call takes no other with it [F-8.1]", async () => {
    const store = await opened(open);
    await store.jobs.enqueue({ queue: "t", jobs: [{}, {}, {}] });
    const [plain, bad, failed] = await claim(store, { queues: ["t"] });
    const { runId, ownerEpoch, jobId } = present(plain);
    const answers = await store.runs.settle([
      { runId, ownerEpoch, jobId, outcome: "succeeded", reason: "returned" },
      success(present(bad), { exitCode: 3 }),
      retried(present(failed), { disposition: "fail" }),
    ]);
    expect(answers).toMatchObject([
      { kind: "ok", jobState: "done" },
      { kind: "failed", error: { code: "bad_request" } },
      { kind: "ok", jobState: "failed" },
    ]);
  });
});
