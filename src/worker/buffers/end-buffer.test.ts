import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { WakefulError } from "../../domain/errors.ts";
import { asOwnerEpoch, asRunId } from "../../domain/ids.ts";
import type { EndAnswer, EndReport } from "../worker-backend.ts";
import { EndBuffer } from "./end-buffer.ts";

const reportOf = (id: number): EndReport => ({ runId: asRunId(id), ownerEpoch: asOwnerEpoch(1), ending: { kind: "returned" } });
const [one, two, three] = [reportOf(1), reportOf(2), reportOf(3)];
const idsOf = (reports: readonly EndReport[]) => reports.map(({ runId }) => runId);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A buffer before a store that answers a batch as `answer` says, or throws. */
function buffer(
  answer: (ids: readonly number[]) => readonly EndAnswer[] | Error = (ids) => ids.map(() => ({ kind: "ok" })),
  asideMax?: number,
) {
  const sent: (readonly number[])[] = [];
  const told: string[] = [];
  const codes: string[] = [];
  let ended = 0;
  const answered: [number, EndAnswer["kind"]][] = [];
  const ends = new EndBuffer({
    end: async (batch) => {
      sent.push(idsOf(batch));
      const answers = answer(idsOf(batch));
      if (answers instanceof Error) throw answers;
      return answers;
    },
    emit: (name, data) => {
      told.push(name);
      if ("code" in data) codes.push(String(data.code));
    },
    onEnded: (count) => void (ended += count),
    onAnswer: ({ runId }, { kind }) => {
      answered.push([runId, kind]);
      return kind !== "read";
    },
    asideMax,
  });
  return { ends, sent, told, codes, answered, ended: () => ended };
}

test("what has ended is sent together, is unanswered until the store has it, and is asked of no more then", async () => {
  const { ends, sent, ended, answered } = buffer();
  ends.push(one, false);
  ends.push(two, false);
  expect([[...ends.unanswered()], ends.idle, sent]).toEqual([[1, 2], false, []]);
  ends.flush(10);
  expect([...ends.unanswered()]).toEqual([1, 2]);
  await vi.advanceTimersByTimeAsync(0);
  expect([sent, ended(), [...ends.unanswered()], ends.idle, answered]).toEqual([[[1, 2]], 2, [], true, []]);
});

test("many ends go in batches of the size asked for, each sent again by itself", async () => {
  let refused = false;
  const { ends, sent, ended } = buffer((ids) => {
    if (!ids.includes(3) || refused) return ids.map(() => ({ kind: "ok" }));
    refused = true;
    return new Error("the disk is full");
  });
  for (const report of [one, two, three]) ends.push(report, false);
  ends.flush(2);
  await vi.advanceTimersByTimeAsync(0);
  expect([sent, ended(), [...ends.unanswered()], ends.places]).toEqual([[[1, 2], [3]], 2, [3], 1]);
  await vi.advanceTimersByTimeAsync(100);
  expect([sent.at(-1), ended(), ends.idle, ends.places]).toEqual([[3], 3, true, 0]);
});

test("who waits for an answer gets his own; a run whose exit is only on record has not ended", async () => {
  const { ends, answered, ended } = buffer((ids) => ids.map((id) => (id === 2 ? { kind: "read", at: 5 as never } : { kind: "ok" })));
  ends.push(one, false);
  ends.push(two, true);
  ends.push(three, true);
  ends.flush(10);
  await vi.advanceTimersByTimeAsync(0);
  expect(answered).toEqual([
    [2, "read"],
    [3, "ok"],
  ]);
  expect(ended()).toBe(2);
});

test("a batch that failed unclearly is sent again, later each time, and counts as failing until it is answered", async () => {
  let failures = 2;
  const { ends, sent, told, ended } = buffer((ids) => (failures-- > 0 ? new Error("the disk is full") : ids.map(() => ({ kind: "ok" }))));
  ends.push(one, false);
  ends.push(two, false);
  ends.flush(10);
  await vi.advanceTimersByTimeAsync(99);
  expect([sent.length, ends.places, ends.idle, [...ends.unanswered()]]).toEqual([1, 2, false, [1, 2]]);
  await vi.advanceTimersByTimeAsync(1);
  expect([sent.length, ends.places]).toEqual([2, 2]);
  await vi.advanceTimersByTimeAsync(199);
  expect(sent).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  expect([sent.length, ends.places, ends.idle, ended()]).toEqual([3, 0, true, 2]);
  expect(told).toEqual(["store.degraded", "store.degraded"]);
});

