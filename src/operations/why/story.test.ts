import { expect, test } from "vitest";
import { liveRun } from "../../../test/support/live-run.ts";
import { action, at, job, lost, run, start, story, textsOf } from "../../../test/support/story-facts.ts";
import { asItemId, asOwnerEpoch, asRunId, asVisitId } from "../../domain/ids.ts";
import { PipelineRegistry } from "../../pipelines/registry.ts";
import { settlementOfFailure } from "../../settling/settlement.ts";
import type { ItemRow } from "../../store/port/items.ts";

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
  const live = liveRun({ ...run(), queue: "comics/ocr" });
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

test("a run that was taken over names the supervisor that it has now", () => {
  const adopted = run({ ownerEpoch: asOwnerEpoch(3) });
  const told = story({ job: job({ state: "running", currentRunId: adopted.id }), runs: [adopted], waiting: undefined });
  expect(textsOf("past", told)).toContain(
    "Attempt 1 started as process 812 on host host-one. It was taken over 2 times since; now worker w1 (host host-one, pid 77) looks after it.",
  );
});
