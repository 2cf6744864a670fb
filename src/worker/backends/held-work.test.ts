import { expect, test } from "vitest";
import { asJobId, asRunId, firstOwnerEpoch, type WorkerId } from "../../domain/ids.ts";
import type { ClaimedRun } from "../../store/port/runs.ts";
import { claimsUnreceivedMax } from "../worker-backend.ts";
import { HeldWork } from "./held-work.ts";

const workerId = 1 as WorkerId;
const run = (id: number): ClaimedRun => ({
  runId: asRunId(id),
  ownerEpoch: firstOwnerEpoch,
  jobId: asJobId(id),
  queue: "t",
  attempt: 1,
  started: false,
  payload: null,
  itemId: null,
  visitId: null,
});
const held = (work: HeldWork, names: readonly number[], claimSeqReceived: number) =>
  work.heldBy({ workerId, held: names.map(asRunId), claimSeqReceived }).toSorted((a, b) => a - b);

test("runs of every claim that the session may not have received are held, whichever answer came first", () => {
  const work = new HeldWork();
  work.take([run(1)], 1);
  work.take([run(31)], 3);
  work.take([run(21)], 2);
  expect(held(work, [], 0)).toEqual([1, 21, 31]);
  expect(held(work, [1, 31], 1), "the answer to 2 is on its way").toEqual([1, 21, 31]);
  expect(held(work, [1, 31], 3), "the session has it, and let its run go").toEqual([1, 31]);
  expect(work.has(asRunId(21))).toBe(false);
});

test("a run that has ended is not held for the claim that brought it", () => {
  const work = new HeldWork();
  work.take([run(1), run(2)], 1);
  work.drop([{ runId: asRunId(1) }]);
  expect(held(work, [], 0)).toEqual([2]);
});

test("claims so far back that the session must have received them are forgotten", () => {
  const work = new HeldWork();
  for (let seq = 1; seq <= claimsUnreceivedMax + 1; seq++) work.take([run(seq)], seq);
  expect(held(work, [], 0)).toEqual(Array.from({ length: claimsUnreceivedMax }, (_, at) => at + 2));
});
