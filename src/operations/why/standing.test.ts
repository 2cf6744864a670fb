import { expect, test } from "vitest";
import { present } from "../../../test/support/present.ts";
import { at, free, job, lost, run, story, textsOf, worker } from "../../../test/support/story-facts.ts";
import { asItemId } from "../../domain/ids.ts";
import type { ItemRow } from "../../store/port/items.ts";
import type { JobRow } from "../../store/port/jobs.ts";
import type { RunRow } from "../../store/port/runs.ts";
import type { JobFacts, StoryFacts } from "./facts.ts";

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

test("a running job tells that its worker hangs, and what to do [F-9.1]", () => {
  const running = { job: job({ state: "running", currentRunId: run().id }), runs: [run()], waiting: undefined };
  const hungWorkers = [present(run().workerId)];
  expect(textsOf("now", story({ ...running, hungWorkers })).at(-1)).toMatch(
    /^Its worker w1 \(pid \d+\) lives and has said nothing for .*: it hangs\. Continue it \(`kill -CONT \d+`\), or end it, and its work goes to others\.$/,
  );
  const reserved = run({ state: "reserved", startedAt: null });
  expect(textsOf("now", story({ ...running, runs: [reserved], hungWorkers })).join()).toContain("it hangs");
  expect(textsOf("now", story({ ...running, hungWorkers: [] })).join()).not.toContain("hangs");
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
