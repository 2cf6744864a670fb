import { expect, test } from "vitest";
import { asItemId, asJobId, asRunId, asVisitId } from "../../domain/ids.ts";
import type { StrandedItem } from "../../store/port/items.ts";
import { judgeStranded } from "./stranded-verdict.ts";

const visitId = asVisitId(4);
const item = { id: asItemId(1), stage: "prep", visitId, pipeline: "p", pipelineVersion: "v1" };
const visit = { id: visitId, stage: "prep", attempts: 1, maxAttempts: 3 };
const lastJob = { id: asJobId(2), visitId, state: "done", queue: "p/prep", agent: "dev", repo: "shop", error: null };
const lastRun = { id: asRunId(3), jobId: lastJob.id, attempt: 1, state: "ended", outcome: "succeeded" };

const judge = (facts: { lastJob?: object | undefined; lastRun?: object | undefined }) =>
  judgeStranded({ item, visit, ...facts } as unknown as StrandedItem);

test("a run of this visit that ended well is read again, with all that finalising needs of its item", () => {
  expect(judge({ lastJob, lastRun })).toEqual({
    kind: "read_gate",
    run: expect.objectContaining({
      id: 3,
      queue: "p/prep",
      attempts: 1,
      maxAttempts: 3,
      itemId: 1,
      visitId: 4,
      itemStage: "prep",
      itemVisitId: 4,
      agent: "dev",
      repo: "shop",
      supervisor: null,
    }),
    reason: "attempt 1 ended well and the item stayed in prep",
  });
});

test.each([
  ["a visit without any job", {}],
  ["a job of an earlier visit", { lastJob: { ...lastJob, visitId: asVisitId(3) }, lastRun }],
  ["a job that is done by no run", { lastJob }],
  ["a run of an earlier job", { lastJob, lastRun: { ...lastRun, jobId: asJobId(1) } }],
  ["a run that ended badly", { lastJob, lastRun: { ...lastRun, outcome: "failed" } }],
  ["a run that has not ended", { lastJob, lastRun: { ...lastRun, state: "exited", outcome: null } }],
  ["a returned job, whose item did not move", { lastJob: { ...lastJob, state: "returned" }, lastRun }],
])("%s proves nothing of the stage: it is given a job again, and never passed", (_, facts) => {
  expect(judge(facts).kind).toBe("redrive");
});

test.each(["failed", "cancelled"] as const)("an item whose job is %s ends the same way, with the job's words", (state) => {
  expect(judge({ lastJob: { ...lastJob, state, error: "no paper" }, lastRun })).toEqual({
    kind: "end",
    state,
    reason: `its job 2 is ${state}: no paper`,
  });
});

test.each(["scheduled", "queued", "running", "held"])("a job that is %s is not finished: only a person can tell what is right", (state) => {
  expect(judge({ lastJob: { ...lastJob, state }, lastRun }).kind).toBe("alert");
});
