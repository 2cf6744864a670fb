import { asJobId, asRunId, asWorkerId, firstOwnerEpoch } from "../../src/domain/ids.ts";
import type { LiveRun, RunRow } from "../../src/store/port/runs.ts";
import { at } from "./judged-run.ts";

/** The row of a started command; a test names what it is about. */
export function runRow(run: Partial<RunRow> = {}): RunRow {
  return {
    id: asRunId(17),
    jobId: asJobId(5),
    attempt: 1,
    state: "started",
    ownerEpoch: firstOwnerEpoch,
    workerId: asWorkerId(2),
    kind: "command",
    claimSeq: 1,
    reservedAt: at(0),
    startedAt: at(0),
    exitedAt: null,
    endedAt: null,
    checkAt: null,
    process: null,
    wrapper: null,
    limits: {},
    progressAt: null,
    progress: null,
    exitCode: null,
    gatePendingAt: null,
    slotKey: null,
    outcome: null,
    reason: null,
    message: null,
    evidence: null,
    spent: null,
    bySessionDeath: false,
    suspendedMs: 0,
    ...run,
  };
}

/** The same of a plain task, with what is read beside it. */
export function liveRun(run: Partial<LiveRun> = {}): LiveRun {
  return {
    ...runRow(),
    queue: "dev",
    attempts: 1,
    maxAttempts: 3,
    itemId: null,
    visitId: null,
    itemStage: null,
    itemVisitId: null,
    pipeline: null,
    pipelineVersion: null,
    agent: null,
    repo: null,
    supervisor: null,
    ...run,
  };
}
