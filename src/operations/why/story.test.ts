import { expect, test } from "vitest";
import { asHostId, asItemId, asJobId, asOwnerEpoch, asRunId, asVisitId, asWorkerId } from "../../domain/ids.ts";
import { addMs, asInstant, type Instant } from "../../domain/time.ts";
import { PipelineRegistry } from "../../pipelines/registry.ts";
import { settlementOfFailure } from "../../settling/settlement.ts";
import type { ItemRow } from "../../store/port/items.ts";
import type { JobRow } from "../../store/port/jobs.ts";
import type { ActionRow } from "../../store/port/records.ts";
import type { LiveRun, RunRow } from "../../store/port/runs.ts";
import type { WorkerRow } from "../../store/port/workers.ts";
import type { JobFacts, StoryFacts, WaitingFacts } from "./facts.ts";
import { relativeText, spanText } from "./spans.ts";
import { tellStory } from "./story.ts";

const start = asInstant(Date.UTC(2026, 0, 1));
const at = (ms: number): Instant => addMs(start, ms);

const job = (changes: Partial<JobRow> = {}): JobRow => ({
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

const run = (changes: Partial<RunRow> = {}): RunRow => ({
  id: asRunId(1_000_041),
  jobId: asJobId(7),
  attempt: 1,
  state: "started",
  ownerEpoch: asOwnerEpoch(1),
  workerId: asWorkerId(3),
  kind: "command",
  claimSeq: 1,
  reservedAt: at(1000),
  startedAt: at(2000),
  exitedAt: null,
  endedAt: null,
  checkAt: null,
  wrapper: null,
  limits: { maxRunningMs: 7_200_000, heartbeatTimeoutMs: 600_000 },
  process: { hostId: asHostId("host-one"), bootId: "b", pidNamespace: "n", pid: 812, startTime: "5" },
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
  ...changes,
});

const worker: WorkerRow = {
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

const free: WaitingFacts = { queuePaused: false, servedBy: [worker], slot: undefined, ahead: 0, aheadIsExact: true };
const action = (changes: Partial<ActionRow>): ActionRow => ({
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

const story = (facts: Partial<JobFacts>, rest: Partial<StoryFacts> = {}) =>
  tellStory({
    now: at(65_000),
    subject: { kind: "job", id: 7 },
    item: undefined,
    visits: [],
    jobs: [{ job: job(), runs: [], waiting: free, gatePatienceMs: 600_000, ...facts }],
    workers: new Map([[worker.id, worker]]),
    actions: [],
    notReady: [],
    ...rest,
  });

const textsOf = (tense: string, told: ReturnType<typeof story>) =>
  told.lines.filter((line) => line.tense === tense).map(({ text }) => text);
const lost = run({
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

test("a lost run's story tells where it ran, its last signs of life, the verdict with its numbers, who settled it and what comes next", () => {
  const told = story({ job: job({ runCount: 1, losses: 1, maxLosses: 3 }), runs: [lost] }, { actions: [action({ runId: lost.id })] });
  expect(told.text).toBe(
    [
      "job:7 (comics/ocr) is queued. Nothing is in its way: the next free worker takes it.",
      "",
      "  2026-01-01 00:00:00Z (1 min 5 s ago)",
      "      job:7 was enqueued on comics/ocr, for at most 3 attempts.",
      "  2026-01-01 00:00:02Z (1 min 3 s ago)",
      "      Attempt 1 started under worker w1 (host host-one, pid 77), as process 812 on host host-one.",
      "  2026-01-01 00:00:09Z (56 s ago)",
      "      Worker w1 was last heard.",
      "  2026-01-01 00:00:30Z (35 s ago)",
      "      Attempt 1 gave its last sign of progress: 42 %.",
      "  2026-01-01 00:01:00Z (5 s ago)",
      "      Attempt 1 ended after 58 s: it was lost (dead_pid). Process 812 is dead on 2 consecutive looks. Evidence: pid 812, streak 2, silent 4 s. Settled by job-reaper. It counts as a loss, not as an attempt.",
      "  Now: Nothing is in its way: the next free worker takes it.",
      "  Next: When it is claimed, attempt 2 begins; 3 of 3 attempts, 2 of 3 losses left.",
    ].join("\n"),
  );
});

test("texts name the attempt and never the run id", () => {
  const live: LiveRun = {
    ...run(),
    queue: "comics/ocr",
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
  };
  const { reason, message } = settlementOfFailure(
    live,
    { kind: "lost", reason: "dead pid 812 (2 looks)" },
    { reason: "dead_pid" },
    { registry: new PipelineRegistry([]), random: () => 0.5, actor: "job-reaper" },
  );
  const settled = run({ state: "ended", endedAt: at(60_000), outcome: "lost", reason, message, spent: "attempt" });
  const told = story({ job: job({ runCount: 1, maxLosses: 3 }), runs: [settled] }).text;
  expect(told).toContain("Attempt 1 ended after 58 s: it was lost (dead_pid). Dead pid 812 (2 looks).");
  expect(told).not.toContain(String(settled.id));
  expect(story({ job: job({ runCount: 1, blockedBy: lost.id, stopBy: at(70_000) }), runs: [lost] }).text).not.toContain(String(lost.id));
});

test.each<[string, Partial<JobFacts>, Partial<StoryFacts>, string]>([
  [
    "a run that is being stopped",
    { job: job({ blockedBy: lost.id, stopBy: at(70_000) }), runs: [lost] },
    {},
    "It waits for attempt 1 to be proved stopped, at the latest 2026-01-01 00:01:10Z (in 5 s).",
  ],
  [
    "a run that cannot be stopped",
    { job: job({ blockedBy: lost.id, stopBy: at(64_000) }), runs: [lost] },
    {},
    "`wakeful unhold job:7 --force` when you know that it does no harm.",
  ],
  [
    "a run of which something is left",
    { job: job({ blockedBy: lost.id, stopBy: at(64_000) }), runs: [lost], remains: "pid 42 (sleep 9) lives on" },
    {},
    "is not proved to be: pid 42 (sleep 9) lives on. End the process by hand",
  ],
  [
    "a paused queue",
    { waiting: { ...free, queuePaused: true } },
    {},
    "Its queue comics/ocr is paused; `wakeful resume queue:comics/ocr` lets it go on.",
  ],
  [
    "a paused item",
    { job: job({ itemId: asItemId(4), paused: true }) },
    { item: { id: asItemId(4), state: "paused" } as ItemRow },
    "Its item is paused; `wakeful resume item:4` lets it go on.",
  ],
  [
    "the only worker paused",
    { waiting: { ...free, pausedWorkers: [{ id: worker.id, name: "commands@data", since: at(60_000) }] } },
    {},
    "Worker commands@data is paused since 2026-01-01 00:01:00Z (5 s ago); `wakeful resume worker:3` lets it claim again.",
  ],
  [
    "one worker of two paused, which is in nobody's way",
    { waiting: { ...free, servedBy: [worker, worker], pausedWorkers: [{ id: worker.id, name: "w1", since: null }] } },
    {},
    "Nothing is in its way: the next free worker takes it.",
  ],
  ["no worker", { waiting: { ...free, servedBy: [] } }, {}, "No live worker serves the queue comics/ocr."],
  [
    "the one slot",
    { waiting: { ...free, slot: { key: "comics.ocr", capacity: 1, used: 1, holders: [{ jobId: 5, attempt: 2, stopping: true }] } } },
    {},
    "The one slot of comics.ocr is taken, by attempt 2 of job:5 (being stopped).",
  ],
  [
    "all slots",
    {
      waiting: {
        ...free,
        slot: {
          key: "k",
          capacity: 2,
          used: 2,
          holders: [
            { jobId: 5, attempt: 1, stopping: false },
            { jobId: 6, attempt: 1, stopping: false },
          ],
        },
      },
    },
    {},
    "All 2 slots of k are taken, by attempt 1 of job:5, attempt 1 of job:6.",
  ],
  ["a job ahead", { waiting: { ...free, ahead: 1 } }, {}, "1 job of its queue goes first."],
  ["jobs ahead", { waiting: { ...free, ahead: 1000, aheadIsExact: false } }, {}, "At least 1000 jobs of its queue go first."],
  ["a full disk", {}, { notReady: ["less than 512 MiB are free"] }, "The daemon takes no new work: less than 512 MiB are free."],
  [
    "its time",
    { job: job({ state: "scheduled", runAt: at(75_000), runCount: 1 }), runs: [lost] },
    {},
    "It is scheduled until 2026-01-01 00:01:15Z (in 10 s): backing off after attempt 1 (it was lost, dead_pid).",
  ],
  ["a delay", { job: job({ state: "scheduled", runAt: at(75_000) }) }, {}, "it was enqueued with a delay."],
  ["a person", { job: job({ state: "held", error: "lost 3 times" }) }, {}, "It is kept for a person: lost 3 times."],
])("a waiting job says what it waits for: %s", (_what, facts, rest, text) => {
  expect(textsOf("now", story(facts, rest)).join("\n")).toContain(text);
});

test("a job whose stage is not declared any more says so in every state, and what a person can do", () => {
  const undeclared = { pipeline: "comics", stage: "ocr" };
  expect(textsOf("now", story({ waiting: free, undeclared })).join("\n")).toContain(
    "This daemon's configuration has no stage ocr of pipeline comics: unless another daemon declares it, the reconciler holds it at its next look.",
  );
  const held = story({ job: job({ state: "held", error: "stage ocr of pipeline comics is not declared any more" }), undeclared });
  expect(textsOf("next", held)).toEqual([
    "Nothing happens by itself. Once stage ocr of pipeline comics is declared again, `wakeful unhold job:7` runs it; before that it is refused. `wakeful cancel job:7` ends it.",
  ]);
  const running = story({ job: job({ state: "running", currentRunId: run().id }), runs: [run()], undeclared });
  expect(textsOf("next", running).join("\n")).toContain("it runs to its end under the version that it began with");
});

test("a free slot is no reason to wait", () => {
  expect(textsOf("now", story({ waiting: { ...free, slot: { key: "k", capacity: 2, used: 1, holders: [] } } }))).toEqual([
    "Nothing is in its way: the next free worker takes it.",
  ]);
});

test("a running job tells its limits with the numbers that a judge compares", () => {
  const told = story({
    job: job({ state: "running", currentRunId: run().id, attempts: 1, runCount: 1 }),
    runs: [run({ progressAt: at(5000) })],
    waiting: undefined,
  });
  expect(textsOf("now", told)).toEqual(["Attempt 1 is at work for 1 min 3 s."]);
  expect(textsOf("next", told)).toEqual([
    "Attempt 1 last showed progress 1 min ago; silent until 2026-01-01 00:10:05Z (in 9 min), it counts as hung.",
    "Not done by 2026-01-01 02:00:02Z (in 1 h 58 min), it is given up.",
    "If it fails, 2 of 3 attempts left.",
  ]);
});

test("a run without a ceiling of its own is told by the setting that is in force", () => {
  const bare = run({ limits: {} });
  const running = { job: job({ state: "running", currentRunId: bare.id }), runs: [bare], waiting: undefined };
  expect(textsOf("next", story({ ...running, maxRunningMs: 3_600_000 }))).toContain(
    "Not done by 2026-01-01 01:00:02Z (in 58 min 57 s), it is given up.",
  );
  expect(textsOf("next", story(running)).join()).not.toContain("given up");
});

test("a run that never showed progress is measured from its start, twice the limit", () => {
  const told = story({ job: job({ state: "running", currentRunId: run().id }), runs: [run()], waiting: undefined });
  expect(textsOf("next", told)[0]).toContain("has shown no progress yet; silent until 2026-01-01 00:20:02Z");
});

test("an unreadable gate is told with the time it has left", () => {
  const exited = run({ state: "exited", exitedAt: at(50_000), exitCode: 0, gatePendingAt: at(55_000) });
  const told = story({ job: job({ state: "running", currentRunId: exited.id }), runs: [exited], waiting: undefined });
  expect(textsOf("now", told)).toContain("Its gate cannot be read since 2026-01-01 00:00:55Z (10 s ago); it is read again.");
  expect(textsOf("next", told)).toEqual(["Unreadable until 2026-01-01 00:10:55Z (in 9 min 50 s), it counts as red."]);
});

test("a cancelled job whose process still lives says so", () => {
  const cancelled = run({ state: "ended", endedAt: at(64_000), outcome: "cancelled", reason: "cancelled" });
  const told = story({
    job: job({ state: "cancelled", finishedAt: at(64_000), blockedBy: cancelled.id, stopBy: at(80_000) }),
    runs: [cancelled],
    waiting: undefined,
  });
  expect(textsOf("now", told)).toEqual([expect.stringContaining("attempt 1 to be proved stopped"), "It was cancelled."]);
});

test("a failed job names the command that gives it a fresh budget; a returned one asks nothing of anybody", () => {
  expect(story({ job: job({ state: "returned" }), waiting: undefined }).lines.at(-1)?.text).toContain("It was returned");
  expect(textsOf("next", story({ job: job({ state: "failed", error: "exit code 2 (run 41)" }), waiting: undefined }))[0]).toContain(
    "`wakeful retry job:7`",
  );
  expect(textsOf("next", story({ job: job({ state: "failed", itemId: asItemId(4) }), waiting: undefined }))[0]).toContain(
    "`wakeful retry item:4`",
  );
});

test("a command of `wakeful run` is told as its caller's alone: no limit ends it, nothing runs it again", () => {
  const ofCaller = (changes: Partial<JobRow>) => job({ queue: "run", maxAttempts: 1, ...changes });
  const running = ofCaller({ state: "running", currentRunId: run().id });
  const next = (of: JobRow, ...runs: RunRow[]) => textsOf("next", story({ job: of, runs, waiting: undefined }));
  expect(next(running, run({ state: "reserved", startedAt: null }))).toEqual(["If `wakeful run` ends before that, it is cancelled."]);
  expect(next(running, run())).toEqual(["It ends with its command, also when `wakeful run` is gone. Nothing runs it again."]);
  expect(next(ofCaller({ state: "failed", error: "exit code 2 (run 41)" }))).toEqual([
    "Nothing happens by itself: whoever called `wakeful run` may call it again.",
  ]);
});

test("the story of one run leaves the others out", () => {
  const second = run({
    id: asRunId(1_000_042),
    attempt: 2,
    state: "ended",
    startedAt: at(61_000),
    endedAt: at(62_000),
    outcome: "succeeded",
    reason: "ok",
  });
  const told = story(
    { job: job({ state: "done", runCount: 2 }), runs: [lost, second], waiting: undefined },
    { subject: { kind: "run", id: second.id, attempt: 2, jobId: 7 } },
  );
  expect(told.headline).toBe("Attempt 2 of job:7 (comics/ocr) has ended: succeeded (ok).");
  expect(told.text).not.toContain("Attempt 1");
});

test("an item's story walks through its stages", () => {
  const item = {
    id: asItemId(4),
    pipeline: "comics",
    key: "batman",
    label: "Batman.cbz",
    state: "active",
    stage: "ocr",
    createdAt: start,
  } as ItemRow;
  const visit = {
    id: asVisitId(1),
    itemId: item.id,
    stage: "prep",
    number: 1,
    state: "passed",
    counts: true,
    attempts: 1,
    maxAttempts: 3,
    losses: 0,
    maxLosses: null,
    openedAt: start,
    closedAt: at(500),
    output: null,
  } as const;
  const told = story(
    {},
    {
      subject: { kind: "item", id: 4 },
      item,
      actions: [action({ at: start, action: "item.added", actor: "t", itemId: item.id })],
      visits: [visit, { ...visit, number: 2, stage: "ocr", state: "open", openedAt: at(500), closedAt: null }],
    },
  );
  expect(told.headline).toBe("item:4 (comics: Batman.cbz) is active in stage ocr. Nothing is in its way: the next free worker takes it.");
  expect(textsOf("past", told)).toEqual(
    expect.arrayContaining([
      "The item was added by t, with the key batman.",
      "The item entered stage prep.",
      "job:7 was enqueued on comics/ocr, for at most 3 attempts.",
      "Stage prep: passed.",
      "The item entered stage ocr (visit 2).",
    ]),
  );
});

test("what jobs wrote cannot command the reader's terminal", () => {
  expect(story({ job: job({ state: "failed", error: "\u001b[2Jgone" }), waiting: undefined }).text).not.toContain("\u001b");
});

test.each([
  [0, "0 ms"],
  [999, "999 ms"],
  [1000, "1 s"],
  [4250, "4.3 s"],
  [60_000, "1 min"],
  [3_725_000, "1 h 2 min"],
  [90_000_000, "1 d 1 h"],
])("%i ms is said as %s", (ms, text) => {
  expect(spanText(ms)).toBe(text);
});

test("the present is neither past nor future", () => {
  expect([relativeText(start, start), relativeText(start, at(1)), relativeText(at(1000), start)]).toEqual(["now", "1 ms ago", "in 1 s"]);
});

test("a run that was taken over names the supervisor that it has now", () => {
  const adopted = run({ ownerEpoch: asOwnerEpoch(3) });
  const told = story({ job: job({ state: "running", currentRunId: adopted.id }), runs: [adopted], waiting: undefined });
  expect(textsOf("past", told)).toContain(
    "Attempt 1 started as process 812 on host host-one. It was taken over 2 times since; now worker w1 (host host-one, pid 77) looks after it.",
  );
});
