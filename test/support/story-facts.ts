import { asHostId, asJobId, asRunId, asWorkerId } from "../../src/domain/ids.ts";
import { addMs, asInstant, type Instant } from "../../src/domain/time.ts";
import type { JobFacts, StoryFacts, WaitingFacts } from "../../src/operations/why/facts.ts";
import { tellStory } from "../../src/operations/why/story.ts";
import type { JobRow } from "../../src/store/port/jobs.ts";
import type { ActionRow } from "../../src/store/port/records.ts";
import type { RunRow } from "../../src/store/port/runs.ts";
import type { WorkerRow } from "../../src/store/port/workers.ts";
import { runRow } from "./live-run.ts";

/** When everything begins. */
export const start = asInstant(Date.UTC(2026, 0, 1));
export const at = (ms: number): Instant => addMs(start, ms);

export const job = (changes: Partial<JobRow> = {}): JobRow => ({
  id: asJobId(7),
  queue: "comics/ocr",
  state: "queued",
  priority: 0,
  runAt: start,
  createdAt: start,
  finishedAt: null,
  attempts: 0,
  maxAttempts: 3,
  losses: 0,
  maxLosses: null,
  runCount: 0,
  currentRunId: null,
  blockedBy: null,
  stopBy: null,
  paused: false,
  itemId: null,
  visitId: null,
  agent: null,
  repo: null,
  payload: null,
  output: null,
  error: null,
  ...changes,
});

export const run = (changes: Partial<RunRow> = {}): RunRow =>
  runRow({
    id: asRunId(1_000_041),
    jobId: asJobId(7),
    workerId: asWorkerId(3),
    reservedAt: at(1000),
    startedAt: at(2000),
    limits: { maxRunningMs: 7_200_000, heartbeatTimeoutMs: 600_000 },
    process: { hostId: asHostId("host-one"), bootId: "b", pidNamespace: "n", pid: 812, startTime: "5" },
    ...changes,
  });

export const worker: WorkerRow = {
  id: asWorkerId(3),
  name: "w1",
  kind: "command",
  state: "live",
  registeredAt: start,
  lastHeardAt: at(9000),
  endedAt: null,
  concurrency: 4,
  claimSeqReceived: 1,
  loopLagMs: null,
  queues: ["comics/ocr"],
  process: { hostId: asHostId("host-one"), bootId: "b", pidNamespace: "n", pid: 77, startTime: "5" },
};

export const free: WaitingFacts = { queuePaused: false, servedBy: [worker], slot: undefined, ahead: 0, aheadIsExact: true };
export const action = (changes: Partial<ActionRow>): ActionRow => ({
  id: 1,
  at: at(60_000),
  action: "run.ended",
  actor: "job-reaper",
  reason: null,
  message: null,
  evidence: null,
  jobId: asJobId(7),
  runId: null,
  itemId: null,
  workerId: null,
  lease: null,
  correlationId: null,
  ...changes,
});

/** The story of one job that waits for a worker, unless it is told otherwise. */
export const story = (facts: Partial<JobFacts>, rest: Partial<StoryFacts> = {}) =>
  tellStory({
    now: at(65_000),
    subject: { kind: "job", id: 7 },
    item: undefined,
    visits: [],
    jobs: [{ job: job(), runs: [], waiting: free, gatePatienceMs: 600_000, ...facts }],
    workers: new Map([[worker.id, worker]]),
    actions: [],
    notReady: [],
    heldBack: new Map(),
    ...rest,
  });

export const textsOf = (tense: string, told: ReturnType<typeof story>) =>
  told.lines.filter((line) => line.tense === tense).map(({ text }) => text);

/** A run whose process was found dead. */
export const lost = run({
  state: "ended",
  endedAt: at(60_000),
  outcome: "lost",
  reason: "dead_pid",
  message: "process 812 is dead on 2 consecutive looks",
  evidence: '{"pid":812,"streak":2,"silentMs":4000}',
  spent: "loss",
  progressAt: at(30_000),
  progress: "0.42",
});