test("one whose end the store refuses does not hold up the others, and is given up with a defect", async () => {
  const { ends, sent, told, answered, ended } = buffer((ids) =>
    ids.includes(2) ? new WakefulError("bad_request", "refused") : ids.map(() => ({ kind: "ok" })),
  );
  for (const report of [one, two, three]) ends.push(report, true);
  ends.flush(10);
  await vi.advanceTimersByTimeAsync(100);
  expect(sent).toEqual([[1, 2, 3], [1], [2], [3]]);
  expect(answered.toSorted(([a], [b]) => a - b)).toEqual([
    [1, "ok"],
    [2, "refused"],
    [3, "ok"],
  ]);
  expect([told, ended(), ends.places, ends.idle]).toEqual([["store.degraded", "defect.found"], 3, 0, true]);
});

test("a batch that keeps failing goes one by one, so that one member cannot hold the others", async () => {
  const { ends, sent, ended } = buffer((ids) => (ids.includes(2) ? new Error("unclear") : ids.map(() => ({ kind: "ok" }))));
  for (const report of [one, two, three]) ends.push(report, false);
  ends.flush(10);
  await vi.advanceTimersByTimeAsync(100 + 200 + 400 + 800);
  expect(sent.slice(0, 4)).toEqual([
    [1, 2, 3],
    [1, 2, 3],
    [1, 2, 3],
    [1, 2, 3],
  ]);
  expect([sent.slice(4), ended(), [...ends.unanswered()], ends.places]).toEqual([[[1], [2], [3]], 2, [2], 0]);
  // It is never given up, and asked for at least each 10 s.
  await vi.advanceTimersByTimeAsync(30_000);
  const before = sent.length;
  await vi.advanceTimersByTimeAsync(10_000);
  expect([sent.length, sent.at(-1)]).toEqual([before + 1, [2]]);
});

const notTaken = () => new Error("this end is not taken");
const untilAlone = 100 + 200 + 400 + 800;

test("an end that fails alone as well leaves its place, stays named, is told once and sent again until it is taken [F-8.1]", async () => {
  let isTaken = false;
  const { ends, codes, answered, ended } = buffer((ids) => (isTaken ? ids.map(() => ({ kind: "ok" })) : notTaken()));
  ends.push(one, true);
  ends.push(two, false);
  ends.flush(10);
  await vi.advanceTimersByTimeAsync(untilAlone - 1);
  expect([ends.places, ends.idleButForAside], "the awaited one is counted by its worker").toEqual([1, false]);
  await vi.advanceTimersByTimeAsync(1);
  expect([ends.places, ends.idleButForAside, ends.idle, [...ends.unanswered()]]).toEqual([-1, true, false, [1, 2]]);
  const told = [...Array<string>(4).fill("settle_failed"), "end_set_aside", "end_set_aside"];
  expect(codes).toEqual(told);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(codes).toEqual(told);
  isTaken = true;
  await vi.advanceTimersByTimeAsync(10_000);
  expect([ends.places, ends.idle, [...ends.unanswered()], answered, ended()]).toEqual([0, true, [], [[1, "ok"]], 2]);
});

test("no more ends are set aside than may be: the others keep their places until one of them is taken [F-8.1]", async () => {
  let taken = 0;
  const { ends } = buffer((ids) => (ids.includes(taken) ? [{ kind: "ok" }] : notTaken()), 1);
  for (const report of [one, two, three]) ends.push(report, false);
  ends.flush(1);
  await vi.advanceTimersByTimeAsync(untilAlone);
  expect(ends.places).toBe(2);
  taken = 1;
  await vi.advanceTimersByTimeAsync(30_000);
  expect([ends.places, [...ends.unanswered()]]).toEqual([1, [2, 3]]);
});

test("what is given up is sent no more, and a late answer to it moves nothing [F-8.1]", async () => {
  let answerLate: (answers: readonly EndAnswer[]) => void = () => undefined;
  let ended = 0;
  let calls = 0;
  const ends = new EndBuffer({
    end: async () => {
      calls++;
      if (calls === 1) throw notTaken();
      return await new Promise((resolve) => (answerLate = resolve));
    },
    emit: () => undefined,
    onEnded: (count) => void (ended += count),
    onAnswer: () => true,
  });
  ends.push(one, true);
  ends.flush(1);
  ends.push(two, true);
  ends.flush(1);
  ends.push(three, true);
  await vi.advanceTimersByTimeAsync(0);
  expect(ascending(ends.giveUp())).toEqual([1, 2, 3]);
  answerLate([{ kind: "ok" }]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect([calls, ended, ends.idle, ends.places, [...ends.unanswered()]]).toEqual([2, 0, true, 0, []]);
});

const ascending = (ids: readonly number[]) => ids.toSorted((a, b) => a - b);
