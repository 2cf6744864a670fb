import { expect, test } from "vitest";
import { type Accepted, judge, type Observed, type RunRow } from "./invariants.ts";
import type { Execution } from "./ledger.ts";

const accepted: Accepted = { name: "job 1", ends: "done", state: "done", final: true, why: "", jobs: [1] };
const run: RunRow = {
  id: 10,
  job: 1,
  kind: "command",
  state: "ended",
  outcome: "succeeded",
  reason: "exit0",
  message: "",
  spent: undefined,
};
const lost: RunRow = { ...run, outcome: "lost", reason: "dead_pid", spent: "loss" };
const execution: Execution = { by: "command", job: 1, run: 10, pid: 100, beganAt: 1, endedAt: 2, stopped: false };
const unended: Execution = { ...execution, endedAt: undefined };
const second: RunRow = { ...run, id: 11 };
const again: Execution = { ...execution, run: 11, pid: 101, beganAt: 3, endedAt: 4 };

function found(parts: Partial<Observed>): readonly string[] {
  return judge({
    accepted: [accepted],
    runs: [run],
    executions: [execution],
    knownJobs: new Set([1]),
    explained: [],
    harmed: new Set(),
    ownFailures: new Set(),
    breaches: [],
    leftAlive: [],
    ...parts,
  });
}

const lossExplained = [{ commands: { outcomes: ["lost" as const] } }];

test("work that was done once is clean", () => {
  expect(found({})).toEqual([]);
});

test("a job that is gone, in limbo, held or failed is found", () => {
  expect(found({ accepted: [{ ...accepted, state: undefined }] })).toEqual([expect.stringMatching(/does not know it/)]);
  expect(found({ accepted: [{ ...accepted, state: "queued", final: false, why: "blocked" }] })).toEqual([
    "job 1 is still queued past its bound: blocked",
  ]);
  expect(found({ accepted: [{ ...accepted, state: "held", final: false, why: "lost twice" }] })).toEqual([
    "job 1 is held, and must end done: lost twice",
  ]);
  expect(found({ accepted: [{ ...accepted, state: "failed", why: "ENOSPC" }] })).toEqual(["job 1 is failed, and must end done: ENOSPC"]);
});

test("a second execution is clean only with a verdict that says why the first did not count", () => {
  const twice = { executions: [unended, again], runs: [lost, second] };
  expect(found({ ...twice, explained: lossExplained })).toEqual([]);
  expect(found({ ...twice, runs: [run, second] })).toEqual([
    "run 11 of job 1 was executed although run 10 of job 1 had succeeded",
    "run 10 of job 1 succeeded, and its ledger has no end of it",
  ]);
  expect(found({ ...twice, runs: [{ ...lost, reason: "" }, second], explained: lossExplained })).toEqual([
    expect.stringMatching(/no verdict says why run 10 of job 1 did not count/),
  ]);
  const live: RunRow = { ...run, state: "started", outcome: undefined, reason: undefined };
  expect(found({ ...twice, runs: [live, second] })).toEqual([expect.stringMatching(/no verdict says why.*started/)]);
});

test("one run that two processes executed is found, whatever its verdict", () => {
  const twice = [unended, { ...execution, pid: 101, beganAt: 3, endedAt: 4 }];
  expect(found({ executions: twice, runs: [lost], explained: lossExplained })).toContain(
    "run 10 of job 1 was executed twice: by process 100 and by 101",
  );
});

test("two executions of a job at once are found", () => {
  const overlapping = [{ ...execution, endedAt: 3.5 }, again];
  expect(found({ executions: overlapping, runs: [lost, second], explained: lossExplained })).toEqual([
    "run 11 of job 1 began at 3 s while run 10 of job 1 was at work until 3.5 s",
  ]);
});

test("a success without work, and work of a command that is said not to have started, are found", () => {
  expect(found({ executions: [] })).toEqual([expect.stringMatching(/no end of it/)]);
  expect(found({ executions: [{ ...execution, stopped: true }] })).toEqual([expect.stringMatching(/no end of it/)]);
  const never: RunRow = { ...run, outcome: "never_started", reason: "nogo" };
  expect(found({ executions: [unended, again], runs: [never, second] })).toEqual([
    "run 10 of job 1 never started (nogo), and process 100 executed it",
  ]);
  expect(found({ executions: [unended, again], runs: [{ ...never, kind: "handler" }, second] })).toEqual([]);
});

test("an execution without a row, or of a job that nobody handed in, is found", () => {
  expect(found({ executions: [execution, { ...again, job: 1 }] })).toContain("run 11 of job 1 was executed, and the store has no such run");
  expect(found({ knownJobs: new Set() })).toEqual([expect.stringMatching(/nobody handed that job in/)]);
});

test("an end is explained by its fault alone, by kind of work and by run", () => {
  const runs = [lost, second];
  const executions = [unended, again];
  const unexplained = [expect.stringMatching(/ended as lost, dead_pid, spent: loss, which the fault does not explain/)];
  expect(found({ runs, executions })).toEqual(unexplained);
  expect(found({ runs, executions, explained: [{ handlers: { outcomes: ["lost"] } }] })).toEqual(unexplained);
  const ofHarmed = [{ commands: { outcomes: ["lost" as const], ofHarmed: true } }];
  expect(found({ runs, executions, explained: ofHarmed })).toEqual(unexplained);
  expect(found({ runs, executions, explained: ofHarmed, harmed: new Set([10]) })).toEqual([]);
});

test("an end that may spend nothing is found when it has", () => {
  const explained = [{ commands: { outcomes: ["lost" as const], spends: "nothing" as const } }];
  expect(found({ runs: [lost, second], executions: [unended, again], explained })).toEqual([expect.stringMatching(/spent: loss/)]);
  expect(found({ runs: [{ ...lost, spent: "nothing" }, second], executions: [unended, again], explained })).toEqual([]);
});

test("a run that never started and was charged all the same is found", () => {
  const never: RunRow = { ...run, kind: "handler", outcome: "never_started", reason: "enospc", spent: "nothing" };
  expect(found({ runs: [never, second], executions: [again] })).toEqual([]);
  expect(found({ runs: [{ ...never, spent: "attempt" }, second], executions: [again] })).toEqual([
    expect.stringMatching(/never_started, enospc, spent: attempt, which the fault does not explain/),
  ]);
});

test("a failure of its own needs no fault", () => {
  const failed = { runs: [{ ...run, outcome: "failed" as const }], accepted: [{ ...accepted, ends: "failed" as const, state: "failed" }] };
  expect(found(failed)).toEqual([expect.stringMatching(/does not explain/)]);
  expect(found({ ...failed, ownFailures: new Set([1]) })).toEqual([]);
});

test("what the store says of itself, and processes that outlive their runs, are found", () => {
  expect(found({ breaches: ["slot a: counts 2"], leftAlive: ["process 7 of run 10 lives"] })).toEqual([
    "the store contradicts itself: slot a: counts 2",
    "process 7 of run 10 lives",
  ]);
});
