import { expect, test } from "vitest";
import { retried, success } from "../../test/support/store-rows.ts";
import { asItemId, asJobId, asOwnerEpoch, asRunId } from "../domain/ids.ts";
import type { Cancelled, ItemStep, SettleAnswer, Settlement } from "../store/port/runs.ts";
import type { Emit } from "../telemetry/events.ts";
import { tellBatch, tellCancelled, tellSettled } from "./tell-ends.ts";

const ended = (id: number) => ({ runId: asRunId(id), jobId: asJobId(id), ownerEpoch: asOwnerEpoch(1) });

/** What is told while `tell` runs. */
function toldBy(tell: (emit: Emit) => void): { name: string; data: unknown }[] {
  const events: { name: string; data: unknown }[] = [];
  tell((name, data) => events.push({ name, data }));
  return events;
}

test("also by a worker's batch, whose plain successes are only counted", () => {
  const item: ItemStep = { kind: "advanced", itemId: asItemId(7), from: "prep", to: "ocr" };
  const answers: readonly SettleAnswer[] = [{ kind: "ok", outcome: "succeeded", jobState: "done", item }];
  const batch = { settlements: [success(ended(1))], queues: ["p/prep"] };
  expect(toldBy((emit) => tellBatch(emit, batch, answers))).toEqual([
    { name: "item.advanced", data: { itemId: 7, from: "prep", to: "ocr" } },
    { name: "runs.settled", data: { count: 1 } },
  ]);
});

test("plain successes of a batch are one event, what needs explaining has its own, and a lost one is late", () => {
  const settlements = [success(ended(0)), retried(ended(1), { message: "no" }), success(ended(2)), success(ended(3))];
  const now = { ownerEpoch: asOwnerEpoch(2), state: "started", workerId: null } as const;
  const answers: readonly SettleAnswer[] = [
    { kind: "ok", outcome: "succeeded", jobState: "done" },
    { kind: "ok", outcome: "failed", jobState: "scheduled" },
    { kind: "lost", why: "another has it", now },
    { kind: "already" },
  ];
  expect(toldBy((emit) => tellBatch(emit, { settlements, queues: ["a", "b", "c", "d"] }, answers))).toMatchObject([
    { name: "run.ended", data: { runId: 1, queue: "b", outcome: "failed", message: "no", jobState: "scheduled" } },
    { name: "run.late_result", data: { runId: 2, queue: "c", tried: "succeeded", why: "another has it" } },
    { name: "runs.settled", data: { count: 1 } },
  ]);
});

test("what is not plain is reported singly, even if all else of the batch is", () => {
  const ok = { kind: "ok", outcome: "succeeded", jobState: "done" } as const;
  const batch = (...settlements: readonly Settlement[]) =>
    toldBy((emit) => tellBatch(emit, { settlements, queues: ["a"] }, [ok, ok])).map(({ name, data }) => [name, data]);
  expect(batch({ ...success(ended(1)), actor: "foreground" })).toMatchObject([
    ["run.ended", { runId: 1, queue: "a", actor: "foreground" }],
  ]);
  expect(batch({ ...retried(ended(1), { message: "no" }), actor: undefined })).toMatchObject([
    ["run.ended", { queue: "a", actor: "worker" }],
  ]);
  expect(batch(success(ended(1))), "an answer too many is nobody's").toEqual([["runs.settled", { count: 1 }]]);
});

test("an end whose text the store refused is told with what was refused, in a batch too", () => {
  const answer = { kind: "ok", outcome: "failed", jobState: "failed", replaced: "no such character" } as const;
  const told = [
    { name: "run.text_replaced", data: { runId: 1, jobId: 1, queue: "a", message: "no such character" } },
    { name: "run.ended", data: { runId: 1, outcome: "failed" } },
  ];
  expect(toldBy((emit) => tellBatch(emit, { settlements: [retried(ended(1))], queues: ["a"] }, [answer]))).toMatchObject(told);
  expect(toldBy((emit) => tellSettled(emit, { settlement: retried(ended(1)), queue: "a", answer, supervises: true }))).toMatchObject(told);
  const ofSuccess = toldBy((emit) =>
    tellBatch(emit, { settlements: [success(ended(1))], queues: ["a"] }, [{ ...answer, outcome: "succeeded", jobState: "done" }]),
  );
  expect(ofSuccess.map(({ name }) => name)).toEqual(["run.text_replaced", "run.ended"]);
});

test("a success is told with its reason; one that the store took as a failure with what it refused, or else its reason", () => {
  const messageOf = (answer: SettleAnswer): unknown => {
    const told = toldBy((emit) => void tellSettled(emit, { settlement: { ...success(ended(1)), reason: "returned" }, queue: "a", answer }));
    return Reflect.get(told.at(-1)?.data as object, "message");
  };
  const replaced = "no such character";
  expect(messageOf({ kind: "ok", outcome: "succeeded", jobState: "done", replaced })).toBe("returned");
  expect(messageOf({ kind: "ok", outcome: "failed", jobState: "failed", replaced })).toBe(replaced);
  expect(messageOf({ kind: "ok", outcome: "failed", jobState: "failed" })).toBe("returned");
});

test("a settlement without an answer ended nothing, and nobody is told", () => {
  const told = toldBy((emit) => {
    expect(tellSettled(emit, { settlement: success(ended(1)), queue: "a", answer: undefined, supervises: true })).toEqual({ kind: "gone" });
  });
  expect(told).toEqual([]);
});

test("a cancel tells of the run that it ended, if there was one, and of the item", () => {
  const by = { actor: "ana", reason: "no longer needed" };
  const run = { runId: asRunId(1), jobId: asJobId(2), queue: "a" };
  const item: ItemStep = { kind: "cancelled", itemId: asItemId(7) };
  const told = (cancelled: Cancelled) => toldBy((emit) => tellCancelled(emit, cancelled, by));
  const message = "cancelled: no longer needed";
  expect(told({ run })).toEqual([
    { name: "run.ended", data: { ...run, outcome: "cancelled", reason: "cancelled", message, jobState: "cancelled", actor: "ana" } },
  ]);
  expect(told({ item })).toEqual([{ name: "item.ended", data: { itemId: 7, state: "cancelled", reason: "no longer needed" } }]);
});
