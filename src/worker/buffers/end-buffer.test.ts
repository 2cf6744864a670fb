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
function buffer(answer: (ids: readonly number[]) => readonly EndAnswer[] | Error = (ids) => ids.map(() => ({ kind: "ok" }))) {
  const sent: (readonly number[])[] = [];
  const told: string[] = [];
  let ended = 0;
  const answered: [number, EndAnswer["kind"]][] = [];
  const ends = new EndBuffer({
    end: async (batch) => {
      sent.push(idsOf(batch));
      const answers = answer(idsOf(batch));
      if (answers instanceof Error) throw answers;
      return answers;
    },
    emit: (name) => void told.push(name),
    onEnded: (count) => void (ended += count),
    onAnswer: ({ runId }, { kind }) => {
      answered.push([runId, kind]);
      return kind !== "read";
    },
  });
  return { ends, sent, told, answered, ended: () => ended };
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
  expect([sent, ended(), [...ends.unanswered()], ends.failing]).toEqual([[[1, 2], [3]], 2, [3], 1]);
  await vi.advanceTimersByTimeAsync(100);
  expect([sent.at(-1), ended(), ends.idle, ends.failing]).toEqual([[3], 3, true, 0]);
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
  expect([sent.length, ends.failing, ends.idle, [...ends.unanswered()]]).toEqual([1, 2, false, [1, 2]]);
  await vi.advanceTimersByTimeAsync(1);
  expect([sent.length, ends.failing]).toEqual([2, 2]);
  await vi.advanceTimersByTimeAsync(199);
  expect(sent).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  expect([sent.length, ends.failing, ends.idle, ended()]).toEqual([3, 0, true, 2]);
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
  expect([told, ended(), ends.failing, ends.idle]).toEqual([["store.degraded", "defect.found"], 3, 0, true]);
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
  expect([sent.slice(4), ended(), [...ends.unanswered()], ends.failing]).toEqual([[[1], [2], [3]], 2, [2], 1]);
  // It is never given up, and asked for at least each 10 s.
  await vi.advanceTimersByTimeAsync(30_000);
  const before = sent.length;
  await vi.advanceTimersByTimeAsync(10_000);
  expect([sent.length, sent.at(-1)]).toEqual([before + 1, [2]]);
});
